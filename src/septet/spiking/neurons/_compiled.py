"""The compiled kernels. `_reference` says in plain words what they compute.

Both current synapses share one set of coefficients, so that the loop over neurons is the same::

    a <- a * decay_m + b * shift + gain_a * w        double: shift 0,     gains norm, norm
    b <- b * decay_s             + gain_b * w        alpha:  shift span * decay, gains 0, norm / tau

Between two inputs almost no neuron can reach the threshold, and its tangent shows it: up to its
maximum a rising potential is concave, so that it stays below ``V + span * dV/dt``. Only neurons
whose potential or tangent reaches the threshold are examined for a crossing.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from septet.spiking.neurons._backend import Constants
from septet.spiking.neurons._jit import compiled, inner

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.integer]

_DONE, _FULL, _STORM = 0, 1, 2


@compiled
def value(a: float, b: float, s: float, lif: Constants) -> float:
    """Potential `s` ms after the event that left the state (a, b)."""
    if lif.tau_s == lif.tau_m:
        return (a + b * s) * np.exp(-s / lif.tau_m)
    return a * np.exp(-s / lif.tau_m) - b * np.exp(-s / lif.tau_s)


@compiled
def peak(a: float, b: float, lif: Constants) -> float:
    """Time of the only maximum after an event, infinite if the potential has none."""
    if lif.tau_s == lif.tau_m:
        return max(lif.tau_m - a / b, 0.0) if b > 0 else np.inf
    if a <= 0 or b <= 0:
        return np.inf
    ratio = b * lif.tau_m / (a * lif.tau_s)
    return np.log(ratio) / (1 / lif.tau_s - 1 / lif.tau_m) if ratio > 1 else 0.0


@inner
def value_and_slope(a: float, b: float, s: float, lif: Constants) -> tuple[float, float]:
    """Potential and its time derivative `s` ms after the event that left the state (a, b)."""
    decay_m = np.exp(-s / lif.tau_m)
    if lif.tau_s == lif.tau_m:
        v = (a + b * s) * decay_m
        return v, b * decay_m - v / lif.tau_m
    slow, fast = a * decay_m, b * np.exp(-s / lif.tau_s)
    return slow - fast, fast / lif.tau_s - slow / lif.tau_m


@compiled
def crossing(a: float, b: float, span: float, lif: Constants) -> float:
    """First time in [0, span] at which the potential reaches the threshold, or -1.

    Up to its maximum the potential rises and is concave, where Newton's steps converge from the
    left; bisection takes over when they stall at a tangential crossing.
    """
    theta = lif.threshold
    start = a if lif.tau_s == lif.tau_m else a - b
    if start >= theta:
        return 0.0
    top = peak(a, b, lif)
    if top == 0.0 or top == np.inf:
        return -1.0
    low, high = 0.0, min(top, span)
    end = value(a, b, high, lif)
    if end < theta:
        return -1.0
    s = high * (theta - start) / (end - start)
    for _ in range(200):
        v, rise = value_and_slope(a, b, s, lif)
        if v >= theta:
            high = s
        else:
            low = s
        new = s - (v - theta) / rise if rise > 0 else high
        if not low <= new <= high:
            new = 0.5 * (low + high)
        if abs(new - s) <= 1e-13 * lif.tau_m:  # the next step would be its square
            return new
        s = new
    return s


@inner
def _interval(
    a: float,
    b: float,
    k: int,
    now: float,
    then: float,
    held: float,
    lif: Constants,
    times: Floats,
    ids: Ints,
    at: int,
    left: int,
) -> tuple[float, float, float, int, int]:
    """Take neuron `k` from `now` to `then`, spike by spike.

    It may fire `left` times. Returns the state there, the end of its refractory period, where the
    next spike is written, and a status.
    """
    alpha = lif.tau_s == lif.tau_m
    start = now
    while True:
        if held > start:  # potential held at 0, the current lives on
            end = min(held, then)
            b *= np.exp(-(end - start) / lif.tau_s)
            a = 0.0 if alpha else b
            start = end
        s = crossing(a, b, then - start, lif)
        if s < 0:
            break
        if left == 0:
            return a, b, held, at, _STORM
        if at == times.size:
            return a, b, held, at, _FULL
        start += s
        b *= np.exp(-s / lif.tau_s)
        a = 0.0 if alpha else b
        times[at] = start
        ids[at] = k
        at += 1
        left -= 1
        if lif.t_ref > 0:
            held = start + lif.t_ref
    span = then - start
    a = (a + (b * span if alpha else 0.0)) * np.exp(-span / lif.tau_m)
    b *= np.exp(-span / lif.tau_s)
    return a, b, held, at, _DONE


@inner
def _sort(times: Floats, ids: Ints, first: int, last: int) -> None:
    """Order the few spikes of one interval by time, then neuron."""
    for i in range(first + 1, last):
        t, k = times[i], ids[i]
        j = i
        while j > first and (times[j - 1] > t or (times[j - 1] == t and ids[j - 1] > k)):
            times[j], ids[j] = times[j - 1], ids[j - 1]
            j -= 1
        times[j], ids[j] = t, k


@inner
def _advance(a: Floats, b: Floats, row: Floats, span: float, ahead: float, lif: Constants) -> int:
    """Let all neurons decay for `span` ms and add an input; count those to examine next.

    The loop has no branch and runs on vector registers. `ahead` is the time to the next input.
    """
    alpha = lif.tau_s == lif.tau_m
    gain_a, gain_b = (0.0, lif.norm / lif.tau_m) if alpha else (lif.norm, lif.norm)
    decay_m, decay_s = np.exp(-span / lif.tau_m), np.exp(-span / lif.tau_s)
    shift = span * decay_m if alpha else 0.0
    start_b = 0.0 if alpha else -1.0
    end_a, end_b = 1 - ahead / lif.tau_m, ahead if alpha else ahead / lif.tau_s - 1
    n_hot = 0
    for k in range(a.size):
        a_k = a[k] * decay_m + b[k] * shift + gain_a * row[k]
        b_k = b[k] * decay_s + gain_b * row[k]
        a[k], b[k] = a_k, b_k
        n_hot += (a_k + b_k * start_b >= lif.threshold) | (
            a_k * end_a + b_k * end_b >= lif.threshold
        )
    return n_hot


@inner
def _run_currents(
    times: Floats,
    ids: Ints,
    duration: float,
    rows: Floats,
    lif: Constants,
    most: int,
    out_times: Floats,
    out_ids: Ints,
    at: int,
) -> tuple[int, int, int]:
    """One pattern. Returns where the next spike is written, a status and the neuron it is about."""
    n_neurons = rows.shape[1]
    alpha = lif.tau_s == lif.tau_m
    gain_a, gain_b = (0.0, lif.norm / lif.tau_m) if alpha else (lif.norm, lif.norm)
    a, b = np.zeros(n_neurons), np.zeros(n_neurons)
    held = np.zeros(n_neurons)  # end of the refractory period
    fired = np.zeros(n_neurons, np.int64)
    listed = np.empty(n_neurons, np.int64)  # the neurons to examine, and their states afterwards
    new_a, new_b = np.empty(n_neurons), np.empty(n_neurons)
    silent = np.zeros(n_neurons)
    now, n_listed, n_hot = 0.0, 0, 0
    n_events = times.size
    for e in range(n_events + 1):
        then = times[e] if e < n_events else duration
        if n_hot > 0 or n_listed > 0:
            n_listed = 0
            start_b, ahead = (0.0 if alpha else -1.0), then - now
            end_a, end_b = 1 - ahead / lif.tau_m, ahead if alpha else ahead / lif.tau_s - 1
            for k in range(n_neurons):
                if (
                    a[k] + b[k] * start_b >= lif.threshold
                    or a[k] * end_a + b[k] * end_b >= lif.threshold
                    or held[k] > now
                ):
                    listed[n_listed] = k
                    n_listed += 1
        first = at
        for j in range(n_listed):
            k = listed[j]
            before = at
            new_a[j], new_b[j], held[k], at, status = _interval(
                a[k], b[k], k, now, then, held[k], lif, out_times, out_ids, at, most - fired[k]
            )
            fired[k] += at - before
            if status != _DONE:
                return at, status, k
        row = rows[ids[e]] if e < n_events else silent
        following = times[e + 1] if e + 1 < n_events else duration
        n_hot = _advance(a, b, row, then - now, following - then, lif)
        for j in range(n_listed):
            k = listed[j]
            a[k], b[k] = new_a[j] + gain_a * row[k], new_b[j] + gain_b * row[k]
        _sort(out_times, out_ids, first, at)
        now = then
    return at, _DONE, -1


@inner
def _run_delta(
    times: Floats,
    ids: Ints,
    duration: float,
    rows: Floats,
    lif: Constants,
    most: int,
    out_times: Floats,
    out_ids: Ints,
    at: int,
) -> tuple[int, int, int]:
    """One pattern with delta synapses: the threshold is tested after all inputs of one time."""
    n_neurons = rows.shape[1]
    v = np.zeros(n_neurons)
    held = np.zeros(n_neurons)  # end of the refractory period
    fired = np.zeros(n_neurons, np.int64)
    now = 0.0
    e = 0
    while e < times.size:
        t = times[e]
        decay = np.exp(-(t - now) / lif.tau_m)
        for k in range(n_neurons):
            v[k] *= decay
        while e < times.size and times[e] == t:
            row = rows[ids[e]]
            for k in range(n_neurons):
                v[k] += row[k] if held[k] < t or fired[k] == 0 else 0.0
            e += 1
        for k in range(n_neurons):
            if v[k] >= lif.threshold:
                if fired[k] == most:
                    return at, _STORM, k
                if at == out_times.size:
                    return at, _FULL, k
                fired[k] += 1
                out_times[at], out_ids[at] = t, k
                at += 1
                v[k] = 0.0
                if lif.t_ref > 0:
                    held[k] = t + lif.t_ref
        now = t
    return at, _DONE, -1


@compiled
def _run_many(
    times: Floats,
    ids: Ints,
    indptr: Ints,
    first: int,
    last: int,
    duration: float,
    rows: Floats,
    lif: Constants,
    most: int,
    out_times: Floats,
    out_ids: Ints,
    ends: Ints,
) -> tuple[int, int, int]:
    """Run patterns `first` to `last`; returns the pattern it stopped at, a status and a neuron."""
    at = 0
    for p in range(first, last):
        t, i = times[indptr[p] : indptr[p + 1]], ids[indptr[p] : indptr[p + 1]]
        if lif.tau_s == 0:
            at, status, k = _run_delta(t, i, duration, rows, lif, most, out_times, out_ids, at)
        else:
            at, status, k = _run_currents(t, i, duration, rows, lif, most, out_times, out_ids, at)
        if status != _DONE:
            return p, status, k
        ends[p - first] = at
    return last, _DONE, -1


def _simulate_range(
    first: int, last: int, batch: tuple[Any, ...], rows: Floats, lif: Constants, most: int
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64], tuple[int, int]]:
    """Run some of the patterns, with a buffer that grows when a pattern does not fit."""
    times, ids, indptr, duration = batch
    size = 1024
    parts = [(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))]
    while first < last:
        out = np.empty(size), np.empty(size, np.int64)
        ends = np.empty(last - first, np.int64)
        stop, status, k = _run_many(
            times, ids, indptr, first, last, duration, rows, lif, most, *out, ends
        )
        if status == _STORM:
            return *parts[0], (stop, k)
        ends = ends[: stop - first]
        used = ends[-1] if ends.size else 0
        parts.append((out[0][:used], out[1][:used], np.diff(ends, prepend=0)))
        first = stop
        size *= 2
    out_times, out_ids, sizes = (np.concatenate(column) for column in zip(*parts, strict=True))
    return out_times, out_ids, sizes, (-1, -1)


def simulate(
    times: Floats,
    ids: NDArray[Any],
    indptr: NDArray[Any],
    duration: float,
    weights: Floats,
    lif: Constants,
    max_spikes: int,
    n_threads: int,
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64], tuple[int, int]]:
    """Run every pattern through a layer, as `_reference.simulate`, with patterns over threads."""
    rows = np.ascontiguousarray(weights.T)
    batch = (times, ids, indptr, duration)
    cuts = np.linspace(0, indptr.size - 1, n_threads + 1).astype(int)
    ranges = [(int(i), int(j)) for i, j in pairwise(cuts) if i < j]

    def run(limits: tuple[int, int]) -> tuple[Any, ...]:
        return _simulate_range(*limits, batch, rows, lif, max_spikes)

    if len(ranges) <= 1:
        parts = [run(limits) for limits in ranges]
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            parts = list(pool.map(run, ranges))
    for *_, storm in parts:
        if storm[0] >= 0:
            return np.empty(0), np.empty(0, np.int64), np.zeros(1, np.int64), storm
    out_times = np.concatenate([np.empty(0), *(part[0] for part in parts)])
    out_ids = np.concatenate([np.empty(0, np.int64), *(part[1] for part in parts)])
    sizes = np.concatenate([np.empty(0, np.int64), *(part[2] for part in parts)])
    return out_times, out_ids, np.concatenate([[0], np.cumsum(sizes)]), (-1, -1)
