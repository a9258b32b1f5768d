"""Weights that bear noise: the largest margin and slope, and how much noise they tolerate."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from septet._core import checks
from septet._core.errors import SeptetError
from septet._core.random import RandomState, generator
from septet.spiking.constraint._learner import SpikeTrainLearner
from septet.spiking.constraint._targets import TargetTrains, check_targets
from septet.spiking.neurons import LIF, SpikeBatch, simulate
from septet.spiking.neurons._simulate import layer_weights

Floats = NDArray[np.float64]

# Rate in Hz of either of the two noisy inputs, which makes the noise nearly Gaussian.
_NOISE_RATE = 1000.0


def maximise_margin(
    learner: SpikeTrainLearner,
    X: SpikeBatch,
    targets: TargetTrains,
    *,
    tol_ms: float = 1.0,
    resolution: float = 0.005,
) -> SpikeTrainLearner:
    r"""Fit the desired trains with the largest margin, and a slope to match, that can be met.

    A disturbance of the potential by up to :math:`a` makes no spike where it stays :math:`a` below
    the threshold, and shifts a desired spike that is passed with slope :math:`\sigma` by about
    :math:`a / \sigma`. So one number bounds what is borne with errors of at most `tol_ms`: the
    largest :math:`a` for which the constraints with margin :math:`a`, slope
    :math:`a / \mathrm{tol}` and a guard window of `tol_ms` have a solution. It is found by
    bisection, ended from above by proofs of infeasibility, or where the solver finds no solution.

    Parameters
    ----------
    learner : SpikeTrainLearner
        Its settings apart from margin, slope, guard and mode (which is "batch") are kept; it is not
        changed.
    X, targets
        As for ``SpikeTrainLearner.fit``.
    tol_ms : float, default 1.0
        Timing error in ms that is still right.
    resolution : float, default 0.005
        How closely the largest margin is located, as a fraction of the threshold.

    Returns
    -------
    SpikeTrainLearner
        A new learner, fitted; its ``margin`` is the largest found.

    Raises
    ------
    UnreachableTargetsError
        If the targets are out of reach even with almost no margin.
    SeptetError
        If the learner's ``max_rounds`` do not suffice.

    Notes
    -----
    Beyond the paper, whose solution is any that satisfies the constraints. The default of
    `SpikeTrainLearner`, the solution of least norm, bears noise in the weights or inputs that grows
    with the weights; this one bears noise of the potential.

    Examples
    --------
    >>> from septet.spiking import SpikeTrainLearner, random_associations
    >>> inputs, targets = random_associations(2, 100, 2, random_state=0)
    >>> robust = maximise_margin(SpikeTrainLearner(), inputs, targets, resolution=0.05)
    >>> robust.exact_, robust.margin > 0.1
    (True, True)
    """
    tol_ms = checks.number("tol_ms", tol_ms, above=0.0)
    resolution = checks.number("resolution", resolution, above=0.0, below=1.0)

    def fitted(margin: float) -> SpikeTrainLearner:
        candidate = clone(learner).set_params(
            mode="batch",
            step="exact",
            relax=1.0,
            on_infeasible="raise",
            margin=margin,
            min_slope=margin / tol_ms,
            guard=tol_ms,
            tol_ms=tol_ms,
        )
        return candidate.partial_fit(X, targets)

    best = fitted(min(resolution, 0.5))
    if not best.exact_:
        raise SeptetError("no solution was found within the rounds allowed: raise max_rounds.")
    low, high = best.margin, 1.0
    while high - low > resolution:
        tried = (low + high) / 2
        try:
            candidate = fitted(tried)
        except SeptetError:  # a proof that there is none, or the solver found none
            high = tried
            continue
        if candidate.exact_:
            best, low = candidate, tried
        else:
            high = tried
    return best


def noise_recall(
    lif: LIF | None,
    weights: ArrayLike,
    X: SpikeBatch,
    targets: TargetTrains,
    noise: float,
    *,
    tol_ms: float = 1.0,
    n_repeats: int = 20,
    random_state: RandomState = None,
) -> float:
    r"""Fraction of noisy presentations that are answered with the desired train.

    Two more inputs fire as Poisson processes of 1000 Hz, one exciting and one inhibiting with equal
    strength, which adds coloured noise of standard deviation `noise` and mean 0 to the potential.
    The run stays exact. An answer is right if it has the right number of spikes, each within
    `tol_ms` of its time.

    Parameters
    ----------
    lif : LIF or None
        The neuron; None for ``LIF()``. It needs synaptic currents.
    weights : array_like of shape (n_units,) or (n_neurons, n_units)
        Weights as learned.
    X, targets
        Patterns and desired trains.
    noise : float
        Standard deviation of the potential, in thresholds.
    tol_ms : float, default 1.0
        Timing error in ms that is still right.
    n_repeats : int, default 20
        Presentations of every pattern.
    random_state : int, numpy.random.Generator or None, default None
        Source of the noise. The same seed gives the same noise, scaled.

    Returns
    -------
    float
        Over patterns, neurons and repeats.

    Examples
    --------
    >>> from septet.spiking import LIF, SpikeTrainLearner, random_associations
    >>> inputs, targets = random_associations(2, 100, 2, random_state=0)
    >>> weights = SpikeTrainLearner().fit(inputs, targets).coef_
    >>> noise_recall(LIF(), weights, inputs, targets, 0.0, random_state=0)
    1.0
    """
    lif = LIF() if lif is None else lif
    noise = checks.number("noise", noise, low=0.0)
    check = _NoisyRun(lif, weights, X, targets, tol_ms, n_repeats, random_state)
    return check.recall(noise)


def tolerated_noise(
    lif: LIF | None,
    weights: ArrayLike,
    X: SpikeBatch,
    targets: TargetTrains,
    *,
    recall: float = 0.95,
    tol_ms: float = 1.0,
    n_repeats: int = 20,
    random_state: RandomState = None,
) -> float:
    """Largest noise of the potential, in thresholds, at which `recall` of the answers are right.

    Parameters
    ----------
    lif, weights, X, targets, tol_ms, n_repeats, random_state
        As for `noise_recall`.
    recall : float, default 0.95
        Fraction of answers that must be right, in (0, 1].

    Returns
    -------
    float
        Standard deviation in thresholds, found by bisection to a hundredth of itself; 0 if the
        answers are not right without noise either.

    Examples
    --------
    >>> from septet.spiking import SpikeTrainLearner, random_associations
    >>> inputs, targets = random_associations(2, 100, 2, random_state=0)
    >>> weights = SpikeTrainLearner(margin=0.2).fit(inputs, targets).coef_
    >>> 0.005 < tolerated_noise(None, weights, inputs, targets, random_state=0) < 0.2
    True
    """
    lif = LIF() if lif is None else lif
    recall = checks.number("recall", recall, above=0.0, high=1.0)
    check = _NoisyRun(lif, weights, X, targets, tol_ms, n_repeats, random_state)
    if check.recall(0.0) < recall:
        return 0.0
    low, high = 0.0, 1e-3
    while check.recall(high) >= recall and high < 1e3:
        low, high = high, 2 * high
    while high - low > 0.01 * high and high > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if check.recall(middle) >= recall else (low, middle)
    return low


class _NoisyRun:
    """Patterns with noise drawn once, to be run at any strength of it."""

    def __init__(
        self,
        lif: LIF,
        weights: ArrayLike,
        X: SpikeBatch,
        targets: TargetTrains,
        tol_ms: float,
        n_repeats: int,
        random_state: RandomState,
    ) -> None:
        if lif.tau_s == 0:
            raise ValueError("noise of the potential needs synaptic currents (tau_s > 0).")
        self.lif, self.weights = lif, layer_weights(weights, X.n_units)
        self.tol_ms = checks.number("tol_ms", tol_ms, above=0.0)
        self.n_repeats = checks.integer("n_repeats", n_repeats, low=1)
        self.wanted = check_targets(lif, X, targets, 1e-9)
        if len(self.wanted) != len(self.weights):
            raise ValueError(
                f"targets are of {len(self.wanted)} neurons, weights of {len(self.weights)}."
            )
        rng = generator(random_state)
        patterns = []
        for times, ids in X:
            for _ in range(self.n_repeats):
                count = rng.poisson(_NOISE_RATE * X.duration / 1000, 2)
                noisy = rng.uniform(0.0, X.duration, count.sum())
                lines = np.repeat([X.n_units, X.n_units + 1], count)
                patterns.append((np.append(times, noisy), np.append(ids, lines)))
        self.inputs = SpikeBatch.from_pairs(
            patterns, n_units=X.n_units + 2, duration=X.duration, sort=True
        )

    def recall(self, noise: float) -> float:
        # Campbell: the variance of shot noise is its rate times the integral of the squared kernel
        strength = noise * self.lif.threshold / np.sqrt(2 * _NOISE_RATE / 1000 * self._square())
        pair = np.tile([strength, -strength], (len(self.weights), 1))
        try:
            answers = simulate(self.lif, self.inputs, np.hstack([self.weights, pair]))
        except SeptetError:  # a storm of spikes: nothing is right any more
            return 0.0
        right = 0
        for i in range(len(answers)):
            p = i // self.n_repeats
            for train, mine in zip(answers.trains(i), self.wanted, strict=True):
                desired = mine.time[mine.indptr[p] : mine.indptr[p + 1]]
                right += train.size == desired.size and bool(
                    np.all(np.abs(train - desired) <= self.tol_ms)
                )
        return right / (len(answers) * len(self.wanted))

    def _square(self) -> float:
        """Integral of the squared postsynaptic potential in ms."""
        m, s = self.lif.tau_m, self.lif.tau_s
        if m == s:
            return self.lif.psp_norm**2 * m / 4
        return self.lif.psp_norm**2 * (m / 2 + s / 2 - 2 * m * s / (m + s))
