"""Tab: choose exactly k people of a table fairly, with a certificate that is checked at once."""

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from septet import cohort
from septet.demo._told import told

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def made_up_candidates(folder: Path) -> str:
    """Write a table of 200 candidates with skewed scores and return its path."""
    rng = np.random.default_rng(1)
    scores = rng.beta(2, 5, 200).round(3)
    towns = rng.choice(["Ashford", "Bexley", "Corby"], 200)
    rows = (f"C{i:03},{s},{town}" for i, (s, town) in enumerate(zip(scores, towns, strict=True)))
    path = folder / "candidates.csv"
    path.write_text("\n".join(["id,score,town", *rows, ""]), "utf-8")
    return str(path)


def columns(source: str | None) -> tuple[str | None, str | None, list[str]]:
    """Return the columns of ids and of scores, as far as can be guessed, and all columns."""
    if source is None:
        return None, None, []
    names = cohort.read_frame(source).column_names
    known = {name.lower(): name for name in names}
    return known.get("id", names[0]), known.get("score", names[-1]), names


def shortlist(
    folder: Path,
    source: str | None,
    k: float,
    id: str | None,  # noqa: A002 - the field's word
    score: str | None,
    objective: str,
    seed: str,
) -> tuple[Any, list[str], "Figure", str]:
    """Choose exactly k candidates, certify the choice, and check the certificate.

    Parameters
    ----------
    folder : Path
        Where the results may be written.
    source : str or None
        Path of a CSV or Parquet file, a row a candidate.
    k : float
        How many to choose; a whole number.
    id, score : str or None
        Columns of ids and of scores in [0, 1].
    objective : {"linear", "ratio"}
        What the chances maximise.
    seed : str
        Public seed of the draw; a fresh one if empty.

    Returns
    -------
    chosen : pyarrow.Table
        Rows of those chosen.
    files : list of str
        Paths of the shortlist and of the certificate.
    figure : matplotlib.figure.Figure
        Chances against scores, beside other mechanisms.
    words : str
        What was done, in Markdown.

    Raises
    ------
    ValueError
        If there is no table, or a score, an id or k is wrong.
    DataError
        If the table cannot be read.
    """
    if source is None or id is None or score is None:
        raise ValueError("Choose a table of candidates first, and its columns of ids and scores.")
    if k != int(k):
        raise ValueError(f"k must be a whole number; got {k}.")
    frame = cohort.read_frame(source, text=[id])
    chosen = cohort.pick(
        frame,
        int(k),
        id=id,
        score=score,
        objective=objective,
        seed=seed.strip() or cohort.new_seed(),
    )
    place = Path(tempfile.mkdtemp(dir=folder))
    files = [place / "shortlist.csv", place / "certificate.json"]
    cohort.write_frame(chosen.frame, files[0])
    chosen.certificate.save(files[1])
    rows = dict(zip(frame[id].to_pylist(), frame[score].to_pylist(), strict=True))
    checked = cohort.verify(files[1], rows)
    figure = cohort.plot_probabilities(frame[score].to_numpy(), int(k))
    words = (
        f"{len(chosen)} of {checked.n} chosen by the seed `{chosen.certificate['seed']}`. "
        "The certificate was checked against the table: the chances are fair, and this seed draws "
        f"this list.\n\n```text\n{chosen.report()}\n```"
    )
    return chosen.frame, [str(path) for path in files], figure, words


def tab(folder: Path) -> None:
    """Lay the tab out."""
    import gradio as gr

    gr.Markdown(
        "Everybody has a score, the probability of being accepted alone; exactly k can be "
        "accepted. The chances drawn with treat no two people more differently than their scores "
        "do."
    )
    with gr.Row():
        with gr.Column():
            source = gr.File(label="Candidates (CSV or Parquet)", file_types=[".csv", ".parquet"])
            example = gr.Button("Make up 200 candidates")
            with gr.Row():
                name = gr.Dropdown([], label="Column of ids")
                score = gr.Dropdown([], label="Column of scores")
            k = gr.Number(20, label="How many to choose", precision=0, minimum=0)
            objective = gr.Radio(
                [("expected score", "linear"), ("smallest fall of anybody's chance", "ratio")],
                value="linear",
                label="Best for",
            )
            seed = gr.Textbox(label="Seed", placeholder="empty for a fresh one")
            go = gr.Button("Choose", variant="primary")
        with gr.Column():
            words = gr.Markdown()
            picture = gr.Plot(label="Chance against score")
            files = gr.Files(label="Shortlist and certificate", interactive=False)
    table = gr.Dataframe(label="Chosen", interactive=False)

    def known(path: str | None) -> tuple[Any, Any]:
        first, last, names = columns(path)
        return gr.Dropdown(names, value=first), gr.Dropdown(names, value=last)

    def answer(*given: Any) -> tuple[Any, list[str], "Figure", str]:
        rows, files, figure, words = shortlist(folder, *given)
        return rows.to_pandas(), files, figure, words

    example.click(partial(made_up_candidates, folder), None, source)
    source.change(told(known), source, [name, score])
    go.click(
        told(answer), [source, k, name, score, objective, seed], [table, files, picture, words]
    )
