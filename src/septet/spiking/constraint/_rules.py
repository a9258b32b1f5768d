"""The local learning rules that the constraint method is compared with."""

import time
from functools import partial
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from septet._core import checks
from septet._core.random import RandomState, generator
from septet.spiking.constraint import _rule_reference as plain
from septet.spiking.constraint._report import misses
from septet.spiking.constraint._rows import Limits
from septet.spiking.constraint._targets import TargetTrains, check_targets
from septet.spiking.constraint._timeline import Targets, timeline
from septet.spiking.neurons import LIF, SpikeBatch, simulate
from septet.spiking.neurons._backend import BACKENDS, Constants, uses_numba
from septet.spiking.neurons._estimators import check_spikes, neuron

Floats: TypeAlias = NDArray[np.float64]

TIMED = ("fp", "htp", "resume", "elearning", "psd", "span", "empd")
COUNTED = ("mst", "eml", "emlc", "correlation")
RULES = (*TIMED, *COUNTED, "tempotron")

# What is usually best for a few hundred inputs; tune it for anything that counts.
_RATES = {
    "fp": 1e-3,
    "htp": 1e-3,
    "resume": 3e-3,
    "elearning": 3e-3,
    "psd": 1e-2,
    "span": 1e-3,
    "empd": 3e-3,
    "mst": 1e-2,
    "eml": 1e-2,
    "emlc": 1e-2,
    "correlation": 1e-3,
    "tempotron": 1e-2,
}
_TRACE_TAU = {"span": 5.0}
_MAX_SPIKES = 2000


class RuleLearner(BaseEstimator):
    r"""Train neurons with one of the classic local rules, pattern by pattern.

    Every rule changes the weights along traces of the inputs at certain times,
    :math:`\Delta w_i = \eta \sum_m c_m\, \lambda_i(t_m)`; they differ in times and coefficients.
    Patterns that are right already are left alone.

    Parameters
    ----------
    rule : str, default "elearning"
        For desired spike times: ``"fp"`` (finite precision: the first error only), ``"htp"`` (a
        perceptron on the potential with prescribed resets), ``"resume"``, ``"elearning"`` (the
        Chronotron), ``"psd"``, ``"span"``, ``"empd"`` (gradient of the squared distance of the
        potential from the threshold). For desired numbers of spikes: ``"mst"`` (multi-spike
        tempotron), ``"eml"``, ``"emlc"``, ``"correlation"``. For fire or stay silent:
        ``"tempotron"``.
    lif : LIF, optional
        The neuron; ``LIF()`` by default.
    learning_rate : float, optional
        Step size :math:`\eta`, in thresholds; the default depends on the rule and is a starting
        point for tuning.
    tol_ms : float, default 1.0
        Timing error in ms up to which a train counts as right (and FP's precision).
    margin : float, default 0.1
        Distance from the threshold, as a fraction of it, that HTP and the tempotron keep.
    guard : float, default 2.0
        Window in ms before a desired spike in which HTP tolerates high potentials.
    trace_tau : float, optional
        Time constant in ms of the traces of ReSuMe (10), PSD (10, with a rise of a quarter of it)
        and SPAN (5).
    bias : float, default 0.01
        Non-Hebbian term of ReSuMe.
    tau_q : float, default 10.0
        Time scale in ms of E-learning's alignment.
    pull : float, default 10.0
        Factor in ms of E-learning's correction of shifted spikes.
    momentum : float, default 0.0
        Momentum of the tempotron.
    max_epochs : int, default 1000
        Passes after which to stop.
    max_seconds : float, optional
        Seconds of processor time after which to stop; the epoch at hand is finished.
    init_scale : float, default 0.01
        Standard deviation of the initial weights, times the threshold.
    backend : {"auto", "numba", "numpy"}, default "auto"
        Compiled passes or the plain ones.
    random_state : int, numpy.random.Generator or None, default None
        Source of the initial weights and the order of patterns.

    Attributes
    ----------
    coef_ : ndarray of shape (n_neurons, n_units)
        The weights.
    errors_ : list of int
        Trains that were wrong when visited, epoch by epoch, over all neurons.
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
    The rules were written from their papers' formulas as commonly cited; constants that those leave
    open are parameters here.

    References
    ----------
    R.-M. Memmesheimer et al., Neuron 82 (2014) 925-938 (FP, HTP). F. Ponulak, A. Kasiński, Neural
    Computation 22 (2010) 467-510 (ReSuMe). R. Florian, PLoS ONE 7 (2012) e40233 (E-learning). Q. Yu
    et al., PLoS ONE 8 (2013) e78318 (PSD). A. Mohemmed et al., Int. J. Neural Systems 22 (2012)
    1250012 (SPAN). M. Zhang et al., IEEE TCDS 10 (2018) 151-162 (EMPD). R. Gütig, H. Sompolinsky,
    Nature Neuroscience 9 (2006) 420-428 (tempotron). R. Gütig, Science 351 (2016) aab4113
    (multi-spike tempotron, correlation rule). S. Li, Q. Yu, AAAI 34 (2020) 4650-4657 (EML, EMLC).

    Examples
    --------
    >>> from septet.spiking import RuleLearner, SpikeBatch
    >>> inputs = SpikeBatch.from_lists([[[0.0], [4.0], [18.0]]], duration=40.0)
    >>> rule = RuleLearner("fp", learning_rate=0.01, random_state=0)
    >>> rule = rule.fit(inputs, [[8.0, 25.0]])
    >>> bool(rule.converged_), rule.predict(inputs).n_spikes
    (True, 2)
    """

    def __init__(
        self,
        rule: str = "elearning",
        lif: LIF | None = None,
        *,
        learning_rate: float | None = None,
        tol_ms: float = 1.0,
        margin: float = 0.1,
        guard: float = 2.0,
        trace_tau: float | None = None,
        bias: float = 0.01,
        tau_q: float = 10.0,
        pull: float = 10.0,
        momentum: float = 0.0,
        max_epochs: int = 1000,
        max_seconds: float | None = None,
        init_scale: float = 0.01,
        backend: str = "auto",
        random_state: RandomState = None,
    ) -> None:
        self.rule = rule
        self.lif = lif
        self.learning_rate = learning_rate
        self.tol_ms = tol_ms
        self.margin = margin
        self.guard = guard
        self.trace_tau = trace_tau
        self.bias = bias
        self.tau_q = tau_q
        self.pull = pull
        self.momentum = momentum
        self.max_epochs = max_epochs
        self.max_seconds = max_seconds
        self.init_scale = init_scale
        self.backend = backend
        self.random_state = random_state

    def fit(self, X: SpikeBatch, targets: TargetTrains | ArrayLike) -> Self:
        """Learn from scratch.

        Parameters
        ----------
        X : SpikeBatch
            Input patterns.
        targets : SpikeBatch, sequence of array_like, or array_like of int
            Desired trains as for `SpikeTrainLearner`; desired numbers of spikes, (n_patterns,) or
            (n_patterns, n_neurons); or, for the tempotron, 0 (silent) and 1 (fire) likewise.
        """
        return self._learn(X, targets, None, self.max_epochs)

    def partial_fit(self, X: SpikeBatch, targets: TargetTrains | ArrayLike) -> Self:
        """Make one pass over the patterns, starting from the present weights."""
        return self._learn(X, targets, getattr(self, "coef_", None), 1)

    def predict(self, X: SpikeBatch) -> SpikeBatch:
        """Run the neurons freely on every pattern and return their spikes."""
        check_is_fitted(self)
        X = check_spikes(self, X)
        return simulate(neuron(self.lif), X, self.coef_, backend=self.backend)

    def timing(self, X: SpikeBatch, targets: TargetTrains) -> tuple[float, int]:
        """Return the largest timing error in ms of trains of the right length, and the others."""
        check_is_fitted(self)
        lif, X = neuron(self.lif), check_spikes(self, X)
        return misses(lif, X, self.coef_, check_targets(lif, X, targets, 1e-3))

    # -- learning ----------------------------------------------------------------------------

    def _learn(
        self,
        X: SpikeBatch,
        targets: TargetTrains | ArrayLike,
        start: Floats | None,
        max_epochs: int,
    ) -> Self:
        lif = self._check()
        check_spikes(self, X, fitted=False)
        wanted = self._wanted(lif, X, targets)
        if start is not None and start.shape != (len(wanted), X.n_units):
            raise ValueError(
                f"the weights are of {start.shape[0]} neurons with {start.shape[1]} inputs; got "
                f"targets of {len(wanted)} neurons and X with {X.n_units} features."
            )
        rng = generator(self.random_state)
        weights, errors = [], []
        began, busy = time.perf_counter(), time.thread_time()
        for k, mine in enumerate(wanted):
            scale = self.init_scale * lif.threshold
            w = rng.normal(0.0, scale, X.n_units) if start is None else start[k].copy()
            visit = self._passes(lif, X, mine, w)
            mistakes: list[int] = []
            while len(mistakes) < max_epochs and (not mistakes or mistakes[-1] > 0):
                mistakes.append(visit(rng.permutation(len(X))))
                spent, share = time.thread_time() - busy, (k + 1) / len(wanted)
                if self.max_seconds is not None and spent > self.max_seconds * share:
                    break
            weights.append(w)
            errors.append(mistakes)
        self.wall_time_ = time.perf_counter() - began
        self.coef_ = np.array(weights)
        self.n_features_in_ = X.n_units
        self.n_epochs_ = max(map(len, errors))
        self.errors_ = [sum(e[i] for e in errors if i < len(e)) for i in range(self.n_epochs_)]
        self.converged_ = all(e[-1] == 0 for e in errors)
        return self

    def _rate(self, lif: LIF) -> float:
        rate = _RATES[self.rule] if self.learning_rate is None else self.learning_rate
        # what EMPD adds is proportional to a distance from the threshold, and so has its unit
        return rate if self.rule == "empd" else rate * lif.threshold

    def _trace(self) -> tuple[float, LIF]:
        """Time constant of the rule's trace and the kernel that carries it."""
        tau = self.trace_tau or _TRACE_TAU.get(self.rule, 10.0)
        return tau, {
            "resume": LIF(tau, tau / 2),
            "psd": LIF(tau, tau / 4),
            "span": LIF(tau, tau),
        }.get(self.rule, neuron(self.lif))

    def _passes(self, lif: LIF, X: SpikeBatch, wanted: Targets | NDArray[np.int64], w: Floats):  # noqa: ANN202 - a partial
        """Return a function that visits the patterns in a given order and changes `w` in place."""
        if not uses_numba(self.backend):
            return partial(self._plain_pass, lif, X, wanted, w, np.zeros(w.size))
        from septet.spiking.constraint import _rule_epochs as epochs

        constants, rate = Constants.of(lif), self._rate(lif)
        spikes = np.empty(_MAX_SPIKES)
        if isinstance(wanted, Targets):
            carrier = self._trace()[1]
            line = timeline(lif, X, wanted, self.guard)
            own = self.rule in {"resume", "psd", "span"}
            trace_line = timeline(carrier, X, None, 0.0) if own else line
            numbers = epochs.RuleConstants(
                rate=rate,
                tolerance=self.tol_ms,
                bias=self.bias,
                tau_q=self.tau_q,
                pull=self.pull,
                scale=(np.e / 2) ** 2 if self.rule == "span" else 1.0,
            )
            # HTP keeps a margin but does not look into the guard windows; EMPD does, without margin
            margin, inside = (0.0, 0.0) if self.rule == "empd" else (self.margin, -np.inf)
            limits = Limits(margin * lif.threshold, inside, 0.0, 0.0, 0.0, 0.0)
            return lambda order: epochs.timed_epoch(
                TIMED.index(self.rule),
                w,
                order,
                line,
                trace_line,
                wanted,
                constants,
                Constants.of(carrier),
                limits,
                numbers,
                spikes,
            )
        line = timeline(lif, X, None, 0.0)
        if self.rule == "tempotron":
            last = np.zeros(w.size)
            margin = self.margin * lif.threshold
            return lambda order: epochs.binary_epoch(
                w, order, line, wanted, constants, rate, margin, self.momentum, last
            )
        kind = COUNTED.index(self.rule)
        return lambda order: epochs.count_epoch(
            kind, w, order, line, wanted, constants, rate, spikes
        )

    def _plain_pass(
        self,
        lif: LIF,
        X: SpikeBatch,
        wanted: Targets | NDArray[np.int64],
        w: Floats,
        last: Floats,
        order: NDArray[np.int64],
    ) -> int:
        n_wrong = 0
        momentum = self.momentum if self.rule == "tempotron" else 0.0
        for p in order:
            pattern = plain.Pattern(lif, X, int(p))
            if isinstance(wanted, Targets):
                desired = wanted.time[wanted.indptr[p] : wanted.indptr[p + 1]]
                change = self._timed_change(pattern, w, desired)
            elif self.rule == "tempotron":
                change = self._binary_change(pattern, w, bool(wanted[p]))
            else:
                change = self._count_change(pattern, w, int(wanted[p]))
            if change is not None:
                n_wrong += 1
                last[:] = momentum * last + self._rate(lif) * change
                w += last
        return n_wrong

    def _timed_change(self, pattern: plain.Pattern, w: Floats, desired: Floats) -> Floats | None:
        fired = pattern.fired(w)
        if fired.size == desired.size and np.all(np.abs(fired - desired) <= self.tol_ms):
            return None
        if self.rule == "fp":
            return plain.first_error(pattern, w, desired, self.tol_ms)
        if self.rule == "elearning":
            return plain.edits(pattern, w, desired, self.tau_q, self.pull)
        if self.rule in {"htp", "empd"}:
            margin = None if self.rule == "empd" else self.margin * pattern.lif.threshold
            return plain.forced_errors(pattern, w, desired, self.guard, margin)
        return plain.traces(pattern, w, desired, self.rule, self._trace()[0], self.bias)

    def _count_change(self, pattern: plain.Pattern, w: Floats, wanted: int) -> Floats | None:
        fired = pattern.fired(w)
        if fired.size == wanted:
            return None
        sign = 1.0 if fired.size < wanted else -1.0
        if self.rule == "correlation":
            by_input = plain.eligibility(pattern, w)
            return sign * (by_input >= np.sort(by_input)[-max(1, w.size // 10)])
        if self.rule == "eml":
            times, heights = plain.maxima(pattern, w, fired)
            if sign > 0 and times.size == 0:
                return np.zeros(w.size)
            t = times[heights.argmax()] if sign > 0 else fired[-1]
            return sign * pattern.x([t])[0]
        k = fired.size + 1 if sign > 0 else fired.size
        threshold, t, before = plain.critical_threshold(pattern, w, k)
        if not threshold > 0:
            return np.zeros(w.size)
        if self.rule == "mst":
            return sign * plain.critical_gradient(pattern, w, t, before)
        return sign * pattern.x([t])[0]

    def _binary_change(self, pattern: plain.Pattern, w: Floats, fires: bool) -> Floats | None:
        times, heights = plain.maxima(pattern, w, np.zeros(0))
        highest = heights.max(initial=0.0)
        sign = 1.0 if fires else -1.0
        if sign * (highest - pattern.lif.threshold) > self.margin * pattern.lif.threshold:
            return None
        if times.size == 0:
            return np.zeros(w.size)
        return sign * pattern.x([times[heights.argmax()]])[0]

    # -- checks ------------------------------------------------------------------------------

    def _check(self) -> LIF:
        lif = neuron(self.lif)
        checks.choice("rule", self.rule, RULES)
        checks.choice("backend", self.backend, BACKENDS)
        if lif.tau_s == 0:
            raise ValueError("these rules need synaptic currents (tau_s > 0).")
        if self.rule in {"mst", "correlation"} and (lif.t_ref > 0 or lif.synapse == "alpha"):
            raise ValueError(
                f"rule={self.rule!r} is defined without a refractory period and for tau_s < tau_m."
            )
        if self.learning_rate is not None:
            checks.number("learning_rate", self.learning_rate, above=0.0)
        if self.trace_tau is not None:
            checks.number("trace_tau", self.trace_tau, above=0.0)
        if self.max_seconds is not None:
            checks.number("max_seconds", self.max_seconds, above=0.0)
        for name in ("tol_ms", "tau_q", "pull"):
            checks.number(name, getattr(self, name), above=0.0)
        for name in ("guard", "bias", "init_scale"):
            checks.number(name, getattr(self, name), low=0.0)
        checks.number("margin", self.margin, low=0.0, below=1.0)
        checks.number("momentum", self.momentum, low=0.0, below=1.0)
        checks.integer("max_epochs", self.max_epochs, low=1)
        return lif

    def _wanted(
        self, lif: LIF, X: SpikeBatch, targets: TargetTrains | ArrayLike
    ) -> list[Targets] | list[NDArray[np.int64]]:
        if self.rule in TIMED:
            return check_targets(lif, X, targets, 1e-3)  # pyrefly: ignore
        return check_counts(X, targets, most=1 if self.rule == "tempotron" else None)


def check_counts(
    X: SpikeBatch, targets: TargetTrains | ArrayLike, most: int | None = None
) -> list[NDArray[np.int64]]:
    """Return the desired numbers of spikes neuron by neuron, or name the first bad one."""
    counts = np.asarray(targets)
    if counts.dtype.kind not in "biu":
        raise TypeError(f"targets must be whole numbers, one per pattern; got {counts.dtype}.")
    if counts.ndim not in (1, 2) or len(counts) != len(X) or counts.size == 0:
        raise ValueError(
            f"targets must be (n_patterns,) or (n_patterns, n_neurons) with {len(X)} patterns; "
            f"got {counts.shape}."
        )
    counts = counts.reshape(len(X), -1).astype(np.int64)
    bad = np.argwhere((counts < 0) | (counts > (np.inf if most is None else most)))
    if len(bad):
        p, k = bad[0]
        limit = "" if most is None else f" and at most {most}"
        raise ValueError(
            f"pattern {p}, neuron {k}: {counts[p, k]} spikes; must be at least 0{limit}."
        )
    return list(np.ascontiguousarray(counts.T))
