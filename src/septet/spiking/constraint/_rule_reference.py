"""The local rules in plain words: the oracle of `_rule_epochs` and `_rule_kernels`.

Every rule is a function that returns by how much one pattern changes the weights.
"""

from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from septet.spiking.neurons import LIF, SpikeBatch, potential, psp, simulate
from septet.spiking.neurons._backend import Constants
from septet.spiking.neurons._reference import peak

Floats: TypeAlias = NDArray[np.float64]


class Pattern(NamedTuple):
    """One input pattern and the neuron that sees it."""

    lif: LIF
    inputs: SpikeBatch
    index: int

    def fired(self, w: Floats, threshold: float | None = None) -> Floats:
        """Return the spike times of a free run, at another threshold if one is given."""
        lif = self.lif if threshold is None else replace(self.lif, threshold=threshold)
        return simulate(lif, self.inputs[[self.index]], w, backend="numpy").times

    def x(self, times: Floats | list[float]) -> Floats:
        """Return the postsynaptic potentials at some times."""
        return psp(self.lif, self.inputs, self.index, times)

    def v(self, w: Floats, times: Floats, resets: Floats) -> Floats:
        """Return the potential at some times, with resets where they are prescribed."""
        return potential(self.lif, self.inputs, w, times, pattern=self.index, spikes=resets)


def maxima(pattern: Pattern, w: Floats, resets: Floats) -> tuple[Floats, Floats]:
    """Return times and heights of all maxima of the potential with prescribed resets."""
    lif, when = Constants.of(pattern.lif), pattern.inputs[pattern.index][0]
    duration = pattern.inputs.duration
    ends = np.unique(np.concatenate([[0.0], when, resets, [duration]]))
    found: list[float] = []
    nudge = 1e-7
    for start, end in pairwise(ends):
        # the state just after `start`, from two points inside the interval
        s = (end - start) * np.array([1 / 3, 2 / 3])
        basis = np.column_stack([np.exp(-s / lif.tau_m), -np.exp(-s / lif.tau_s)])
        if lif.tau_s == lif.tau_m:
            basis = np.column_stack([basis[:, 0], s * basis[:, 0]])
        a, b = np.linalg.solve(basis, pattern.v(w, start + s, resets))
        top = peak(a, b, lif)
        if 0 < top < end - start:
            found.append(start + top)
    for t in when:
        if t in resets or not 0 < t < duration:
            continue
        before, at, after = pattern.v(w, np.array([t - nudge, t, t + nudge]), resets)
        if before < at >= after:
            found.append(float(t))
    at_end = pattern.v(w, np.array([duration - nudge, duration]), resets)
    if at_end[0] < at_end[1]:
        found.append(duration)
    times = np.array(sorted(found))
    return times, pattern.v(w, times, resets)


def first_error(pattern: Pattern, w: Floats, desired: Floats, tolerance: float) -> Floats:
    """FP: correct only the first error of the pattern."""
    wanted = list(desired)
    for o in pattern.fired(w):
        if wanted and o > wanted[0] + tolerance:
            break
        if wanted and abs(o - wanted[0]) <= tolerance:
            wanted.pop(0)
            continue
        return -pattern.x([o])[0]
    if not wanted:  # rounding at the edge of a window
        return np.zeros(w.size)
    return pattern.x([min(wanted[0] + tolerance, pattern.inputs.duration)])[0]


def forced_errors(
    pattern: Pattern, w: Floats, desired: Floats, guard: float, margin: float | None
) -> Floats:
    """HTP (a margin), EMPD (none): errors of the potential with resets at desired times.

    HTP corrects by sign and does not look into the guard windows; EMPD corrects by size.
    """
    theta, by_size = pattern.lif.threshold, margin is None
    change = np.zeros(w.size)
    for d, v in zip(desired, pattern.v(w, desired, desired), strict=True):
        if by_size or v < theta:
            change += (theta - v if by_size else 1.0) * pattern.x([d])[0]
    times, heights = maxima(pattern, w, desired)
    edges = np.concatenate([[0.0], desired, [np.inf]])
    for start, end in pairwise(edges):
        inside = (times > start) & (times < end)
        if not by_size:
            inside &= times <= end - guard
        t, v = times[inside], heights[inside]
        if np.isfinite(end) and end - guard > start:  # a rising potential must be low by then
            t = np.append(t, end - guard)
            v = np.append(v, pattern.v(w, t[-1:], desired))
        ceiling = theta - (margin or 0.0)
        if v.max(initial=-np.inf) > ceiling:
            worst = int(v.argmax())
            change -= (v[worst] - theta if by_size else 1.0) * pattern.x([t[worst]])[0]
    return change


def alignment(fired: Floats, desired: Floats, tau: float) -> dict[int, int]:
    """Return which desired spike each fired one is moved to in the cheapest alignment."""

    def best(n: int, m: int) -> tuple[float, dict[int, int]]:
        if n == 0 or m == 0:
            return float(n + m), {}
        if (n, m) not in known:
            cost, pairs = best(n - 1, m - 1)
            price = 0.5 * ((fired[n - 1] - desired[m - 1]) / tau) ** 2
            options = [(cost + price, {**pairs, n - 1: m - 1})]
            for i, j in ((n - 1, m), (n, m - 1)):
                cost, pairs = best(i, j)
                options.append((cost + 1, pairs))
            known[n, m] = min(options, key=lambda option: option[0])
        return known[n, m]

    known: dict[tuple[int, int], tuple[float, dict[int, int]]] = {}
    return best(len(fired), len(desired))[1]


def edits(pattern: Pattern, w: Floats, desired: Floats, tau: float, pull: float) -> Floats:
    """E-learning: insert, delete and shift spikes as the cheapest alignment says."""
    fired = pattern.fired(w)
    moved_to = alignment(fired, desired, tau)
    change = np.zeros(w.size)
    for k, d in enumerate(desired):
        if k not in moved_to.values():
            change += pattern.x([d])[0]
    for j, o in enumerate(fired):
        pulled = pull / tau**2 * (o - desired[moved_to[j]]) if j in moved_to else -1.0
        change += pulled * pattern.x([o])[0]
    return change


def traces(
    pattern: Pattern, w: Floats, desired: Floats, kind: str, tau: float, bias: float
) -> Floats:
    """ReSuMe, PSD, SPAN: traces of the inputs at desired spikes less those at fired ones."""
    when, ids = pattern.inputs[pattern.index]
    current = LIF(tau, tau / 4)

    def trace(t: float) -> Floats:
        lag = t - when
        if kind == "resume":
            value = np.where(lag > 0, np.exp(-np.maximum(lag, 0) / tau), 0.0)
        elif kind == "psd":
            value = current.psp(lag)
        else:
            value = (np.e / 2) ** 2 * (np.abs(lag) + tau) * np.exp(-np.abs(lag) / tau)
        total = np.asarray(np.bincount(ids, value, w.size), dtype=np.float64)
        return total + bias if kind == "resume" else total

    change = np.zeros(w.size)
    for d in desired:
        change += trace(d)
    for o in pattern.fired(w):
        change -= trace(o)
    return change


def critical_threshold(pattern: Pattern, w: Floats, k: int) -> tuple[float, float, Floats]:
    """Return the largest threshold with `k` spikes, the touching maximum and the spikes before."""
    times, heights = maxima(pattern, w, np.zeros(0))
    high = float(heights.max(initial=-np.inf))
    if k == 1 or not high > 0:
        return high, float(times[heights.argmax()]) if times.size else -1.0, np.zeros(0)
    low = high
    for _ in range(60):
        low *= 0.5
        if pattern.fired(w, low).size >= k:
            break
    else:
        return -1.0, -1.0, np.zeros(0)
    while low < (middle := 0.5 * (low + high)) < high:
        if pattern.fired(w, middle).size >= k:
            low = middle
        else:
            high = middle
    at = pattern._replace(lif=replace(pattern.lif, threshold=high))
    spikes = at.fired(w)
    times, heights = maxima(at, w, spikes)
    t = float(times[heights.argmax()])
    return high, t, spikes[spikes < t]


def critical_gradient(pattern: Pattern, w: Floats, t: float, before: Floats) -> Floats:
    """Return the gradient of a critical threshold whose touching maximum is at `t`.

    With ``C = 1 + sum_j R(t - t_j)`` the potential touches at ``V0 / C``; every spike before `t`
    depends on the weights through the threshold and through the spikes before it.
    """
    lif = pattern.lif
    when = np.append(before, t)
    x, slopes = pattern.x(when), psp(lif, pattern.inputs, pattern.index, when, slope=True)
    decay = lif.reset(when[:, None] - when)
    level = 1 + decay.sum(axis=1)
    rise = (slopes @ w) / level + (x @ w) / (level**2 * lif.tau_m) * decay.sum(axis=1)
    by_spike = -((x @ w) / level**2)[:, None] * decay / lif.tau_m
    by_threshold, by_weight = np.ones(when.size), -x / level[:, None]
    for k in range(when.size):
        carried = by_spike[k, :k] / rise[:k]
        by_threshold[k] -= carried @ by_threshold[:k]
        by_weight[k] -= carried @ by_weight[:k]
    return -by_weight[-1] / by_threshold[-1]


def eligibility(pattern: Pattern, w: Floats, *, steps: int = 20_001) -> Floats:
    """Return ``integral V(t) x_i(t) dt`` for every input, by sampling."""
    grid = np.linspace(0, pattern.inputs.duration, steps)
    v = pattern.v(w, grid, pattern.fired(w))
    return np.trapezoid(v[:, None] * pattern.x(grid), grid, axis=0)
