"""Compiled kernels of the local rules: runs, where to change weights, and by how much.

Every rule comes down to times and coefficients: ``dw_i = sum_m c_m * (trace of input i at t_m)``.
One backward sweep over the inputs adds all of that up, whatever the number of times.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from septet.spiking.constraint._compiled import psp_rows
from septet.spiking.constraint._timeline import INPUT, RELEASE, SPIKE, Timeline
from septet.spiking.neurons._backend import Constants
from septet.spiking.neurons._compiled import crossing, peak, value
from septet.spiking.neurons._jit import compiled, inner

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.integer]

# What a trace is made of: the potential, its slow exponential alone, or SPAN's two-sided kernel.
POTENTIAL, DECAY, TWO_SIDED = range(3)


@compiled
def run_with_peak(
    w: Floats, p: int, line: Timeline, lif: Constants, resets: bool, spikes: Floats
) -> tuple[int, float, float, int]:
    """Run freely; find the largest maximum that stays below the threshold.

    Returns the number of spikes (-1 if there is no room), the maximum's time and height, and how
    many spikes come before it; its height is -inf if there is none. Without `resets` nothing ever
    fires and the maximum is that of the bare potential.
    """
    alpha = lif.tau_s == lif.tau_m
    gain_a, gain_b = (0.0, lif.norm / lif.tau_m) if alpha else (lif.norm, lif.norm)
    a = b = now = 0.0
    held = best_t = -1.0
    best_v, before, n = -np.inf, 0, 0
    rising = False
    for e in range(line.indptr[p], line.indptr[p + 1]):
        then = line.time[e]
        while True:
            if held > now:
                end = min(held, then)
                b *= np.exp(-(end - now) / lif.tau_s)
                a = 0.0 if alpha else b
                now = end
                rising = False
            start = a if alpha else a - b
            slope = b - a / lif.tau_m if alpha else b / lif.tau_s - a / lif.tau_m
            span = then - now
            if span <= 0:
                break
            if slope <= 0 and rising and start > best_v:
                best_t, best_v, before = now, start, n
            s = -1.0
            if resets and (start >= lif.threshold or start + slope * span >= lif.threshold):
                s = crossing(a, b, span, lif)
            if s < 0:
                if slope > 0 and start + slope * span > best_v:
                    top = peak(a, b, lif)
                    if top < span:
                        v = value(a, b, top, lif)
                        if v > best_v:
                            best_t, best_v, before = now + top, v, n
                break
            if n == spikes.size:
                return -1, best_t, best_v, before
            now += s
            b *= np.exp(-s / lif.tau_s)
            a = 0.0 if alpha else b
            rising = False
            spikes[n] = now
            n += 1
            if lif.t_ref > 0:
                held = now + lif.t_ref
        span = then - now
        if span > 0:
            a = (a + (b * span if alpha else 0.0)) * np.exp(-span / lif.tau_m)
            b *= np.exp(-span / lif.tau_s)
            rising = (b - a / lif.tau_m if alpha else b / lif.tau_s - a / lif.tau_m) > 0
        if line.kind[e] == INPUT:
            a += gain_a * w[line.unit[e]]
            b += gain_b * w[line.unit[e]]
        now = then
    v = a if alpha else a - b
    if rising and v > best_v and held <= now:
        best_t, best_v, before = now, v, n
    return n, best_t, best_v, before


@compiled
def forced_values(w: Floats, p: int, line: Timeline, lif: Constants, values: Floats) -> None:
    """Write the potential at each desired spike of a run with resets forced there."""
    alpha = lif.tau_s == lif.tau_m
    gain_a, gain_b = (0.0, lif.norm / lif.tau_m) if alpha else (lif.norm, lif.norm)
    a = b = now = 0.0
    k = 0
    for e in range(line.indptr[p], line.indptr[p + 1]):
        span = line.time[e] - now
        now = line.time[e]
        a = (a + (b * span if alpha else 0.0)) * line.decay_m[e]
        b *= line.decay_s[e]
        kind = line.kind[e]
        if kind == INPUT:
            a += gain_a * w[line.unit[e]]
            b += gain_b * w[line.unit[e]]
        elif kind == SPIKE:
            values[k] = a if alpha else a - b
            k += 1
            if lif.t_ref == 0:
                a -= lif.threshold
        elif kind == RELEASE:
            a = 0.0 if alpha else b


@compiled
def add_traces(
    p: int, line: Timeline, lif: Constants, trace: int, times: Floats, steps: Floats, w: Floats
) -> None:
    """Add ``sum_m steps[m] * trace_i(times[m])`` to every weight; `times` ascend.

    `line` and `lif` carry the trace's time constants: POTENTIAL is the postsynaptic potential,
    DECAY ``exp(-lag / tau_m)``, TWO_SIDED ``(|lag| + tau) exp(-|lag| / tau)`` (equal constants).
    """
    alpha = lif.tau_s == lif.tau_m
    slow = fast = moment = 0.0  # what later times ask for, seen from the start of the block
    base = np.inf
    m = times.size - 1
    for e in range(line.indptr[p + 1] - 1, line.indptr[p] - 1, -1):
        if line.kind[e] != INPUT:
            continue
        start = np.floor(line.time[e] / line.block) * line.block
        if start < base:
            if base < np.inf:
                fall = base - start
                fall_s = np.exp(-fall / lif.tau_s)
                moment = (moment + fall * fast) * fall_s
                slow *= np.exp(-fall / lif.tau_m)
                fast *= fall_s
            base = start
        while m >= 0 and times[m] > line.time[e]:
            u = times[m] - base
            decay_s = np.exp(-u / lif.tau_s)
            slow += steps[m] * np.exp(-u / lif.tau_m)
            fast += steps[m] * decay_s
            moment += steps[m] * u * decay_s
            m -= 1
        if trace == DECAY:
            w[line.unit[e]] += line.rise_m[e] * slow
        elif not alpha:
            w[line.unit[e]] += lif.norm * (line.rise_m[e] * slow - line.rise_s[e] * fast)
        else:
            lag = line.rise_s[e] * moment - line.rise_m[e] * fast
            if trace == TWO_SIDED:
                w[line.unit[e]] += lag + lif.tau_m * line.rise_s[e] * fast
            else:
                w[line.unit[e]] += lif.norm / lif.tau_m * lag
    if trace == TWO_SIDED:
        for e in range(line.indptr[p], line.indptr[p + 1]):
            if line.kind[e] == INPUT:
                for j in range(times.size):
                    lag = line.time[e] - times[j]
                    if 0 <= lag < 40 * lif.tau_m:
                        w[line.unit[e]] += steps[j] * (lag + lif.tau_m) * np.exp(-lag / lif.tau_m)


@inner
def alignment(fired: Floats, desired: Floats, tau: float, moved_to: Ints, cost: Floats) -> None:
    """Align two trains at the least cost: 1 per spike without partner, 1/2 (lag / tau)^2 per pair.

    ``moved_to[j]`` becomes the desired spike that fired spike `j` is moved to, or -1.
    """
    n, m = fired.size, desired.size
    for i in range(n + 1):
        for j in range(m + 1):
            if i == 0 or j == 0:
                cost[i, j] = float(i + j)
                continue
            pair = cost[i - 1, j - 1] + 0.5 * ((fired[i - 1] - desired[j - 1]) / tau) ** 2
            cost[i, j] = min(pair, min(cost[i - 1, j], cost[i, j - 1]) + 1.0)
    i, j = n, m
    while i > 0:
        if j == 0 or cost[i, j] == cost[i - 1, j] + 1.0:
            i -= 1
            moved_to[i] = -1
        elif cost[i, j] == cost[i, j - 1] + 1.0:
            j -= 1
        else:
            i, j = i - 1, j - 1
            moved_to[i] = j


@compiled
def critical_threshold(
    w: Floats, p: int, line: Timeline, lif: Constants, k: int, spikes: Floats
) -> tuple[float, float, int]:
    """Find the largest threshold at which the neuron fires at least `k` times.

    Returns it, the time of the maximum that touches it, and the number of spikes before that
    (their times are in `spikes`); the threshold is not positive if there is none.
    """
    _, t, high, before = run_with_peak(w, p, line, lif, False, spikes)
    if k == 1 or not high > 0:
        return high, t, 0
    low = high
    for _ in range(60):
        low *= 0.5
        if _count(w, p, line, lif, low, spikes) >= k:
            break
    else:
        return -1.0, -1.0, 0
    while True:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        if _count(w, p, line, lif, middle, spikes) >= k:
            low = middle
        else:
            high = middle
    at = Constants(lif.tau_m, lif.tau_s, high, lif.t_ref, lif.norm)
    _, t, _, before = run_with_peak(w, p, line, at, True, spikes)
    return high, t, before


@inner
def _count(
    w: Floats, p: int, line: Timeline, lif: Constants, threshold: float, spikes: Floats
) -> int:
    at = Constants(lif.tau_m, lif.tau_s, threshold, lif.t_ref, lif.norm)
    n = run_with_peak(w, p, line, at, True, spikes)[0]
    return spikes.size + 1 if n < 0 else n


@compiled
def critical_gradient(
    w: Floats, p: int, line: Timeline, lif: Constants, t: float, before: Floats, out: Floats
) -> None:
    """Write the gradient of a critical threshold: the touching maximum at `t`, spikes `before`.

    At a critical threshold every earlier spike time depends on the weights through the threshold
    itself and through the spikes before it; the two dependences are carried along spike by spike.
    """
    m = before.size
    n_inputs = w.size
    when = np.empty(m + 1)
    when[:m] = before
    when[m] = t
    x, slopes = np.empty((m + 1, n_inputs)), np.empty((m + 1, n_inputs))
    psp_rows(p, line, lif, when, x, slopes)
    by_threshold, rise = np.empty(m + 1), np.empty(m + 1)
    by_weight = np.empty((m + 1, n_inputs))
    for k in range(m + 1):
        level, fall = 1.0, 0.0
        for j in range(k):
            level += np.exp(-(when[k] - when[j]) / lif.tau_m)
        fall = level - 1.0
        bare = rate = 0.0
        for i in range(n_inputs):
            bare += w[i] * x[k, i]
            rate += w[i] * slopes[k, i]
        rise[k] = rate / level + bare / (level**2 * lif.tau_m) * fall
        by_threshold[k] = 1.0
        for i in range(n_inputs):
            by_weight[k, i] = -x[k, i] / level
        for j in range(k):
            shift = -bare / level**2 * np.exp(-(when[k] - when[j]) / lif.tau_m) / lif.tau_m
            by_threshold[k] -= by_threshold[j] / rise[j] * shift
            for i in range(n_inputs):
                by_weight[k, i] -= by_weight[j, i] / rise[j] * shift
    for i in range(n_inputs):
        out[i] = -by_weight[m, i] / by_threshold[m]


@compiled
def eligibility(
    w: Floats, p: int, line: Timeline, lif: Constants, spikes: Floats, out: Floats
) -> None:
    """Write the correlation of each input's potentials with the membrane potential of a free run.

    ``out[i] = sum_j integral V(t) K(t - t_ij) dt``, in closed form: the integrals from a time on
    obey a recursion backwards over the intervals between inputs and spikes.
    """
    n_spikes = spikes.size
    first, last = line.indptr[p], line.indptr[p + 1]
    n_points = last - first + n_spikes
    times, a_s, b_s = np.empty(n_points + 1), np.empty(n_points), np.empty(n_points)
    unit = np.empty(n_points, np.int64)
    a = b = now = 0.0
    j = n = 0
    e = first
    while e < last:
        is_spike = j < n_spikes and spikes[j] <= line.time[e]
        then = spikes[j] if is_spike else line.time[e]
        a *= np.exp(-(then - now) / lif.tau_m)
        b *= np.exp(-(then - now) / lif.tau_s)
        now = then
        unit[n] = -1
        if is_spike:
            a = b
            j += 1
        else:
            if line.kind[e] == INPUT:
                unit[n] = line.unit[e]
                a += lif.norm * w[unit[n]]
                b += lif.norm * w[unit[n]]
            e += 1
        times[n], a_s[n], b_s[n] = now, a, b
        n += 1
    both = 1 / (1 / lif.tau_m + 1 / lif.tau_s)
    slow = fast = 0.0
    out[:] = 0.0
    for i in range(n - 1, -1, -1):
        span = times[i + 1] - times[i] if i + 1 < n else 0.0
        e_m, e_s = np.exp(-span / lif.tau_m), np.exp(-span / lif.tau_s)
        slow = (
            a_s[i] * lif.tau_m / 2 * (1 - e_m * e_m) - b_s[i] * both * (1 - e_m * e_s) + e_m * slow
        )
        fast = (
            a_s[i] * both * (1 - e_m * e_s) - b_s[i] * lif.tau_s / 2 * (1 - e_s * e_s) + e_s * fast
        )
        if unit[i] >= 0:
            out[unit[i]] += lif.norm * (slow - fast)
