"""Tab: spiking neurons learn what is normal and say what is not, on digits or on a table."""

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import roc_auc_score

from septet import data
from septet._core.pictures import new_figure
from septet.demo._told import told
from septet.spiking import SpikingNoveltyDetector

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHARE = 0.7  # of the normal digits, which are learned; the others are scored
_SHOWN = 5


def digits(normal: list[int], n_neurons: float, seed: float) -> tuple["Figure", str]:
    """Learn some classes of handwritten digits; score the others and what was held out.

    Parameters
    ----------
    normal : list of int
        Classes that are normal.
    n_neurons : float
        Competing neurons; a whole number.
    seed : float
        Of the split and of the spikes.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Distribution of the scores, and the most novel samples with the pixels that give them away.
    words : str
        What came out, in Markdown.

    Raises
    ------
    ValueError
        If no class is normal, or all are.
    """
    if not 0 < len(normal) < 10:
        raise ValueError(f"Choose one to nine normal classes; {len(normal)} are chosen.")
    X, y = _digits()
    rng = np.random.default_rng(int(seed))
    usual = rng.permutation(np.flatnonzero(np.isin(y, normal)))
    cut = int(_SHARE * usual.size)
    detector = SpikingNoveltyDetector(int(n_neurons), random_state=int(seed)).fit(X[usual[:cut]])
    others = np.flatnonzero(~np.isin(y, normal))
    rows = np.concatenate([usual[cut:], others])
    is_novel = np.arange(rows.size) >= usual.size - cut
    decision = detector.decision_function(X[rows])
    area = roc_auc_score(is_novel.tolist(), (-decision).tolist())
    words = (
        f"Learned from {cut} digits. Of {others.size} digits of other classes "
        f"**{(decision[is_novel] < 0).mean():.0%} are called novel**, and so are "
        f"{(decision[~is_novel] < 0).mean():.0%} of {usual.size - cut} held-out normal ones. "
        f"Area under the ROC curve: {area:.3f}."
    )
    most = rows[np.argsort(decision)[:_SHOWN]]
    return _picture(decision, is_novel, X[most], detector.residuals(X[most])), words


def table(normal: str | None, new: str | None, n_neurons: float, seed: float) -> tuple[Any, str]:
    """Learn a table of normal samples and score another table.

    Parameters
    ----------
    normal, new : str or None
        Paths of CSV files with a header and numbers of at least 0.
    n_neurons, seed : float
        As for `digits`.

    Returns
    -------
    rows : list of list
        For each new sample its row, the score, the verdict, and the columns that violate most.
    words : str
        What came out, in Markdown.

    Raises
    ------
    ValueError
        If a table is missing, or they have different columns.
    DataError
        If one cannot be read.
    """
    if normal is None or new is None:
        raise ValueError("Choose a table of normal samples and one of new samples first.")
    learned, scored = data.read_numbers(normal), data.read_numbers(new)
    if learned.columns != scored.columns:
        raise ValueError(
            f"both tables must have the same columns; got {', '.join(learned.columns)} and "
            f"{', '.join(scored.columns)}."
        )
    detector = SpikingNoveltyDetector(int(n_neurons), random_state=int(seed)).fit(learned.values)
    decision = detector.decision_function(scored.values)
    residuals = detector.residuals(scored.values)
    rows = []
    for i, value in enumerate(decision):
        worst = np.abs(residuals[i]).argsort()[::-1][:3]
        which = ", ".join(f"{scored.columns[j]} {residuals[i, j]:+.3g}" for j in worst)
        rows.append([i, round(float(value), 4), "novel" if value < 0 else "normal", which])
    return rows, f"**{(decision < 0).sum()} of {len(rows)} samples are called novel.**"


def _picture(
    decision: np.ndarray, is_novel: np.ndarray, samples: np.ndarray, residuals: np.ndarray
) -> "Figure":
    figure = new_figure((8, 6))
    halves: Any = figure.subfigures(2, height_ratios=(3, 4))
    upper, lower = halves
    axes = upper.add_subplot()
    bins = np.histogram_bin_edges(decision, 40)
    for which, label in ((~is_novel, "normal"), (is_novel, "other classes")):
        axes.hist(decision[which], bins, alpha=0.6, label=label)
    axes.axvline(0, color="black", lw=0.8, ls="--")
    axes.set(xlabel="decision: below 0 is called novel", ylabel="digits")
    axes.legend()
    limit = float(np.abs(residuals).max())
    lower.suptitle("Most novel: red pixels spiked more than the weights say, blue ones less")
    for (above, below), sample, residual in zip(
        lower.subplots(2, _SHOWN).T, samples, residuals, strict=True
    ):
        above.imshow(sample.reshape(8, 8), cmap="gray_r")
        below.imshow(residual.reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
        above.set(xticks=[], yticks=[])
        below.set(xticks=[], yticks=[])
    return figure


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    loaded = data.load("digits")
    return loaded.images.reshape(len(loaded), -1).astype(np.float64), loaded.labels


def tab() -> None:
    """Lay the tab out."""
    import gradio as gr

    gr.Markdown(
        "Neurons learn normal samples as spike trains. A sample is as novel as its promotions are "
        "far from the weights of the nearest neuron."
    )
    with gr.Row():
        neurons = gr.Slider(1, 30, 5, step=1, label="Neurons")
        seed = gr.Number(0, label="Random seed", precision=0, minimum=0)
    with gr.Tab("Handwritten digits"):
        classes = gr.CheckboxGroup(list(range(10)), value=[0], label="Normal")
        go = gr.Button("Find the others", variant="primary")
        words = gr.Markdown()
        shown = gr.Plot(label="Scores")
    with gr.Tab("A table of your own"):
        with gr.Row():
            normal = gr.File(label="Normal samples (CSV)", file_types=[".csv"])
            new = gr.File(label="New samples (CSV)", file_types=[".csv"])
        score = gr.Button("Score", variant="primary")
        said = gr.Markdown()
        rows = gr.Dataframe(
            headers=["row", "decision", "verdict", "columns that violate most"],
            label="New samples",
            interactive=False,
        )
    go.click(told(digits), [classes, neurons, seed], [shown, words])
    score.click(told(table), [normal, new, neurons, seed], [rows, said])
