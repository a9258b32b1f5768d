"""Selection probabilities from sums over parts: what files in chunks and clusters need.

A part of the candidates is summed up twice: once by the upper halves of the lattice scores, which
brackets the shift between two neighbouring upper halves, and once, score by score, in the few
bins where the shift is then decided. Tallies add up, so parts can lie anywhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

import numpy as np

from septet.cohort._scores import LATTICE, Ints

_HALF = 1 << 16
_BINS = _HALF + 1  # the last one holds the score 1 alone


@dataclass(frozen=True)
class Tally:
    """Counts and sums of lattice scores by their upper halves.

    Attributes
    ----------
    counts : ndarray of shape (65537,), dtype int64
        Number of candidates in each bin.
    rests : ndarray of shape (65537,), dtype int64
        Sum of their lower halves.
    least, least_positive, most : int
        Extreme scores; 2**32 + 1 stands for no positive score.
    """

    counts: Ints
    rests: Ints
    least: int
    least_positive: int
    most: int

    @classmethod
    def of(cls, z: Ints) -> Self:
        """Tally a part of at least one candidate."""
        upper, lower = z >> 16, z & (_HALF - 1)
        rests = np.bincount(upper, weights=lower, minlength=_BINS)  # exact: below 2**53
        positive = z[z > 0]
        return cls(
            np.bincount(upper, minlength=_BINS).astype(np.int64),
            rests.astype(np.int64),
            int(z.min()),
            int(positive.min()) if positive.size else LATTICE + 1,
            int(z.max()),
        )

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.counts + other.counts,
            self.rests + other.rests,
            min(self.least, other.least),
            min(self.least_positive, other.least_positive),
            max(self.most, other.most),
        )

    @property
    def n(self) -> int:
        """Number of candidates."""
        return int(self.counts.sum())

    @property
    def total(self) -> int:
        """Sum of the lattice scores."""
        return int(self._sums().sum())

    def bracket(self, k: int) -> int:
        """Return b such that the shift x has ``-b * 2**16 <= x < (1 - b) * 2**16``; 0 < k < n."""
        low, high = -_HALF, _HALF  # at the lowest b everybody, at the highest nobody is selected
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._reached(middle) > k * LATTICE else (low, middle)
        return high

    def bins(self, k: int) -> list[int]:
        """Return the bins whose scores must be counted one by one for a cohort of k."""
        if k in (0, self.n):
            return []
        b = self.bracket(k)
        wanted = {b - 1, b, b - 1 + _HALF, self._border(k)}
        return sorted(j for j in wanted if 0 <= j < _BINS)

    def shift(self, k: int, fine: dict[int, Ints]) -> tuple[int, int]:
        """Return what `exact_shift` returns, given the counts of the scores in `bins(k)`."""
        if k == 0:
            return -self.most, 1
        if k == self.n:
            return LATTICE - self.least, 1
        b = self.bracket(k)
        # between these two all scores move with x, whatever it is in the bracket
        inner = slice(max(b, 0), max(min(b - 1 + _HALF, _BINS), 0))
        sums = self._sums()
        moving, moved = int(self.counts[inner].sum()), int(sums[inner].sum())
        ones = int(self.counts[max(b + _HALF, 0) :].sum())
        edge = [j for j in (b - 1, b - 1 + _HALF) if 0 <= j < _BINS]
        value = np.concatenate([(j << 16) + np.arange(_HALF) for j in edge])
        count = np.concatenate([fine[j] for j in edge])

        def reached(x: int) -> int:
            return moved + x * moving + ones * LATTICE + int(np.clip(value + x, 0, LATTICE) @ count)

        low, high = -b * _HALF, (1 - b) * _HALF
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if reached(middle) <= k * LATTICE else (low, middle)
        missing = k * LATTICE - reached(low)
        if missing:
            active = moving + int(count[(value + low >= 0) & (value + low < LATTICE)].sum())
            return low * active + missing, active
        active = moving + int(count[(value + low > 0) & (value + low < LATTICE)].sum())
        if low == -b * _HALF and 0 <= b < _BINS:
            active -= int(fine[b][0])  # scores that the shift takes to exactly 0
        return (low * active, active) if active else (0, 1)

    def largest(self, k: int, fine: dict[int, Ints]) -> int:
        """Return the sum of the k largest scores."""
        if k in (0, self.n):
            return self.total if k else 0
        border = self._border(k)
        above = int(self.counts[border + 1 :].sum())
        out = int(self._sums()[border + 1 :].sum())
        count = fine[border][::-1]
        value = (border << 16) + np.arange(_HALF)[::-1]
        before = np.concatenate([[0], np.cumsum(count)[:-1]])
        return out + int(np.clip(k - above - before, 0, count) @ value)

    def _sums(self) -> Ints:
        return self.rests + (np.arange(_BINS) << 16) * self.counts

    def _reached(self, b: int) -> int:
        """Return the sum of ``clip(z - b * 2**16, 0, LATTICE)``."""
        inner = slice(max(b, 0), max(min(b + _HALF, _BINS), 0))
        moved = int(self._sums()[inner].sum()) - (b << 16) * int(self.counts[inner].sum())
        return moved + LATTICE * int(self.counts[max(b + _HALF, 0) :].sum())

    def _border(self, k: int) -> int:
        """Return the bin of the k-th largest score."""
        above = np.cumsum(self.counts[::-1])
        return _BINS - 1 - int(np.searchsorted(above, k))


def count_bins(z: Ints, bins: Iterable[int]) -> dict[int, Ints]:
    """Count a part's scores one by one in some bins: 65536 counts each."""
    upper = z >> 16
    return {
        j: np.bincount(z[upper == j] & (_HALF - 1), minlength=_HALF).astype(np.int64) for j in bins
    }


def add_bins(first: dict[int, Ints], second: dict[int, Ints]) -> dict[int, Ints]:
    """Add the counts of two parts."""
    return {j: first[j] + second[j] for j in first}


@dataclass(frozen=True)
class Form:
    """Probabilities as a function of the lattice score: ``clip(factor z + offset, 0, total)``."""

    factor: int
    offset: int
    total: int
    shift: Fraction | None
    scale: Fraction | None


def solve(tally: Tally, k: int, fine: dict[int, Ints], objective: str) -> Form:
    """Return the probabilities' form for the linear or the ratio objective."""
    total = tally.total
    if objective == "ratio" and k and total >= k * LATTICE:
        return Form(k, 0, total, None, Fraction(k * LATTICE, total))
    offset, active = tally.shift(k, fine)
    return Form(active, offset, active * LATTICE, Fraction(offset, active * LATTICE), None)
