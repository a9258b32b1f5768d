"""Auditing selection probabilities: fairness, utility, groups, and what others would have done."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from septet._core import checks
from septet.cohort._baselines import (
    MOST_SQUARED,
    permute_then_classify_probabilities,
    top_k_probabilities,
    uniform_probabilities,
    weighted_sampling_probabilities,
)
from septet.cohort._draw import group_labels
from septet.cohort._frames import column, read_table
from septet.cohort._marginals import Marginals
from septet.cohort._scores import Floats, check_scores, check_size
from septet.cohort._selection import float_marginals

_FAIR = 1e-9  # violation up to which probabilities count as fair: rounding


@dataclass(frozen=True)
class Mechanism:
    """How one way of selecting does.

    Attributes
    ----------
    name : str
    utility : float
        Expected total score of the cohort.
    relative : float
        Utility over that of the best fair probabilities (1 if both are 0).
    outcome : float or None
        Expected total outcome, if outcomes were given.
    min_ratio : float or None
        Smallest selection probability over score, among positive scores.
    violation : float
        Largest excess of a difference of probability over that of score.
    """

    name: str
    utility: float
    relative: float
    outcome: float | None
    min_ratio: float | None
    violation: float


@dataclass(frozen=True)
class Group:
    """How one group fares. Nothing here is constrained: fairness is between individuals.

    Attributes
    ----------
    label : str
    n : int
        Number of candidates.
    mean_score : float
    expected : float
        Expected number of seats.
    rate : float
        Expected share of the group that is selected.
    impact_ratio : float or None
        That rate over the highest among the groups.
    selected : int or None
        Number of seats in the cohort, if it is known.
    """

    label: str
    n: int
    mean_score: float
    expected: float
    rate: float
    impact_ratio: float | None
    selected: int | None


@dataclass(frozen=True)
class AuditReport:
    """What `audit` found; printing it shows tables.

    Attributes
    ----------
    n, k : int
        Number of candidates, size of the cohort.
    fair : bool
        Whether no two candidates are treated more differently than they are scored, up to 1e-9.
    violation : float
        Largest excess of a difference of probability over that of score; negative if none is tight.
    worst_pair : tuple
        The two candidates of the largest excess, by id if there are ids: less likely one first.
    certain, hopeless : int
        How many candidates are sure of a seat, and how many have no chance.
    mechanisms : tuple of Mechanism
        The selection itself first, then what else could have been done with the same scores.
    groups : tuple of Group
    """

    n: int
    k: int
    fair: bool
    violation: float
    worst_pair: tuple[Any, Any]
    certain: int
    hopeless: int
    mechanisms: tuple[Mechanism, ...]
    groups: tuple[Group, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        verdict = "no two candidates are treated more differently than they are scored"
        if not self.fair:
            low, high = self.worst_pair
            verdict = (
                f"NOT FAIR: {high!r} is preferred to {low!r} by {self.violation:.6g} more than "
                "their scores differ"
            )
        lines = [
            f"{self.k} of {self.n} candidates; {self.certain} sure of a seat, {self.hopeless} "
            "without a chance",
            verdict,
            "",
            *_table([asdict(row) for row in self.mechanisms]),
        ]
        if self.groups:
            lines += ["", *_table([asdict(row) for row in self.groups])]
        return "\n".join(lines)


def audit(
    candidates: Any,
    k: int | None = None,
    *,
    id: Any = None,  # noqa: A002 - the field's word
    score: str | None = None,
    p: str | ArrayLike | Marginals | None = None,
    objective: str = "linear",
    group: Any = None,
    outcome: Any = None,
    chosen: ArrayLike | None = None,
) -> AuditReport:
    """Say how fair and how good selection probabilities are, next to what else could be done.

    Parameters
    ----------
    candidates : Marginals, frame or array_like of shape (n,)
        Probabilities as `selection_probabilities` returns them, or a frame, or scores.
    k : int, optional
        Cohort size; needed unless `candidates` or `p` tells it.
    id, score, group : str or array_like
        Columns of a frame, or vectors; as for `pick`.
    p : str, array_like of shape (n,) or Marginals, optional
        Selection probabilities of any mechanism (or the column that holds them); those of
        `objective` are computed if missing.
    objective : {"linear", "ratio"}, default "linear"
        Which probabilities to compute if `p` is missing.
    outcome : str or array_like of shape (n,), optional
        What turned out to be true of each candidate, such as 1 for a loan that was paid back.
    chosen : array_like of int, optional
        Row numbers of the cohort that was drawn, to count seats per group.

    Returns
    -------
    AuditReport

    Raises
    ------
    ValueError
        If a length, a value or an option does not fit.

    Notes
    -----
    The law of permute-then-classify takes n squared steps and is left out beyond 20,000 candidates.

    Examples
    --------
    >>> report = audit([0.875, 0.5, 0.25, 0.125], 2)
    >>> report.fair, report.mechanisms[0].utility
    (True, 1.203125)
    >>> report = audit([0.875, 0.5, 0.25, 0.125], p=[1, 1, 0, 0])
    >>> report.fair, report.worst_pair, report.violation
    (False, (2, 1), 0.75)
    """
    checks.choice("objective", objective, ("linear", "ratio"))
    if isinstance(candidates, Marginals):
        if p is not None:
            raise TypeError("p must be left out: the candidates are given as probabilities.")
        p, candidates = candidates, candidates.scores
    table = read_table(candidates, id=id, score=score, group=group)
    s = check_scores(table.scores, table.labels)
    size, values, name = _probabilities(s, k, p, objective, table.frame)
    results = _outcomes(outcome, table.frame, s.size)
    best = float_marginals(s, size, "linear")
    rows = {name: values} | others(s, size, name)
    optimum = float(s @ np.asarray(best))
    low, high, excess = worst_pair(s, values)
    labels = range(s.size) if table.labels is None else table.labels
    return AuditReport(
        n=s.size,
        k=size,
        fair=excess <= _FAIR,
        violation=excess,
        worst_pair=(_plain(labels[low]), _plain(labels[high])),
        certain=int(np.count_nonzero(values == 1)),
        hopeless=int(np.count_nonzero(values == 0)),
        mechanisms=tuple(_mechanism(n, q, s, results, optimum) for n, q in rows.items()),
        groups=_groups(table.groups, s, values, chosen),
    )


def worst_pair(scores: Floats, p: Floats) -> tuple[int, int, float]:
    """Return the rows (less likely, more likely) with the largest excess, and the excess.

    The excess is ``abs(p_i - p_j) - abs(s_i - s_j)``; a single row is its own pair, with excess 0.
    """
    if scores.size == 1:
        return 0, 0, 0.0
    order = np.lexsort((p, scores))
    s, q = scores[order], p[order]
    best = (0, 0, -np.inf)
    # with the rows in order of score: a rise of p - s, or a fall of p + s, seen from the right
    for values, rising in ((q - s, True), (-(q + s), False)):
        low = np.minimum.accumulate(values)[:-1]
        start = np.maximum.accumulate(np.where(values[:-1] == low, np.arange(s.size - 1), 0))
        gain = values[1:] - low
        end = int(gain.argmax())
        if gain[end] > best[2]:
            pair = (int(order[start[end]]), int(order[end + 1]))
            best = (*(pair if rising else pair[::-1]), float(gain[end]))
    return best


def _probabilities(
    s: Floats, k: int | None, p: Any, objective: str, frame: Any
) -> tuple[int, Floats, str]:
    """Return the cohort size, the probabilities to audit and what to call them."""
    if p is None:
        if k is None:
            raise ValueError("k is needed: the cohort size, unless p tells it.")
        size = check_size(k, s.size)
        computed = float_marginals(s, size, objective)
        return size, np.asarray(computed), f"{objective} optimum"
    if isinstance(p, Marginals):
        if len(p) != s.size:
            raise ValueError(f"p must have {s.size} entries, one per candidate; got {len(p)}.")
        if k is not None and check_size(k, s.size) != p.k:
            raise ValueError(f"k must be {p.k}, what the probabilities add up to; got {k}.")
        name = "this selection" if p.objective == "utility" else f"{p.objective} optimum"
        return p.k, np.asarray(p), name
    if isinstance(p, str):
        p = column(frame, "p", p).to_numpy()
    values = checks.probabilities("p", p)
    if values.size != s.size:
        raise ValueError(f"p must have {s.size} entries, one per candidate; got {values.size}.")
    size = round(float(values.sum())) if k is None else check_size(k, s.size)
    if abs(float(values.sum()) - size) > 1e-6:
        raise ValueError(f"p must add up to the cohort size, {size}; got {values.sum():.9g}.")
    return size, values, "this selection"


def others(s: Floats, k: int, name: str) -> dict[str, Floats]:
    """Return the exact laws of the mechanisms other than the one called `name`.

    That of permute-then-classify takes n squared steps and is left out beyond 20,000 candidates.
    """
    rows = {"linear optimum": np.asarray(float_marginals(s, k, "linear"))}
    rows["ratio optimum"] = np.asarray(float_marginals(s, k, "ratio"))
    if s.size <= MOST_SQUARED:
        rows["permute then classify"] = permute_then_classify_probabilities(s, k)
    if s.any():
        rows["weighted sampling"] = weighted_sampling_probabilities(s, k)
    rows["uniform"] = uniform_probabilities(s, k)
    rows["top k"] = top_k_probabilities(s, k)
    rows.pop(name, None)
    return rows


def _mechanism(
    name: str, p: Floats, s: Floats, outcome: Floats | None, optimum: float
) -> Mechanism:
    positive = s > 0
    utility = float(s @ p)
    return Mechanism(
        name=name,
        utility=utility,
        relative=utility / optimum if optimum else 1.0,
        outcome=None if outcome is None else float(outcome @ p),
        min_ratio=float((p[positive] / s[positive]).min()) if positive.any() else None,
        violation=max(0.0, worst_pair(s, p)[2]),
    )


def _groups(
    groups: Sequence[Any] | None, s: Floats, p: Floats, chosen: ArrayLike | None
) -> tuple[Group, ...]:
    if groups is None:
        return ()
    labels = group_labels(groups)
    names, code, sizes = np.unique(
        np.array(labels, dtype=object), return_inverse=True, return_counts=True
    )
    expected = np.bincount(code, weights=p)
    rates = expected / sizes
    seats = None if chosen is None else np.bincount(code[np.asarray(chosen)], minlength=sizes.size)
    return tuple(
        Group(
            label=label,
            n=int(sizes[i]),
            mean_score=float(s[code == i].mean()),
            expected=float(expected[i]),
            rate=float(rates[i]),
            impact_ratio=float(rates[i] / rates.max()) if rates.max() else None,
            selected=None if seats is None else int(seats[i]),
        )
        for i, label in enumerate(names)
    )


def _outcomes(outcome: Any, frame: Any, n: int) -> Floats | None:
    if outcome is None:
        return None
    if isinstance(outcome, str):
        outcome = column(frame, "outcome", outcome).to_numpy()
    return checks.vector("outcome", outcome, size=n)


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Lay rows out as text, leaving out columns that hold nothing."""
    columns = [key for key in rows[0] if any(row[key] is not None for row in rows)]
    cells = [[key.replace("_", " ") for key in columns]]
    cells += [[_cell(row[key]) for key in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return [
        "  ".join(
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
