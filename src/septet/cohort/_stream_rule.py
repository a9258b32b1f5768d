"""The rule of a stream at one moment: which selection probability a score has, exactly.

Scores live on the lattice of multiples of ``1 / LATTICE``; everything here is integer arithmetic.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks

LATTICE = 1 << 32
MOST = 1 << 30  # arrivals and seats: every product of the kernel then fits 63 bits
_MOST_CELLS = 1 << 20


@dataclass(frozen=True, slots=True)
class Rule:
    """Target probability as a function of the score, a continuous line with two bends.

    With ``h = rise / run`` and all scores in lattice units, a score `z` has probability

    * 0 up to `dead`,
    * ``(z - dead) h / LATTICE`` between `dead` and `bend`,
    * ``min(1, (z - bend + (bend - dead) h) / LATTICE)`` from `bend` on.

    While the shift `c` is not negative, `dead` is -1 and `bend` is 0, so that the last line holds
    for all; afterwards `dead` and `bend` are neighbouring knots. As ``0 <= h <= 1`` whenever
    `dead` is a score, no two probabilities differ by more than the scores do.

    Examples
    --------
    >>> half = LATTICE // 2
    >>> rule = Rule(dead=0, bend=half, rise=3, run=5)  # knots 0, 1/2, 1
    >>> [str(rule.probability(z)) for z in (half, half // 2, 3 * half // 2)], str(rule.shift)
    (['3/10', '3/20', '11/20'], '-1/5')
    """

    dead: int
    bend: int
    rise: int
    run: int

    @property
    def shift(self) -> Fraction:
        """What is added to a score above `bend`: the `c` of the method, in score units."""
        foot = Fraction((self.bend - self.dead) * self.rise, self.run)
        return (foot - self.bend) / LATTICE

    def probability(self, z: int) -> Fraction:
        """Return the exact target probability of the lattice score `z`."""
        if z <= self.dead:
            return Fraction(0)
        if z < self.bend:
            return Fraction((z - self.dead) * self.rise, self.run * LATTICE)
        foot = Fraction((self.bend - self.dead) * self.rise, self.run)
        return min(Fraction(1), (z - self.bend + foot) / LATTICE)

    def hopeless(self, z: int) -> bool:
        """Whether the probability of `z` is exactly 0, now and therefore for good."""
        return z <= self.dead or (self.rise == 0 and z <= self.bend)


ALL_STAY = Rule(dead=-1, bend=0, rise=LATTICE, run=1)
NOBODY = Rule(dead=LATTICE - 1, bend=LATTICE, rise=0, run=1)


def knot_lattice(knots: int | ArrayLike) -> NDArray[np.int64]:
    """Return knots as increasing lattice points from 0 to `LATTICE`.

    Parameters
    ----------
    knots : int or array_like of shape (m,)
        Number of equal cells, or the scores at which the rule may bend, in any order; 0 and 1
        are added.

    Returns
    -------
    ndarray of int64, shape (n_cells + 1,)

    Raises
    ------
    ValueError
        If the number of cells is not from 1 to 2**20, or a knot lies outside [0, 1].
    """
    if np.ndim(knots) == 0:
        cells = checks.integer("knots", knots, low=1, high=_MOST_CELLS)
        return np.arange(cells + 1, dtype=np.int64) * LATTICE // cells
    inner = checks.probabilities("knots", knots)
    points = np.unique(np.concatenate([[0, LATTICE], np.rint(inner * LATTICE)]).astype(np.int64))
    if points.size - 1 > _MOST_CELLS:
        raise ValueError(f"knots make {points.size - 1} cells; at most {_MOST_CELLS} are possible.")
    return points


def quantile_knots(scores: ArrayLike, cells: int = 50) -> NDArray[np.float64]:
    """Return knots for a stream whose scores will resemble those of an earlier season.

    The rule of a stream is as good as the cell it bends in is narrow. Quantiles put the cells
    where the scores are, which matters when all of them lie in a narrow band.

    Parameters
    ----------
    scores : array_like of shape (n,)
        Scores seen earlier, in [0, 1].
    cells : int, default 50
        Number of cells asked for; equal quantiles are merged.

    Returns
    -------
    ndarray of float64, shape (at most cells + 1,)
        Increasing; the smallest and the largest score are the first and the last.

    Raises
    ------
    ValueError
        If there are no scores or one lies outside [0, 1].

    Examples
    --------
    >>> quantile_knots([0.01, 0.012, 0.013, 0.02, 0.02], cells=4).tolist()
    [0.01, 0.012, 0.013, 0.02]
    """
    seen = checks.probabilities("scores", scores)
    cells = checks.integer("cells", cells, low=1, high=_MOST_CELLS)
    if not seen.size:
        raise ValueError("scores must hold at least one earlier score; got none.")
    return np.unique(np.quantile(seen, np.linspace(0, 1, cells + 1), method="inverted_cdf"))


def cell_of(knots: Sequence[int], z: int) -> int:
    """Return the cell of a lattice score: it holds its left end; the last one holds both."""
    return min(bisect_right(knots, z), len(knots) - 1) - 1
