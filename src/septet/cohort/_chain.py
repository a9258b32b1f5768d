"""The best fair probabilities for any linear utility: a dynamic programme along the scores.

Candidates of equal score share their probability, so p is a 1-Lipschitz function of the score. With
a price on every seat the problem falls apart into a chain, which one sweep solves; the price is
then tuned until exactly k seats are taken.
"""

import numpy as np
from numpy.typing import NDArray

from septet.cohort import _engine
from septet.cohort._scores import LATTICE, Floats, Ints


def chain_exact(z: Ints, utility: Floats, k: int) -> tuple[NDArray, int]:
    """Maximise ``sum u_i p_i`` over the fair p of sum k, on the lattice of the scores.

    Parameters
    ----------
    z : ndarray of shape (n,), dtype int64
        Scores in units of 1 / LATTICE.
    utility : ndarray of shape (n,)
        Utility of each candidate, of any sign and in any order.
    k : int
        Cohort size.

    Returns
    -------
    numerators, denominator
        Fairness and the sum hold exactly; the utility is the best up to rounding in the price.

    Notes
    -----
    For a given price the chain has a smallest and a largest maximiser, both whole multiples of
    1 / LATTICE because the score gaps are. Between them lie the vectors ``min(largest, smallest +
    t)``, which are fair again and, the maximisers forming an L-natural convex set, optimal too.
    The t that makes the sum k is a fraction with the number of rows that still move below it.
    """
    value, first, sizes, gain = _classes(z, utility)
    low, high = _bracket(gain, sizes, np.diff(value), LATTICE, k)
    step, moving = _fill(high - low, sizes, k * LATTICE - int(low @ sizes))
    if moving * LATTICE >= 1 << 62:
        low, high = low.astype(object), high.astype(object)
    numerators = np.minimum(high * moving, low * moving + step)
    return numerators[first], moving * LATTICE


def chain_float(s: Floats, utility: Floats, k: int) -> Floats:
    """Do what `chain_exact` does in float64, on the finest lattice whose sums int64 holds."""
    lattice = 1 << min(52, 61 - s.size.bit_length())
    value, first, sizes, gain = _classes(np.rint(s * lattice).astype(np.int64), utility)
    low, high = _bracket(gain, sizes, np.diff(value), lattice, k)
    step, moving = _fill(high - low, sizes, k * lattice - int(low @ sizes))
    return (np.minimum(high, low + step / moving) / lattice)[first]


def _classes(s: NDArray, utility: Floats) -> tuple[NDArray, Ints, Ints, Floats]:
    """Merge candidates of equal score: values, class of each row, sizes, summed utilities."""
    value, first, sizes = np.unique(s, return_inverse=True, return_counts=True)
    gain = np.bincount(first, weights=utility).astype(np.float64)
    return value, first.astype(np.int64), sizes.astype(np.int64), gain


def _bracket(gain: Floats, sizes: Ints, gaps: Ints, top: int, k: int) -> tuple[Ints, Ints]:
    """Return maximisers low <= high at (nearly) one price, whose sums enclose ``k * top``.

    The dual function is convex and piecewise linear in the price. Two prices that enclose the
    optimum give two tangents; where they cross is the next price, every third time the middle of
    the bracket. It ends when a chain's own maximisers enclose the target, or when no price lies
    between the two.
    """
    mean = gain / sizes
    spread = float(mean.max() - mean.min()) + float(np.abs(mean).max()) + 1.0
    cheap, dear = float(mean.min()) - spread, float(mean.max()) + spread
    low, high = np.zeros_like(sizes), np.full_like(sizes, top)
    solve = _engine.kernels().chain
    for step in range(300):
        between = (high - low) @ sizes
        price = float((high - low) @ gain) / float(between) if between > 0 else cheap
        if step % 3 == 2:
            price = (cheap + dear) / 2
        if not cheap < price < dear:
            break
        few, many = np.empty_like(low), np.empty_like(high)
        solve(gain - price * sizes, gaps, top, few, many)
        if few @ sizes > k * top:
            cheap, high = price, few
        elif many @ sizes < k * top:
            dear, low = price, many
        else:
            return few, many
    return low, np.maximum(low, high)


def _fill(room: Ints, sizes: Ints, missing: int) -> tuple[int, int]:
    """Solve ``sum sizes * min(room, x) = missing`` for ``x = step / moving``, in integers.

    `moving` counts the rows whose room exceeds x (1 if x takes them all).
    """
    order = np.argsort(room, kind="stable")
    room, sizes = room[order], sizes[order]
    taken = np.concatenate([[0], np.cumsum(room * sizes)])
    moving = int(sizes.sum()) - np.concatenate([[0], np.cumsum(sizes)])
    # what it costs to lift everybody as far as the room of row i
    cost = taken[:-1] + moving[:-1] * room
    i = int(np.searchsorted(cost, missing, side="right"))
    if i == room.size:
        return int(room[-1]), 1
    return missing - int(taken[i]), int(moving[i])
