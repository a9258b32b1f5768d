"""Poisson trains from a counter: the n-th number depends on seed and n alone, in any language."""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

# The finaliser and increment of SplitMix64 (Steele, Lea, Flood 2014).
STEP, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK = 2**64 - 1


def mix(value: int) -> int:
    """Scramble 64 bits so that neighbouring inputs have unrelated outputs."""
    value = (value ^ (value >> 30)) * MIX_1 & _MASK
    value = (value ^ (value >> 27)) * MIX_2 & _MASK
    return value ^ (value >> 31)


def uniform(seed: int, n: int) -> float:
    """Return the n-th number in [0, 1) of a seed."""
    return (mix(seed + (n + 1) * STEP & _MASK) >> 11) * 2.0**-53


def alias_table(weights: Floats) -> tuple[Floats, Ints]:
    """Vose's alias table: channel j is kept with chance ``keep[j]``, else it becomes ``other[j]``.

    Examples
    --------
    >>> keep, other = alias_table(np.array([3.0, 1.0]))
    >>> keep.tolist(), other.tolist()
    ([1.0, 0.5], [0, 0])
    """
    n = weights.size
    keep = weights * (n / weights.sum())
    other = np.arange(n)
    small = [i for i in range(n) if keep[i] < 1.0]
    large = [i for i in range(n) if keep[i] >= 1.0]
    while small and large:
        low, high = small.pop(), large[-1]
        other[low] = high
        keep[high] -= 1.0 - keep[low]
        if keep[high] < 1.0:
            small.append(large.pop())
    keep[small + large] = 1.0  # what rounding has left over
    return keep, other


def poisson_events(rates: Floats, duration: float, seed: int) -> tuple[Floats, Ints]:
    """Superposed Poisson trains: next arrival after an exponential time, channel by its rate.

    Parameters
    ----------
    rates : ndarray of shape (n_inputs,)
        Spikes per ms.
    duration : float
        Length in ms.
    seed : int
        From 0 to ``2**64 - 1``.

    Examples
    --------
    >>> times, ids = poisson_events(np.array([0.1, 0.3]), 20.0, 7)
    >>> times.round(3).tolist(), ids.tolist()
    ([1.235, 7.011, 8.516, 10.094, 10.454, 10.728, 16.981], [0, 1, 0, 1, 1, 1, 1])
    """
    total = float(rates.sum())
    times: list[float] = []
    ids: list[int] = []
    if total > 0:
        keep, other = alias_table(rates)
        now, n = 0.0, 0
        while True:
            now -= math.log(1.0 - uniform(seed, n)) / total
            if now >= duration:
                break
            place = uniform(seed, n + 1) * rates.size
            j = int(place)
            times.append(now)
            ids.append(j if place - j < keep[j] else int(other[j]))
            n += 2
    return np.array(times), np.array(ids, dtype=np.int64)
