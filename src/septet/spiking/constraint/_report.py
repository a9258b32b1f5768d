"""What a fit did and what came of it, established by free runs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from septet.spiking.constraint._certificate import Certificate
from septet.spiking.constraint._timeline import Targets
from septet.spiking.neurons import LIF, SpikeBatch, SpikeStorm, simulate


@dataclass(frozen=True)
class LearningReport:
    """What a fit did and what came of it, checked by a free run of the learned weights.

    Attributes
    ----------
    exact : bool
        Whether every neuron fires in every pattern as often as desired, each time within `tol_ms`.
    max_timing_error : float
        Largest distance in ms of a spike from its desired time, over the trains of the right
        length; NaN if there is none.
    n_wrong_count : int
        Trains of a wrong length.
    rounds : int
        Rounds of cutting planes; each solves one quadratic programme.
    epochs, updates : int
        Passes over the patterns, and changes of the weights.
    qp_solves, qp_steps : int
        Quadratic programmes solved, and rows taken in or let go meanwhile.
    wall_time : float
        Seconds, the final check included.
    weight_norm : float
        Euclidean norm of all weights.
    margin : float
        How far below the threshold (as a fraction of it) the potential stays outside the guard
        windows; negative if it does not.
    certificates : tuple of Certificate
        Proofs for the neurons whose targets are out of reach (``on_infeasible`` other than
        "raise").
    """

    exact: bool
    max_timing_error: float
    n_wrong_count: int
    rounds: int
    epochs: int
    updates: int
    qp_solves: int
    qp_steps: int
    wall_time: float
    weight_norm: float
    margin: float
    certificates: tuple[Certificate, ...] = ()


def misses(
    lif: LIF, inputs: SpikeBatch, weights: NDArray[np.float64], wanted: list[Targets]
) -> tuple[float, int]:
    """Run the weights freely; return the largest timing error and the number of wrong trains.

    Neurons whose weights are NaN have only wrong trains, and so has a pattern in which one fires
    without end.
    """
    known = np.atleast_1d(~np.isnan(weights).any(axis=1))
    errors, n_wrong = [], 0
    for p, trains in enumerate(_runs(lif, inputs, np.nan_to_num(weights))):
        if trains is None:
            n_wrong += len(wanted)
            continue
        for train, targets, is_known in zip(trains, wanted, known, strict=True):
            desired = targets.time[targets.indptr[p] : targets.indptr[p + 1]]
            if not is_known or train.size != desired.size:
                n_wrong += 1
            else:
                errors.append(np.abs(train - desired).max(initial=0.0))
    return (float(max(errors)) if errors else np.nan), n_wrong


def _runs(
    lif: LIF, inputs: SpikeBatch, weights: NDArray[np.float64]
) -> Iterator[list[NDArray[np.float64]] | None]:
    """Yield the trains of every pattern, None where a neuron fires without end."""
    try:
        fired = simulate(lif, inputs, weights)
        yield from (fired.trains(p) for p in range(len(inputs)))
    except SpikeStorm:
        for p in range(len(inputs)):
            try:
                yield simulate(lif, inputs[[p]], weights).trains(0)
            except SpikeStorm:
                yield None
