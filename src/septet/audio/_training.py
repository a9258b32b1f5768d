"""Training from a folder: data in, model and the material of its report out."""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch

from septet._core.exhibits import Exhibit, Figure, Table, write_exhibits
from septet._core.files import PathLike, write_json, write_text
from septet._core.pictures import new_figure, save_figure
from septet._core.runs import SCHEMA, environment, plain
from septet.audio._classifier import MultiViewClassifier
from septet.audio._clips import load_clips
from septet.audio._draw import draw_curves, draw_views
from septet.audio._evaluate import Evaluation, evaluate
from septet.audio._splits import group_split
from septet.audio.datasets import Manifest, Part, read_named
from septet.signal import read_audio

_TEST_FRACTION = 0.2
_SHOWN = 3  # clips whose views the report draws


def train_on_folder(
    classifier: MultiViewClassifier,
    source: PathLike,
    model: PathLike,
    *,
    kind: str = "folder",
    fold: str | None = None,
    fresh: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Train, evaluate on clips that were kept apart, and write all that a report needs.

    Parameters
    ----------
    classifier : MultiViewClassifier
        Fitted in place.
    source : path-like
        Folder of class folders, CSV table, or folder of a known data set.
    model : path-like
        Folder to write: ``model/`` for the classifier, ``run/`` for what resuming needs, and the
        material of :func:`septet.report.write_report`.
    kind : str, default "folder"
        A name of :data:`septet.audio.datasets.READERS`.
    fold : str, optional
        Name of the official split; the first by default. Where there is none, a fifth of the clips
        (whole groups) is the test part.
    fresh : bool, default False
        Start over, whatever `model` holds.
    progress : callable, optional
        Called with a line about what was read, and about each evaluation.

    Returns
    -------
    dict
        Numbers of clips, accuracies on the test part, seconds, and whether Ctrl-C ended it.

    Raises
    ------
    DataError
        If the data set cannot be read or a clip is bad.
    ValueError
        If there is no such split.
    KeyboardInterrupt
        If training was stopped before there was a state to keep.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from septet.signal import write_audio
    >>> rng = np.random.default_rng(0)
    >>> classifier = MultiViewClassifier(8000, views=("mel", "wave"), size="tiny", steps=2)
    >>> with TemporaryDirectory() as folder:
    ...     for name, level in (("loud", 0.2), ("soft", 0.02)):
    ...         (Path(folder) / "clips" / name).mkdir(parents=True)
    ...         for i in range(10):
    ...             samples = level * rng.normal(size=2000)
    ...             write_audio(f"{folder}/clips/{name}/{i}.wav", samples, 8000)
    ...     train_on_folder(classifier, f"{folder}/clips", f"{folder}/model")["clips"]
    {'train': 16, 'validation': 0, 'test': 4}
    """
    start, model = time.perf_counter(), Path(model)
    manifest = read_named(kind, source)
    part = _part(manifest, fold, classifier.random_state, group_check=classifier.group_check)
    progress(f"{len(manifest)} clips of {len(manifest.classes)} classes")
    sets = {name: _take(manifest, getattr(part, name)) for name in ("train", "validation", "test")}
    sets["test"], bad = _sound(sets["test"], classifier)  # not only after an hour of training

    def tell(record: dict[str, Any]) -> None:
        measures = record.get("evaluation", {})
        score = measures.get("balanced_accuracy", math.nan)
        progress(f"step {record['step']}, loss {record['loss']:.3f}, validation {score:.3f}")

    try:
        with _threads():
            classifier.fit(
                *sets["train"],
                validation=sets["validation"] if part.validation.size else None,
                folder=model / "run",
                fresh=fresh,
                progress=tell,
            )
    except KeyboardInterrupt:
        if not hasattr(classifier, "best_step_") or classifier.best_step_ < 0:
            raise
    classifier.save(model / "model")
    clips, labels, _ = sets["test"]
    found = evaluate(classifier, clips, labels)
    result = {
        "model": str(model),
        "report": str(model / "report.html"),
        "clips": {name: len(values[0]) for name, values in sets.items()},
        "test accuracy": found.accuracy,
        "test balanced accuracy": found.balanced_accuracy,
        "best step": classifier.best_step_,
        "seconds": round(time.perf_counter() - start, 1),
        "share of evaluations": round(classifier.evaluation_share_, 3),
        "left out": len(manifest.faults)
        + len(bad)
        + sum("left out" in n for n in classifier.notes_),
        "interrupted": classifier.interrupted_,
    }
    faults = (*manifest.faults, *bad, *(("", note) for note in classifier.notes_))
    _write(model, classifier, manifest.name, faults, sets["test"], found, result)
    return result


@contextmanager
def _threads() -> Iterator[None]:
    """Use half the threads unless the environment says how many.

    Forward and backward passes each keep a team of them: on two cores, two teams of two that wait
    for one another were ten times slower than one thread each.
    """
    before = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, before // 2))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def save_views(classifier: MultiViewClassifier, file: PathLike, target: PathLike) -> None:
    """Write a picture of the views of a file that a fitted classifier has.

    Parameters
    ----------
    classifier : MultiViewClassifier
    file : path-like
        Audio file.
    target : path-like
        Picture to write; its suffix says in which format.

    Raises
    ------
    DataError
        If the file is bad.
    MissingExtraError
        If matplotlib is not installed.
    """
    figure = new_figure((7, 7))
    samples = read_audio(file, sample_rate=classifier.sample_rate).samples
    draw_views(figure, classifier.stack_, samples, classifier.sample_rate)
    save_figure(figure, target)


def _part(manifest: Manifest, fold: str | None, seed: int, *, group_check: bool) -> Part:
    """Return the official split, or one by groups whose validation part `fit` will choose."""
    if any(manifest.folds):
        parts = {part.name: part for part in manifest.splits(group_check=group_check)}
        if fold is not None and fold not in parts:
            raise ValueError(f"fold must be one of {', '.join(parts)}; got {fold!r}.")
        return parts[fold] if fold is not None else next(iter(parts.values()))
    if fold is not None:
        raise ValueError(f"{manifest.name} has no official split; leave fold out.")
    first, test = group_split(
        manifest.labels, manifest.groups, fraction=_TEST_FRACTION, random_state=seed
    )
    return Part("by groups", first, np.empty(0, np.int64), test)


def _take(manifest: Manifest, numbers: Any) -> tuple[list[Any], list[str], list[str]]:
    return (
        [manifest.clips[i] for i in numbers],
        [manifest.labels[i] for i in numbers],
        [manifest.groups[i] for i in numbers],
    )


def _sound(
    clips: tuple[list[Any], list[str], list[str]], classifier: MultiViewClassifier
) -> tuple[tuple[list[Any], list[str], list[str]], tuple[tuple[str, str], ...]]:
    """Return the clips that can be read, and the faults of the others."""
    loaded = load_clips(
        clips[0],
        classifier.sample_rate,
        min_seconds=classifier.min_seconds,
        on_error=classifier.on_error,
    )
    first, second, third = ([values[i] for i in loaded.kept] for values in clips)
    return (first, second, third), loaded.skipped


def _write(
    model: Path,
    classifier: MultiViewClassifier,
    name: str,
    faults: Sequence[tuple[str, str]],
    test: tuple[list[Any], list[str], list[str]],
    found: Evaluation,
    result: dict[str, Any],
) -> None:
    """Write what :func:`septet.report.write_report` reads."""
    shown = plain({k: v for k, v in classifier.get_params(deep=False).items() if _simple(v)})
    write_text(model / "config.toml", tomli_w.dumps({"data": name, "settings": shown}))
    write_json(model / "environment.json", environment())
    exhibits = _exhibits(classifier, faults, test, found, result)
    write_exhibits(exhibits, model / "exhibits")
    summary = (
        f"{found.n_clips} test clips of {len(found.classes)} classes: accuracy "
        f"{found.accuracy:.1%}, balanced accuracy {found.balanced_accuracy:.1%}."
    )
    if classifier.interrupted_:
        summary += " Training was interrupted: this is the best state until then."
    title = f"Audio classifier for {name}"
    page = {"schema": SCHEMA, "title": title, "summary": summary, "rows": [], "results": result}
    write_json(model / "result.json", page)


def _exhibits(
    classifier: MultiViewClassifier,
    faults: Sequence[tuple[str, str]],
    test: tuple[list[Any], list[str], list[str]],
    found: Evaluation,
    result: dict[str, Any],
) -> Iterator[Exhibit]:
    curves = classifier.policy_.curves
    yield Table(
        "Result",
        "Balanced accuracy on the test clips by every head; the views' own classifiers for "
        "comparison.",
        ["head", "balanced accuracy"],
        [[name, value] for name, value in found.heads.items()],
    )
    yield Figure(
        "How the branches learned",
        "Losses on validation clips (solid) and on as many training clips (dotted), and the "
        "weights that followed from them.",
        lambda figure: draw_curves(figure, curves),
        (7.0, 5.0),
    )
    yield Table(
        "Classes",
        "Rows are the true classes, columns the decisions.",
        ["class", "recall", *found.classes],
        [
            [name, found.recall[name], *found.confusion[i].tolist()]
            for i, name in enumerate(found.classes)
        ],
    )
    clips, labels, _ = test
    chosen = [labels.index(name) for name in sorted(set(labels))][:_SHOWN]
    for number, decision in zip(
        chosen, classifier.explain([clips[i] for i in chosen]), strict=True
    ):
        parts = ", ".join(f"{name} {value:+.2f}" for name, value in decision.contributions.items())
        yield Figure(
            f"{Path(str(clips[number])).name}: {labels[number]}",
            f"Decided as {decision.label} with probability {decision.confidence:.2f}; trusted was "
            f"{decision.trusted}. Contributions to the margin: {parts}.",
            _views_of(classifier, clips[number]),
            (7.0, 6.0),
        )
    if faults:
        rows = [list(fault) for fault in faults]
        yield Table("Notes", "What was left out or changed.", ["file", "what"], rows)
    yield Table(
        "Time", "", ["what", "value"],
        [[key, result[key]] for key in ("seconds", "share of evaluations", "best step")],
    )  # fmt: skip


def _views_of(classifier: MultiViewClassifier, clip: Any) -> Callable[[Any], None]:
    samples = load_clips([clip], classifier.sample_rate, seconds=classifier.seconds_).samples[0]
    return lambda figure: draw_views(figure, classifier.stack_, samples, classifier.sample_rate)


def _simple(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_simple(item) for item in value)
    return isinstance(value, str | int | float | bool)
