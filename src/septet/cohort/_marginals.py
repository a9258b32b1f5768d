"""Selection probabilities: exactly k expected seats, nobody treated more differently than scored.

Everything exact lives on the lattice of multiples of 2**-32, on which the scores are rounded once.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from septet.cohort._scores import LATTICE, Floats, Ints
from septet.cohort._shift import exact_dot


class Marginals:
    """Selection probabilities of n candidates; ``numpy.asarray`` gives them as float64.

    Made by `selection_probabilities`.

    Attributes
    ----------
    k : int
        Cohort size: the probabilities add up to it.
    objective : {"linear", "ratio", "utility"}
        What they maximise.
    exact : bool
        Whether they are known as fractions.
    scores : ndarray of shape (n,), dtype float64
        The scores they were computed from.
    lattice_scores : ndarray of shape (n,), dtype int64, or None
        The scores in units of 2**-32, as all exact statements see them; None unless exact.
    numerators : ndarray of shape (n,), or None
        Each probability times `denominator`: int64, or Python integers where those do not hold
        them. None unless exact.
    denominator : int or None
        Common denominator of all probabilities. None unless exact.
    shift : fractions.Fraction, float or None
        The constant c of ``p = clip(s + c, 0, 1)``, if the probabilities have that form.
    scale : fractions.Fraction, float or None
        The factor of ``p = scale * s``, if the probabilities have that form.

    Examples
    --------
    >>> from septet.cohort import selection_probabilities
    >>> p = selection_probabilities([0.75, 0.5, 0.25, 0.125], k=2)
    >>> p.shift, p.fractions()
    (Fraction(3, 32), [Fraction(27, 32), Fraction(19, 32), Fraction(11, 32), Fraction(7, 32)])
    >>> p[0], float(p.utility), p.max_violation
    (0.84375, 1.04296875, Fraction(0, 1))
    """

    def __init__(
        self,
        scores: Floats,
        k: int,
        objective: str,
        *,
        lattice_scores: Ints | None = None,
        numerators: NDArray | None = None,
        denominator: int | None = None,
        values: Floats | None = None,
        shift: Fraction | float | None = None,
        scale: Fraction | float | None = None,
        weights: Floats | None = None,
        metric: Floats | None = None,
    ) -> None:
        self.scores = scores
        self.k = k
        self.objective = objective
        self.lattice_scores = lattice_scores
        self.numerators = numerators
        self.denominator = denominator
        self.shift = shift
        self.scale = scale
        self._values = values
        self._weights = weights
        self._metric = metric

    @property
    def exact(self) -> bool:
        """Whether the probabilities are known as fractions."""
        return self.denominator is not None

    @cached_property
    def active(self) -> int:
        """Number of candidates who are neither sure of a seat nor without a chance."""
        if self.numerators is None:
            return int(np.count_nonzero((self._p > 0) & (self._p < 1)))
        live = (self.numerators > 0) & (self.numerators < self.denominator)
        return int(np.count_nonzero(live))

    @cached_property
    def utility(self) -> Fraction | float:
        """Expected total utility ``sum u_i p_i``; of the scores themselves unless u was given."""
        if self._weights is not None:
            return float(self._weights @ self._p)
        if self.lattice_scores is None or self.numerators is None or self.denominator is None:
            return float(self.scores @ self._p)
        dot = exact_dot(self.lattice_scores, self.numerators)
        return Fraction(dot, LATTICE * self.denominator)

    @cached_property
    def ratio(self) -> Fraction | float | None:
        """Smallest ``p_i / s_i`` over the positive scores; None if there are none."""
        if self.scale is not None:
            return self.scale
        s = self.scores if self.lattice_scores is None else self.lattice_scores
        if not (s > 0).any():
            return None
        if self.shift is not None:  # p / s is monotone in s: it is smallest at one end
            least = np.where(s > 0, s, s.max() + 1).argmin()
            rows = [int(s.argmax() if self.shift >= 0 else least)]
        else:
            about = self._p / np.where(s > 0, s, np.nan)
            rows = np.flatnonzero(about <= np.nanmin(about) * (1 + 1e-12)).tolist()
        if self.lattice_scores is None or self.numerators is None or self.denominator is None:
            return min(float(self._p[i] / self.scores[i]) for i in rows)
        w, z = self.numerators, self.lattice_scores
        return min(Fraction(int(w[i]) * LATTICE, self.denominator * int(z[i])) for i in rows)

    @cached_property
    def max_violation(self) -> Fraction | float:
        """Largest excess of a difference of probability over that of score; 0 if fair.

        With a known metric the differences of score give way to its distances.
        """
        if self._metric is not None:
            return self._metric_violation(self._metric)
        if self.lattice_scores is None or self.numerators is None or self.denominator is None:
            return max(0.0, float(largest_excess(self.scores, self._p)))
        m, rest = divmod(self.denominator, LATTICE)
        z, weight = self.lattice_scores, self.numerators
        if rest == 0 and weight.dtype != object:
            return Fraction(max(0, int(largest_excess(m * z, weight))), self.denominator)
        common = self.denominator * LATTICE
        excess = largest_excess(
            z.astype(object) * self.denominator, weight.astype(object) * LATTICE
        )
        return Fraction(max(0, int(excess)), common)

    @cached_property
    def tight_pairs(self) -> NDArray[np.intp]:
        """Pairs, neighbours in score, whose difference of probability is that of their scores.

        An array of shape (t, 2) of row numbers, lower score first; each score is represented by
        its first row. These are the fairness constraints that bind.
        """
        s = self.scores if self.lattice_scores is None else self.lattice_scores
        _, first = np.unique(s, return_index=True)
        low, high = first[:-1], first[1:]
        if self.numerators is None or self.denominator is None:
            tight = np.abs(np.diff(self._p[first])) >= np.diff(s[first]) * (1 - 1e-12)
        else:
            gaps = np.diff(s[first]).astype(object) * self.denominator
            tight = np.abs(np.diff(self.numerators[first].astype(object))) * LATTICE == gaps
        tight = np.asarray(tight, dtype=bool)
        return np.column_stack([low[tight], high[tight]])

    def fractions(self) -> list[Fraction]:
        """Return the probabilities as exact fractions.

        Raises
        ------
        ValueError
            If they were computed in floating point (``exact=False``).
        """
        if self.numerators is None or self.denominator is None:
            raise ValueError("these probabilities are floating-point numbers; use exact=True.")
        return [Fraction(weight, self.denominator) for weight in self.numerators.tolist()]

    @cached_property
    def _p(self) -> Floats:
        if self._values is not None:
            return self._values
        if self.numerators is None or self.denominator is None:
            raise TypeError("Marginals need values, or numerators with their denominator.")
        return self.numerators.astype(np.float64) / self.denominator

    def _metric_violation(self, metric: Floats) -> Fraction | float:
        blocks = [slice(i, i + 256) for i in range(0, len(self), 256)]
        if self.numerators is None or self.denominator is None:
            p = self._p
            worst = [float((np.abs(p[rows, None] - p) - metric[rows]).max()) for rows in blocks]
            return max(0.0, *worst)
        weight, m = self.numerators, self.denominator // LATTICE
        # distances rounded down to the lattice: whoever keeps to these keeps to those given
        most = [
            int((np.abs(weight[rows, None] - weight) - m * lattice_distances(metric[rows])).max())
            for rows in blocks
        ]
        return Fraction(max(0, *most), self.denominator)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        return np.array(self._p, dtype=dtype, copy=True if copy is None else copy)

    def __len__(self) -> int:
        return self.scores.size

    def __iter__(self) -> Iterator[float]:
        return iter(self._p.tolist())

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice | ArrayLike) -> Floats: ...
    def __getitem__(self, index: int | slice | ArrayLike) -> float | Floats:
        found = self._p[index]  # pyrefly: ignore[bad-index]
        return float(found) if np.ndim(found) == 0 else np.array(found)

    def __repr__(self) -> str:
        with np.printoptions(threshold=8, edgeitems=3, precision=6):
            return f"Marginals({np.array2string(self._p, separator=', ')}, k={self.k})"


def lattice_scores(p: Marginals) -> Ints:
    """Return the lattice scores of exact marginals.

    Raises
    ------
    ValueError
        If they were computed in floating point.
    """
    if p.lattice_scores is None:
        raise ValueError("exact probabilities are needed; compute them with exact=True.")
    return p.lattice_scores


def lattice_distances(metric: Floats) -> Ints:
    """Return distances in units of 2**-32, rounded down and cut off at 1, where none binds."""
    return np.floor(np.minimum(metric, 1.0) * LATTICE).astype(np.int64)


def largest_excess(scores: NDArray, p: NDArray) -> float | int:
    """Return the largest ``abs(p_i - p_j) - abs(s_i - s_j)`` over all pairs, in n log n.

    With the rows in order of score it is the largest rise of ``p - s`` or fall of ``p + s``.
    Works on floats, int64 and Python integers; 0 for a single row.
    """
    order = np.argsort(scores, kind="stable")
    s, p = scores[order], p[order]
    rise, fall = p - s, p + s
    up = (rise - np.minimum.accumulate(rise)).max()
    down = (np.maximum.accumulate(fall) - fall).max()
    return max(up, down)
