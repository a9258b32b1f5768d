"""How many random spikes a neuron can be made to produce per synapse."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn.base import clone

from septet._core import checks
from septet._core.errors import SeptetError
from septet.spiking.constraint._certificate import UnreachableTargetsError
from septet.spiking.constraint._learner import SpikeTrainLearner
from septet.spiking.constraint._patterns import random_associations
from septet.spiking.neurons import LIF

# Where the search begins: a fair guess, in desired spikes per input.
_LIKELY_LOAD = 0.25


@dataclass(frozen=True)
class CapacityCurve:
    r"""Capacity of a neuron for random associations, one value per seed.

    The load :math:`\alpha = P n / N` is the number of desired spikes (P patterns of n) per input.

    Attributes
    ----------
    n_inputs, n_spikes : int
        N and n.
    n_patterns : ndarray of int, shape (n_seeds,)
        For each seed, the largest P whose patterns can all be learned.
    undecided : int
        Seeds for which the solver could not tell whether one more pattern can be; the others were
        ended by a proof that it cannot.
    """

    n_inputs: int
    n_spikes: int
    n_patterns: NDArray[np.int64]
    undecided: int

    @property
    def resolution(self) -> float:
        """Load of one pattern."""
        return self.n_spikes / self.n_inputs

    @property
    def loads(self) -> NDArray[np.float64]:
        """Loads of the curve: those of 1, 2, ... patterns until no seed has a solution."""
        return np.arange(1, self.n_patterns.max() + 2) * self.resolution

    @property
    def solved(self) -> NDArray[np.float64]:
        """Fraction of seeds that have a solution at each of the `loads`."""
        counts = np.arange(1, self.n_patterns.max() + 2)
        return (self.n_patterns >= counts[:, None]).mean(axis=1)

    @property
    def alpha_c(self) -> float:
        """Capacity: the largest load at which at least half of the seeds have a solution."""
        descending = np.sort(self.n_patterns)[::-1]
        return float(descending[(descending.size + 1) // 2 - 1] * self.resolution)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the median load over seeds, free of assumptions on its law.

        With fewer than six seeds this is their whole range and holds with less confidence.
        """
        ascending = np.sort(self.n_patterns) * self.resolution
        k = 1  # order statistics k and n + 1 - k enclose the median
        while binom.cdf(k, ascending.size, 0.5) <= 0.025:
            k += 1
        return float(ascending[k - 1]), float(ascending[-k])


def capacity(
    lif: LIF | None = None,
    n_inputs: int = 200,
    n_spikes: int = 5,
    seeds: int | Sequence[int] = 10,
    *,
    duration: float = 500.0,
    input_rate: float = 5.0,
    min_spacing: float = 10.0,
    margin: float = 0.01,
    min_slope: float = 0.002,
    guard: float = 2.0,
    solver: str = "auto",
    n_jobs: int | None = None,
) -> CapacityCurve:
    r"""Find how many random associations a neuron can learn, exactly, seed by seed.

    For every seed, patterns are added until a proof says that no weights suit them all. A solution
    for P patterns is one for the first P - 1, so the largest P is found by bisection.

    Parameters
    ----------
    lif : LIF, optional
        The neuron; ``LIF()`` by default.
    n_inputs : int, default 200
        Number N of input lines.
    n_spikes : int, default 5
        Desired spikes n per pattern.
    seeds : int or sequence of int, default 10
        How many seeds, from 0 on, or which.
    duration, input_rate, min_spacing : float
        Pattern length in ms, rate of the inputs in Hz, and least distance of desired spikes in ms,
        as in `random_associations`.
    margin, min_slope, guard : float
        What a solution must keep to, as in `SpikeTrainLearner`. Capacity is meant with small ones.
    solver : str, default "auto"
        As in `SpikeTrainLearner`.
    n_jobs : int, optional
        Seeds that are worked on at the same time, by joblib: inside ``joblib.parallel_config`` they
        may run on a dask or ray cluster. The result does not depend on it.

    Returns
    -------
    CapacityCurve
        The curve, its capacity ``alpha_c`` and an interval.

    Notes
    -----
    That a leaky neuron stores 0.1 to 0.3 spikes per synapse is known from the literature; the
    protocol here is our own, the paper's having been out of our reach.

    References
    ----------
    R.-M. Memmesheimer et al., "Learning precisely timed spikes", Neuron 82 (2014) 925-938.

    Examples
    --------
    >>> curve = capacity(n_inputs=40, n_spikes=2, seeds=3, duration=200.0)
    >>> curve.n_patterns.tolist(), round(curve.alpha_c, 3)
    ([6, 7, 8], 0.35)
    """
    n_inputs = checks.integer("n_inputs", n_inputs, low=1)
    n_spikes = checks.integer("n_spikes", n_spikes, low=1)
    if isinstance(seeds, int | np.integer):
        seeds = range(checks.integer("seeds", seeds, low=1))
    elif not len(seeds):
        raise ValueError("seeds must name at least one seed.")
    shape = {"duration": duration, "input_rate": input_rate, "min_spacing": min_spacing}
    random_associations(1, n_inputs, n_spikes, **shape, random_state=0)  # refuses what cannot be
    learner = SpikeTrainLearner(
        lif, margin=margin, min_slope=min_slope, guard=guard, solver=solver, tol_ms=1e-3
    )
    found = Parallel(n_jobs=n_jobs)(
        delayed(_largest)(learner, n_inputs, n_spikes, shape, seed) for seed in seeds
    )
    most, decided = zip(*found, strict=True)
    return CapacityCurve(n_inputs, n_spikes, np.array(most), len(most) - sum(decided))


def _largest(
    learner: SpikeTrainLearner, n_inputs: int, n_spikes: int, shape: dict[str, Any], seed: int
) -> tuple[int, bool]:
    """Return the largest number of patterns that can be learned, and whether that is proved."""
    low, high, decided = 0, 0, True
    guess = max(1, round(_LIKELY_LOAD * n_inputs / n_spikes))
    while high == 0 or high - low > 1:
        tried = (low + high) // 2 if high else max(guess, low + max(1, low // 4))
        inputs, targets = random_associations(tried, n_inputs, n_spikes, **shape, random_state=seed)
        try:
            solved = clone(learner).partial_fit(inputs, targets).exact_
            proved = False
        except UnreachableTargetsError:
            solved, proved = False, True
        except SeptetError:  # the solver gave up
            solved = proved = False
        if solved:
            low = tried
        else:
            high, decided = tried, proved
    return low, decided
