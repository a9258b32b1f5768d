"""Accuracy of every group, with what the numbers do and do not say."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet._core.errors import SeptetWarning
from septet.robust._group_report import GroupReport, GroupRow
from septet.robust._groups import GroupKey, GroupTable, in_order, read_groups
from septet.robust._intervals import (
    clopper_pearson_interval,
    clopper_pearson_lower,
    wilson_interval,
)


def group_report(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    group_membership: ArrayLike | None = None,
    losses: ArrayLike | None = None,
    training: tuple[ArrayLike, ArrayLike] | Mapping[GroupKey, float] | None = None,
    cross_with_label: bool = True,
    unknown_group: object = -1,
    confidence: float = 0.95,
    selected_on: str | None = None,
) -> GroupReport:
    """Report the accuracy of every group with intervals that hold.

    Parameters
    ----------
    y_true : array_like of shape (n,)
        Classes.
    y_pred : array_like of shape (n,)
        Predicted classes.
    groups : array_like of shape (n,) or (n, n_attributes), optional
        Group labels; the classes are the groups without them. Rows of unknown group count in the
        average only.
    group_membership : array_like of shape (n, G), optional
        Zeros and ones instead of labels: groups may overlap, as in CivilComments-WILDS.
    losses : array_like of shape (n,), optional
        Loss of each row in nats, such as minus the log-probability of its class.
    training : (y, groups) or mapping of group key to number of rows, optional
        The training data, for the adjusted average and to mark groups unseen in training.
    cross_with_label : bool, default True
        Whether groups are combinations of the class and the labels given.
    unknown_group : object, default -1
        Label that means unknown, besides ``None``, NaN and ``NA``.
    confidence : float, default 0.95
        Level of the intervals and of the bound.
    selected_on : str, optional
        Which rows selected the model; printed with the report.

    Returns
    -------
    GroupReport
        Prints as a table; has `to_dict`, `to_json`, `to_pandas` and `plot`.

    Raises
    ------
    ValueError
        If lengths differ, no row has a group, or a membership is neither zero nor one.

    Warns
    -----
    SeptetWarning
        If a training group has no row here; its accuracy is NaN and it is left out of the minimum.

    Notes
    -----
    Intervals of single groups are Wilson's. The family uses Clopper and Pearson's at level
    ``1 - (1 - confidence) / G``, whose joint coverage is guaranteed, and so does the one-sided
    lower bound of the worst group.

    Examples
    --------
    >>> y, place = [0, 0, 0, 0, 1, 1], ["land", "land", "land", "water", "water", "water"]
    >>> report = group_report(y, [0, 0, 1, 1, 1, 1], place)
    >>> report.worst_group, report.worst_group_accuracy
    ((0, 'water'), 0.0)
    >>> report.groups[0].name, report.groups[0].n, report.groups[0].correct
    ('y=0, group=land', 3, 2)
    """
    truth, right, table = judge(
        y_true, y_pred, groups, group_membership, cross_with_label, unknown_group
    )
    counts, correct = _tally(table, right)
    shares = _training_shares(training, table, cross_with_label, unknown_group)
    if shares is not None:
        missing = [key for key in shares if key not in table.keys]
        table = GroupTable((*table.keys, *missing), table.parts, table.membership, table.absent)
        counts = np.append(counts, np.zeros(len(missing), int))
        correct = np.append(correct, np.zeros(len(missing), int))
    _warn_of_empty(table, counts)
    mean_losses = None if losses is None else _mean_losses(losses, table, len(truth))
    rows = _rows(table, counts, correct, mean_losses, shares, confidence)
    present = [row for row in rows if row.n]
    worst = min(present, key=lambda row: row.accuracy)
    n_groups = len(present)
    bounds = clopper_pearson_lower(
        [row.correct for row in present],
        [row.n for row in present],
        1 - (1 - confidence) / n_groups,
    )
    adjusted, coverage = _adjusted(present, shares)
    return GroupReport(
        groups=tuple(rows),
        worst_group=worst.key,
        worst_group_accuracy=worst.accuracy,
        lower_bound=float(bounds.min()),
        average_accuracy=float(right.mean()),
        adjusted_average=adjusted,
        adjusted_coverage=coverage,
        worst_group_loss=None
        if mean_losses is None
        else max(row.loss for row in present if row.loss is not None),
        gap=max(row.accuracy for row in present) - worst.accuracy,
        n=len(truth),
        n_unknown=int((~table.known).sum()),
        absent=tuple(table.name(key) for key in table.absent),
        confidence=confidence,
        selected_on=selected_on,
    )


def worst_group_accuracy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    group_membership: ArrayLike | None = None,
    cross_with_label: bool = True,
    unknown_group: object = -1,
) -> float:
    """Return the lowest accuracy of a group that has rows.

    Parameters
    ----------
    y_true, y_pred : array_like of shape (n,)
        Classes, and predicted classes.
    groups, group_membership, cross_with_label, unknown_group
        As in `group_report`.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If lengths differ or no row has a group.

    Examples
    --------
    >>> worst_group_accuracy([0, 0, 1, 1], [0, 0, 0, 1], groups=["a", "b", "a", "b"])
    0.0
    """
    _, right, table = judge(
        y_true, y_pred, groups, group_membership, cross_with_label, unknown_group
    )
    counts, correct = _tally(table, right)
    return float((correct[counts > 0] / counts[counts > 0]).min())


def judge(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    groups: ArrayLike | None,
    membership: ArrayLike | None,
    cross_with_label: bool,
    unknown_group: object,
) -> tuple[NDArray[Any], NDArray[np.bool_], GroupTable]:
    """Compare predictions with classes and read the groups."""
    truth, guess = np.asarray(y_true), np.asarray(y_pred)
    if truth.ndim != 1 or truth.shape != guess.shape or truth.size == 0:
        raise ValueError(
            "y_true and y_pred must be 1-D, of one length and not empty; "
            f"got shapes {truth.shape} and {guess.shape}."
        )
    table = read_groups(
        groups,
        truth,
        membership=membership,
        cross_with_label=cross_with_label,
        unknown_group=unknown_group,
    )
    if soft := int((table.membership.data != 1).sum()):
        raise ValueError(
            f"a report needs memberships of zero or one; {soft} entries are something else."
        )
    if not table.known.any():
        raise ValueError(f"no row has a known group ({truth.size} rows).")
    return truth, truth == guess, table


def _tally(
    table: GroupTable, right: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    counts = table.counts.astype(np.int64)
    return counts, (table.membership.T @ right.astype(np.float64)).astype(np.int64)


def _training_shares(
    training: tuple[ArrayLike, ArrayLike] | Mapping[GroupKey, float] | None,
    table: GroupTable,
    cross_with_label: bool,
    unknown_group: object,
) -> dict[GroupKey, float] | None:
    """Share of each group in the training data."""
    if training is None:
        return None
    if isinstance(training, Mapping):
        counts = {key: checks.number(f"training[{key!r}]", n, low=0) for key, n in training.items()}
    else:
        y, groups = training
        found = read_groups(
            groups, y, cross_with_label=cross_with_label, unknown_group=unknown_group
        )
        counts = dict(zip(found.keys, found.counts.tolist(), strict=True))
    if not set(counts) & set(table.keys):
        raise ValueError(
            "no group of the training data occurs among the rows to report on; their keys look "
            f"like {next(iter(counts), None)!r} and {table.keys[0]!r}."
        )
    total = sum(counts.values())
    return {key: n / total for key, n in counts.items()}


def _warn_of_empty(table: GroupTable, counts: NDArray[np.int64]) -> None:
    empty = np.flatnonzero(counts == 0)
    if empty.size:
        names = "; ".join(table.names[i] for i in empty[:3])
        warnings.warn(
            f"{empty.size} {'groups have' if empty.size > 1 else 'group has'} no row to judge by "
            f"({names}): NaN, and left out of the worst group.",
            SeptetWarning,
            stacklevel=3,
        )


def _mean_losses(losses: ArrayLike, table: GroupTable, n: int) -> list[float | None]:
    values = checks.vector("losses", losses, size=n)
    sums, counts = table.membership.T @ values, table.counts
    means = [float(s / c) if c else None for s, c in zip(sums, counts, strict=True)]
    return means + [None] * (len(table.keys) - len(means))


def _rows(
    table: GroupTable,
    counts: NDArray[np.int64],
    correct: NDArray[np.int64],
    losses: list[float | None] | None,
    shares: dict[GroupKey, float] | None,
    confidence: float,
) -> list[GroupRow]:
    family = 1 - (1 - confidence) / max(1, int((counts > 0).sum()))
    single = np.column_stack(wilson_interval(correct, counts, confidence)).tolist()
    joint = np.column_stack(clopper_pearson_interval(correct, counts, family)).tolist()
    rows = [
        GroupRow(
            key=key,
            name=table.name(key),
            n=int(counts[i]),
            correct=int(correct[i]),
            accuracy=float(correct[i] / counts[i]) if counts[i] else float("nan"),
            interval=(single[i][0], single[i][1]),
            family_interval=(joint[i][0], joint[i][1]),
            loss=None if losses is None else losses[i],
            seen=None if shares is None else shares.get(key, 0.0) > 0,
        )
        for i, key in enumerate(table.keys)
    ]
    order = in_order(row.key for row in rows)  # groups of the training data stand at the end
    return sorted(rows, key=lambda row: order.index(row.key))


def _adjusted(
    rows: list[GroupRow], shares: dict[GroupKey, float] | None
) -> tuple[float | None, float | None]:
    if shares is None:
        return None, None
    weights = np.array([shares.get(row.key, 0.0) for row in rows])
    coverage = float(weights.sum())
    value = float(weights @ [row.accuracy for row in rows] / coverage)
    return value, min(1.0, round(coverage, 12))
