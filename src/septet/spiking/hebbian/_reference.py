"""Learning spelled out event by event: the oracle of the compiled loop, and its stand-in.

Order within a batch of simultaneous arrivals: for every arrival, by index, the potential rises by
the weight, the input's trace by 1, and the synapse is demoted; then thresholds are tested; each
neuron that fires is reset, its synapses are promoted, its weights normalised, and its own trace
rises by 1.
"""

import numpy as np

from septet.spiking.hebbian import _state as const
from septet.spiking.hebbian._poisson import poisson_events
from septet.spiking.hebbian._state import Floats, Ints, Plan, Recent, State, Tally, Watch

Ended = tuple[int, int, Floats, Ints, Recent]


def run_poisson(
    rates: Floats,
    seed: int,
    duration: float,
    plan: Plan,
    state: State,
    tally: Tally,
    watch: Watch,
    recent: Recent,
) -> Ended:
    """Run one pattern of Poisson trains, going on where `state` stands."""
    times, ids = poisson_events(rates, duration, seed)
    return run(times, ids, duration, plan, state, tally, watch, recent)


def run(
    times: Floats,
    ids: Ints,
    duration: float,
    plan: Plan,
    state: State,
    tally: Tally,
    watch: Watch,
    recent: Recent,
) -> Ended:
    """Run one pattern of events sorted by time and index, going on where `state` stands.

    Returns how it ended (and at which neuron), the output spikes since the call, and the input
    spikes that still count.
    """
    spikes: list[tuple[float, int]] = []
    times_seen, ids_seen = list(recent.times), list(recent.ids)
    state.clock[1] = state.clock[0]
    status, whose = const.DONE, -1
    if state.cursor[0] == 0:
        whose = _stuck(float(state.clock[0]), plan, state)
        if whose >= 0:
            status = _wake(whose, float(state.clock[0]), plan, state, watch)
    while status == const.DONE and state.cursor[0] < times.size:
        first = int(state.cursor[0])
        now = float(times[first])
        last = int(np.searchsorted(times, now, "right"))
        if now - state.clock[1] > const.FRAME * plan.tau_plus:
            state.clock[1] = now
            whose = _stuck(now, plan, state)
            if whose >= 0:
                status = _wake(whose, now, plan, state, watch)
                break
        batch = ids[first:last]
        _decay(now, plan, state)
        for i in batch:
            state.v[state.held <= now] += state.w[i, state.held <= now]
            state.pre[i] = 1.0 if plan.promotion == const.NEAREST else state.pre[i] + 1.0
            times_seen.append(now)
            ids_seen.append(int(i))
            _demote(int(i), plan, state, tally, watch)
        while times_seen and times_seen[0] <= now - plan.window:
            del times_seen[0], ids_seen[0]
        state.cursor[0] = last
        for k in _firing(plan, state):
            spikes.append((now, k))
            state.fired[k] = now
            promotion = _promotion(batch, np.array(ids_seen, dtype=np.int64), plan, state)
            if not _learn(k, now, promotion, plan, state, tally, watch):
                status, whose = const.VANISHED, k
        if status == const.DONE and _windows(watch):
            status, whose = const.WINDOW, _windows(watch)[0]
        if status != const.DONE:
            break
    if status == const.DONE:
        _decay(duration, plan, state)
        status, whose = _close(plan, state, watch)
    seen = Recent(np.array(times_seen), np.array(ids_seen, dtype=np.int64))
    moments = np.array([t for t, _ in spikes])
    return status, whose, moments, np.array([k for _, k in spikes], dtype=np.int64), seen


def _wake(k: int, now: float, plan: Plan, state: State, watch: Watch) -> int:
    """Renormalise a neuron that might never fire again; return how the call ends."""
    state.fired[k] = now
    return const.DEADLOCK if _normalise(k, plan, state, watch) else const.VANISHED


def _decay(now: float, plan: Plan, state: State) -> None:
    span = now - state.clock[0]
    for trace, tau in (
        (state.v, plan.tau_m),
        (state.pre, plan.tau_plus),
        (state.post, plan.tau_minus),
    ):
        trace *= np.exp(-span / tau)
        trace[trace < const.TINY] = 0.0
    state.clock[0] = now


def _demote(i: int, plan: Plan, state: State, tally: Tally, watch: Watch) -> None:
    """Depress synapse i of every neuron by what its output trace says, never below 0."""
    if plan.depression == 0:
        return
    w, n = state.w[i], state.w.shape[0]
    stated = plan.depression * state.post * (n * w) ** plan.depression_power
    if tally.demoted.shape[1]:
        for k, q in enumerate(stated):
            tally.demoted[i, min(k, tally.demoted.shape[1] - 1)] += q
    if plan.rate > 0:
        applied = np.minimum(stated, w / plan.rate)
        tally.clipped[:] += applied < stated
        state.w[i] = np.where(applied < stated, 0.0, np.maximum(w - plan.rate * applied, 0.0))
        if len(watch.before):
            watch.pending[:, i] -= applied


def _firing(plan: Plan, state: State) -> list[int]:
    """Neurons at or above their thresholds, reset; of competing ones the furthest above."""
    threshold = plan.threshold * state.bias
    crossed = np.flatnonzero(state.v >= threshold)
    if not plan.winner:
        state.v[crossed] = 0.0
        return crossed.tolist()
    if not crossed.size:
        return []
    best = int(crossed[np.argmax(state.v[crossed] / threshold[crossed])])
    state.v[:] = 0.0
    return [best]


def _promotion(batch: Ints, seen: Ints, plan: Plan, state: State) -> Floats:
    n = state.w.shape[0]
    if plan.promotion in (const.TRACE, const.NEAREST):
        return state.pre
    if plan.promotion == const.TRIGGER:
        return np.bincount(batch, minlength=n) / batch.size
    counts = np.bincount(seen, minlength=n).astype(np.float64)
    return counts if plan.promotion == const.COUNT else np.minimum(counts, 1.0)


def _learn(
    k: int, now: float, promotion: Floats, plan: Plan, state: State, tally: Tally, watch: Watch
) -> bool:
    """Promote, normalise and let the output's trace rise; False if no weight is left."""
    if plan.potentiation_power > 0:
        room = np.maximum(1.0 - state.w[:, k] / plan.w_max, 0.0)
        promotion = promotion * room**plan.potentiation_power
    tally.outputs[k] += 1
    if tally.promoted.shape[1]:
        tally.promoted[:, min(k, tally.promoted.shape[1] - 1)] += promotion
    fine = True
    if plan.rate > 0:
        state.w[:, k] += plan.rate * promotion
        state.due[k] += 1
        if len(watch.before):
            watch.pending[k] += promotion
            watch.promotions[k] += promotion.sum()
        if state.due[k] == plan.every:
            fine = _normalise(k, plan, state, watch)
        if plan.winner and plan.gain > 0:
            state.bias[k] *= 1.0 + plan.gain
            state.bias[:] = state.bias * (1.0 - plan.gain / state.bias.size)
            state.bias[:] = np.clip(state.bias / state.bias.mean(), 0.5, 2.0)
    state.post[k] = 1.0 if plan.restart_post else state.post[k] + 1.0
    state.held[k] = now + plan.t_ref
    return fine


def _norm(k: int, plan: Plan, state: State) -> float:
    w = state.w[:, k]
    return float(np.sqrt(w @ w)) if plan.l2 else float(w.sum())


def _normalise(k: int, plan: Plan, state: State, watch: Watch) -> bool:
    """End a learning event: divide by the norm and tell the monitor."""
    norm = _norm(k, plan, state)
    if not norm > 0:
        return False
    if len(watch.before):
        g, before = 1.0 / norm, watch.before[k]
        gD = g * (norm - 1.0) / plan.rate
        watch.gd[k] += g * watch.pending[k]
        watch.gdw[k] += gD * before
        watch.w1[k] += before
        watch.w2[k] += before**2
        watch.gD[k] += gD
        watch.D[k] += (norm - 1.0) / plan.rate
        watch.events[k] += 1
        watch.pending[k] = 0.0
    state.w[:, k] /= norm
    state.due[k] = 0
    if len(watch.before):
        watch.before[k] = state.w[:, k]
    return True


def _stuck(now: float, plan: Plan, state: State) -> int:
    """Return a neuron whose weights have shrunk to half since its last spike long ago, or -1."""
    if plan.rate > 0:
        for k in range(state.v.size):
            quiet = now - state.fired[k] > const.FRAME * plan.tau_m
            if quiet and _norm(k, plan, state) < 0.5:
                return k
    return -1


def _windows(watch: Watch) -> list[int]:
    return np.flatnonzero(watch.events >= watch.limit).tolist()


def _close(plan: Plan, state: State, watch: Watch) -> tuple[int, int]:
    """End the pattern; where normalisation is once per pattern, do it now."""
    if plan.every == 0 and plan.rate > 0:
        for k in np.flatnonzero(state.due).tolist():
            if not _normalise(k, plan, state, watch):
                return const.VANISHED, k
    return const.DONE, -1
