"""Everything of a pattern that does not depend on the weights, merged and computed once."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from septet.spiking.neurons import LIF, SpikeBatch

# What happens at an entry of a timeline, in the order in which equal times are taken.
SPIKE, RELEASE, GUARD, INPUT, END = range(5)

# Growing exponentials are kept relative to the start of a block this many tau_s long, so that they
# stay far from overflow however long a pattern is.
_BLOCK = 50.0


class Timeline(NamedTuple):
    """Inputs and desired spikes of all patterns, merged in order of time.

    Pattern ``p`` owns the entries ``indptr[p]:indptr[p + 1]``. The neuron decays by `decay_m` and
    `decay_s` on its way to an entry. `rise_m` and `rise_s` are exponentials that grow from the
    start of the entry's block: with them the potential of every input line at a later time is a sum
    without further exponentials. (With equal time constants `rise_m` is that sum's first moment.)
    """

    time: NDArray[np.float64]
    kind: NDArray[np.int8]
    unit: NDArray[np.int32]
    decay_m: NDArray[np.float64]
    decay_s: NDArray[np.float64]
    rise_m: NDArray[np.float64]
    rise_s: NDArray[np.float64]
    indptr: NDArray[np.int64]
    block: float


class Targets(NamedTuple):
    """Desired spike times of one neuron: pattern ``p`` owns ``time[indptr[p]:indptr[p + 1]]``."""

    time: NDArray[np.float64]
    indptr: NDArray[np.int64]


def timeline(lif: LIF, inputs: SpikeBatch, targets: Targets | None, guard: float) -> Timeline:
    """Merge the inputs with the marks of the desired spikes; without targets only inputs count.

    Every desired spike brings a mark where its guard window begins: `guard` ms earlier, or when the
    neuron is free to fire again after the spike before.
    """
    n_patterns = len(inputs)
    every = np.arange(n_patterns)
    parts = [
        (every.repeat(np.diff(inputs.indptr)), inputs.times, INPUT),
        (every, np.full(n_patterns, inputs.duration), END),
    ]
    if targets is not None:
        of = every.repeat(np.diff(targets.indptr))
        free = np.zeros(targets.time.size)
        free[1:] = np.where(of[1:] == of[:-1], targets.time[:-1] + lif.t_ref, 0.0)
        parts += [
            (of, targets.time, SPIKE),
            (of, np.maximum(targets.time - guard, free), GUARD),
        ]
        if lif.t_ref > 0:
            parts.append((of, np.minimum(targets.time + lif.t_ref, inputs.duration), RELEASE))
    parts.sort(key=lambda part: part[2])  # equal times stay in this order
    owners, times = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    kinds = np.repeat(np.array([k for *_, k in parts], np.int8), [len(of) for of, *_ in parts])
    units = np.zeros(times.size, dtype=np.int32)
    units[kinds == INPUT] = inputs.ids
    order = np.lexsort((times, owners))
    owners, times = owners[order], times[order]
    span = np.diff(times, prepend=0.0)
    indptr = np.searchsorted(owners, np.arange(n_patterns + 1))
    span[indptr[:-1]] = times[indptr[:-1]]
    block = _BLOCK * lif.tau_s
    since = times - np.floor(times / block) * block
    rise_s = np.exp(since / lif.tau_s)
    alpha = lif.synapse == "alpha"
    return Timeline(
        time=times,
        kind=kinds[order],
        unit=units[order],
        decay_m=np.exp(-span / lif.tau_m),
        decay_s=np.exp(-span / lif.tau_s),
        rise_m=since * rise_s if alpha else np.exp(since / lif.tau_m),
        rise_s=rise_s,
        indptr=indptr,
        block=block,
    )
