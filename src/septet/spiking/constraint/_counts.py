"""Desired numbers of spikes: where on the spike-threshold surface they lie, and learning them."""

import time
from dataclasses import replace
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from septet._core import checks
from septet._core.random import RandomState, generator
from septet.spiking.constraint import _rule_reference as plain
from septet.spiking.constraint._problem import CUT_TOLERANCE, SOLVERS, Problem
from septet.spiking.constraint._rows import N_ROWS, RISE, Limits
from septet.spiking.constraint._rules import check_counts
from septet.spiking.constraint._timeline import Targets, timeline
from septet.spiking.neurons import LIF, SpikeBatch, simulate
from septet.spiking.neurons._backend import Constants, uses_numba
from septet.spiking.neurons._estimators import check_spikes, neuron
from septet.spiking.neurons._simulate import layer_weights

Floats: TypeAlias = NDArray[np.float64]

_MOST_SPIKES = 2000


def critical_thresholds(
    lif: LIF,
    inputs: SpikeBatch,
    weights: ArrayLike,
    n: int,
    *,
    pattern: int = 0,
    backend: str = "auto",
) -> Floats:
    r"""Return the thresholds at which a neuron gains its first, second, ... n-th spike.

    The number of spikes as a function of a hypothetical threshold is the spike-threshold surface;
    :math:`\vartheta^*_k = \sup\{\vartheta : \text{at least } k \text{ spikes}\}`. Scaling weights
    and threshold together changes no spike, so a neuron that shall fire ``k`` times needs its
    weights scaled until the threshold lies between :math:`\vartheta^*_{k+1}` and
    :math:`\vartheta^*_k`, which is one way to do it but not the nearest.

    Parameters
    ----------
    lif : LIF
        The neuron; its own threshold does not matter. It has no refractory period and
        ``0 < tau_s``.
    inputs : SpikeBatch
        Input patterns.
    weights : array_like of shape (n_units,)
        Weights of the neuron.
    n : int
        How many thresholds.
    pattern : int, default 0
        Which of the patterns.
    backend : {"auto", "numba", "numpy"}, default "auto"
        Compiled or plain.

    Returns
    -------
    ndarray of shape (n,)
        Descending; 0 where no threshold is low enough.

    References
    ----------
    R. Gütig, "Spiking neurons can discover predictive features by aggregate-label learning",
    Science 351 (2016) aab4113.

    Examples
    --------
    >>> from septet.spiking import LIF, SpikeBatch, critical_thresholds
    >>> inputs = SpikeBatch.from_lists([[[0.0], [50.0]]], duration=100.0)
    >>> critical_thresholds(LIF(), inputs, [1.0, 0.5], 2).round(6)
    array([1.     , 0.59695])
    """
    checks.integer("n", n, low=1)
    surface = _Surface(_checked(lif), inputs, backend)
    w = layer_weights(weights, inputs.n_units)
    if len(w) != 1:
        raise ValueError(f"weights must be those of one neuron; got {len(w)} neurons.")
    p = range(len(inputs))[pattern]
    return np.array([max(0.0, surface.critical(w[0], p, k)) for k in range(1, n + 1)])


class _Surface:
    """Spike-threshold surfaces of the patterns of a batch."""

    def __init__(self, lif: LIF, inputs: SpikeBatch, backend: str) -> None:
        self.lif, self.inputs = lif, inputs
        self.compiled = uses_numba(backend)
        if self.compiled:
            self.line, self.constants = timeline(lif, inputs, None, 0.0), Constants.of(lif)
            self.spikes = np.empty(_MOST_SPIKES)

    def fired(self, w: Floats, p: int, threshold: float) -> Floats:
        """Return the spikes at a threshold; at most the first `_MOST_SPIKES`."""
        if not self.compiled:
            return plain.Pattern(self.lif, self.inputs, p).fired(w, threshold)
        from septet.spiking.constraint._rule_kernels import run_with_peak

        at = self.constants._replace(threshold=threshold)
        n = run_with_peak(w, p, self.line, at, True, self.spikes)[0]
        return self.spikes[: n if n >= 0 else self.spikes.size].copy()

    def critical(self, w: Floats, p: int, k: int) -> float:
        """Return the threshold of the k-th spike; not positive if there is none."""
        if not self.compiled:
            return plain.critical_threshold(plain.Pattern(self.lif, self.inputs, p), w, k)[0]
        from septet.spiking.constraint._rule_kernels import critical_threshold

        return critical_threshold(w, p, self.line, self.constants, k, self.spikes)[0]

    def desired(self, w: Floats, p: int, count: int) -> Floats | None:
        """Return the spikes in the middle of the plateau with `count` of them.

        Where two maxima cross together there is no such plateau, and the nearest number there is
        is taken. A potential that is never positive says nothing of good times; then they are those
        of equal weights. None if the pattern is empty.
        """
        if count == 0:
            return np.empty(0)
        upper = self.critical(w, p, count)
        if not upper > 0:
            w = np.ones(w.size)
            upper = self.critical(w, p, count)
            if not upper > 0:
                return None
        lower = max(self.critical(w, p, count + 1), 0.0)
        return self.fired(w, p, 0.5 * (lower + upper))


class SpikeCountLearner(BaseEstimator):
    r"""Find weights with which a neuron answers each pattern with a desired number of spikes.

    Times are free: of a pattern that fires too often or too seldom, the train in the middle of the
    plateau of its spike-threshold surface with the desired count is made the target, in the form of
    inequalities. The potential, with resets there, shall reach the threshold at each of its spikes,

    .. math::
        w \cdot x(d_k) \ge \vartheta + \rho(d_k) + m, \qquad
        w \cdot x(t) \le \vartheta + \rho(t) - m \text{ at maxima outside the guard windows,}

    and the weights move towards the nearest ones at which that holds. Trains are chosen anew at
    every visit.

    Parameters
    ----------
    lif : LIF, optional
        The neuron; ``LIF()`` by default.
    block_size : int, default 1
        Patterns solved for at once. Those of a block that are right shall keep their own train.
    margin : float, default 0.05
        Distance m from the threshold, as a fraction of it.
    guard : float, default 3.0
        Window in ms before a chosen spike in which the potential may be anything: the actual spike
        comes there.
    soft_C : float, default 100.0
        Penalty C of a missed constraint, ``C / 2 * miss ** 2``.
    relax : float, default 1.0
        Fraction of the way that a step goes, in (0, 2).
    solver : {"auto", "daqp", "piqp", "numba", "numpy"}, default "auto"
        As for `SpikeTrainLearner`; "numpy" is plain throughout.
    max_epochs : int, default 300
        Passes after which to stop.
    max_seconds : float, optional
        Seconds of processor time after which to stop; the epoch at hand is finished.
    init_scale : float, default 0.01
        Standard deviation of the initial weights, times the threshold.
    random_state : int, numpy.random.Generator or None, default None
        Source of the initial weights and the order of patterns.

    Attributes
    ----------
    coef_ : ndarray of shape (n_neurons, n_units)
        The weights.
    errors_ : list of int
        Trains of a wrong number when visited, epoch by epoch, over all neurons.
    n_epochs_ : int
        Passes made; for several neurons, those of the slowest.
    converged_ : bool
        Whether a last pass found nothing wrong for every neuron.
    wall_time_ : float
        Seconds spent learning.
    n_features_in_ : int
        Number of input lines.

    Notes
    -----
    The choice of times is ours; the paper's was not available. `RuleLearner` with ``rule="eml"``
    learns counts faster: see the guide.

    Examples
    --------
    >>> from septet.spiking import SpikeBatch, SpikeCountLearner
    >>> inputs = SpikeBatch.from_lists([[[0.0], []], [[], [0.0]]], duration=60.0)
    >>> learner = SpikeCountLearner(random_state=0).fit(inputs, [3, 1])
    >>> learner.predict(inputs).counts().ravel()
    array([3, 1])
    """

    def __init__(
        self,
        lif: LIF | None = None,
        *,
        block_size: int = 1,
        margin: float = 0.05,
        guard: float = 3.0,
        soft_C: float = 100.0,
        relax: float = 1.0,
        solver: str = "auto",
        max_epochs: int = 300,
        max_seconds: float | None = None,
        init_scale: float = 0.01,
        random_state: RandomState = None,
    ) -> None:
        self.lif = lif
        self.block_size = block_size
        self.margin = margin
        self.guard = guard
        self.soft_C = soft_C
        self.relax = relax
        self.solver = solver
        self.max_epochs = max_epochs
        self.max_seconds = max_seconds
        self.init_scale = init_scale
        self.random_state = random_state

    def fit(self, X: SpikeBatch, targets: ArrayLike) -> Self:
        """Learn the desired counts from scratch.

        Parameters
        ----------
        X : SpikeBatch
            Input patterns.
        targets : array_like of int, shape (n_patterns,) or (n_patterns, n_neurons)
            Desired numbers of spikes.
        """
        lif = self._check()
        check_spikes(self, X, fitted=False)
        wanted, rng = check_counts(X, targets), generator(self.random_state)
        # in thresholds, in which the solver's tolerances are meant
        unit = replace(lif, threshold=1.0)
        surface = _Surface(unit, X, "numpy" if self.solver == "numpy" else "auto")
        began, busy = time.perf_counter(), time.thread_time()
        weights, errors = [], []
        for k, mine in enumerate(wanted):
            w = rng.normal(0.0, self.init_scale, X.n_units)
            mistakes: list[int] = []
            while len(mistakes) < self.max_epochs and (not mistakes or mistakes[-1] > 0):
                mistakes.append(self._epoch(surface, mine, w, rng))
                spent, share = time.thread_time() - busy, (k + 1) / len(wanted)
                if self.max_seconds is not None and spent > self.max_seconds * share:
                    break
            weights.append(w * lif.threshold)
            errors.append(mistakes)
        self.wall_time_ = time.perf_counter() - began
        self.coef_ = np.array(weights)
        self.n_features_in_ = X.n_units
        self.n_epochs_ = max(map(len, errors))
        self.errors_ = [sum(e[i] for e in errors if i < len(e)) for i in range(self.n_epochs_)]
        self.converged_ = all(e[-1] == 0 for e in errors)
        return self

    def predict(self, X: SpikeBatch) -> SpikeBatch:
        """Run the neurons freely on every pattern and return their spikes."""
        check_is_fitted(self)
        return simulate(neuron(self.lif), check_spikes(self, X), self.coef_)

    def _epoch(
        self, surface: _Surface, wanted: NDArray[np.int64], w: Floats, rng: np.random.Generator
    ) -> int:
        """Visit all patterns in random order; change `w` in place. Returns how many were wrong."""
        order, n_wrong = rng.permutation(wanted.size), 0
        for first in range(0, wanted.size, self.block_size):
            block, trains, is_wrong = [], [], False
            for p in order[first : first + self.block_size]:
                train = surface.fired(w, int(p), 1.0)
                if train.size != wanted[p]:
                    n_wrong += 1
                    train = surface.desired(w, int(p), int(wanted[p]))
                    if train is None:
                        continue
                    is_wrong = True
                block.append(p)
                trains.append(train)
            if is_wrong:
                self._step(surface, np.array(block), trains, w)
        return n_wrong

    def _step(
        self, surface: _Surface, block: NDArray[np.int64], trains: list[Floats], w: Floats
    ) -> None:
        """Move `w` in place towards the nearest weights that fire about where `trains` do."""
        targets = Targets(np.concatenate(trains), np.cumsum([0, *map(len, trains)]))
        softness = 1 / self.soft_C
        limits = Limits(self.margin, -np.inf, 0.0, CUT_TOLERANCE, softness, softness)
        problem = Problem(
            surface.lif,
            surface.inputs[block],
            targets,
            limits=limits,
            guard=self.guard,
            ranges=np.empty((2, 0)),
            solver=self.solver,
            min_isi=0.0,
        )
        rows = problem.rows(np.arange(0), w)
        for p, train in enumerate(trains):
            first = int(rows.counts[N_ROWS])
            rows = problem.with_room(rows, 2 * train.size)
            problem.add_targets(p, rows, w)
            last = first + train.size
            rows.kind[first:last] = RISE  # at least there, and without a row for the slope
            rows.bound[first:last] += self.margin
            rows.counts[N_ROWS] = last
        problem.restart(rows, w)
        result, _ = problem.project(np.arange(block.size), rows, w, 8)
        w += self.relax * (result.weights - w)

    def _check(self) -> LIF:
        lif = _checked(self.lif)
        checks.choice("solver", self.solver, SOLVERS)
        checks.integer("block_size", self.block_size, low=1)
        checks.integer("max_epochs", self.max_epochs, low=1)
        checks.number("margin", self.margin, low=0.0, below=1.0)
        checks.number("guard", self.guard, low=0.0)
        checks.number("soft_C", self.soft_C, above=0.0)
        checks.number("relax", self.relax, above=0.0, below=2.0)
        checks.number("init_scale", self.init_scale, low=0.0)
        if self.max_seconds is not None:
            checks.number("max_seconds", self.max_seconds, above=0.0)
        return lif


def _checked(lif: LIF | None) -> LIF:
    lif = neuron(lif)
    if lif.tau_s == 0 or lif.t_ref > 0:
        raise ValueError(
            "critical thresholds are defined for synaptic currents (tau_s > 0) and without a "
            f"refractory period; got tau_s = {lif.tau_s:g}, t_ref = {lif.t_ref:g} ms."
        )
    return lif
