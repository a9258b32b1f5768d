"""The compiled engine of a stream: the same decisions as the plain one, for arrivals in bulk.

It takes the state of `PlainEngine` over, advances it and hands it back. Each function mirrors the
method of the same name there; only the containers differ. Sums are int64, which `MOST` bounds.
Compiled without fast-math, so that every operation on doubles is the one that is written.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet._core.compiled import njit
from septet.cohort._coins import Coins
from septet.cohort._stream_reference import TINY
from septet.cohort._stream_rule import LATTICE

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Words = NDArray[np.uint64]
_jit = njit()

_CHUNK = 1 << 16  # arrivals per call of the kernel
_COIN, _COIN_MASK = float(1 << 62), np.uint64((1 << 62) - 1)
_SCALE = float(LATTICE)
# places in `totals`
_SEATS, _ARRIVED, _JOINED, _CUTTING, _CELL, _FREE, _FREE_SUM, _ABOVE, _ABOVE_SUM = range(9)
# places in `fill`
_CAPPED, _WAITING, _WORDS, _REJECTED = range(4)


def advance(
    state: dict[str, NDArray[Any]],
    knots: NDArray[np.int64],
    slack: int,
    scores: NDArray[np.int64],
    first: int,
    coins: Coins,
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64], NDArray[np.int64]]:
    """Take arrivals in; return the new state, who is rejected and whose arrival decided it.

    Parameters
    ----------
    state : dict of ndarray
        As of `PlainEngine.state`; not changed.
    knots : ndarray of int64, shape (n_cells + 1,)
        Increasing lattice points from 0 to `LATTICE`.
    slack : int
        The waiting are thinned out when more than this many have joined since the last time.
    scores : ndarray of int64, shape (n,)
        Lattice scores of the arrivals.
    first : int
        Number of the first arrival; the others follow.
    coins : Coins
        Advanced by the words used.

    Returns
    -------
    state : dict of ndarray
    rejected : ndarray of int64
        Numbers of those who are rejected, in the order of the decisions.
    decided : ndarray of int64
        For each of them, the number of the arrival upon which it was decided.
    """
    totals, counts, sums = (state[name].copy() for name in ("totals", "counts", "sums"))
    pairs = np.full((2, counts.size), -1, dtype=np.int64)
    trio, line = np.empty(3, dtype=np.int64), np.empty(3)
    rejected, decided = [], []
    for start in range(0, scores.size, _CHUNK):
        chunk = np.ascontiguousarray(scores[start : start + _CHUNK])
        fill = np.array([state["capped"].size, state["numbers"].size, 0, 0], dtype=np.int64)
        capped, numbers, z, weights = (
            np.concatenate([state[name], np.empty(chunk.size, dtype=state[name].dtype)])
            for name in ("capped", "numbers", "scores", "weights")
        )
        chance = np.empty(weights.size)
        gone, upon = np.empty((2, weights.size), dtype=np.int64)
        done = 0
        while done < chunk.size:
            words = coins.peek(2 * (int(fill[_WAITING]) + slack + 1) + 1024)
            fill[_WORDS] = 0
            done = _advance(
                totals, counts, sums, knots, slack, capped, numbers, z, weights, chance,
                pairs, trio, line, fill, chunk, done, first + start, words, gone, upon,
            )  # fmt: skip
            coins.advance(int(fill[_WORDS]))
        rejected.append(gone[: fill[_REJECTED]])
        decided.append(upon[: fill[_REJECTED]])
        state = {
            "totals": totals, "counts": counts, "sums": sums,
            "capped": np.sort(capped[: fill[_CAPPED]]),
            "numbers": numbers[: fill[_WAITING]], "scores": z[: fill[_WAITING]],
            "weights": weights[: fill[_WAITING]],
        }  # fmt: skip
    nobody = np.empty(0, dtype=np.int64)
    return state, np.concatenate([nobody, *rejected]), np.concatenate([nobody, *decided])


@_jit
def _advance(
    totals: Ints,
    counts: Ints,
    sums: Ints,
    knots: Ints,
    slack: int,
    capped: Ints,
    numbers: Ints,
    scores: Ints,
    weights: Floats,
    chance: Floats,
    pairs: Ints,
    trio: Ints,
    line: Floats,
    fill: Ints,
    arrivals: Ints,
    done: int,
    first: int,
    words: Words,
    gone: Ints,
    upon: Ints,
) -> int:
    while done < arrivals.size:
        thins = totals[_JOINED] + 1 > slack
        if thins and words.size - fill[_WORDS] < fill[_WAITING] + 1:
            break  # might run out of coins: ask for more
        number, z = first + done, arrivals[done]
        done += 1
        totals[_ARRIVED] += 1
        cell = _cell_of(knots, z)
        counts[cell] += 1
        sums[cell] += z
        if totals[_CUTTING] == 0:
            if totals[_SEATS] > 0:
                _push(capped, fill, z)
        elif cell > totals[_CELL]:
            totals[_ABOVE] += 1
            totals[_ABOVE_SUM] += z
        _settle(totals, counts, sums, knots, capped, fill)
        dead, bend, rise, run = _rule(totals, counts, sums, knots, fill)
        if z <= dead or (rise == 0 and z <= bend):
            _reject(gone, upon, fill, number, number)
            continue
        last = fill[_WAITING]
        numbers[last], scores[last], weights[last] = number, z, 1.0
        fill[_WAITING] += 1
        totals[_JOINED] += 1
        if thins:
            totals[_JOINED] = 0
            if totals[_ARRIVED] > totals[_SEATS]:
                height = float(rise) / float(run)
                _compress(
                    knots, dead, bend, height, scores, weights, chance, pairs, trio, line, fill,
                    words,
                )  # fmt: skip
                _sweep(numbers, scores, weights, fill, number, gone, upon)
    return done


@_jit
def _cell_of(knots: Ints, z: int) -> int:
    low, high = 0, knots.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if knots[middle] <= z:
            low = middle
        else:
            high = middle
    return low


@_jit
def _rule(
    totals: Ints, counts: Ints, sums: Ints, knots: Ints, fill: Ints
) -> tuple[int, int, int, int]:
    if totals[_SEATS] == 0:
        return LATTICE - 1, LATTICE, 0, 1
    if totals[_ARRIVED] <= totals[_SEATS]:
        return -1, 0, LATTICE, 1
    if totals[_CUTTING] == 0:
        return -1, 0, _lift(totals, fill), totals[_FREE]
    cell = totals[_CELL]
    dead, bend = knots[cell], knots[cell + 1]
    run = (bend - dead) * totals[_ABOVE] + sums[cell] - dead * counts[cell]
    return dead, bend, _rise(totals, knots), run


@_jit
def _lift(totals: Ints, fill: Ints) -> int:
    return (totals[_SEATS] - fill[_CAPPED]) * LATTICE - totals[_FREE_SUM]


@_jit
def _rise(totals: Ints, knots: Ints) -> int:
    bend = knots[totals[_CELL] + 1]
    return totals[_SEATS] * LATTICE + bend * totals[_ABOVE] - totals[_ABOVE_SUM]


@_jit
def _settle(totals: Ints, counts: Ints, sums: Ints, knots: Ints, capped: Ints, fill: Ints) -> None:
    if totals[_ARRIVED] <= totals[_SEATS] or totals[_SEATS] == 0:
        return
    if totals[_CUTTING] == 0:
        while fill[_CAPPED] > 0:
            free = totals[_FREE]
            if free > 0 and capped[0] * free + _lift(totals, fill) >= LATTICE * free:
                break
            totals[_FREE_SUM] += _pop(capped, fill)
            totals[_FREE] += 1
        if _lift(totals, fill) >= 0:
            return
        totals[_CUTTING] = 1
        for cell in range(1, counts.size):
            totals[_ABOVE] += counts[cell]
            totals[_ABOVE_SUM] += sums[cell]
    while _rise(totals, knots) <= 0:
        totals[_CELL] += 1
        totals[_ABOVE] -= counts[totals[_CELL]]
        totals[_ABOVE_SUM] -= sums[totals[_CELL]]


@_jit
def _push(heap: Ints, fill: Ints, value: int) -> None:
    place = fill[_CAPPED]
    fill[_CAPPED] += 1
    while place > 0 and heap[(place - 1) // 2] > value:
        heap[place] = heap[(place - 1) // 2]
        place = (place - 1) // 2
    heap[place] = value


@_jit
def _pop(heap: Ints, fill: Ints) -> int:
    fill[_CAPPED] -= 1
    size, least = fill[_CAPPED], heap[0]
    value, place = heap[size], 0
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = value
    return least


@_jit
def _reject(gone: Ints, upon: Ints, fill: Ints, number: int, decided: int) -> None:
    gone[fill[_REJECTED]] = number
    upon[fill[_REJECTED]] = decided
    fill[_REJECTED] += 1


@_jit
def _sweep(
    numbers: Ints, scores: Ints, weights: Floats, fill: Ints, decided: int, gone: Ints, upon: Ints
) -> None:
    kept = 0
    for i in range(fill[_WAITING]):
        if weights[i] == 0.0:
            _reject(gone, upon, fill, numbers[i], decided)
        else:
            numbers[kept], scores[kept], weights[kept] = numbers[i], scores[i], weights[i]
            kept += 1
    fill[_WAITING] = kept


@_jit
def _compress(
    knots: Ints,
    dead: int,
    bend: int,
    height: float,
    scores: Ints,
    weights: Floats,
    chance: Floats,
    pairs: Ints,
    trio: Ints,
    line: Floats,
    fill: Ints,
    words: Words,
) -> None:
    foot = float(bend - dead) * height
    for i in range(fill[_WAITING]):
        z = scores[i]
        if z <= dead:
            chance[i] = 0.0
        elif z < bend:
            chance[i] = float(z - dead) * height / _SCALE
        else:
            chance[i] = min(1.0, (float(z - bend) + foot) / _SCALE)
        if _moves(i, weights, chance):
            _meet(_cell_of(knots, z), i, scores, weights, chance, pairs, trio, line, fill, words)
    for i in range(fill[_WAITING]):
        cell = _cell_of(knots, scores[i])
        pairs[0, cell] = pairs[1, cell] = -1


@_jit
def _moves(i: int, weights: Floats, chance: Floats) -> bool:
    drawn = weights[i] * chance[i]
    if drawn <= TINY:
        weights[i] = 0.0
        return False
    return drawn < 1.0 - TINY


@_jit
def _meet(
    cell: int,
    new: int,
    scores: Ints,
    weights: Floats,
    chance: Floats,
    pairs: Ints,
    trio: Ints,
    line: Floats,
    fill: Ints,
    words: Words,
) -> None:
    a, b = pairs[0, cell], pairs[1, cell]
    z = scores[new]
    if a >= 0 and scores[a] == z:
        keep, meets = b, a
    elif b >= 0 and scores[b] == z:
        keep, meets = a, b
    elif b < 0:
        pairs[0 if a < 0 else 1, cell] = new
        return
    else:
        keep, meets = -1, -1
    if meets >= 0:
        people = 2
        trio[0], trio[1] = meets, new
        line[0], line[1] = 1.0, -1.0
    else:
        people = 3
        trio[0], trio[1], trio[2] = a, b, new
        line[0] = float(scores[b] - z)
        line[1] = float(z - scores[a])
        line[2] = float(scores[a] - scores[b])
    _move(people, trio, line, weights, chance, fill, words)
    place = 0
    pairs[0, cell] = pairs[1, cell] = -1
    if keep >= 0:
        pairs[0, cell] = keep
        place = 1
    for j in range(people):
        if trio[j] >= 0:
            pairs[place, cell] = trio[j]
            place += 1


@_jit
def _move(
    people: int, trio: Ints, line: Floats, weights: Floats, chance: Floats, fill: Ints, words: Words
) -> None:
    """Move weights; put -1 in place of whoever may not move on."""
    ahead, first = _reach(people, trio, line, 1.0, weights, chance)
    back, last = _reach(people, trio, line, -1.0, weights, chance)
    word = words[fill[_WORDS]]
    fill[_WORDS] += 1
    if np.int64(word & _COIN_MASK) < np.int64(back / (ahead + back) * _COIN):
        step, settled = ahead, first
    else:
        step, settled = -back, last
    for j in range(people):
        i = trio[j]
        if j != settled:
            weights[i] = weights[i] + step * line[j]
            if not _moves(i, weights, chance):
                trio[j] = -1
        else:
            weights[i] = 1.0 / chance[i] if (line[j] > 0.0) == (step > 0.0) else 0.0
            trio[j] = -1


@_jit
def _reach(
    people: int, trio: Ints, line: Floats, sign: float, weights: Floats, chance: Floats
) -> tuple[float, int]:
    best, who = np.inf, -1
    for j in range(people):
        i, v = trio[j], sign * line[j]
        step = (1.0 / chance[i] - weights[i]) / v if v > 0.0 else weights[i] / -v
        if step < best:
            best, who = step, j
    return best, who
