"""The plain kernels: NumPy and SciPy, written to be read; the oracle of the compiled ones.

State between two events: ``V(s) = A e^(-s/tau_m) - B e^(-s/tau_s)``, `s` ms after the last event.
An input of weight `w` adds ``w * norm`` to A and B, an output spike sets A to B. With equal time
constants the state is ``V(s) = (A + B s) e^(-s/tau)``.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from septet.spiking.neurons._backend import Constants

Floats: TypeAlias = NDArray[np.float64]


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
    """Run every pattern through a layer; spikes ordered by pattern, time and neuron.

    The last value names pattern and neuron of a spike storm, or is ``(-1, -1)``.
    """
    run = _run_delta if lif.tau_s == 0 else _run_currents
    spikes: list[tuple[float, int]] = []
    ends = [0]
    for p in range(indptr.size - 1):
        piece = slice(indptr[p], indptr[p + 1])
        fired = run(times[piece], ids[piece], duration, weights, lif, max_spikes)
        counts = np.bincount([k for _, k in fired], minlength=len(weights))
        if counts.max() > max_spikes:
            return (
                np.empty(0),
                np.empty(0, np.int64),
                np.zeros(1, np.int64),
                (p, int(counts.argmax())),
            )
        spikes += sorted(fired)
        ends.append(len(spikes))
    out_times = np.array([t for t, _ in spikes], dtype=np.float64)
    out_ids = np.array([k for _, k in spikes], dtype=np.int64)
    return out_times, out_ids, np.array(ends, dtype=np.int64), (-1, -1)


def _run_currents(
    times: Floats, ids: NDArray[Any], duration: float, weights: Floats, lif: Constants, most: int
) -> list[tuple[float, int]]:
    """One pattern, current synapses. Stops early once a neuron has more than `most` spikes."""
    n_neurons = len(weights)
    alpha = lif.tau_s == lif.tau_m
    a, b = np.zeros(n_neurons), np.zeros(n_neurons)
    held_until = np.full(n_neurons, -np.inf)
    fired: list[tuple[float, int]] = []
    counts = np.zeros(n_neurons, dtype=np.int64)
    now = 0.0
    for e in range(times.size + 1):
        then = times[e] if e < times.size else duration
        for k in range(n_neurons):
            start = now
            if held_until[k] > now:  # potential held at 0, the current lives on
                start = min(held_until[k], then)
                b[k] *= np.exp(-(start - now) / lif.tau_s)
                a[k] = 0.0 if alpha else b[k]
            while (s := crossing(a[k], b[k], then - start, lif)) >= 0:
                start += s
                fired.append((start, k))
                counts[k] += 1
                if counts[k] > most:
                    return fired
                b[k] *= np.exp(-s / lif.tau_s)
                a[k] = 0.0 if alpha else b[k]
                if lif.t_ref > 0:
                    held_until[k] = start + lif.t_ref
                    end = min(held_until[k], then)
                    b[k] *= np.exp(-(end - start) / lif.tau_s)
                    a[k] = 0.0 if alpha else b[k]
                    start = end
            span = then - start
            a[k] = (a[k] + (b[k] * span if alpha else 0.0)) * np.exp(-span / lif.tau_m)
            b[k] *= np.exp(-span / lif.tau_s)
        if e < times.size:
            drive = lif.norm * weights[:, ids[e]]
            a += 0.0 if alpha else drive
            b += drive / lif.tau_m if alpha else drive
        now = then
    return fired


def _run_delta(
    times: Floats, ids: NDArray[Any], duration: float, weights: Floats, lif: Constants, most: int
) -> list[tuple[float, int]]:
    """One pattern, delta synapses: the threshold is tested after all inputs of one time."""
    del duration, most  # one spike per input time at most: no loop can run away
    v = np.zeros(len(weights))
    held_until = np.full(len(weights), -np.inf)
    fired: list[tuple[float, int]] = []
    now = 0.0
    for t in np.unique(times):
        v *= np.exp(-(t - now) / lif.tau_m)
        now = t
        for i in ids[times == t]:
            v += np.where(held_until < t, weights[:, i], 0.0)
        for k in np.flatnonzero(v >= lif.threshold):
            fired.append((float(t), int(k)))
            v[k] = 0.0
            if lif.t_ref > 0:
                held_until[k] = t + lif.t_ref
    return fired


def value(a: float, b: float, s: float, lif: Constants) -> float:
    """Potential `s` ms after the event that left the state (a, b)."""
    if lif.tau_s == lif.tau_m:
        return (a + b * s) * np.exp(-s / lif.tau_m)
    return a * np.exp(-s / lif.tau_m) - b * np.exp(-s / lif.tau_s)


def peak(a: float, b: float, lif: Constants) -> float:
    """Time of the only maximum after an event, infinite if the potential has none."""
    if lif.tau_s == lif.tau_m:
        return max(lif.tau_m - a / b, 0.0) if b > 0 else np.inf
    if a <= 0 or b <= 0:
        return np.inf
    ratio = b * lif.tau_m / (a * lif.tau_s)
    return np.log(ratio) / (1 / lif.tau_s - 1 / lif.tau_m) if ratio > 1 else 0.0


def crossing(a: float, b: float, span: float, lif: Constants) -> float:
    """First time in [0, span] at which the potential reaches the threshold, or -1."""
    if value(a, b, 0.0, lif) >= lif.threshold:
        return 0.0
    top = peak(a, b, lif)
    h = min(top, span)
    if not np.isfinite(top) or top == 0 or value(a, b, h, lif) < lif.threshold:
        return -1.0

    def gap(s: float) -> float:
        return value(a, b, s, lif) - lif.threshold

    return float(brentq(gap, 0.0, h, xtol=1e-14, rtol=1e-15, maxiter=200))  # pyrefly: ignore
