"""The compiled loop with the signatures of `_reference`."""

import numpy as np

from septet.spiking.hebbian import _layer_kernels
from septet.spiking.hebbian._state import Floats, Ints, Plan, Recent, State, Tally, Watch

Ended = tuple[int, int, Floats, Ints, Recent]
_NO_TIMES, _NO_IDS = np.empty(0), np.empty(0, np.int64)


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
    """Run one pattern of events sorted by time and index, going on where `state` stands."""
    return _run(times, ids, _NO_TIMES, 0, duration, plan, state, tally, watch, recent)


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
    return _run(_NO_TIMES, _NO_IDS, rates, seed, duration, plan, state, tally, watch, recent)


def _run(
    times: Floats,
    ids: Ints,
    rates: Floats,
    seed: int,
    duration: float,
    plan: Plan,
    state: State,
    tally: Tally,
    watch: Watch,
    recent: Recent,
) -> Ended:
    ended = _layer_kernels.advance(
        times,
        ids,
        rates,
        np.uint64(seed),
        duration,
        plan,
        state,
        tally,
        watch,
        recent.times.copy(),
        recent.ids.copy(),
        1,
    )
    status, whose, out_times, out_ids, seen_times, seen_ids = ended
    return status, whose, out_times, out_ids, Recent(seen_times, seen_ids)
