"""The compiled loop. `_reference` says in plain words what it computes.

Four things make it fast. Traces of inputs are kept in a frame, ``x exp((t - base) / tau)``, where
an arrival changes one number and the passing of time none. A weight is ``scale[k] * w[i, k]`` with
a running sum of each neuron's weights, so that normalising is one division. The weights of one
input lie side by side, so that an arrival reads one row. And where promotions are traces, an output
spike changes no weight at once: what an input is promoted by at an output is its trace at its last
arrival times a number of the neuron's own. Those numbers are added up, `owed`, and a weight takes
its part of the sum at the next arrival; how much of it a weight has had, `taken` says.
"""

import math

import numpy as np

from septet.spiking.hebbian._poisson import MIX_1, MIX_2, STEP
from septet.spiking.hebbian._state import (
    BINARY,
    COUNT,
    DEADLOCK,
    DONE,
    FRAME,
    NEAREST,
    TINY,
    TRACE,
    TRIGGER,
    VANISHED,
    WINDOW,
)
from septet.spiking.neurons._jit import compiled, inner

_STEP, _MIX_1, _MIX_2 = np.uint64(STEP), np.uint64(MIX_1), np.uint64(MIX_2)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_ONE = np.uint64(1)
_LENDING = 3.0  # time constants of a frame while weights are owed promotions: rounding grows in it
_SMALLEST_SCALE = 1e-3  # weights take their scale in before it gets smaller, or its inverse larger


@inner
def uniform(seed, n):
    z = seed + (np.uint64(n) + _ONE) * _STEP
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    z = z ^ (z >> _S31)
    return np.float64(z >> _S11) * 2.0**-53


@compiled
def alias_table(weights):
    n = weights.size
    keep = weights * (n / weights.sum())
    other = np.arange(n)
    small = np.empty(n, np.int64)
    large = np.empty(n, np.int64)
    n_small = n_large = 0
    for i in range(n):
        if keep[i] < 1.0:
            small[n_small] = i
            n_small += 1
        else:
            large[n_large] = i
            n_large += 1
    while n_small and n_large:
        n_small -= 1
        low, high = small[n_small], large[n_large - 1]
        other[low] = high
        keep[high] -= 1.0 - keep[low]
        if keep[high] < 1.0:
            small[n_small] = high
            n_small += 1
            n_large -= 1
    for j in range(n_small):
        keep[small[j]] = 1.0
    for j in range(n_large):
        keep[large[j]] = 1.0
    return keep, other


@inner
def _norm(w, scale, k, l2):
    total = 0.0
    if l2:
        for i in range(w.shape[0]):
            total += w[i, k] * w[i, k]
        return scale[k] * math.sqrt(total)
    for i in range(w.shape[0]):
        total += w[i, k]
    return scale[k] * total


@inner
def _fold(w, scale, k):
    for i in range(w.shape[0]):
        w[i, k] *= scale[k]
    scale[k] = 1.0


@inner
def _lends(plan, tally, watch):
    """Whether weights may wait for promotions: nobody looks and all follow from traces."""
    traced = plan.promotion == TRACE or plan.promotion == NEAREST
    unseen = tally.promoted.shape[1] == 0 and watch.before.shape[0] == 0
    return traced and unseen and plan.rate > 0 and not plan.l2 and plan.potentiation_power == 0


@inner
def _settle_input(i, trace, owed, taken, w):
    for k in range(owed.size):
        w[i, k] += trace * (owed[k] - taken[i, k])
        taken[i, k] = owed[k]


@inner
def _settle_neuron(k, pre, owed, taken, w):
    for i in range(pre.size):
        w[i, k] += pre[i] * (owed[k] - taken[i, k])
        taken[i, k] = 0.0
    owed[k] = 0.0


@inner
def _settle(pre, owed, taken, w):
    """Give all weights what they are owed."""
    owing = 0
    for k in range(owed.size):
        owing += owed[k] != 0.0
    if 8 * owing < owed.size:
        for k in range(owed.size):
            if owed[k] != 0.0:
                _settle_neuron(k, pre, owed, taken, w)
        return
    for i in range(pre.size):
        _settle_input(i, pre[i], owed, taken, w)
    taken[:] = 0.0
    owed[:] = 0.0


@inner
def _normalise(k, w, scale, total, plan, state, watch):
    """End a learning event of neuron k; False if its weights have vanished."""
    # Where weights have shrunk, normalisation magnifies what rounding did to the running sum.
    norm = _norm(w, scale, k, plan.l2) if plan.l2 or total[k] < 1.0 else total[k]
    if not norm > 0:
        return False
    if watch.before.shape[0]:
        g = 1.0 / norm
        gD = g * (norm - 1.0) / plan.rate
        for i in range(w.shape[0]):
            before = watch.before[k, i]
            watch.gd[k, i] += g * watch.pending[k, i]
            watch.gdw[k, i] += gD * before
            watch.w1[k, i] += before
            watch.w2[k, i] += before * before
            watch.pending[k, i] = 0.0
        watch.gD[k] += gD
        watch.D[k] += (norm - 1.0) / plan.rate
        watch.events[k] += 1
    scale[k] /= norm
    total[k] = 1.0
    state.due[k] = 0
    if not _SMALLEST_SCALE < scale[k] < 1 / _SMALLEST_SCALE:
        _fold(w, scale, k)
    if watch.before.shape[0]:
        for i in range(w.shape[0]):
            watch.before[k, i] = scale[k] * w[i, k]
    return True


@inner
def _stuck(now, w, scale, total, plan, state):
    """Return a neuron whose weights have shrunk to half since its last spike long ago, or -1."""
    if plan.rate > 0:
        for k in range(state.v.size):
            if now - state.fired[k] > FRAME * plan.tau_m:
                norm = _norm(w, scale, k, True) if plan.l2 else total[k]
                if norm < 0.5:
                    return k
    return -1


@inner
def _wake(k, now, w, scale, total, plan, state, watch):
    """Renormalise a neuron that might never fire again; return how the call ends."""
    state.fired[k] = now
    return DEADLOCK if _normalise(k, w, scale, total, plan, state, watch) else VANISHED


@inner
def _demote(i, w, scale, total, plan, state, tally, watch):
    n = w.shape[0]
    columns = tally.demoted.shape[1]
    plain = plan.depression_power == 0.0 and columns == 0 and watch.before.shape[0] == 0
    if plain and plan.rate > 0:  # what learning at full speed needs, free of branches
        step = plan.rate * plan.depression
        for k in range(scale.size):
            whole = scale[k] * w[i, k]
            stated = step * state.post[k]
            applied = min(stated, whole)
            tally.clipped[k] += applied < stated
            total[k] -= applied
            w[i, k] = (whole - applied) / scale[k]
        return
    for k in range(scale.size):
        whole = scale[k] * w[i, k]
        stated = plan.depression * state.post[k] * (n * whole) ** plan.depression_power
        if columns:
            tally.demoted[i, min(k, columns - 1)] += stated
        if plan.rate > 0:
            applied = min(stated, whole / plan.rate)
            tally.clipped[k] += applied < stated
            left = 0.0 if applied < stated else max(whole - plan.rate * applied, 0.0)
            total[k] += left - whole
            w[i, k] = left / scale[k]
            if watch.before.shape[0]:
                watch.pending[k, i] -= applied


@inner
def _promotion(plan, pre, rescale, batch, seen, m, touched):
    """Write promotions to `m`; return how many inputs `touched` lists, -1 for all."""
    if plan.promotion == BINARY or plan.promotion == COUNT:
        n = 0
        for j in range(seen.size):
            i = seen[j]
            if m[i] == 0.0:
                touched[n] = i
                n += 1
                m[i] = 1.0
            elif plan.promotion == COUNT:
                m[i] += 1.0
        return n
    if plan.promotion == TRIGGER:
        n = 0
        for j in range(batch.size):
            i = batch[j]
            if m[i] == 0.0:
                touched[n] = i
                n += 1
            m[i] += 1.0 / batch.size
        return n
    for i in range(m.size):
        m[i] = pre[i] * rescale
    return -1


@inner
def _promote(k, n, m, touched, w, scale, total, plan, state, tally, watch):
    """Add what was promoted to the weights of neuron k and to the sums."""
    columns = tally.promoted.shape[1]
    column = min(k, columns - 1)
    step = plan.rate / scale[k]
    size = m.size if n < 0 else n
    if plan.potentiation_power > 0:
        for j in range(size):
            i = j if n < 0 else touched[j]
            m[i] *= max(1.0 - scale[k] * w[i, k] / plan.w_max, 0.0) ** plan.potentiation_power
    if columns:
        for j in range(size):
            i = j if n < 0 else touched[j]
            tally.promoted[i, column] += m[i]
    if plan.rate == 0:
        return
    gained = 0.0
    if n < 0:
        for i in range(size):
            w[i, k] += step * m[i]
            gained += m[i]
    else:
        for j in range(size):
            w[touched[j], k] += step * m[touched[j]]
            gained += m[touched[j]]
    total[k] += plan.rate * gained
    if watch.before.shape[0]:
        watch.promotions[k] += gained
        for j in range(size):
            i = j if n < 0 else touched[j]
            watch.pending[k, i] += m[i]


@inner
def _homeostasis(k, bias, gain):
    bias[k] *= 1.0 + gain
    total = 0.0
    for j in range(bias.size):
        bias[j] *= 1.0 - gain / bias.size
        total += bias[j]
    mean = total / bias.size
    for j in range(bias.size):
        bias[j] = min(max(bias[j] / mean, 0.5), 2.0)


@inner
def _longer(array):
    new = np.empty(2 * array.size + 16, array.dtype)
    new[: array.size] = array
    return new


@compiled
def advance(
    times, ids, rates, seed, duration, plan, state, tally, watch, recent_t, recent_i, record
):
    """Run events `times` and `ids`, or Poisson trains if there are rates; see `_reference.run`."""
    w, v, post = state.w, state.v, state.post
    n_inputs, n_neurons = w.shape
    poisson = rates.size > 0
    total_rate = rates.sum() if poisson else 0.0
    keep, other = alias_table(rates) if total_rate > 0 else (rates, ids)
    windowed = plan.promotion == BINARY or plan.promotion == COUNT
    scale = np.ones(n_neurons)
    total = np.empty(n_neurons)
    for k in range(n_neurons):
        total[k] = _norm(w, scale, k, False)
    m = np.zeros(n_inputs)
    touched = np.empty(n_inputs, np.int64)
    one = np.empty(1, np.int64)
    pre = state.pre
    lends = _lends(plan, tally, watch)
    owed = np.zeros(n_neurons if lends else 0)
    taken = np.zeros((n_inputs if lends else 0, n_neurons))
    level = pre.sum()  # of all traces, in the frame
    frame = plan.tau_plus * (_LENDING if lends else FRAME)
    base = now = looked = state.clock[0]
    rise = 1.0  # exp((now - base) / tau_plus)
    head, tail = 0, recent_t.size
    out_t, out_k = np.empty(64 * record), np.empty(64 * record, np.int64)
    n_out = 0
    status, whose = DONE, -1
    position = state.cursor[0]
    if position == 0:
        whose = _stuck(now, w, scale, total, plan, state)
        if whose >= 0:
            status = _wake(whose, now, w, scale, total, plan, state, watch)
    while status == DONE:
        # the next batch
        if poisson:
            if total_rate == 0:
                break
            then = now - math.log(1.0 - uniform(seed, 2 * position)) / total_rate
            if then >= duration:
                break
            place = uniform(seed, 2 * position + 1) * n_inputs
            j = int(place)
            one[0] = j if place - j < keep[j] else other[j]
            batch = one
        else:
            if position >= times.size:
                break
            then = times[position]
            last = position + 1
            while last < times.size and times[last] == then:
                last += 1
            batch = ids[position:last]
        # the frame
        if then - looked > FRAME * plan.tau_plus:
            whose = _stuck(then, w, scale, total, plan, state)
            if whose >= 0:
                if lends:
                    _settle_neuron(whose, pre, owed, taken, w)
                status = _wake(whose, then, w, scale, total, plan, state, watch)
                break
            looked = then
        if then - base > frame:
            if lends:
                _settle(pre, owed, taken, w)
            fall = math.exp(-(then - base) / plan.tau_plus)
            level = 0.0
            for i in range(n_inputs):
                pre[i] = pre[i] * fall if pre[i] * fall >= TINY else 0.0
                level += pre[i]
            base = then
        position += batch.size
        span = then - now
        now = then
        decay = math.exp(-span / plan.tau_m)
        rise = math.exp((now - base) / plan.tau_plus)
        for k in range(n_neurons):
            v[k] = v[k] * decay if v[k] * decay >= TINY else 0.0
        if plan.depression > 0:
            if plan.tau_minus != plan.tau_m:
                decay = math.exp(-span / plan.tau_minus)
            for k in range(n_neurons):
                post[k] = post[k] * decay if post[k] * decay >= TINY else 0.0
        # arrivals
        for j in range(batch.size):
            i = batch[j]
            if lends:
                _settle_input(i, pre[i], owed, taken, w)
            if plan.t_ref > 0:
                for k in range(n_neurons):
                    if state.held[k] <= now:
                        v[k] += scale[k] * w[i, k]
            else:
                for k in range(n_neurons):
                    v[k] += scale[k] * w[i, k]
            level += rise - pre[i] if plan.promotion == NEAREST else rise
            pre[i] = rise if plan.promotion == NEAREST else pre[i] + rise
            if windowed:
                if tail == recent_t.size:
                    if 2 * head > tail:
                        recent_t[: tail - head] = recent_t[head:tail].copy()
                        recent_i[: tail - head] = recent_i[head:tail].copy()
                        head, tail = 0, tail - head
                    else:
                        recent_t, recent_i = _longer(recent_t), _longer(recent_i)
                recent_t[tail] = now
                recent_i[tail] = i
                tail += 1
            if plan.depression > 0:
                _demote(i, w, scale, total, plan, state, tally, watch)
        if windowed:
            while head < tail and recent_t[head] <= now - plan.window:
                head += 1
        # thresholds
        above = False
        for k in range(n_neurons):
            above |= v[k] >= plan.threshold * state.bias[k]
        if not above:
            continue
        best, most = -1, 0.0
        for k in range(n_neurons):
            excess = v[k] / (plan.threshold * state.bias[k])
            if v[k] >= plan.threshold * state.bias[k] and (excess > most or not plan.winner):
                best, most = k, excess
                if not plan.winner:
                    v[k] = -1.0  # marked: it fires
        if plan.winner:
            v[:] = 0.0
            v[best] = -1.0
        window = False
        for k in range(n_neurons):
            if v[k] >= 0:
                continue
            v[k] = 0.0
            if record:
                if n_out == out_t.size:
                    out_t, out_k = _longer(out_t), _longer(out_k)
                out_t[n_out] = now
                out_k[n_out] = k
                n_out += 1
            state.fired[k] = now
            tally.outputs[k] += 1
            if lends:
                owed[k] += plan.rate / (scale[k] * rise)
                total[k] += plan.rate * level / rise
            else:
                n = _promotion(plan, pre, 1.0 / rise, batch, recent_i[head:tail], m, touched)
                _promote(k, n, m, touched, w, scale, total, plan, state, tally, watch)
                for j in range(n):
                    m[touched[j]] = 0.0
            if plan.rate > 0:
                state.due[k] += 1
                if state.due[k] == plan.every:
                    after = scale[k] / total[k]
                    if lends and not (total[k] >= 1.0 and after > _SMALLEST_SCALE):
                        _settle_neuron(k, pre, owed, taken, w)  # as all its weights will be read
                    if not _normalise(k, w, scale, total, plan, state, watch):
                        status, whose = VANISHED, k
                if plan.winner and plan.gain > 0:
                    _homeostasis(k, state.bias, plan.gain)
                if watch.before.shape[0] and watch.events[k] >= watch.limit[k] and not window:
                    window = True
                    if status == DONE:
                        status, whose = WINDOW, k
            post[k] = 1.0 if plan.restart_post else post[k] + 1.0
            state.held[k] = now + plan.t_ref
        if status != DONE:
            break
    # leave the frame
    if lends:
        _settle(pre, owed, taken, w)
    end = duration if status == DONE else now
    if status == DONE:
        for k in range(n_neurons):
            v[k] *= math.exp(-(end - now) / plan.tau_m)
            post[k] *= math.exp(-(end - now) / plan.tau_minus)
    fall = math.exp(-(end - base) / plan.tau_plus)
    for i in range(n_inputs):
        pre[i] = pre[i] * fall if pre[i] * fall >= TINY else 0.0
    if status == DONE and plan.every == 0 and plan.rate > 0:
        for k in range(n_neurons):
            if state.due[k] > 0 and not _normalise(k, w, scale, total, plan, state, watch):
                status, whose = VANISHED, k
                break
    for k in range(n_neurons):
        if scale[k] != 1.0:
            _fold(w, scale, k)
    state.clock[0] = end
    state.cursor[0] = position
    return status, whose, out_t[:n_out], out_k[:n_out], recent_t[head:tail], recent_i[head:tail]
