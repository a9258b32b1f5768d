"""Weights that make neurons fire at prescribed times, solved for rather than nudged."""

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from septet._core import checks
from septet._core.errors import SeptetWarning
from septet._core.random import RandomState, generator
from septet.spiking.constraint._certificate import UnreachableTargetsError
from septet.spiking.constraint._problem import CUT_TOLERANCE, SOLVERS, Problem
from septet.spiking.constraint._report import LearningReport, misses
from septet.spiking.constraint._rows import FIRE, N_ROWS, Limits
from septet.spiking.constraint._settings import penalties, weight_ranges
from septet.spiking.constraint._targets import TargetTrains, check_targets
from septet.spiking.constraint._timeline import Targets
from septet.spiking.constraint._visits import Tally, visit_blocks, visit_incrementally
from septet.spiking.neurons import LIF, SpikeBatch, simulate
from septet.spiking.neurons._estimators import check_spikes, neuron

Floats = NDArray[np.float64]

# Penalty of the relaxed problem where the user named none: misses are a last resort.
_LAST_RESORT = 1e4


class SpikeTrainLearner(BaseEstimator):
    r"""Find weights with which neurons answer each input pattern with a prescribed spike train.

    Once the output train :math:`D = \{d_1 < \dots < d_n\}` of a pattern is prescribed, the resets
    are known and the membrane potential is affine in the weights. "Fire at these times and at no
    other" is then a set of linear constraints, with the vector :math:`x(t)` of postsynaptic
    potentials and :math:`\rho(t) = \vartheta \sum_{d_k < t} e^{-(t - d_k)/\tau_m}`:

    .. math::
        w \cdot x(d_k) = \vartheta + \rho(d_k), \qquad
        w \cdot \dot x(d_k) \ge \sigma + \dot\rho(d_k), \qquad
        w \cdot x(t) \le \vartheta - m + \rho(t) \text{ at all other } t.

    The last is a continuum of which only maxima of the potential can be violated. They are known in
    closed form, so constraints are added where a forced run violates them until none is left; then
    a free run reproduces the trains exactly.

    Parameters
    ----------
    lif : LIF, optional
        The neuron; ``LIF()`` by default. It needs synaptic currents (``tau_s > 0``).
    mode : {"batch", "incremental", "online", "block"}, default "batch"
        Solve all patterns at once; or visit them one by one in random order, each time solving for
        all that was demanded so far, which takes the fewest passes; or visit them and only move to
        the nearest weights that suit the pattern at hand; or blocks of them.
    block_size : int, default 10
        Patterns per block.
    step : {"exact", "diagonal", "uniform"}, default "exact"
        How far to go along the postsynaptic potentials at the times in question: as the constraints
        demand; as each would demand alone, ignoring interference; or `learning_rate` for all. The
        last two are ablations and need ``mode="online"``.
    margin : float, default 0.1
        Distance m from the threshold, as a fraction of it, that is kept when the neuron must not
        fire. 0 is allowed, but then a touch may become a spike.
    min_slope : float, default 0.02
        Least slope at a desired spike, in thresholds per ms.
    guard : float, default 2.0
        Length in ms of the window before a desired spike in which only `guard_margin` is kept.
    guard_margin : float, default 1e-3
        Margin at maxima inside the guard windows.
    min_isi : float, default 1e-3
        Least distance in ms of two desired spikes.
    tol_ms : float, default 1.0
        Timing error in ms up to which a pattern counts as learned and is left alone.
    solver : {"auto", "daqp", "piqp", "numba", "numpy"}, default "auto"
        What solves the quadratic programmes: our compiled active-set method, its plain twin, or
        another package. "auto" takes the first of numba, daqp, numpy that is installed.
    bounds : tuple of (array_like or float), optional
        Least and largest weights, for each input or for all; equal ends freeze a weight.
    signs : array_like of {-1, 0, 1}, shape (n_units,), optional
        Inputs that may only inhibit (-1) or excite (1).
    soft_C : float or tuple of two floats, optional
        Penalty C of a missed constraint, ``C / 2 * miss ** 2``, at desired spikes and at other
        times. By default constraints must hold.
    relax : float, default 1.0
        Fraction of the way to the nearest solution that a step goes, in (0, 2).
    learning_rate : float, default 0.01
        Step size of ``step="uniform"``.
    on_infeasible : {"raise", "soft", "report"}, default "raise"
        What to do when no weights exist: raise `UnreachableTargetsError`; solve the relaxed problem
        and warn; or leave NaN weights for that neuron and the proof in ``report_.certificates``.
    max_epochs : int, default 1000
        Passes after which to give up (with a warning).
    max_rounds : int, optional
        Rounds of cutting planes per step; by default 8, 2 if incremental, or 200 for a step over
        all patterns.
    init_scale : float, default 0.01
        Standard deviation of the initial weights, times the threshold, except for a batch: that
        starts from 0, so that its solution is the one of least norm.
    random_state : int, numpy.random.Generator or None, default None
        Source of the initial weights and the order of patterns.

    Attributes
    ----------
    coef_ : ndarray of shape (n_neurons, n_units)
        The weights.
    report_ : LearningReport
        What the fit did and what came of it.
    exact_, max_timing_error_, n_wrong_count_
        The report's verdict.
    n_features_in_ : int
        Number of input lines.

    Notes
    -----
    The method's idea, weight updates as one linear constraint satisfaction problem that gives the
    exact step sizes, is that of the paper. Its full text was not available to us: the concrete
    constraints, margins, cutting planes, solver and stopping rule are our own construction.

    References
    ----------
    H. L. Nguyen, D. Chu, "Linear Constraints Learning for Spiking Neurons", arXiv:2103.12564.
    R.-M. Memmesheimer et al., "Learning precisely timed spikes", Neuron 82 (2014) 925-938.

    Examples
    --------
    >>> from septet.spiking import SpikeBatch, SpikeTrainLearner
    >>> inputs = SpikeBatch.from_lists([[[0.0], [4.0], [18.0]]], duration=40.0)
    >>> learner = SpikeTrainLearner(min_slope=0.005, margin=0.01, guard=8.0)
    >>> learner = learner.fit(inputs, [[8.0, 25.0]])
    >>> learner.coef_.round(8)
    array([[0.5361386 , 0.59915915, 0.7067018 ]])
    >>> learner.predict(inputs).times.round(9)
    array([ 8., 25.])
    """

    def __init__(
        self,
        lif: LIF | None = None,
        *,
        mode: str = "batch",
        block_size: int = 10,
        step: str = "exact",
        margin: float = 0.1,
        min_slope: float = 0.02,
        guard: float = 2.0,
        guard_margin: float = 1e-3,
        min_isi: float = 1e-3,
        tol_ms: float = 1.0,
        solver: str = "auto",
        bounds: tuple[ArrayLike, ArrayLike] | None = None,
        signs: ArrayLike | None = None,
        soft_C: float | tuple[float, float] | None = None,
        relax: float = 1.0,
        learning_rate: float = 0.01,
        on_infeasible: str = "raise",
        max_epochs: int = 1000,
        max_rounds: int | None = None,
        init_scale: float = 0.01,
        random_state: RandomState = None,
    ) -> None:
        self.lif = lif
        self.mode = mode
        self.block_size = block_size
        self.step = step
        self.margin = margin
        self.min_slope = min_slope
        self.guard = guard
        self.guard_margin = guard_margin
        self.min_isi = min_isi
        self.tol_ms = tol_ms
        self.solver = solver
        self.bounds = bounds
        self.signs = signs
        self.soft_C = soft_C
        self.relax = relax
        self.learning_rate = learning_rate
        self.on_infeasible = on_infeasible
        self.max_epochs = max_epochs
        self.max_rounds = max_rounds
        self.init_scale = init_scale
        self.random_state = random_state

    # -- public ------------------------------------------------------------------------------

    def fit(self, X: SpikeBatch, targets: TargetTrains) -> Self:
        """Learn the desired trains from scratch.

        Parameters
        ----------
        X : SpikeBatch
            Input patterns.
        targets : SpikeBatch or sequence of array_like
            Desired spikes: as many patterns, one unit per neuron; or, for one neuron, the times in
            ms pattern by pattern. An empty train means "stay silent".

        Raises
        ------
        ValueError
            If an argument or a desired time cannot be meant; pattern, neuron and time are named.
        UnreachableTargetsError
            If no weights exist and ``on_infeasible="raise"``.
        """
        self._learn(X, targets, None, self.max_epochs)
        self._warn_if_inexact(len(X) * len(self.coef_))
        return self

    def partial_fit(self, X: SpikeBatch, targets: TargetTrains) -> Self:
        """Make one pass over the patterns, starting from the present weights."""
        start = getattr(self, "coef_", None)
        if start is not None:
            self._refuse_unknown_weights()
        return self._learn(X, targets, start, 1)

    def predict(self, X: SpikeBatch) -> SpikeBatch:
        """Run the neurons freely on every pattern and return their spikes."""
        check_is_fitted(self)
        self._refuse_unknown_weights()
        return simulate(neuron(self.lif), check_spikes(self, X), self.coef_)

    def conditioning(self, X: SpikeBatch, targets: TargetTrains) -> tuple[int, float]:
        """Return rank and condition number of the equations of all desired spikes.

        A rank below the number of desired spikes means that some equations follow from others (and
        are dropped) or contradict them; a large condition number, as of nearly equal desired times,
        that weights are large and spikes sensitive.

        Examples
        --------
        >>> from septet.spiking import SpikeBatch, SpikeTrainLearner
        >>> inputs = SpikeBatch.from_lists([[[0.0], [10.0]]], duration=40.0)
        >>> rank, condition = SpikeTrainLearner().conditioning(inputs, [[12.0, 12.1]])
        >>> rank, round(condition)
        (2, 126)
        """
        lif, inputs = self._check_parameters(), check_spikes(self, X, fitted=False)
        lif = replace(lif, threshold=1.0)
        wanted = check_targets(lif, inputs, targets, self.min_isi)
        lengths = []
        for mine in wanted:
            problem = self._problem(
                lif, inputs, mine, 0, weight_ranges(inputs.n_units, self.bounds, self.signs), None
            )
            rows = problem.rows(np.arange(len(inputs)), np.zeros(inputs.n_units))
            fire = rows.matrix[: rows.counts[N_ROWS]][rows.kind[: rows.counts[N_ROWS]] == FIRE]
            lengths.append(np.linalg.svd(fire, compute_uv=False))
        kept = [s[s > 1e-10 * s.max(initial=0.0)] for s in lengths]
        worst = max((s[0] / s[-1] for s in kept if s.size), default=1.0)
        return sum(s.size for s in kept), float(worst)

    @property
    def exact_(self) -> bool:
        """Whether a free run fires as desired everywhere, within `tol_ms`."""
        return self.report_.exact

    @property
    def max_timing_error_(self) -> float:
        """Largest timing error in ms over the trains of the right length."""
        return self.report_.max_timing_error

    @property
    def n_wrong_count_(self) -> int:
        """Number of trains of a wrong length."""
        return self.report_.n_wrong_count

    # -- learning ----------------------------------------------------------------------------

    def _learn(
        self, X: SpikeBatch, targets: TargetTrains, start: Floats | None, max_epochs: int
    ) -> Self:
        began = time.perf_counter()
        lif = self._check_parameters()
        inputs = check_spikes(self, X, fitted=start is not None)
        wanted = check_targets(lif, inputs, targets, self.min_isi)
        if start is not None and len(start) != len(wanted):
            raise ValueError(f"targets are of {len(wanted)} neurons; the learner has {len(start)}.")
        rng = generator(self.random_state)
        # in thresholds, in which the solver's tolerances are meant
        unit, theta = replace(lif, threshold=1.0), lif.threshold
        ranges = weight_ranges(inputs.n_units, self.bounds, self.signs)
        tally = Tally()
        weights = np.empty((len(wanted), inputs.n_units))
        for k, mine in enumerate(wanted):
            w = self._initial(inputs.n_units, rng) if start is None else start[k] / theta
            w = self._learn_neuron(unit, inputs, mine, k, w, ranges / theta, rng, tally, max_epochs)
            weights[k] = theta * w
        if ranges.size:
            weights = np.clip(weights, *ranges)  # active ends hold to rounding
        self.n_features_in_ = inputs.n_units
        self.coef_ = weights
        self.report_ = self._report(lif, inputs, wanted, tally, began)
        return self

    def _learn_neuron(
        self,
        lif: LIF,
        inputs: SpikeBatch,
        targets: Targets,
        index: int,
        start: Floats,
        ranges: Floats,
        rng: np.random.Generator,
        tally: Tally,
        max_epochs: int,
    ) -> Floats:
        now = self._problem(lif, inputs, targets, index, ranges, penalties(self.soft_C))
        try:
            w = self._run(now, start, rng, tally, max_epochs)
        except UnreachableTargetsError as error:
            if self.on_infeasible == "raise":
                raise
            tally.certificates.append(error.certificate)
            if self.on_infeasible == "report":
                return np.full(inputs.n_units, np.nan)
            soft = (_LAST_RESORT, _LAST_RESORT)
            now = self._problem(lif, inputs, targets, index, ranges, soft)
            w = self._run(now, start, rng, tally, max_epochs)
        tally.steps += now.steps
        tally.margin = min(tally.margin, now.margin(w))
        return w

    def _problem(
        self,
        lif: LIF,
        inputs: SpikeBatch,
        targets: Targets,
        index: int,
        ranges: Floats,
        soft: tuple[float, float] | None,
    ) -> Problem:
        return Problem(
            lif,
            inputs,
            targets,
            limits=self._limits(soft),
            guard=self.guard,
            ranges=ranges,
            solver=self.solver,
            min_isi=self.min_isi,
            neuron=index,
        )

    def _run(
        self,
        problem: Problem,
        start: Floats,
        rng: np.random.Generator,
        tally: Tally,
        max_epochs: int,
    ) -> Floats:
        if self.mode == "incremental":
            return visit_incrementally(
                problem,
                start,
                rng,
                tally,
                tol_ms=self.tol_ms,
                max_epochs=max_epochs,
                max_rounds=self.max_rounds or 2,
            )
        n_patterns = len(problem.inputs)
        size = {"batch": n_patterns, "online": 1, "block": self.block_size}[self.mode]
        return visit_blocks(
            problem,
            start,
            rng,
            tally,
            size=size,
            step=self._size_of_step(problem),
            relax=self.relax,
            tol_ms=self.tol_ms,
            max_epochs=max_epochs,
            max_rounds=self.max_rounds or (200 if size >= n_patterns else 8),
        )

    def _size_of_step(self, problem: Problem) -> Callable[[Floats, Floats], Floats] | None:
        if self.step == "exact":
            return None
        if self.step == "diagonal":
            return lambda miss, square: np.divide(miss, square, where=square > 0, out=0.0 * miss)
        rate = self.learning_rate
        return lambda miss, square: rate * np.sign(miss) * (np.abs(miss) > 1e-12)

    def _report(
        self, lif: LIF, inputs: SpikeBatch, wanted: list[Targets], tally: Tally, began: float
    ) -> LearningReport:
        error, n_wrong = misses(lif, inputs, self.coef_, wanted)
        return LearningReport(
            exact=n_wrong == 0 and error <= self.tol_ms,
            max_timing_error=error,
            n_wrong_count=n_wrong,
            rounds=tally.rounds,
            epochs=tally.epochs,
            updates=tally.updates,
            qp_solves=tally.rounds,
            qp_steps=tally.steps,
            wall_time=time.perf_counter() - began,
            weight_norm=float(np.sqrt(np.nansum(self.coef_**2))),
            margin=float(tally.margin),
            certificates=tuple(tally.certificates),
        )

    def _warn_if_inexact(self, n_trains: int) -> None:
        if self.exact_:
            return
        report = self.report_
        why = f"after {report.epochs} epochs (max_epochs = {self.max_epochs})"
        if report.certificates:
            why = f"because they are out of reach: {report.certificates[0]}"
        elif self.soft_C is not None:
            why = f"at soft_C = {self.soft_C}"
        warnings.warn(
            f"not all of {n_trains} trains are as desired {why}: {report.n_wrong_count} have a "
            f"wrong number of spikes, and times are off by up to {report.max_timing_error:.3g} ms.",
            SeptetWarning,
            stacklevel=3,
        )

    # -- checks ------------------------------------------------------------------------------

    def _refuse_unknown_weights(self) -> None:
        if np.isnan(self.coef_).any():
            raise UnreachableTargetsError(self.report_.certificates[0])

    def _check_parameters(self) -> LIF:
        lif = neuron(self.lif)
        if lif.tau_s == 0:
            raise ValueError(
                "learning spike times needs synaptic currents (tau_s > 0): with delta synapses the "
                "neuron can only fire at input times."
            )
        checks.choice("mode", self.mode, ("batch", "incremental", "online", "block"))
        checks.choice("step", self.step, ("exact", "diagonal", "uniform"))
        checks.choice("solver", self.solver, SOLVERS)
        checks.choice("on_infeasible", self.on_infeasible, ("raise", "soft", "report"))
        if self.mode == "incremental" and self.relax != 1.0:
            raise ValueError(f'mode="incremental" needs relax=1; got relax={self.relax!r}.')
        if self.step != "exact" and self.mode != "online":
            raise ValueError(f'step={self.step!r} needs mode="online"; got mode={self.mode!r}.')
        checks.integer("block_size", self.block_size, low=1)
        checks.integer("max_epochs", self.max_epochs, low=1)
        if self.max_rounds is not None:
            checks.integer("max_rounds", self.max_rounds, low=1)
        for name, limits in (
            ("margin", {"low": 0.0, "below": 1.0}),
            ("guard_margin", {"low": 0.0, "below": 1.0}),
            ("min_slope", {"low": 0.0}),
            ("guard", {"low": 0.0}),
            ("min_isi", {"above": 0.0}),
            ("tol_ms", {"above": 0.0}),
            ("relax", {"above": 0.0, "below": 2.0}),
            ("learning_rate", {"above": 0.0}),
            ("init_scale", {"low": 0.0}),
        ):
            checks.number(name, getattr(self, name), **limits)
        if self.margin == 0:
            warnings.warn(
                "margin = 0 lets the potential touch the threshold; rounding may turn a touch into "
                "a spike.",
                SeptetWarning,
                stacklevel=4,
            )
        return lif

    def _limits(self, soft: tuple[float, float] | None) -> Limits:
        return Limits(
            margin=self.margin,
            guard_margin=self.guard_margin,
            min_slope=self.min_slope,
            tolerance=CUT_TOLERANCE,
            fire_softness=0.0 if soft is None else 1 / soft[0],
            below_softness=0.0 if soft is None else 1 / soft[1],
        )

    def _initial(self, n_inputs: int, rng: np.random.Generator) -> Floats:
        if self.mode == "batch":
            return np.zeros(n_inputs)
        return rng.normal(0.0, self.init_scale, n_inputs)
