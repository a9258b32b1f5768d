"""Commands for audio classification: scan, features, train, evaluate, predict, report."""

from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from septet.cli import _console

Json = Annotated[bool, tyro.conf.arg(name="json")]
Output = Annotated[Path | None, tyro.conf.arg(aliases=["-o"])]
Kind = Literal[
    "folder", "csv", "esc10", "esc50", "fma-small", "gtzan", "speech-commands", "urbansound8k"
]


def scan(
    folder: tyro.conf.Positional[Path],
    *,
    output: Output = None,
    sample_rate: int | None = None,
    min_seconds: float = 0.0,
    as_json: Json = False,
) -> int:
    """Read every audio file below FOLDER and list what is wrong; exit 3 if anything is.

    Parameters
    ----------
    folder
        Folder, or one file.
    output
        Also write the list to this CSV file.
    sample_rate
        Rate in Hz below which a file is a fault.
    min_seconds
        Length below which a file is a fault.
    as_json
        Print JSON.
    """
    from septet.audio import datasets

    with _console.progress("scan") as say:
        faults = datasets.scan(
            folder,
            sample_rate=sample_rate,
            min_seconds=min_seconds,
            progress=lambda done, of: say(f"{done} of {of} files"),
        )
    if output is not None:
        datasets.write_faults(faults, output)
    rows = [{"file": f.path, "kind": f.kind, "detail": f.detail} for f in faults]
    _console.table(rows, as_json=as_json)
    if not faults:
        _console.note("nothing is wrong.")
    return 3 if faults else 0


def features(
    source: tyro.conf.Positional[Path],
    target: tyro.conf.Positional[Path],
    /,
    *,
    view: Literal["mel", "gamma", "cqt"] = "mel",
    sample_rate: int = 16000,
    as_json: Json = False,
) -> int:
    """Write a view of SOURCE (a file, or every file below a folder) as .npy below TARGET.

    Parameters
    ----------
    source
        Audio file or folder.
    target
        File to write, or folder that gets the same tree of files.
    view
        mel: log-mel powers; gamma: log-gammatone magnitudes; cqt: log-constant-Q magnitudes.
    sample_rate
        Rate in Hz to convert to first.
    as_json
        Print JSON.
    """
    from septet.audio import write_features

    with _console.progress("features") as say:
        shapes = write_features(source, target, view=view, sample_rate=sample_rate, progress=say)
    rows = [{"file": name, "bands": s[0], "frames": s[1]} for name, s in shapes.items()]
    _console.table(rows, as_json=as_json)
    return 0


def train(
    source: tyro.conf.Positional[Path],
    model: tyro.conf.Positional[Path],
    /,
    *,
    kind: Kind = "folder",
    fold: str | None = None,
    sample_rate: int = 16000,
    seconds: float | None = None,
    views: tuple[Literal["wave", "mel", "gamma", "cqt"], ...] = ("wave", "mel", "gamma", "cqt"),
    size: Literal["tiny", "small", "base"] = "small",
    policy: str = "loss",
    head: str = "joint",
    steps: int | None = None,
    device: str = "auto",
    seed: int = 0,
    skip_bad: bool = False,
    min_seconds: float = 0.0,
    allow_missing: bool = False,
    group_check: bool = True,
    fresh: bool = False,
    as_json: Json = False,
) -> int:
    """Learn from the clips of SOURCE into the folder MODEL and write a report there.

    A fifth of the clips (whole groups), or the official test part, is kept apart for the figures of
    the report. Stopped with Ctrl-C, the report tells of the best state so far, and the same command
    goes on.

    Parameters
    ----------
    source
        Folder of class folders, CSV table, or folder of a known data set (see --kind).
    model
        Folder to write.
    kind
        What SOURCE is.
    fold
        Which official split to use, such as "fold 1"; the first by default, where there is one.
    sample_rate
        Rate in Hz that the model works at.
    seconds
        Length of the segments that clips are cut into; that of the longest clip, at most 10.
    views
        Which views of a clip the model has.
    size
        Of the network.
    policy
        How the branches are weighted: loss, speed, uniform, joint, gblend, ogm, tangent.
    head
        What decides: joint, ensemble or a view.
    steps
        Training steps; 15 passes over the clips by default, 300 at least.
    device
        auto, cpu, cuda.
    seed
        Of everything random.
    skip_bad
        Leave bad files out and list them, instead of stopping at the first.
    min_seconds
        A shorter clip counts as bad; others are padded.
    allow_missing
        Go on where a class is missing among the validation clips.
    group_check
        Refuse a split that has a group (the column of a table) on two sides.
    fresh
        Start over instead of going on.
    as_json
        Print JSON.
    """
    from septet.audio import MultiViewClassifier, train_on_folder

    classifier = MultiViewClassifier(
        sample_rate,
        seconds=seconds,
        views=views,
        size=size,
        policy=policy,
        head=head,
        steps=steps,
        device=device,
        random_state=seed,
        on_error="skip" if skip_bad else "raise",
        min_seconds=min_seconds,
        allow_missing=allow_missing,
        group_check=group_check,
    )
    with _console.progress("train") as say:
        result = train_on_folder(
            classifier, source, model, kind=kind, fold=fold, fresh=fresh, progress=say
        )
    _write_report(model)
    _console.result(result, as_json=as_json)
    return 130 if result["interrupted"] else 0


def evaluate(
    model: tyro.conf.Positional[Path],
    source: tyro.conf.Positional[Path],
    /,
    *,
    kind: Kind = "folder",
    head: str | None = None,
    as_json: Json = False,
) -> int:
    """Decide the labelled clips of SOURCE with MODEL and print how often that is right.

    Parameters
    ----------
    model
        Folder that `septet audio train` wrote.
    source
        Folder of class folders, CSV table, or folder of a known data set.
    kind
        What SOURCE is.
    head
        What decides: joint, ensemble or a view; the model's own by default.
    as_json
        Print JSON.
    """
    from septet.audio import MultiViewClassifier, datasets
    from septet.audio import evaluate as measure

    classifier = MultiViewClassifier.load(model / "model")
    if head is not None:
        classifier.set_params(head=head)
    manifest = datasets.read_named(kind, source)
    found = measure(classifier, manifest.clips, manifest.labels)
    result: dict[str, Any] = {
        "clips": found.n_clips,
        "accuracy": found.accuracy,
        "balanced accuracy": found.balanced_accuracy,
    }
    if as_json:
        result |= {"heads": found.heads, "recall": found.recall}
        _console.result(result | {"confusion": found.confusion.tolist()}, as_json=True)
        return 0
    _console.result(result)
    _console.table([{"head": name, "balanced accuracy": x} for name, x in found.heads.items()])
    _console.table([{"class": name, "recall": x} for name, x in found.recall.items()])
    return 0


def predict(
    model: tyro.conf.Positional[Path],
    files: tyro.conf.Positional[tuple[Path, ...]],
    /,
    *,
    picture: Path | None = None,
    as_json: Json = False,
) -> int:
    """Print label, confidence and the view that decided for each of FILES; exit 3 if one is bad.

    Parameters
    ----------
    model
        Folder that `septet audio train` wrote.
    files
        Audio files.
    picture
        Write a picture of the views of the first file here (.svg, .png or .pdf).
    as_json
        Print JSON, with what every view contributed and what every head decides.
    """
    from septet._core.errors import DataError
    from septet.audio import MultiViewClassifier, save_views

    if not files:
        raise ValueError("name one audio file at least.")
    classifier = MultiViewClassifier.load(model / "model")
    rows, bad = [], 0
    for file in files:
        try:
            (decision,) = classifier.explain([file])
        except DataError as error:
            _console.note(f"septet: {error}")
            bad += 1
            continue
        row: dict[str, Any] = {
            "file": str(file),
            "label": decision.label,
            "confidence": decision.confidence,
            "trusted": decision.trusted,
        }
        if as_json:
            row |= {"contributions": decision.contributions, "heads": decision.labels}
        rows.append(row)
    _console.table(rows, as_json=as_json)
    if picture is not None and rows:
        save_views(classifier, rows[0]["file"], picture)
    return 3 if bad else 0


def report(model: tyro.conf.Positional[Path], *, as_json: Json = False) -> int:
    """Write the report of MODEL again and say where it lies.

    Parameters
    ----------
    model
        Folder that `septet audio train` wrote.
    as_json
        Print JSON.
    """
    _console.result({"report": str(_write_report(model))}, as_json=as_json)
    return 0


def _write_report(model: Path) -> Path:
    from septet.report import write_report

    return write_report(model)


COMMANDS = {
    "scan": scan,
    "features": features,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "report": report,
}
