"""Compiled passes of the local rules over the patterns. `_rule_reference` says what they do."""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from septet.spiking.constraint._compiled import violations
from septet.spiking.constraint._rows import Limits
from septet.spiking.constraint._rule_kernels import (
    DECAY,
    POTENTIAL,
    TWO_SIDED,
    add_traces,
    alignment,
    critical_gradient,
    critical_threshold,
    eligibility,
    forced_values,
    run_with_peak,
)
from septet.spiking.constraint._timeline import Targets, Timeline
from septet.spiking.neurons._backend import Constants
from septet.spiking.neurons._jit import compiled, inner

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.integer]

FP, HTP, RESUME, ELEARNING, PSD, SPAN, EMPD = range(7)
MST, EML, EMLC, CORRELATION = range(4)


class RuleConstants(NamedTuple):
    """Numbers of the rules.

    `rate` is the learning rate, `tolerance` the timing error in ms that counts as right, `bias` the
    non-Hebbian term of ReSuMe, `tau_q` the time scale in ms of E-learning's alignment and `pull`
    its factor of shifted spikes; `scale` multiplies PSD's and SPAN's traces.
    """

    rate: float
    tolerance: float
    bias: float
    tau_q: float
    pull: float
    scale: float


@inner
def _meets(fired: Floats, n: int, desired: Floats, tolerance: float) -> bool:
    late = 0
    for k in range(min(n, desired.size)):
        late += abs(fired[k] - desired[k]) > tolerance
    return n == desired.size and late == 0


@inner
def _sort(times: Floats, steps: Floats, n: int) -> None:
    for i in range(1, n):
        t, c = times[i], steps[i]
        j = i
        while j > 0 and times[j - 1] > t:
            times[j], steps[j] = times[j - 1], steps[j - 1]
            j -= 1
        times[j], steps[j] = t, c


@inner
def _first_error(
    fired: Floats,
    n: int,
    desired: Floats,
    tolerance: float,
    duration: float,
    times: Floats,
    steps: Floats,
) -> int:
    """FP: the first spike that is missing by the end of its window, or that is out of place."""
    k = 0
    for i in range(n):
        if k < desired.size and fired[i] > desired[k] + tolerance:
            break
        if k < desired.size and fired[i] >= desired[k] - tolerance:
            k += 1
            continue
        times[0], steps[0] = fired[i], -1.0
        return 1
    if k == desired.size:  # rounding at the edge of a window
        return 0
    times[0], steps[0] = min(desired[k] + tolerance, duration), 1.0
    return 1


@inner
def _edits(
    fired: Floats, n: int, desired: Floats, rule: RuleConstants, times: Floats, steps: Floats
) -> int:
    """E-learning: insert, delete and shift spikes as the cheapest alignment says."""
    moved_to = np.empty(n, np.int64)
    alignment(fired[:n], desired, rule.tau_q, moved_to, np.empty((n + 1, desired.size + 1)))
    m = 0
    for k in range(desired.size):
        kept = False
        for i in range(n):
            kept = kept or moved_to[i] == k
        if not kept:
            times[m], steps[m] = desired[k], 1.0
            m += 1
    for i in range(n):
        times[m], steps[m] = fired[i], -1.0
        if moved_to[i] >= 0:
            steps[m] = rule.pull / rule.tau_q**2 * (fired[i] - desired[moved_to[i]])
        m += 1
    return m


@inner
def _forced_errors(
    w: Floats,
    p: int,
    line: Timeline,
    lif: Constants,
    limits: Limits,
    desired: Floats,
    by_size: bool,
    times: Floats,
    steps: Floats,
) -> int:
    """HTP and EMPD: the forced potential is too low at a desired spike, or too high elsewhere.

    By sign (HTP) or by size (EMPD, the gradient of the squared distance from the threshold).
    """
    forced_values(w, p, line, lif, times)
    m = 0
    for k in range(desired.size):
        miss = lif.threshold - times[k]
        if by_size or miss > 0:
            times[m], steps[m] = desired[k], miss if by_size else 1.0
            m += 1
    n_intervals = desired.size + 1
    found = np.empty((n_intervals, 4))
    n = violations(w, p, line, lif, limits, np.zeros(n_intervals), 1, found)
    for i in range(n):
        times[m] = found[i, 0]
        steps[m] = -(found[i, 1] + found[i, 2] - lif.threshold) if by_size else -1.0
        m += 1
    return m


@compiled
def timed_epoch(
    kind: int,
    w: Floats,
    order: Ints,
    line: Timeline,
    trace_line: Timeline,
    targets: Targets,
    lif: Constants,
    trace_lif: Constants,
    limits: Limits,
    rule: RuleConstants,
    spikes: Floats,
) -> int:
    """Visit the patterns in `order`; change `w` where they miss. Returns how many did."""
    longest = 0
    for p in order:
        longest = max(longest, targets.indptr[p + 1] - targets.indptr[p])
    times, steps = np.empty((2, spikes.size + 2 * longest + 2))
    n_wrong = 0
    trace = POTENTIAL
    if kind == RESUME:
        trace = DECAY
    elif kind == SPAN:
        trace = TWO_SIDED
    for p in order:
        desired = targets.time[targets.indptr[p] : targets.indptr[p + 1]]
        n = run_with_peak(w, p, line, lif, True, spikes)[0]
        if n < 0:
            n = spikes.size
        if _meets(spikes, n, desired, rule.tolerance):
            continue
        n_wrong += 1
        if kind == FP:
            duration = line.time[line.indptr[p + 1] - 1]  # a pattern's last mark is its end
            m = _first_error(spikes, n, desired, rule.tolerance, duration, times, steps)
        elif kind == ELEARNING:
            m = _edits(spikes, n, desired, rule, times, steps)
        elif kind in (HTP, EMPD):
            m = _forced_errors(w, p, line, lif, limits, desired, kind == EMPD, times, steps)
        else:
            m = desired.size + n
            for k in range(desired.size):
                times[k], steps[k] = desired[k], rule.scale
            for i in range(n):
                times[desired.size + i], steps[desired.size + i] = spikes[i], -rule.scale
            if kind == RESUME:
                push = rule.rate * rule.bias * (desired.size - n)
                for i in range(w.size):
                    w[i] += push
        _sort(times, steps, m)
        for i in range(m):
            steps[i] *= rule.rate
        add_traces(p, trace_line, trace_lif, trace, times[:m], steps[:m], w)
    return n_wrong


@compiled
def count_epoch(
    kind: int,
    w: Floats,
    order: Ints,
    line: Timeline,
    wanted: Ints,
    lif: Constants,
    rate: float,
    spikes: Floats,
) -> int:
    """Visit the patterns in `order`; change `w` where the number of spikes is wrong."""
    n_wrong = 0
    out = np.empty(w.size)
    one_time, one_step = np.empty(1), np.empty(1)
    for p in order:
        n, t, v, _ = run_with_peak(w, p, line, lif, True, spikes)
        if n < 0:
            n = spikes.size
        if n == wanted[p]:
            continue
        n_wrong += 1
        sign = 1.0 if n < wanted[p] else -1.0
        if kind == CORRELATION:
            eligibility(w, p, line, lif, spikes[:n], out)
            bar = np.sort(out)[-max(1, out.size // 10)]
            for i in range(w.size):
                if out[i] >= bar:
                    w[i] += sign * rate
            continue
        before = 0
        if kind == EML:
            if sign > 0:
                if v == -np.inf:
                    continue  # a pattern without any maximum cannot be taught
            else:
                t = spikes[n - 1]
        else:
            k = n + 1 if sign > 0 else n
            threshold, t, before = critical_threshold(w, p, line, lif, k, spikes)
            if not threshold > 0:
                continue
        if kind == MST:
            critical_gradient(w, p, line, lif, t, spikes[:before], out)
            for i in range(w.size):
                w[i] += sign * rate * out[i]
        else:
            one_time[0], one_step[0] = t, sign * rate
            add_traces(p, line, lif, POTENTIAL, one_time, one_step, w)
    return n_wrong


@compiled
def binary_epoch(
    w: Floats,
    order: Ints,
    line: Timeline,
    fires: Ints,
    lif: Constants,
    rate: float,
    margin: float,
    momentum: float,
    last: Floats,
) -> int:
    """Tempotron: move the highest point of the bare potential to its side of the threshold."""
    n_wrong = 0
    none = np.empty(0)
    one_time, one_step = np.empty(1), np.empty(1)
    for p in order:
        _, t, v, _ = run_with_peak(w, p, line, lif, False, none)
        sign = 1.0 if fires[p] else -1.0
        if sign * (max(v, 0.0) - lif.threshold) > margin:
            continue
        n_wrong += 1
        for i in range(w.size):
            last[i] *= momentum
        if t >= 0:  # a pattern without inputs has no maximum
            one_time[0], one_step[0] = t, sign * rate
            add_traces(p, line, lif, POTENTIAL, one_time, one_step, last)
        for i in range(w.size):
            w[i] += last[i]
    return n_wrong
