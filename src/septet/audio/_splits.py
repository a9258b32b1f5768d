"""Splits that keep a song, a recording or a kit on one side, and checks that others do."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet._core.errors import DataError
from septet._core.random import RandomState, generator

_WORK = 4000  # groups that are looked at over all tries


def group_split(
    labels: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    fraction: float = 0.25,
    random_state: RandomState = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split clips so that no group is on both sides and every class is on each if it can be.

    Of many random assignments of whole groups the one is taken that puts nearest to `fraction` of
    every class on the second side.

    Parameters
    ----------
    labels : array_like of shape (n_clips,)
    groups : array_like of shape (n_clips,), optional
        What must stay together; every clip is a group of its own by default.
    fraction : float, default 0.25
        Of the clips of each class for the second side, in (0, 1).
    random_state : int, Generator or None

    Returns
    -------
    first, second : ndarray of int64
        Positions of the clips of each side, ascending.

    Raises
    ------
    ValueError
        If the lengths differ, or there are fewer than two groups.

    Examples
    --------
    >>> first, second = group_split([0, 0, 1, 1] * 2, list("aabbccdd"), random_state=0)
    >>> len(first), len(second)
    (4, 4)
    """
    labels = np.asarray(labels)
    groups = np.arange(labels.size) if groups is None else np.asarray(groups)
    if labels.ndim != 1 or groups.shape != labels.shape:
        raise ValueError(
            f"labels and groups must be equally long; got {labels.size}, {groups.size}."
        )
    fraction = checks.number("fraction", fraction, above=0, below=1)
    _, group = np.unique(groups, return_inverse=True)
    _, label = np.unique(labels, return_inverse=True)
    n_groups = int(group.max(initial=-1)) + 1
    if n_groups < 2:
        raise ValueError("a split needs two groups at least.")
    counts = np.zeros((n_groups, int(label.max()) + 1))
    np.add.at(counts, (group, label), 1)
    target = fraction * counts.sum(axis=0)
    rng = generator(random_state)
    best, best_cost = np.zeros(n_groups, bool), np.inf
    for _ in range(max(5, min(200, _WORK // n_groups))):
        chosen = _fill(counts, target, rng.permutation(n_groups))
        missing = (counts[chosen].sum(axis=0) == 0) | (counts[~chosen].sum(axis=0) == 0)
        distance = np.abs(counts[chosen].sum(axis=0) / target - 1).mean()
        cost = float(missing.sum() * 10 + distance)
        if cost < best_cost and 0 < chosen.sum() < n_groups:
            best, best_cost = chosen, cost
    if not np.isfinite(best_cost):
        best[rng.integers(n_groups)] = True
    second = best[group]
    return np.flatnonzero(~second), np.flatnonzero(second)


def _fill(
    counts: NDArray[np.float64], target: NDArray[np.float64], order: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Take groups in order as long as each brings the class counts nearer to the target."""
    chosen = np.zeros(len(counts), bool)
    have = np.zeros_like(target)
    for group in order:
        more = have + counts[group]
        if np.sum((more / target - 1) ** 2) < np.sum((have / target - 1) ** 2):
            chosen[group] = True
            have = more
    for group in order:  # a class of few groups can be nearer to its target with none of them
        more = have + counts[group]
        if (counts[group] > 0)[have == 0].any() and (more < counts.sum(axis=0)).all():
            chosen[group] = True
            have = more
    return chosen


def check_groups(parts: Mapping[str, Sequence[Hashable] | NDArray[Any]]) -> None:
    """Raise if a group occurs in two parts of a split: the second would tell of the first.

    Parameters
    ----------
    parts : mapping from str to sequence
        Groups of the clips of each part, such as ``{"training": ..., "validation": ...}``.

    Raises
    ------
    DataError
        Naming the groups and the two parts.
    """
    names = list(parts)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            if shared := sorted({str(g) for g in parts[first]} & {str(g) for g in parts[second]}):
                shown = ", ".join(shared[:5]) + (", ..." if len(shared) > 5 else "")
                raise DataError(
                    f"{len(shared)} groups are in both {first} and {second}: {shown}. Keep each on "
                    "one side."
                )


def check_classes(
    classes: Sequence[Any] | NDArray[Any],
    parts: Mapping[str, NDArray[Any]],
    *,
    allow_missing: bool = False,
) -> None:
    """Raise if a class is missing from a part of a split, with a table of all counts.

    Parameters
    ----------
    classes : sequence
        All classes.
    parts : mapping from str to ndarray
        Labels of the clips of each part.
    allow_missing : bool, default False
        Whether parts other than the first may lack classes, though not all of them.

    Raises
    ------
    DataError
        If a class is missing, or the first part has fewer than two of it.
    """
    counts = {name: Counter(np.asarray(labels).tolist()) for name, labels in parts.items()}
    keys = np.asarray(classes).tolist()
    first = next(iter(parts))
    poor = [key for key in keys if counts[first][key] < 2]
    lacking = [key for name in counts for key in keys if not counts[name][key]]
    if not poor and (not lacking or (allow_missing and all(counts.values()))):
        return
    width = max(len(str(key)) for key in keys)
    rows = [f"{'':{width}}  " + "  ".join(counts)]
    rows += [
        f"{key!s:{width}}  " + "  ".join(f"{counts[name][key]:>{len(name)}}" for name in counts)
        for key in keys
        if key in poor or key in lacking
    ]
    raise DataError(
        "every class needs two training clips and one in every other part; these have not:\n"
        + "\n".join(rows)
    )
