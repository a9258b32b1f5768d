"""Desired spike trains: what is accepted, and what is refused by name."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet.spiking.constraint._timeline import Targets
from septet.spiking.neurons import LIF, SpikeBatch

TargetTrains: TypeAlias = SpikeBatch | Sequence[ArrayLike]


def check_targets(
    lif: LIF, inputs: SpikeBatch, targets: TargetTrains, min_isi: float
) -> list[Targets]:
    """Return the desired trains neuron by neuron, or name the first that cannot be meant.

    Raises
    ------
    ValueError
        If there is not one train per pattern, or a desired time is not finite, not in
        ``(0, duration]``, or too close to the one before.
    """
    if len(inputs) == 0:
        raise ValueError("at least one pattern is needed; got an empty batch.")
    if isinstance(targets, SpikeBatch):
        trains = [targets.trains(p) for p in range(len(targets))]
        n_neurons = targets.n_units
    else:
        trains = [[checks.vector(f"targets[{p}]", t)] for p, t in enumerate(targets)]
        n_neurons = 1
    if len(trains) != len(inputs):
        raise ValueError(
            f"there must be one target per pattern: {len(inputs)} patterns, {len(trains)} targets."
        )
    result = []
    for k in range(n_neurons):
        mine = [train[k] for train in trains]
        for p, train in enumerate(mine):
            _check_train(lif, inputs.duration, train, min_isi, f"pattern {p}, neuron {k}")
        time = np.concatenate([np.empty(0), *mine])
        result.append(Targets(time, np.cumsum([0, *(train.size for train in mine)])))
    return result


def _check_train(
    lif: LIF, duration: float, train: NDArray[np.float64], min_isi: float, where: str
) -> None:
    outside = np.flatnonzero((train <= 0) | (train > duration))
    if outside.size:
        raise ValueError(
            f"{where}: desired spike {outside[0]} at {train[outside[0]]:g} ms must be later than 0 "
            f"and at most {duration:g} ms, the duration."
        )
    least = max(min_isi, lif.t_ref)
    close = np.flatnonzero(
        np.diff(train) < least if lif.t_ref < min_isi else np.diff(train) <= least
    )
    if close.size:
        i = close[0]
        raise ValueError(
            f"{where}: desired spikes at {train[i]:g} and {train[i + 1]:g} ms must ascend, more "
            f"than {least:g} ms apart (min_isi = {min_isi:g}, t_ref = {lif.t_ref:g} ms)."
        )
