"""Shift and clip: the projection of scores on the vectors in [0, 1]^n of a given sum."""

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from septet.cohort import _engine
from septet.cohort._scores import LATTICE, Floats, Ints

_MOST = 1 << 61  # numerators up to here leave room for the sums of two in int64


def exact_shift(z: Ints, k: int, lattice: int = LATTICE) -> tuple[int, int]:
    """Solve ``sum clip(z + x, 0, lattice) = k * lattice`` for x, exactly.

    Parameters
    ----------
    z : ndarray of shape (n,), dtype int64
        Scores in units of 1 / lattice, from 0 to `lattice`.
    k : int
        Cohort size, from 0 to n.
    lattice : int, default 2**32
        The unit of scores.

    Returns
    -------
    offset, active : int
        ``x = offset / active``, where `active` counts the rows strictly between the clips (1 if
        there are none). Where x is not unique (k = 0 and k = n) it is the one nearest to 0.

    Notes
    -----
    Newton's method on a piecewise linear function, in integers: each step is one pass that counts
    and sums the rows between two thresholds. It ends when a step reproduces the sum exactly, after
    5 to 10 passes as a rule; a bracket that shrinks by halves keeps the worst case short.
    """
    low, high = Fraction(-int(z.max())), Fraction(lattice - int(z.min()))
    if k == 0:
        return low.numerator, 1
    if k == z.size:
        return high.numerator, 1
    target = k * lattice
    x = min(max(Fraction(target - exact_sum(z), z.size), low), high)
    steps = 0
    while True:
        active, total, ones = _count_between(z, math.floor(-x), math.ceil(lattice - x))
        offset = target - ones * lattice - total
        slack = offset - active * x  # what the sum at x falls short of the target
        if slack == 0:
            return (offset, active) if active else (0, 1)
        low, high = (x, high) if slack > 0 else (low, x)
        steps += 1
        x = Fraction(offset, active) if active else low
        if not low < x < high or (steps > 20 and steps % 2):
            x = (low + high) / 2


def apply_shift(z: Ints, offset: int, active: int, lattice: int = LATTICE) -> NDArray:
    """Return ``clip(active * z + offset, 0, active * lattice)``, the marginals' numerators.

    Returns
    -------
    ndarray of shape (n,)
        dtype int64 where that holds them, else Python integers.
    """
    return affine(z, active, offset, active * lattice)


def affine(z: Ints, factor: int, offset: int, top: int) -> NDArray:
    """Return ``clip(factor * z + offset, 0, top)`` as int64, or as Python integers if need be."""
    if top >= _MOST:
        return np.array([min(max(factor * x + offset, 0), top) for x in z.tolist()], dtype=object)
    out = np.empty(z.size, dtype=np.int64)
    kernel = _engine.kernels().affine_clip
    _engine.over_chunks(lambda rows: kernel(z[rows], factor, offset, top, out[rows]), z.size)
    return out


def float_shift(s: Floats, k: int) -> float:
    """Solve ``sum clip(s + c, 0, 1) = k`` for c in floating point.

    The sum over the active rows is compensated, so that c is off by a few units in the last place.
    """
    low, high = -float(s.max()), 1 - float(s.min())
    if k == 0:
        return low
    if k == s.size:
        return high
    c = min(max((k - math.fsum(_chunk_sums(s))) / s.size, low), high)
    for step in range(200):
        active, total, ones = _clip_count(s, c)
        reached = total + c * active + ones
        low, high = (max(low, c), high) if reached < k else (low, min(high, c))
        fresh = (k - ones - total) / active if active else (low + high) / 2
        if not low <= fresh <= high or (step > 20 and step % 2):
            fresh = (low + high) / 2
        if abs(fresh - c) <= 1e-15:
            return fresh
        c = fresh
    return c


def exact_sum(z: Ints) -> int:
    """Return the sum of int64 values below 2**43 as an exact Python integer."""
    return sum(_engine.over_chunks(lambda rows: int(z[rows].sum()), z.size))


def exact_dot(x: Ints, y: NDArray) -> int:
    """Return the exact dot product of lattice scores `x` and marginals' numerators `y`."""
    if y.dtype == object:
        return sum(a * b for a, b in zip(x.tolist(), y.tolist(), strict=True))
    kernel = _engine.kernels().dot_parts
    parts = _engine.over_chunks(lambda rows: kernel(x[rows], y[rows]), x.size)
    a, b, c, d = (sum(int(part[i]) for part in parts) for i in range(4))
    return a + (b << 32) + ((c + (d << 32)) << 31)


def _count_between(z: Ints, low: int, high: int) -> tuple[int, int, int]:
    kernel = _engine.kernels().count_between
    parts = _engine.over_chunks(lambda rows: kernel(z[rows], low, high), z.size)
    inside, total, ones = (sum(int(part[i]) for part in parts) for i in range(3))
    return inside, total, ones


def _clip_count(s: Floats, c: float) -> tuple[int, float, int]:
    kernel = _engine.kernels().clip_count
    parts = _engine.over_chunks(lambda rows: kernel(s[rows], c), s.size)
    active, ones = (sum(int(part[i]) for part in parts) for i in (0, 2))
    return active, math.fsum(part[1] for part in parts), ones


def _chunk_sums(s: Floats) -> list[float]:
    return _engine.over_chunks(lambda rows: float(s[rows].sum()), s.size)
