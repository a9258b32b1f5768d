"""The report of every group's accuracy: text, JSON, DataFrame and plot."""

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from septet._core.extras import needs
from septet._core.pictures import new_figure
from septet.robust._groups import GroupKey

Interval: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class GroupRow:
    """One group of a report.

    Attributes
    ----------
    key : hashable
        The group: its label, or a tuple of the class and the attribute values.
    name : str
        The same in words.
    n, correct : int
        Rows, and rows predicted right.
    accuracy : float
        Their ratio; NaN without rows.
    interval : tuple of float
        Wilson interval of this group alone.
    family_interval : tuple of float
        Clopper-Pearson interval; those of all groups hold together with the report's confidence.
    loss : float or None
        Mean loss in nats, if probabilities were given.
    seen : bool or None
        Whether the training data had the group, if they were given.
    """

    key: GroupKey
    name: str
    n: int
    correct: int
    accuracy: float
    interval: Interval
    family_interval: Interval
    loss: float | None
    seen: bool | None


@dataclass(frozen=True)
class GroupReport:
    """Accuracy of every group on one evaluation set; made by `group_report`.

    Attributes
    ----------
    groups : tuple of GroupRow
        The groups, sorted by key.
    worst_group : hashable
        Group with the lowest accuracy among those with rows.
    worst_group_accuracy : float
        Its accuracy. The smallest of several noisy accuracies is on average too small.
    lower_bound : float
        The worst group's true accuracy is above this with the given confidence.
    average_accuracy : float
        Share of all rows that are right, also those of unknown group.
    adjusted_average : float or None
        Average of the groups' accuracies weighted by their share of the training data.
    adjusted_coverage : float or None
        Share of the training data whose groups occur here; the weights are rescaled to it.
    worst_group_loss : float or None
        Largest mean loss of a group, in nats.
    gap : float
        Highest minus lowest group accuracy.
    n, n_unknown : int
        All rows, and those of unknown group.
    absent : tuple of str
        Combinations of class and attributes that no row has.
    confidence : float
        Level of all intervals and of the bound.
    selected_on : str or None
        Which rows selected the model, in words; a report on those rows is optimistic.
    """

    groups: tuple[GroupRow, ...]
    worst_group: GroupKey
    worst_group_accuracy: float
    lower_bound: float
    average_accuracy: float
    adjusted_average: float | None
    adjusted_coverage: float | None
    worst_group_loss: float | None
    gap: float
    n: int
    n_unknown: int
    absent: tuple[str, ...]
    confidence: float
    selected_on: str | None

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self) -> str:
        """Return a table with the definition of every number under it."""
        level = f"{100 * self.confidence:g} %"
        width = max(5, *(len(row.name) for row in self.groups))
        head = f"{'group':<{width}} {'n':>7} {'right':>7} {'accuracy':>9}  {level + ' Wilson':<17}"
        lines = [f"{head}  {'all groups at once':<17}  loss"]
        for row in self.groups:
            marks = "  unseen in training" if row.seen is False else ""
            marks += "  worst" if row.key == self.worst_group else ""
            loss = "   -" if row.loss is None else f"{row.loss:.4f}"
            lines.append(
                f"{row.name:<{width}} {row.n:>7} {row.correct:>7} {row.accuracy:>9.4f}  "
                f"{_words(row.interval):<17}  {_words(row.family_interval):<17}  {loss}{marks}"
            )
        return "\n".join([*lines, "", *self._definitions(level)])

    def _definitions(self, level: str) -> list[str]:
        name = next(row.name for row in self.groups if row.key == self.worst_group)
        lines = [
            f"worst-group accuracy  {self.worst_group_accuracy:.4f}  ({name}); the smallest of "
            "several estimates is on average too small",
            f"lower bound           {self.lower_bound:.4f}  every group is above it with {level} "
            "confidence (one-sided Clopper-Pearson, Bonferroni)",
            f"average accuracy      {self.average_accuracy:.4f}  share of all {self.n} rows",
        ]
        if self.adjusted_average is not None and self.adjusted_coverage is not None:
            part = self.adjusted_coverage
            whole = "" if part == 1 else f", of which {100 * part:.4g} % are in groups found here"
            lines.append(
                f"adjusted average      {self.adjusted_average:.4f}  groups weighted by their "
                f"share of the training data{whole}"
            )
        lines.append(f"gap                   {self.gap:.4f}  best minus worst group")
        if self.worst_group_loss is not None:
            lines.append(f"worst-group loss      {self.worst_group_loss:.4f}  nats")
        if self.n_unknown:
            lines.append(f"{self.n_unknown} rows of unknown group count in the average only")
        if self.absent:
            lines.append(f"no rows at all: {'; '.join(self.absent)}")
        lines.append(f"model selected on: {self.selected_on or 'not stated'}")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that JSON can hold; NaN becomes None."""
        rows = [
            {
                "group": list(row.key) if isinstance(row.key, tuple) else row.key,
                "name": row.name,
                "n": row.n,
                "correct": row.correct,
                "accuracy": _plain(row.accuracy),
                "interval": [_plain(bound) for bound in row.interval],
                "family_interval": [_plain(bound) for bound in row.family_interval],
                "loss": row.loss,
                "seen": row.seen,
            }
            for row in self.groups
        ]
        worst = self.worst_group
        return {
            "groups": rows,
            "worst_group": list(worst) if isinstance(worst, tuple) else worst,
            "worst_group_accuracy": self.worst_group_accuracy,
            "lower_bound": self.lower_bound,
            "average_accuracy": self.average_accuracy,
            "adjusted_average": self.adjusted_average,
            "adjusted_coverage": self.adjusted_coverage,
            "worst_group_loss": self.worst_group_loss,
            "gap": self.gap,
            "n": self.n,
            "n_unknown": self.n_unknown,
            "absent": list(self.absent),
            "confidence": self.confidence,
            "selected_on": self.selected_on,
        }

    def to_json(self) -> str:
        """Return `to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, default=str)

    def to_pandas(self) -> Any:
        """Return the groups as a DataFrame, one row each.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        pandas = needs("pandas", extra="frames", purpose="a report as a DataFrame")
        return pandas.DataFrame(
            {
                "group": [row.name for row in self.groups],
                "n": [row.n for row in self.groups],
                "correct": [row.correct for row in self.groups],
                "accuracy": [row.accuracy for row in self.groups],
                "lower": [row.interval[0] for row in self.groups],
                "upper": [row.interval[1] for row in self.groups],
                "family_lower": [row.family_interval[0] for row in self.groups],
                "family_upper": [row.family_interval[1] for row in self.groups],
                "loss": [row.loss for row in self.groups],
                "seen": [row.seen for row in self.groups],
            }
        )

    def plot(self) -> Any:
        """Return a matplotlib Figure: accuracies with both kinds of interval, one line a group.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        figure = new_figure((7, 0.8 + 0.4 * len(self.groups)))
        axes = figure.subplots()
        for place, row in enumerate(reversed(self.groups)):
            axes.plot(row.family_interval, [place, place], color="0.75", linewidth=6)
            axes.plot(row.interval, [place, place], color="tab:blue", linewidth=2)
            axes.plot(row.accuracy, place, "o", color="black")
        axes.set_yticks(range(len(self.groups)), [row.name for row in reversed(self.groups)])
        axes.axvline(self.average_accuracy, linestyle=":", color="0.3")
        axes.set_xlim(0, 1)
        axes.set_xlabel(
            f"accuracy; {100 * self.confidence:g} % intervals: each group (blue), all at once "
            "(grey); dotted: average"
        )
        return figure


def _words(interval: Interval) -> str:
    return f"{interval[0]:.4f} - {interval[1]:.4f}"


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value
