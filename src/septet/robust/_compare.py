"""Two models on the same rows: whether the worst group is really better."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet._core.random import RandomState, generator
from septet.robust._group_report import Interval
from septet.robust._groups import GroupTable
from septet.robust._head_problem import FloatArray
from septet.robust._report import judge
from septet.robust._selection import patterns


@dataclass(frozen=True)
class Comparison:
    """Difference of two models on the same rows, second minus first; made by `compare_models`.

    Attributes
    ----------
    worst_group_difference : float
        Worst-group accuracy of the second model minus that of the first.
    worst_group_interval : tuple of float
        Percentile interval of it over resamples.
    average_difference : float
        Difference of the average accuracies.
    average_interval : tuple of float
        Percentile interval of it.
    group_differences : dict of str to float
        Difference of each group's accuracy.
    group_intervals : dict of str to tuple of float
        Percentile intervals of these, each for itself.
    better : float
        Share of resamples in which the second model's worst group is better.
    confidence : float
        Level of the intervals.
    n_resamples : int
        Bootstrap resamples.
    """

    worst_group_difference: float
    worst_group_interval: Interval
    average_difference: float
    average_interval: Interval
    group_differences: dict[str, float]
    group_intervals: dict[str, Interval]
    better: float
    confidence: float
    n_resamples: int

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self) -> str:
        """Return the differences as a table, in points of accuracy."""
        level = f"{100 * self.confidence:g} %"
        rows = [
            ("worst group", self.worst_group_difference, self.worst_group_interval),
            ("average", self.average_difference, self.average_interval),
            *((n, d, self.group_intervals[n]) for n, d in self.group_differences.items()),
        ]
        width = max(len(name) for name, _, _ in rows)
        lines = [f"{'second minus first':<{width}}   points   {level} interval"]
        lines += [
            f"{name:<{width}}  {100 * value:>+7.2f}   {100 * low:+.2f} to {100 * high:+.2f}"
            for name, value, (low, high) in rows
        ]
        low, high = self.worst_group_interval
        verdict = "better" if low > 0 else "worse" if high < 0 else "no clear difference"
        lines.append(
            f"worst group: {verdict}; the second model is ahead in {100 * self.better:.1f} % of "
            f"{self.n_resamples} resamples (paired bootstrap within groups)"
        )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that JSON can hold."""
        return asdict(self)

    def to_json(self) -> str:
        """Return `to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)


def compare_models(
    y_true: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    group_membership: ArrayLike | None = None,
    cross_with_label: bool = True,
    unknown_group: object = -1,
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    random_state: RandomState = None,
) -> Comparison:
    """Compare the predictions of two models for the same rows.

    Rows are resampled with replacement within each group, both models together, so what the models
    get right in common cancels.

    Parameters
    ----------
    y_true : array_like of shape (n,)
        Classes.
    first, second : array_like of shape (n,)
        Classes that the models predict.
    groups, group_membership, cross_with_label, unknown_group
        As in `group_report`. Rows of unknown group count in the average only.
    confidence : float, default 0.95
        Level of the intervals.
    n_resamples : int, default 10000
        Bootstrap resamples.
    random_state : int, numpy.random.Generator or None, default None
        Source of the resamples.

    Returns
    -------
    Comparison
        Differences, second minus first, with intervals.

    Raises
    ------
    ValueError
        If lengths differ or no row has a group.

    Notes
    -----
    The worst group of a resample is on average worse than the true one, for both models; percentile
    intervals of the difference are approximate when groups are small.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.repeat([0, 1], 50)
    >>> worse, better = y.copy(), y.copy()
    >>> worse[:20] = 1
    >>> found = compare_models(y, worse, better, random_state=0)
    >>> found.worst_group_difference, found.worst_group_interval[0] > 0
    (0.4, True)
    """
    checks.number("confidence", confidence, above=0, below=1)
    n_resamples = checks.integer("n_resamples", n_resamples, low=1)
    settings = (groups, group_membership, cross_with_label, unknown_group)
    _, right_first, table = judge(y_true, first, *settings)
    _, right_second, _ = judge(y_true, second, *settings)
    cells, belongs = _cells(table, right_first, right_second)
    used = belongs.sum(axis=0) > 0
    draws = _resample(cells, n_resamples, generator(random_state))
    sizes = cells.sum(axis=1)
    totals = sizes @ belongs[:, used]
    in_first = (draws[..., 2] + draws[..., 3]) @ belongs[:, used] / totals
    in_second = (draws[..., 1] + draws[..., 3]) @ belongs[:, used] / totals
    by_group = in_second - in_first
    worst = in_second.min(axis=1) - in_first.min(axis=1)
    average = (draws[..., 1] - draws[..., 2]).sum(axis=1) / sizes.sum()
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]

    def interval(values: FloatArray) -> Interval:
        low, high = np.quantile(values[1:], tails)
        return float(low), float(high)

    names = [name for name, on in zip(table.names, used, strict=True) if on]
    return Comparison(
        worst_group_difference=float(worst[0]),
        worst_group_interval=interval(worst),
        average_difference=float(average[0]),
        average_interval=interval(average),
        group_differences=dict(zip(names, by_group[0].tolist(), strict=True)),
        group_intervals={name: interval(by_group[:, i]) for i, name in enumerate(names)},
        better=float((worst[1:] > 1e-12).mean()),
        confidence=confidence,
        n_resamples=n_resamples,
    )


def _cells(
    table: GroupTable, first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], FloatArray]:
    """Count the pairs of outcomes among rows with the same groups, and say which groups these are.

    Outcomes are numbered 0 (both wrong), 1 (only the second right), 2 (only the first), 3 (both).
    """
    strata = patterns(table)
    n_strata = int(strata.max()) + 2  # the last one holds the rows of unknown group
    cells = np.zeros((n_strata, 4), dtype=np.int64)
    np.add.at(cells, (strata, 2 * first + second), 1)
    belongs = np.zeros((n_strata, len(table.keys)))
    belongs[strata] = table.membership.toarray()
    return cells, belongs


def _resample(cells: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw counts within each stratum; the first of the n + 1 is the data themselves."""
    draws = [
        rng.multinomial(cell.sum(), cell / cell.sum(), n) if cell.any() else np.zeros((n, 4), int)
        for cell in cells
    ]
    return np.concatenate([cells[None], np.stack(draws, axis=1)])
