"""Commands for the worst group: fit, predict, audit, compare."""

import csv
import io
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from septet._core.pictures import save_figure
from septet.cli import _console

Json = Annotated[bool, tyro.conf.arg(name="json")]
Output = Annotated[Path, tyro.conf.arg(aliases=["-o"])]
OptionalOutput = Annotated[Path | None, tyro.conf.arg(aliases=["-o"])]
Method = Literal["group-dro", "balanced", "dfr", "plain", "logit-adjusted"]


def fit(
    rows: tyro.conf.Positional[Path],
    *,
    output: Output,
    method: Method = "group-dro",
    label: str = "y",
    groups: tuple[str, ...] = (),
    drop: tuple[str, ...] = (),
    holdout: float = 0.0,
    seed: int = 0,
    as_json: Json = False,
) -> int:
    """Fit a head for the worst group on ROWS and save it in a folder.

    Parameters
    ----------
    rows
        .npz file with X, y and groups, or CSV or Parquet file whose other columns are features. A
        split (train, validation, test) is respected: validation rows select (dfr is fitted on them
        too), test rows are left for the audit.
    output
        Folder for the model: weights as safetensors, everything else as JSON.
    method
        Rule; every one chooses its penalty by the worst group.
    label
        Array or column of classes.
    groups
        Arrays or columns of group labels; several are crossed. Empty cells and -1 are unknown.
    drop
        Columns that are no features.
    holdout
        Part of each group to leave for the audit, where ROWS has no split.
    seed
        Seed of the folds and of the rows left out.
    as_json
        Print JSON.
    """
    from septet import robust

    facts = robust.fit_file(
        rows,
        output,
        method=method,
        label=label,
        groups=groups,
        drop=drop,
        holdout=holdout,
        seed=seed,
    )
    if as_json:
        _console.result(facts, as_json=True)
        return 0
    settings = facts["settings"]
    weights = settings.get("group_weights") or [None] * len(facts["groups"])
    losses = settings.get("group_losses") or [None] * len(facts["groups"])
    fits = len(weights) == len(facts["groups"])
    _console.table(
        [
            {
                "group": group["name"],
                "rows": group["n"],
                "weight": weights[i] if fits else None,
                "loss": losses[i] if fits else None,
            }
            for i, group in enumerate(facts["groups"])
        ]
    )
    if (gap := settings.get("duality_gap")) is not None:
        objective = settings["objective"]
        _console.note(f"objective {objective:.6g}, proven optimal within {gap:.1e}")
    _console.note(f"{facts['n']} rows fitted on, {facts['n_unknown']} of unknown group")
    _console.note(f"saved in {output}")
    return 0


def predict(
    model: tyro.conf.Positional[Path],
    rows: tyro.conf.Positional[Path],
    /,
    *,
    output: OptionalOutput = None,
    as_json: Json = False,
) -> int:
    """Predict the classes of ROWS with a saved MODEL: CSV with one line a row.

    Parameters
    ----------
    model
        Folder that `septet robust fit` wrote.
    rows
        File with the same features.
    output
        Write the CSV here instead of to standard output.
    as_json
        Print JSON.
    """
    from septet import robust
    from septet._core.files import write_text

    classes, chances = robust.predict_file(model, rows)
    names = robust.load_head(model)[0].classes_.tolist()
    if as_json:
        found = {"classes": names, "predicted": classes, "probabilities": chances}
        _console.result(found, as_json=True)
        return 0
    text = io.StringIO() if output is not None else sys.stdout
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["predicted", *(f"p({name})" for name in names)])
    for guess, row in zip(classes.tolist(), chances.tolist(), strict=True):
        writer.writerow([guess, *(f"{p:.6g}" for p in row)])
    if isinstance(text, io.StringIO) and output is not None:
        write_text(output, text.getvalue())
    return 0


def audit(
    model: tyro.conf.Positional[Path],
    rows: tyro.conf.Positional[Path],
    /,
    *,
    confidence: float = 0.95,
    plot: Path | None = None,
    as_json: Json = False,
) -> int:
    """Report how a saved MODEL does on every group of ROWS, with intervals that hold.

    Parameters
    ----------
    model
        Folder that `septet robust fit` wrote.
    rows
        File with features, classes and groups; of a file with a split the test rows count, of the
        file that was fitted on the rows held out.
    confidence
        Level of the intervals.
    plot
        Write a picture here (.svg, .png or .pdf).
    as_json
        Print JSON.
    """
    from septet import robust

    report = robust.audit_file(model, rows, confidence=confidence)
    if plot is not None:
        save_figure(report.plot(), plot)
    print(report.to_json() if as_json else report)
    return 0


def compare(
    first: tyro.conf.Positional[Path],
    second: tyro.conf.Positional[Path],
    rows: tyro.conf.Positional[Path],
    /,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    as_json: Json = False,
) -> int:
    """Say whether the SECOND model serves the worst group of ROWS better than the FIRST.

    Parameters
    ----------
    first
        Folder of a model.
    second
        Folder of another.
    rows
        File with features, classes and groups that neither was fitted on.
    confidence
        Level of the intervals.
    seed
        Seed of the resamples.
    as_json
        Print JSON.
    """
    from septet import robust

    found = robust.compare_files(first, second, rows, confidence=confidence, seed=seed)
    print(found.to_json() if as_json else found)
    return 0


COMMANDS = {"fit": fit, "predict": predict, "audit": audit, "compare": compare}
