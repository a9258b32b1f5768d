"""Claims and verdicts: what was published, what was measured, and whether it holds here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from septet._core.errors import DataError

Verdict = Literal["holds", "does not hold", "not run", "not judged"]
_CONDITIONS = ("at_most", "at_least", "equals", "about")


@dataclass(frozen=True)
class Measure:
    """One measured quantity: its mean, 95 % interval and the number of values behind it."""

    mean: float
    low: float | None = None
    high: float | None = None
    n: int = 1
    unit: str = ""
    peer: str = ""
    """Best peer of the same run with its figure, such as ``"Adam 1.246"``."""

    def __str__(self) -> str:
        text = f"{self.mean:.4g}"
        if self.low is not None and self.high is not None:
            text += f" [{self.low:.4g}, {self.high:.4g}]"
        return f"{text}{' ' + self.unit if self.unit else ''}, n = {self.n}"


def measured(values: float | Sequence[float], *, unit: str = "", peer: str = "") -> Measure:
    """Mean of `values` (one per seed or instance) with Student's 95 % interval where n > 1.

    Examples
    --------
    >>> str(measured([1.0, 2.0, 3.0], unit="ms"))
    '2 [-0.4841, 4.484] ms, n = 3'
    """
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"values must be finite and at least one; got {array.tolist()}.")
    mean = float(array.mean())
    if array.size == 1:
        return Measure(mean, unit=unit, peer=peer)
    from scipy.special import stdtrit

    half = float(stdtrit(array.size - 1, 0.975) * array.std(ddof=1) / np.sqrt(array.size))
    return Measure(mean, mean - half, mean + half, int(array.size), unit, peer)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One published (or own) statement, the measure that tests it and what must come out."""

    id: str
    says: str
    """The statement in a plain sentence."""
    published: str
    """The figure as printed and the scale it was measured at; or where the statement is from."""
    measure: str
    """Name of a function of the recipe's ``run.py``."""
    expect: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Scale to condition: ``at_most``, ``at_least``, ``equals`` or ``about`` (with ``within``)."""
    known_miss: str = ""
    """Why the claim is known not to hold here; the verdict is still printed, but fails no run."""

    @classmethod
    def read(cls, table: Mapping[str, Any], where: str) -> "Claim":
        """Build a claim from its TOML table; unknown keys and conditions are refused."""
        unknown = set(table) - set(cls.__dataclass_fields__)
        missing = {"id", "says", "published", "measure"} - set(table)
        if unknown or missing:
            raise DataError(f"{where}: unknown keys {sorted(unknown)}, missing {sorted(missing)}.")
        for scale, condition in table.get("expect", {}).items():
            stray = set(condition) - {*_CONDITIONS, "within", "untested"}
            if stray or not (set(condition) & {*_CONDITIONS, "untested"}):
                raise DataError(f"{where}: expect.{scale} of claim {table['id']!r}: {condition}.")
        return cls(**table)

    def judge(self, scale: str, measure: Measure | None) -> Verdict:
        """Verdict on a measure; nothing is judged at a scale without an expectation."""
        condition = self.expect.get(scale, {})
        if measure is None or condition.get("untested"):
            return "not run"
        if not condition:
            return "not judged"
        x = measure.mean
        fits = (
            x <= condition.get("at_most", x)
            and x >= condition.get("at_least", x)
            and x == condition.get("equals", x)
            and abs(x - condition.get("about", x)) <= condition.get("within", 0.0)
        )
        return "holds" if fits else "does not hold"

    def expectation(self, scale: str) -> str:
        """What must come out at `scale`, in words."""
        condition = dict(self.expect.get(scale, {}))
        within = condition.pop("within", None)
        words = [
            f"{key.replace('_', ' ')} {condition[key]}" for key in _CONDITIONS if key in condition
        ]
        return " and ".join(words) + (f" ± {within}" if within is not None else "")


@dataclass(frozen=True)
class Row:
    """A line of the result table."""

    recipe: str
    scale: str
    claim: str
    says: str
    published: str
    expected: str
    measured: str
    peer: str
    verdict: Verdict
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether this line makes the run fail."""
        return self.verdict == "does not hold" and not self.note
