"""The plain kernels of learning, written to be read; the oracle of the compiled ones."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from septet.spiking.constraint._rows import (
    BELOW,
    FIRE,
    N_ACTIVE,
    N_ROWS,
    RISE,
    Limits,
    Rows,
    shared_misses,
)
from septet.spiking.constraint._timeline import GUARD, INPUT, RELEASE, SPIKE, Targets, Timeline
from septet.spiking.neurons._backend import Constants
from septet.spiking.neurons._lif import LIF
from septet.spiking.neurons._reference import crossing, peak, value

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.integer]


def _slope(a: float, b: float, lif: Constants) -> float:
    if lif.tau_s == lif.tau_m:
        return b - a / lif.tau_m
    return b / lif.tau_s - a / lif.tau_m


def _decayed(a: float, b: float, span: float, lif: Constants) -> tuple[float, float]:
    if lif.tau_s == lif.tau_m:
        a += b * span
    return a * np.exp(-span / lif.tau_m), b * np.exp(-span / lif.tau_s)


def _driven(a: float, b: float, weight: float, lif: Constants) -> tuple[float, float]:
    if lif.tau_s == lif.tau_m:
        return a, b + lif.norm / lif.tau_m * weight
    return a + lif.norm * weight, b + lif.norm * weight


def _at_rest(b: float, lif: Constants) -> tuple[float, float]:
    """State of potential 0 with the current that is flowing."""
    return (0.0 if lif.tau_s == lif.tau_m else b), b


def free_run(w: Floats, p: int, line: Timeline, lif: Constants, spikes: Floats) -> int:
    """Write the spikes of a free run to `spikes`; return their number, -1 if there is no room."""
    a = b = now = 0.0
    held = -1.0
    n = 0
    for e in range(line.indptr[p], line.indptr[p + 1]):
        then = line.time[e]
        while True:
            if held > now:
                end = min(held, then)
                a, b = _at_rest(_decayed(a, b, end - now, lif)[1], lif)
                now = end
            s = crossing(a, b, then - now, lif)
            if s < 0:
                break
            if n == spikes.size:
                return -1
            now += s
            a, b = _at_rest(_decayed(a, b, s, lif)[1], lif)
            spikes[n] = now
            n += 1
            if lif.t_ref > 0:
                held = now + lif.t_ref
        a, b = _decayed(a, b, then - now, lif)
        if line.kind[e] == INPUT:
            a, b = _driven(a, b, w[line.unit[e]], lif)
        now = then
    return n


def violations(
    w: Floats,
    p: int,
    line: Timeline,
    lif: Constants,
    limits: Limits,
    allowance: Floats,
    q: int,
    found: Floats,
) -> int:
    """Run pattern `p` with resets forced at the desired times; collect what is too high.

    Only maxima can be: one inside an interval between inputs, one where an input turns a rising
    potential down, or the value of a rising potential where its ceiling ends.
    """
    low = lif.threshold - limits.margin
    ceiling = low
    a = b = now = 0.0
    rising = held = False
    intervals: list[list[tuple[float, float, float]]] = [[]]

    def report(t: float, v: float) -> None:
        if v > ceiling + limits.tolerance + allowance[len(intervals) - 1]:
            intervals[-1].append((v - ceiling, t, ceiling))

    for e in range(line.indptr[p], line.indptr[p + 1]):
        then = line.time[e]
        span = then - now
        if span > 0 and not held:
            top = peak(a, b, lif)
            if _slope(a, b, lif) > 0 and top < span:
                report(now + top, value(a, b, top, lif))
            elif _slope(a, b, lif) <= 0 and rising:
                report(now, value(a, b, 0.0, lif))
        a, b = _decayed(a, b, span, lif)
        now = then
        if span > 0:
            rising = _slope(a, b, lif) > 0
        kind = line.kind[e]
        if kind == INPUT:
            a, b = _driven(a, b, w[line.unit[e]], lif)
        elif kind == SPIKE:
            intervals.append([])
            ceiling = low
            rising, held = False, lif.t_ref > 0
            a -= lif.threshold
        elif kind == RELEASE:
            a, b = _at_rest(b, lif)
            rising = held = False
        else:
            report(now, value(a, b, 0.0, lif))
            if kind == GUARD:
                ceiling = lif.threshold - limits.guard_margin
    worst = [sorted(sorted(each, reverse=True)[:q], key=lambda v: v[1]) for each in intervals]
    flat = [(t, v, beta, k) for k, each in enumerate(worst) for v, t, beta in each]
    found[: len(flat)] = np.reshape(flat, (-1, 4))
    return len(flat)


def psp_rows(
    p: int, line: Timeline, lif: Constants, when: Floats, values: Floats, slopes: Floats
) -> None:
    """Write the potential of each input line (and its slope, if asked for) at ascending times."""
    neuron = LIF(lif.tau_m, lif.tau_s, lif.threshold, lif.t_ref)
    piece = slice(line.indptr[p], line.indptr[p + 1])
    time, kind, unit = line.time[piece], line.kind[piece], line.unit[piece]
    inputs, ids = time[kind == INPUT], unit[kind == INPUT]
    releases = time[kind == RELEASE]

    def at(t: float, kernel: Callable[[Floats], Floats]) -> Floats:
        return np.bincount(ids, kernel(t - inputs), values.shape[1]).astype(np.float64)

    for j, t in enumerate(when):
        values[j] = at(t, neuron.psp)
        if len(slopes):
            slopes[j] = at(t, neuron.psp_slope)
        before = releases[releases < t]
        if before.size:
            left = at(before[-1], neuron.psp) * np.exp(-(t - before[-1]) / lif.tau_m)
            values[j] -= left
            if len(slopes):
                slopes[j] += left / lif.tau_m


def reset_sum(p: int, targets: Targets, t: float, lif: Constants) -> float:
    """Return what the resets of all desired spikes before `t` take away from the potential."""
    if lif.t_ref > 0:
        return 0.0
    times = targets.time[targets.indptr[p] : targets.indptr[p + 1]]
    return float(lif.threshold * np.exp(-(t - times[times < t]) / lif.tau_m).sum())


def append(rows: Rows, first: int, w: Floats) -> None:
    """Bring inner products and violations of the rows from `first` on up to date."""
    n = rows.counts[N_ROWS]
    matrix = rows.matrix[:n]
    new = slice(first, n)
    miss = shared_misses(rows)
    shared = (miss[:, None] == miss[new]) * rows.softness[new]
    rows.gram[:n, first:n] = matrix @ matrix[first:].T + shared
    rows.gram[first:n, :first] = rows.gram[:first, first:n].T
    rows.multiplier[first:n] = 0.0
    rows.violation[first:n] = rows.bound[first:n] - matrix[first:] @ w


def _add(
    rows: Rows,
    matrix: Floats,
    bound: Floats,
    kind: int,
    pattern: int,
    time: NDArray[np.floating | np.integer],
    softness: float,
    interval: Floats | int = -1,
) -> None:
    new = slice(rows.counts[N_ROWS], rows.counts[N_ROWS] + len(matrix))
    rows.matrix[new], rows.bound[new], rows.kind[new] = matrix, bound, kind
    rows.pattern[new], rows.time[new] = pattern, time
    rows.softness[new], rows.interval[new] = softness, interval
    rows.counts[N_ROWS] = new.stop


def add_targets(
    p: int,
    line: Timeline,
    targets: Targets,
    lif: Constants,
    limits: Limits,
    rows: Rows,
    w: Floats,
) -> None:
    """Add the rows of the desired spikes: the potential is at the threshold there, and rises."""
    when = targets.time[targets.indptr[p] : targets.indptr[p + 1]]
    first = int(rows.counts[N_ROWS])
    values, slopes = np.zeros((2, when.size, w.size))
    psp_rows(p, line, lif, when, values, slopes)
    resets = np.array([reset_sum(p, targets, t, lif) for t in when])
    _add(rows, values, lif.threshold + resets, FIRE, p, when, limits.fire_softness)
    rise = limits.min_slope - resets / lif.tau_m
    _add(rows, slopes, rise, RISE, p, when, limits.fire_softness)
    append(rows, first, w)


def restart(rows: Rows, start: Floats, most: int, slack: float) -> None:
    """Forget the solver's state; of more than `most` rows, drop cuts with more than `slack`."""
    n = rows.counts[N_ROWS]
    violation = rows.bound[:n] - rows.matrix[:n] @ start
    kept = np.flatnonzero((n <= most) | (rows.kind[:n] < BELOW) | (violation > -slack))
    for name in ("matrix", "bound", "kind", "softness", "pattern", "time", "interval"):
        array = getattr(rows, name)
        array[: kept.size] = array[kept]
    rows.gram[: kept.size, : kept.size] = rows.gram[np.ix_(kept, kept)]
    rows.violation[: kept.size] = violation[kept]
    rows.multiplier[: kept.size] = 0.0
    rows.counts[N_ROWS], rows.counts[N_ACTIVE] = kept.size, 0


def add_cuts(
    w: Floats,
    p: int,
    line: Timeline,
    targets: Targets,
    lif: Constants,
    limits: Limits,
    found: Floats,
    n_found: int,
    rows: Rows,
) -> None:
    """Turn maxima that are too high into rows ``-x(t) w >= -(ceiling + resets)``."""
    first = int(rows.counts[N_ROWS])
    when = found[:n_found, 0].copy()
    values = np.zeros((n_found, w.size))
    psp_rows(p, line, lif, when, values, values[:0])
    resets = np.array([reset_sum(p, targets, t, lif) for t in when])
    bound, interval = -(found[:n_found, 2] + resets), found[:n_found, 3]
    _add(rows, -values, bound, BELOW, p, when, limits.below_softness, interval)
    append(rows, first, w)
