"""A cohort and its reserve list drawn together, each with exactly its own probabilities.

Every candidate gets a seat with probability p, a place on the reserve list with probability q - p
and nothing with probability 1 - q, where p are the probabilities of a cohort of k and q those of a
cohort of k + r. The three probabilities are a row of a matrix whose columns add up to k, r and
n - k - r; such a matrix is rounded to 0 and 1 by moving along cycles, as likely one way as the
other in the mean, so that every entry keeps its expectation and every column its sum.
"""

from math import lcm

import numpy as np
from numpy.typing import NDArray

from septet.cohort._coins import Coins
from septet.cohort._draw import Weights

SEAT, WAIT, NONE = 0, 1, 2
_PAIRS = ((SEAT, WAIT), (SEAT, NONE), (WAIT, NONE))


def draw_with_reserve(
    seats: tuple[Weights, int], places: tuple[Weights, int], coins: Coins
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Draw a cohort and an ordered reserve list.

    Parameters
    ----------
    seats, places : (weights, total)
        Probabilities ``weights / total`` of a cohort of k and of one of k + r; the second are
        nowhere smaller.
    coins : Coins
        One word per undecided row for the order in which rows meet, then the coins of the draw,
        then one word per reserve for the order of the list.

    Returns
    -------
    cohort : ndarray of shape (k,), dtype intp
        Row numbers, ascending.
    reserve : ndarray of shape (r,), dtype intp
        Row numbers in the order in which they move up, which is by lot.

    Notes
    -----
    After v vacancies that have nothing to do with who is on the list, a candidate has a seat with
    probability ``p + (q - p) v / r``: again fair, as a mean of two fair vectors.
    """
    unit = lcm(seats[1], places[1])
    p = [int(x) * (unit // seats[1]) for x in seats[0].tolist()]
    q = [int(x) * (unit // places[1]) for x in places[0].tolist()]
    matrix = [[a, b - a, unit - b] for a, b in zip(p, q, strict=True)]
    open_rows = [i for i, row in enumerate(matrix) if unit not in row]
    words = coins.take(len(open_rows)).tolist()
    carriers: list[int] = []
    for _, i in sorted(zip(words, open_rows, strict=True)):
        carriers = _settle(matrix, [*carriers, i], coins)
    if carriers:
        _close_circle(matrix, carriers, coins)
    drawn = np.array([row.index(unit) for row in matrix], dtype=np.int64)
    reserve = np.flatnonzero(drawn == WAIT)
    lot = np.argsort(coins.take(reserve.size), kind="stable")
    return np.flatnonzero(drawn == SEAT), reserve[lot]


def _settle(matrix: list[list[int]], carriers: list[int], coins: Coins) -> list[int]:
    """Move along pairs of rows until no two undecided rows share two undecided columns."""
    while True:
        pair = _shared(matrix, carriers)
        if pair is None:
            return carriers
        i, j, (u, v) = pair
        cycle = [(i, u, 1), (i, v, -1), (j, v, 1), (j, u, -1)]
        _move(matrix, cycle, coins)
        carriers = [row for row in carriers if sum(x > 0 for x in matrix[row]) > 1]


def _shared(
    matrix: list[list[int]], carriers: list[int]
) -> tuple[int, int, tuple[int, int]] | None:
    """Return the newest row with the oldest other that shares two columns, and the columns."""
    for j in reversed(carriers):
        for i in carriers:
            for pair in _PAIRS if i != j else ():
                if all(matrix[i][c] > 0 and matrix[j][c] > 0 for c in pair):
                    return i, j, pair
    return None


def _close_circle(matrix: list[list[int]], carriers: list[int], coins: Coins) -> None:
    """Decide the last three rows, which share one column each with the next."""
    by_pair = {tuple(c for c in range(3) if matrix[i][c] > 0): i for i in carriers}
    first, last, middle = (by_pair[pair] for pair in _PAIRS)
    cycle = [
        (first, SEAT, 1),
        (first, WAIT, -1),
        (middle, WAIT, 1),
        (middle, NONE, -1),
        (last, NONE, 1),
        (last, SEAT, -1),
    ]
    _move(matrix, cycle, coins)


def _move(matrix: list[list[int]], cycle: list[tuple[int, int, int]], coins: Coins) -> None:
    """Go as far as possible one way along a cycle or the other, without drift in the mean."""
    up = min(matrix[i][c] for i, c, sign in cycle if sign < 0)
    down = min(matrix[i][c] for i, c, sign in cycle if sign > 0)
    step = up if coins.below(up + down) < down else -down
    for i, c, sign in cycle:
        matrix[i][c] += sign * step
