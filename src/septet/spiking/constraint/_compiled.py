"""The compiled kernels of learning. `_reference` says in plain words what they compute.

A neuron's state between two entries of a timeline is that of `septet.spiking.neurons._compiled`.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from septet.spiking.constraint._active_set import (
    product,
    products,
    shared_softness,
    solve,
    violation,
)
from septet.spiking.constraint._rows import (
    BELOW,
    DONE,
    FIRE,
    FULL,
    N_ACTIVE,
    N_ROWS,
    OUTSIDE,
    RANGE,
    RISE,
    ROUNDS,
    Limits,
    Rows,
)
from septet.spiking.constraint._timeline import (
    GUARD,
    INPUT,
    RELEASE,
    SPIKE,
    Targets,
    Timeline,
)
from septet.spiking.neurons._backend import Constants
from septet.spiking.neurons._compiled import crossing, peak, value
from septet.spiking.neurons._jit import compiled, inner

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.integer]


@compiled
def free_run(w: Floats, p: int, line: Timeline, lif: Constants, spikes: Floats) -> int:
    """Write the spikes of a free run to `spikes`; return their number, -1 if there is no room."""
    alpha = lif.tau_s == lif.tau_m
    gain_a, gain_b = (0.0, lif.norm / lif.tau_m) if alpha else (lif.norm, lif.norm)
    a = b = now = 0.0
    held = -1.0
    n = 0
    for e in range(line.indptr[p], line.indptr[p + 1]):
        then = line.time[e]
        span = then - now
        start = a if alpha else a - b
        slope = b - a / lif.tau_m if alpha else b / lif.tau_s - a / lif.tau_m
        if start >= lif.threshold or start + slope * span >= lif.threshold or held > now:
            while True:
                if held > now:
                    end = min(held, then)
                    b *= np.exp(-(end - now) / lif.tau_s)
                    a = 0.0 if alpha else b
                    now = end
                s = crossing(a, b, then - now, lif)
                if s < 0:
                    break
                if n == spikes.size:
                    return -1
                now += s
                b *= np.exp(-s / lif.tau_s)
                a = 0.0 if alpha else b
                spikes[n] = now
                n += 1
                if lif.t_ref > 0:
                    held = now + lif.t_ref
            span = then - now
            a = (a + (b * span if alpha else 0.0)) * np.exp(-span / lif.tau_m)
            b *= np.exp(-span / lif.tau_s)
        else:
            a = (a + (b * span if alpha else 0.0)) * line.decay_m[e]
            b *= line.decay_s[e]
        if line.kind[e] == INPUT:
            weight = w[line.unit[e]]
            a += gain_a * weight
            b += gain_b * weight
        now = then
    return n


@inner
def _report(
    t: float, v: float, ceiling: float, interval: int, q: int, found: Floats, n_found: Ints
) -> None:
    """Keep the `q` worst maxima of an interval, worst first."""
    row = interval * q
    n = n_found[interval]
    excess = v - ceiling
    if n == q and excess <= found[row + q - 1, 1]:
        return
    i = row + min(n, q - 1)
    while i > row and found[i - 1, 1] < excess:
        for column in range(4):
            found[i, column] = found[i - 1, column]
        i -= 1
    found[i, 0], found[i, 1], found[i, 2], found[i, 3] = t, excess, ceiling, interval
    n_found[interval] = min(n + 1, q)


@compiled
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

    `found` receives (time, excess, ceiling, interval), in order of time, at most `q` for each
    interval between desired spikes; an excess up to the interval's `allowance` does not count.
    Returns how many.
    """
    alpha = lif.tau_s == lif.tau_m
    gain_a, gain_b = (0.0, lif.norm / lif.tau_m) if alpha else (lif.norm, lif.norm)
    low = lif.threshold - limits.margin
    ceiling = low
    n_found = np.zeros(found.shape[0] // q, np.int64)
    a = b = now = 0.0
    interval = 0
    bar = ceiling + limits.tolerance + allowance[0]
    rising = held = False
    for e in range(line.indptr[p], line.indptr[p + 1]):
        then = line.time[e]
        span = then - now
        start = a if alpha else a - b
        slope = b - a / lif.tau_m if alpha else b / lif.tau_s - a / lif.tau_m
        if span > 0 and not held:
            if slope > 0:
                if start + slope * span > bar:
                    s = peak(a, b, lif)
                    if s < span:
                        v = value(a, b, s, lif)
                        if v > bar:
                            _report(now + s, v, ceiling, interval, q, found, n_found)
            elif rising and start > bar:  # an input turned it down
                _report(now, start, ceiling, interval, q, found, n_found)
        a = (a + (b * span if alpha else 0.0)) * line.decay_m[e]
        b *= line.decay_s[e]
        now = then
        v = a if alpha else a - b
        if span > 0:
            rising = (b - a / lif.tau_m if alpha else b / lif.tau_s - a / lif.tau_m) > 0
        kind = line.kind[e]
        if kind == INPUT:
            weight = w[line.unit[e]]
            a += gain_a * weight
            b += gain_b * weight
        elif kind == SPIKE:
            interval += 1
            ceiling = low
            bar = ceiling + limits.tolerance + allowance[interval]
            rising = False
            if lif.t_ref > 0:
                held = True
            else:
                a -= lif.threshold
        elif kind == RELEASE:
            a = 0.0 if alpha else b
            held = rising = False
        else:  # the guard window or the end is reached: a rising potential must still be low
            if v > bar:
                _report(now, v, ceiling, interval, q, found, n_found)
            if kind == GUARD:
                ceiling = lif.threshold - limits.guard_margin
                bar = ceiling + limits.tolerance + allowance[interval]
    return _in_order_of_time(found, n_found, q)


@inner
def _in_order_of_time(found: Floats, n_found: Ints, q: int) -> int:
    """Close the gaps between the intervals' lists and sort each by time."""
    n = 0
    for interval in range(n_found.size):
        first = n
        for i in range(n_found[interval]):
            row = interval * q + i
            t, excess, ceiling = found[row, 0], found[row, 1], found[row, 2]
            j = n
            while j > first and found[j - 1, 0] > t:
                for column in range(4):
                    found[j, column] = found[j - 1, column]
                j -= 1
            found[j, 0], found[j, 1], found[j, 2], found[j, 3] = t, excess, ceiling, interval
            n += 1
    return n


@compiled
def psp_rows(
    p: int, line: Timeline, lif: Constants, when: Floats, values: Floats, slopes: Floats
) -> None:
    """Write the potential of each input line (and its slope, if asked for) at ascending times.

    Every line's potential is ``c_a * slow - c_b * fast`` with two sums of growing exponentials that
    are common to all later times of a block; after a refractory period what had built up by then
    is taken away. An input at exactly a time does not yet count.
    """
    n_inputs = values.shape[1]
    alpha = lif.tau_s == lif.tau_m
    slow, fast, built_up = np.zeros(n_inputs), np.zeros(n_inputs), np.zeros(n_inputs)
    base, release, j = 0.0, -1.0, 0
    for e in range(line.indptr[p], line.indptr[p + 1] + 1):
        last = e == line.indptr[p + 1]
        then = np.inf if last else line.time[e]
        while j < when.size and when[j] <= then:
            u = when[j] - base
            _row(slow, fast, u, lif, values[j], False)
            if slopes.shape[0] > 0:
                _row(slow, fast, u, lif, slopes[j], True)
            if release >= 0:
                left = np.exp(-(when[j] - release) / lif.tau_m)
                for i in range(n_inputs):
                    values[j, i] -= left * built_up[i]
                if slopes.shape[0] > 0:
                    for i in range(n_inputs):
                        slopes[j, i] += left / lif.tau_m * built_up[i]
            j += 1
        if last or j == when.size:
            return
        kind = line.kind[e]
        if kind == RELEASE:
            _row(slow, fast, then - base, lif, built_up, False)
            release = then
        elif kind == INPUT:
            start = np.floor(then / line.block) * line.block
            if start > base:
                fall_m = np.exp(-(start - base) / lif.tau_m)
                fall_s = np.exp(-(start - base) / lif.tau_s)
                for i in range(n_inputs):
                    slow[i] = (slow[i] - ((start - base) * fast[i] if alpha else 0.0)) * fall_m
                    fast[i] *= fall_s
                base = start
            slow[line.unit[e]] += line.rise_m[e]
            fast[line.unit[e]] += line.rise_s[e]


@inner
def _row(slow: Floats, fast: Floats, u: float, lif: Constants, out: Floats, slope: bool) -> None:
    """Combine the two sums `u` ms after the start of their block."""
    decay_m, decay_s = lif.norm * np.exp(-u / lif.tau_m), lif.norm * np.exp(-u / lif.tau_s)
    if lif.tau_s == lif.tau_m:
        decay = decay_m / lif.tau_m
        c_a, c_b = -decay, -u * decay
        if slope:
            c_a, c_b = decay / lif.tau_m, (u / lif.tau_m - 1) * decay
    elif slope:
        c_a, c_b = -decay_m / lif.tau_m, -decay_s / lif.tau_s
    else:
        c_a, c_b = decay_m, decay_s
    for i in range(out.size):
        out[i] = c_a * slow[i] - c_b * fast[i]


@inner
def reset_sum(p: int, targets: Targets, t: float, lif: Constants) -> float:
    """Return what the resets of all desired spikes before `t` take away from the potential."""
    total = 0.0
    if lif.t_ref == 0:
        for k in range(targets.indptr[p], targets.indptr[p + 1]):
            if targets.time[k] >= t:
                break
            total += np.exp(-(t - targets.time[k]) / lif.tau_m)
    return lif.threshold * total


@compiled
def append(rows: Rows, first: int, w: Floats) -> None:
    """Bring inner products and violations of the rows from `first` on up to date."""
    n = rows.counts[N_ROWS]
    for j in range(first, n):
        row = rows.matrix[j]
        for i in range(0, j + 1, 4):
            four = products(rows.matrix, i, min(i + 1, j), min(i + 2, j), min(i + 3, j), row)
            for k in range(min(4, j + 1 - i)):
                value = four[k] + shared_softness(rows, i + k, j)
                rows.gram[i + k, j] = rows.gram[j, i + k] = value
        rows.multiplier[j] = 0.0
        rows.violation[j] = violation(rows, j, w)


@compiled
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
    first, n = rows.counts[N_ROWS], when.size
    values, slopes = rows.matrix[first : first + n], rows.matrix[first + n : first + 2 * n]
    psp_rows(p, line, lif, when, values, slopes)
    for k in range(n):
        resets = reset_sum(p, targets, when[k], lif)
        rows.bound[first + k], rows.kind[first + k] = lif.threshold + resets, FIRE
        j = first + n + k
        rows.bound[j], rows.kind[j] = limits.min_slope - resets / lif.tau_m, RISE
    for k in range(2 * n):
        j = first + k
        rows.softness[j], rows.interval[j] = limits.fire_softness, -1
        rows.pattern[j], rows.time[j] = p, when[k % n]
    rows.counts[N_ROWS] = first + 2 * n
    append(rows, first, w)


@compiled
def restart(rows: Rows, start: Floats, most: int, slack: float) -> None:
    """Forget the solver's state; of more than `most` rows, drop cuts with more than `slack`."""
    n = rows.counts[N_ROWS]
    kept = rows.active  # free to use until the solver starts again
    n_kept = 0
    for j in range(n):
        rows.violation[j] = rows.bound[j] - product(rows.matrix, j, start)
        if n <= most or rows.kind[j] < BELOW or rows.violation[j] > -slack:
            kept[n_kept] = j
            n_kept += 1
    for i in range(n_kept):
        j = kept[i]
        if i != j:
            for u in range(start.size):
                rows.matrix[i, u] = rows.matrix[j, u]
            rows.bound[i], rows.kind[i] = rows.bound[j], rows.kind[j]
            rows.softness[i], rows.pattern[i] = rows.softness[j], rows.pattern[j]
            rows.time[i], rows.interval[i] = rows.time[j], rows.interval[j]
            rows.violation[i] = rows.violation[j]
        for k in range(n_kept):
            rows.gram[i, k] = rows.gram[j, kept[k]]
        rows.multiplier[i] = 0.0
    rows.counts[N_ROWS] = n_kept
    rows.counts[N_ACTIVE] = 0


@compiled
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
    first = rows.counts[N_ROWS]
    psp_rows(
        p,
        line,
        lif,
        found[:n_found, 0].copy(),
        rows.matrix[first : first + n_found],
        rows.matrix[:0],
    )
    for i in range(n_found):
        j = first + i
        row = rows.matrix[j]
        for k in range(row.size):
            row[k] = -row[k]
        t = found[i, 0]
        rows.bound[j] = -(found[i, 2] + reset_sum(p, targets, t, lif))
        rows.kind[j], rows.pattern[j], rows.time[j] = BELOW, p, t
        rows.softness[j], rows.interval[j] = limits.below_softness, int(found[i, 3])
    rows.counts[N_ROWS] = first + n_found
    append(rows, first, w)


@inner
def _add_range_cuts(w: Floats, ranges: Floats, rows: Rows) -> int:
    """Add a row for every weight outside its range; return how many, -1 if there is no room."""
    first = n = rows.counts[N_ROWS]
    for i in range(ranges.shape[1]):
        for side in range(2):
            sign = 1.0 - 2.0 * side
            if sign * (ranges[side, i] - w[i]) > OUTSIDE:
                if n == rows.bound.size:
                    rows.counts[N_ROWS] = n
                    append(rows, first, w)
                    return -1
                for u in range(w.size):
                    rows.matrix[n, u] = 0.0
                rows.matrix[n, i], rows.bound[n] = sign, sign * ranges[side, i]
                rows.kind[n], rows.pattern[n], rows.time[n] = RANGE, -1, i
                rows.softness[n], rows.interval[n] = 0.0, -1
                n += 1
    rows.counts[N_ROWS] = n
    append(rows, first, w)
    return n - first


@compiled
def project(
    start: Floats,
    block: Ints,
    line: Timeline,
    targets: Targets,
    lif: Constants,
    limits: Limits,
    ranges: Floats,
    q: int,
    max_rounds: int,
    rows: Rows,
    w: Floats,
) -> tuple[int, int]:
    """Move from `start` to the nearest weights `w` that satisfy all patterns of `block`.

    Cutting planes: solve for the rows known so far, run every pattern with forced resets, add the
    worst violations as rows, repeat. The solver goes on from where it was, since a new row leaves
    the multipliers of the others feasible. Returns a status and the number of rounds.
    """
    longest = 0
    for p in block:
        longest = max(longest, targets.indptr[p + 1] - targets.indptr[p])
    found = np.empty(((longest + 1) * q, 4))
    allowance = np.empty(longest + 1)
    for rounds in range(1, max_rounds + 1):
        status = solve(rows, start, w)
        if status != DONE:
            return status, rounds
        n_outside = _add_range_cuts(w, ranges, rows)
        if n_outside < 0:
            return FULL, rounds
        clean = n_outside == 0
        for p in block:
            for k in range(longest + 1):
                allowance[k] = 0.0
            if limits.below_softness > 0:
                for i in range(rows.counts[N_ACTIVE]):
                    j = rows.active[i]
                    if rows.interval[j] >= 0 and rows.pattern[j] == p:
                        allowance[rows.interval[j]] += rows.softness[j] * rows.multiplier[j]
            n_found = violations(w, p, line, lif, limits, allowance, q, found)
            if n_found == 0:
                continue
            clean = False
            if rows.counts[N_ROWS] + n_found > rows.bound.size:
                return FULL, rounds
            add_cuts(w, p, line, targets, lif, limits, found, n_found, rows)
        if clean:
            return DONE, rounds
    return ROUNDS, max_rounds
