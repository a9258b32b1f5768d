"""The kernels in plain NumPy and Python: what runs without numba, and the oracle for what does.

Every function has a namesake in `_kernels` with the same arguments and the same result.
"""

import heapq

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Words = NDArray[np.uint64]


def count_between(z: Ints, low: int, high: int) -> tuple[int, int, int]:
    """Count and sum the z with low < z < high; count the z >= high."""
    inside = z[(z > low) & (z < high)]
    return int(inside.size), int(inside.sum()), int(np.count_nonzero(z >= high))


def clip_count(s: Floats, shift: float) -> tuple[int, float, int]:
    """Count and sum the s with 0 < s + shift < 1; count those with s + shift >= 1."""
    moved = s + shift
    inside = s[(moved > 0) & (moved < 1)]
    return int(inside.size), float(inside.sum()), int(np.count_nonzero(moved >= 1))


def affine_clip(z: Ints, factor: int, offset: int, top: int, out: Ints) -> None:
    """Set out = clip(factor * z + offset, 0, top)."""
    np.multiply(z, factor, out=out)
    out += offset
    np.clip(out, 0, top, out=out)


def dot_parts(x: Ints, y: Ints) -> tuple[int, int, int, int]:
    """Return four sums that make up x.y for 0 <= x <= 2**32 and 0 <= y < 2**62.

    They are the low and high 32-bit halves of x * (y mod 2**31), then those of x * (y >> 31).
    """
    mask = np.uint64(2**32 - 1)
    factor = x.astype(np.uint64)
    parts = []
    for limb in ((y & (2**31 - 1)).astype(np.uint64), (y >> 31).astype(np.uint64)):
        product = factor * limb
        parts += [int((product & mask).sum()), int((product >> np.uint64(32)).sum())]
    return parts[0], parts[1], parts[2], parts[3]


def order_of(words: Words) -> Ints:
    """Return the positions of `words` in ascending order, equal words by position."""
    return np.argsort(words, kind="stable").astype(np.int64)


def pivotal(
    weights: Ints, total: int, order: Ints, words: Words, state: Ints, chosen: NDArray[np.bool_]
) -> int:
    """Continue sequential pivotal sampling; return the number of words used up.

    `state` holds the next place in `order`, the carrier (-1 for none) and the carrier's weight. It
    stops when `order` or `words` has come to its end. Rows have 0 < weight < total.
    """
    place, carrier, a = (int(x) for x in state)
    used = 0
    while place < order.size:
        row = int(order[place])
        b = int(weights[row])
        if carrier < 0:
            carrier, a = row, b
            place += 1
            continue
        t = a + b
        bound = t if t <= total else 2 * total - t
        value, used = _below(words, used, bound)
        if value < 0:
            break
        place += 1
        if t < total:
            carrier, a = (row if value < b else carrier), t
        elif t == total:
            chosen[row if value < b else carrier] = True
            carrier, a = -1, 0
        elif value < total - a:
            chosen[row] = True
            a = t - total
        else:
            chosen[carrier] = True
            carrier, a = row, t - total
    state[:] = place, carrier, a
    return used


def systematic(
    weights: Ints, total: int, order: Ints, start: int, chosen: NDArray[np.bool_]
) -> None:
    """Choose the rows whose stretch of the line, laid end to end, holds start + a multiple."""
    reached = 0
    for row in order.tolist():
        end = reached + int(weights[row])
        chosen[row] = reached <= start < end or start + total < end
        reached = end if end < total else end - total


def chain(gains: Floats, gaps: Ints, top: int, low: Ints, high: Ints) -> None:
    """Maximise gains.p over 0 <= p <= top and abs(p[i+1] - p[i]) <= gaps[i].

    Writes the pointwise smallest maximiser to `low` and the largest to `high`. The dual problem,
    with A the running sums of the gains, x[-1] = 0 and x[n-1] = A[n-1],

        min  sum gaps[i] * abs(x[i] - A[i])  +  top * sum max(0, x[i] - x[i-1]),

    is solved from left to right by a convex function whose slopes lie between 0 and top. It is kept
    as break-points with the rise of slope at each: a step adds one and trims both ends. Of the
    gains only the order of their sums matters, so that the maximisers are whole numbers.
    """
    n = gains.size
    sums = np.cumsum(gains)
    position = [0.0, *sums.tolist()]
    mass = [top] + [0] * n
    upward, downward = [(0.0, 0)], [(0.0, 0)]
    x = np.empty(n)
    bounds = []
    for i in range(n - 1):
        node, gap = i + 1, int(gaps[i])
        mass[node] = 2 * gap
        heapq.heappush(upward, (position[node], node))
        heapq.heappush(downward, (-position[node], node))
        bounds.append((_trim(upward, mass, position, gap), _trim(downward, mass, position, gap)))
    x[n - 1] = sums[n - 1]
    for i in range(n - 2, -1, -1):
        x[i] = min(max(x[i + 1], bounds[i][0]), bounds[i][1])
    before = 0.0
    for i in range(n):  # p[i] lies between these, seen from the left
        low[i], high[i] = 0, top
        if i:
            side = np.sign(before - sums[i - 1])
            gap = gaps[i - 1]
            low[i] = max(low[i - 1] + (side * gap if side else -gap), 0)
            high[i] = min(high[i - 1] + (side * gap if side else gap), top)
        if x[i] > before:
            low[i] = top
        elif x[i] < before:
            high[i] = 0
        before = x[i]
    for i in range(n - 2, -1, -1):
        side = np.sign(x[i] - sums[i])
        low[i] = low[i + 1] - side * gaps[i] if side else max(low[i], low[i + 1] - gaps[i])
        high[i] = high[i + 1] - side * gaps[i] if side else min(high[i], high[i + 1] + gaps[i])


def _trim(
    heap: list[tuple[float, int]], mass: list[int], position: list[float], amount: int
) -> float:
    """Take `amount` of slope from one end; return where the end then is."""
    while True:
        node = heap[0][1]
        taken = min(mass[node], amount)
        mass[node] -= taken
        amount -= taken
        if amount == 0:
            return position[node]
        heapq.heappop(heap)


def _below(words: Words, used: int, bound: int) -> tuple[int, int]:
    lanes = max(1, -(-(bound - 1).bit_length() // 64))
    span = 1 << 64 * lanes
    while used + lanes <= words.size:
        value = sum(int(words[used + lane]) << 64 * lane for lane in range(lanes))
        used += lanes
        if value < span - span % bound:
            return value % bound, used
    return -1, used
