"""What a classifier learns from: loaded clips, their classes and a split that was checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.audio._clips import Clips, load_clips
from septet.audio._splits import check_classes, check_groups, group_split


@dataclass(frozen=True)
class Material:
    """Clips with their classes and parts.

    Attributes
    ----------
    clips : Clips
    classes : ndarray of shape (n_classes,)
    targets : ndarray of shape (n_clips,), int64
        Position of each clip's class.
    training, validation : ndarray of int64
        Numbers of the clips of each part.
    notes : tuple of str
        What was padded, cut, resampled or left out.
    """

    clips: Clips
    classes: NDArray[Any]
    targets: NDArray[np.int64]
    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    notes: tuple[str, ...]


def gather(
    parts: Sequence[tuple[Any, Any, Any]],
    sample_rate: int,
    *,
    seconds: float | None,
    min_seconds: float,
    on_error: str,
    fraction: float,
    seed: int,
    group_check: bool,
    allow_missing: bool,
) -> Material:
    """Load the clips of one or two parts, each (clips, labels, groups), and check the split.

    With one part, the second is split off it by groups.

    Raises
    ------
    DataError
        If a clip is bad, a group is in both parts, or a class is missing in one.
    ValueError
        If lengths differ or there is one class only.
    """
    items: list[Any] = []
    labels: list[Any] = []
    groups: list[str] = []
    side: list[int] = []
    for number, (clips, some, group) in enumerate(parts):
        some = np.asarray(some)
        if some.ndim != 1 or len(some) != len(clips):
            raise ValueError(f"{len(clips)} clips need as many labels; got shape {some.shape}.")
        alone = [f"clip {len(items) + i}" for i in range(len(clips))]
        marks = np.asarray(alone if group is None else group)
        if marks.shape != some.shape:
            raise ValueError(f"{len(clips)} clips need as many groups; got shape {marks.shape}.")
        items += list(clips)
        labels += some.tolist()
        groups += [str(mark) for mark in marks.tolist()]
        side += [number] * len(some)
    clips = load_clips(
        items, sample_rate, seconds=seconds, min_seconds=min_seconds, on_error=on_error
    )
    label, mark, where = (np.array(values)[clips.kept] for values in (labels, groups, side))
    classes, targets = np.unique(label, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"two classes at least are needed; got {classes.tolist()}.")
    if len(parts) == 1:
        training, validation = group_split(
            targets, mark, fraction=fraction, random_state=np.random.default_rng(seed)
        )
    else:
        training, validation = np.flatnonzero(where == 0), np.flatnonzero(where == 1)
    if group_check:
        check_groups({"training": mark[training], "validation": mark[validation]})
    named = {"training": label[training], "validation": label[validation]}
    check_classes(classes, named, allow_missing=allow_missing)
    notes = clips.notes + tuple(f"left out: {fault}" for _, fault in clips.skipped)
    return Material(clips, classes, targets.astype(np.int64), training, validation, notes)
