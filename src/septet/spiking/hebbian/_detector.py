"""Novelty detection: weights learned on normal data, whose constraint novel data violates."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import Tags  # pyrefly: ignore[missing-module-attribute]
from sklearn.utils.validation import (
    check_is_fitted,
    validate_data,  # pyrefly: ignore[missing-module-attribute]
)

from septet._core import checks
from septet._core.errors import SeptetError, SeptetWarning
from septet._core.files import PathLike
from septet._core.random import RandomState, generator
from septet.spiking.hebbian import _presentation as presentation
from septet.spiking.hebbian import _state as const
from septet.spiking.hebbian._layer import VanishedWeightsError, kernels
from septet.spiking.hebbian._poisson import STEP, mix
from septet.spiking.hebbian._rule import HebbianRule
from septet.spiking.hebbian._scores import SCORES, deviations, largest_deviation
from septet.spiking.hebbian._state import Plan, Recent, State, Tally, Watch
from septet.spiking.hebbian._theory import weak_coupling_promotions
from septet.spiking.neurons import LIF

Floats: TypeAlias = NDArray[np.float64]

_SCORED = 1024  # rows whose shares are held at a time, whatever the number of threads
_CALIBRATED = 100  # rows of a chunk that `partial_fit` scores to keep the offset
_KEPT = 1000  # scores that the offset of `partial_fit` rests upon
_ADAPTED = 5  # samples between changes of the threshold
_SILENT = 100  # samples in a row without any output, after which something must be wrong


class SilentLayerError(SeptetError, RuntimeError):
    """No neuron of a layer has fired, so that nothing was learned."""


class SpikingNoveltyDetector(OutlierMixin, BaseEstimator):
    r"""Find what does not belong, with spiking neurons that have learned what does.

    A sample becomes Poisson trains whose rates are its features. Neurons compete for it, and the
    winner's synapses are promoted by Hebbian learning under weight normalisation. After learning,
    weights equal normalised promotions on data like those that were learned; the violation of that
    equality by a new sample, presented to frozen weights, is its novelty score.

    Everything is local and online: `partial_fit` sees each sample once and keeps none.

    Parameters
    ----------
    n_neurons : int, default 30
        Number of competing neurons; one learns the mean, several learn prototypes.
    rule : HebbianRule, optional
        By default trace promotions, without depression, normalised as `encoding` does.
    measure : {"chi2", "kl", "tv", "l2", "cosine"}, default "chi2"
        Of the distance between promotions and weights; the smallest over neurons counts.
    score_mode : {"spiking", "mean_field"}, default "spiking"
        Present samples as spikes, or replace promotions by their expectation for weak coupling:
        deterministic, much cheaper, and the baseline that spikes must be compared with.
    epochs : int, default 3
        Passes of `fit`.
    memory : float, default 45.0
        Samples that the weights remember; fixes the learning rate.
    target_spikes : float, default 35.0
        Output spikes per sample that the threshold is adapted to.
    total_rate : float, default 6500.0
        Mean rate of all inputs together in Hz.
    presentation : float, default 350.0
        Length of the presentation of a sample in ms.
    tau_m : float, default 20.0
        Membrane time constant in ms.
    encoding : {"auto", "l1", "l2", "none"}, default "auto"
        Norm by which rows are divided before they become rates; "auto" is "l1" for one neuron and
        "l2" for more. "none" keeps differences in total.
    signed : bool, default False
        Give every feature two input lines, ON for what is above 0 and OFF for what is below, as
        rates cannot be negative. By default negative entries are refused.
    homeostasis : float, default 0.0
        Relative rise of a winner's threshold, so that all neurons take part; falls off as 1 over
        the number of samples seen. Neurons begin at samples, so that few are left out without.
    contamination : float, default 0.1
        Share of the training samples that `predict` is to call novel, in (0, 0.5].
    n_jobs : int, optional
        Threads of scoring; -1 takes all cores. Results do not depend on it.
    random_state : int, numpy.random.Generator or None, default None
        Source of the initial weights, the order of samples and all spike trains.
    backend : {"auto", "numba", "numpy"}, default "auto"
        Compiled loop or its plain twin.

    Attributes
    ----------
    weights_ : ndarray of shape (n_neurons, n_inputs)
        An input is a feature; if `signed`, all ON inputs come before all OFF inputs.
    threshold_ : float
        Common factor of the thresholds.
    bias_ : ndarray of shape (n_neurons,)
        Each neuron's own factor.
    learning_rate_ : float
    offset_ : float
        `decision_function` is `score_samples` less this.
    n_samples_seen_ : int
    n_silent_ : int
        How many of the samples behind `offset_` made no neuron fire.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if the training data had column names.

    Raises
    ------
    ValueError
        If an entry is not finite, or negative and the detector not `signed` (row and column are
        named), or a parameter cannot be meant.
    SilentLayerError
        If no neuron fires in a whole pass; it is a RuntimeError.

    Notes
    -----
    A sample's trains follow from its content and `random_state` alone: scores depend neither on
    the other samples (but for rounding), nor `n_jobs`. A sample that makes no neuron fire gets the
    largest score that is possible.

    The paper demonstrates the idea on MNIST with one neuron; its encoding and deviation measure
    could not be read. Competition, homeostasis, the measures and their constants are ours.

    References
    ----------
    D. Chu, H. Le Nguyen, "Constraints on Hebbian and STDP learned weights of a spiking neuron",
    Neural Networks 135 (2021), arXiv:2012.07664.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from septet.spiking import SpikingNoveltyDetector
    >>> X, y = load_digits(return_X_y=True)
    >>> zeros = SpikingNoveltyDetector(n_neurons=3, random_state=0).fit(X[y == 0])
    >>> bool((zeros.predict(X[y == 1]) == -1).mean() > 0.9)
    True
    """

    def __init__(
        self,
        n_neurons: int = 30,
        *,
        rule: HebbianRule | None = None,
        measure: str = "chi2",
        score_mode: str = "spiking",
        epochs: int = 3,
        memory: float = 45.0,
        target_spikes: float = 35.0,
        total_rate: float = 6500.0,
        presentation: float = 350.0,
        tau_m: float = 20.0,
        encoding: str = "auto",
        signed: bool = False,
        homeostasis: float = 0.0,
        contamination: float = 0.1,
        n_jobs: int | None = None,
        random_state: RandomState = None,
        backend: str = "auto",
    ) -> None:
        self.n_neurons = n_neurons
        self.rule = rule
        self.measure = measure
        self.score_mode = score_mode
        self.epochs = epochs
        self.memory = memory
        self.target_spikes = target_spikes
        self.total_rate = total_rate
        self.presentation = presentation
        self.tau_m = tau_m
        self.encoding = encoding
        self.signed = signed
        self.homeostasis = homeostasis
        self.contamination = contamination
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.backend = backend

    # -- learning ----------------------------------------------------------------------------

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn what is normal from scratch, in `epochs` passes in random order.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)
            Entries of at least 0, unless the detector is `signed`.
        y : ignored
        """
        rule = self._check_parameters()
        rows = self._rows(X, reset=True)
        rng = self._begin(rows, rule)
        for _ in range(self.epochs):
            before = self._outputs
            self._pass(rows, rng.permutation(rows.shape[0]), rule)
            if self._outputs == before:
                self._refuse_silence(rows, rule)
        scores = self._scores(rows, rule)
        self.n_silent_ = int(self._silent(scores).sum())
        self._recent_scores = scores[-_KEPT:]
        self.offset_ = float(np.percentile(scores, 100.0 * self.contamination))
        return self

    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn from some more samples, each once and in the order given.

        The first call also fixes the scale of the rates, the learning rate and the initial weights,
        so it should bring at least `n_neurons` samples. `offset_` follows the scores of the last
        samples.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)
        y : ignored
        """
        rule = self._check_parameters()
        first = not hasattr(self, "weights_")
        rows = self._rows(X, reset=first)
        if first:
            self._begin(rows, rule)
        self._pass(rows, np.arange(rows.shape[0]), rule)
        if self._quiet >= _SILENT:
            self._refuse_silence(rows, rule)
        fresh = self._scores(rows[-_CALIBRATED:], rule)
        self._recent_scores = np.concatenate([self._recent_scores, fresh])[-_KEPT:]
        self.n_silent_ = int(self._silent(self._recent_scores).sum())
        self.offset_ = float(np.percentile(self._recent_scores, 100.0 * self.contamination))
        return self

    # -- scoring -----------------------------------------------------------------------------

    def score_samples(self, X: ArrayLike) -> Floats:
        """Return how normal samples are, shape (n_samples,): the higher the more."""
        check_is_fitted(self)
        rule = self._check_parameters()
        return self._scores(self._rows(X, reset=False), rule)

    def decision_function(self, X: ArrayLike) -> Floats:
        """Return `score_samples` less `offset_`: negative for what `predict` calls novel."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return 1 for normal and -1 for novel samples, shape (n_samples,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def residuals(self, X: ArrayLike) -> Floats:
        """Return which features violate the constraint, and which way.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Share of the promotions less the weights (of sum 1) of the nearest neuron; if `signed`,
            that of the ON input less that of the OFF input. Rows of samples that make no neuron
            fire are minus the weights of the first neuron.
        """
        check_is_fitted(self)
        rule = self._check_parameters()
        rows = self._rows(X, reset=False)
        weights = self._templates()
        parts = [np.empty((0, weights.shape[1]))]
        for start in range(0, rows.shape[0], _SCORED):
            shares, _ = self._shares(rows[start : start + _SCORED], rule)
            nearest = deviations(shares, weights, self.measure).argmin(axis=1)
            nearest[shares.sum(axis=1) == 0] = 0
            parts.append(shares - weights[nearest])
        return presentation.joined(np.concatenate(parts), self.signed)

    # -- files -------------------------------------------------------------------------------

    def save(self, path: PathLike) -> None:
        """Write everything that scoring and further learning need into one safetensors file."""
        from septet.spiking.hebbian._files import save_detector

        check_is_fitted(self)
        save_detector(self, path)

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Read a file that `save` wrote; learning goes on as if it had never stopped.

        Raises
        ------
        CheckpointError
            If the file is damaged, of another kind or from a newer version.
        DataError
            If there is none.
        """
        from septet.spiking.hebbian._files import load_detector

        return load_detector(cls, path)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()  # pyrefly: ignore[missing-attribute]
        tags.input_tags.positive_only = not self.signed
        tags.input_tags.sparse = True
        return tags

    # -- inside: learning --------------------------------------------------------------------

    def _begin(self, rows: Any, rule: HebbianRule) -> np.random.Generator:
        """Fix scale, learning rate, threshold and initial weights by the first samples."""
        rng = generator(self.random_state)
        self._seed = int(rng.integers(0, 2**64, dtype=np.uint64))
        n = rows.shape[0]
        self.n_neurons_ = min(self.n_neurons, n)
        if self.n_neurons_ < self.n_neurons:
            warnings.warn(
                f"n_neurons = {self.n_neurons} exceeds the {n} samples of the first call; only "
                f"{self.n_neurons_} neurons learn.",
                SeptetWarning,
                stacklevel=3,
            )
        chosen = rng.choice(n, self.n_neurons_, replace=False)
        sample = presentation.normalised(rows[:1000], self._norm())
        total = float(sample.sum(axis=1).mean())
        self.rate_scale_ = self.total_rate / total if total > 0 else 0.0
        rates = sample * self.rate_scale_
        start = presentation.normalised(rows[np.sort(chosen)], self._norm())
        start = start + 0.02 * sample.mean(axis=0) + 1e-6
        order = 2 if rule.normalization == "l2" else 1
        self.weights_ = start / np.linalg.norm(start, ord=order, axis=1, keepdims=True)
        self.bias_ = np.ones(self.n_neurons_)
        potential = presentation.potential(rates, self.weights_, self.tau_m)
        self.threshold_ = 0.55 * potential if potential > 0 else 1.0
        size = presentation.promotion_size(rates, rule, order)
        self.learning_rate_ = 1.0 / (max(size, 1e-12) * self.target_spikes * self.memory)
        self.n_samples_seen_ = 0
        self._due = np.zeros(self.n_neurons_, np.int64)
        self._fired = np.zeros(self.n_neurons_)
        self._lately = np.zeros(2)  # outputs and samples since the threshold was adapted
        self._outputs, self._quiet = 0, 0
        self._recent_scores = np.empty(0)
        return rng

    def _pass(self, rows: Any, order: NDArray[np.intp], rule: HebbianRule) -> None:
        """Present samples one by one and learn from each."""
        run = kernels(self.backend).run_poisson
        state = State.at_rest(self.weights_)
        state.bias[:], state.due[:], state.fired[:] = self.bias_, self._due, self._fired
        watch = Watch.empty(self.weights_, 0, watched=False)
        for start in range(0, order.size, _SCORED):
            block = order[start : start + _SCORED]
            rates = self._rates(rows[block])
            for row in rates:
                state.rest()
                tally = Tally.empty(row.size, self.n_neurons_, 0)
                seed = mix((self._seed + (self.n_samples_seen_ + 1) * STEP) % 2**64)
                plan = self._plan(rule, self._rate())
                status, neuron, recent = const.DEADLOCK, -1, Recent.none()
                while status == const.DEADLOCK:  # the loop has renormalised and goes on
                    status, neuron, _, _, recent = run(
                        row, seed, self.presentation, plan, state, tally, watch, recent
                    )
                if status == const.VANISHED:
                    raise VanishedWeightsError(
                        f"depression has left neuron {neuron} without any weight. Lower the "
                        f"depression ({rule.depression:g})."
                    )
                state.fired[:] -= self.presentation
                self._adapt(int(tally.outputs.sum()), bool(row.any()))
        self.weights_ = np.ascontiguousarray(state.w.T)
        self.bias_, self._due, self._fired = state.bias, state.due, state.fired

    def _rate(self) -> float:
        """Learning rate now: weights are the mean of what was won, until memory is full."""
        won = 1.0 + self.n_samples_seen_ / self.n_neurons_
        return self.learning_rate_ * max(self.memory / won, 1.0)

    def _adapt(self, outputs: int, shown: bool) -> None:
        """Count, and move the threshold towards the wanted number of output spikes."""
        self.n_samples_seen_ += 1
        self._outputs += outputs
        if not shown:
            return
        self._quiet = 0 if outputs else self._quiet + 1
        self._lately = self._lately + np.array([outputs, 1])
        if self._lately[1] >= _ADAPTED:
            excess = self._lately[0] / (self._lately[1] * self.target_spikes) - 1.0
            self.threshold_ *= float(np.exp(0.1 * np.clip(excess, -1.0, 1.0)))
            self._lately = np.zeros(2)

    def _refuse_silence(self, rows: Any, rule: HebbianRule) -> None:
        potential = presentation.potential(self._rates(rows[:1000]), self.weights_, self.tau_m)
        raise SilentLayerError(
            f"no neuron fired: the threshold is {self.threshold_:.4g} and the mean-field potential "
            f"of the samples {potential:.4g}. Are the samples all 0, or unlike those of the first "
            "call? Raise total_rate or presentation."
        )

    # -- inside: scoring ---------------------------------------------------------------------

    def _scores(self, rows: Any, rule: HebbianRule) -> Floats:
        weights = self._templates()
        worst = largest_deviation(weights, self.measure)
        parts = [np.empty(0)]
        for start in range(0, rows.shape[0], _SCORED):
            shares, outputs = self._shares(rows[start : start + _SCORED], rule)
            nearest = deviations(shares, weights, self.measure).min(axis=1)
            parts.append(-np.where(outputs > 0, np.minimum(nearest, worst), worst))
        return np.concatenate(parts)

    def _silent(self, scores: Floats) -> NDArray[np.bool_]:
        return scores <= -largest_deviation(self._templates(), self.measure)

    def _templates(self) -> Floats:
        return self.weights_ / self.weights_.sum(axis=1, keepdims=True)

    def _shares(self, rows: Any, rule: HebbianRule) -> tuple[Floats, NDArray[np.int64]]:
        """Normalised promotions (n, n_features) and output spikes (n,) of some samples."""
        rates = self._rates(rows)
        if self.score_mode == "mean_field":
            shares = weak_coupling_promotions(1000.0 * rates, rule)
            outputs = (shares.sum(axis=1) > 0).astype(np.int64)
        else:
            shares, outputs = self._respond(rates, rule)
        shares = np.maximum(shares, 0.0)  # under STDP a demotion may outweigh a promotion
        total = shares.sum(axis=1, keepdims=True)
        outputs = np.where(total[:, 0] > 0, outputs, 0)
        return np.divide(shares, total, where=total > 0, out=np.zeros_like(shares)), outputs

    def _respond(self, rates: Floats, rule: HebbianRule) -> tuple[Floats, NDArray[np.int64]]:
        seeds = presentation.content_seeds(rates, self._seed)
        run = kernels(self.backend).run_poisson
        plan = self._plan(rule, 0.0)

        def work(part: NDArray[np.intp]) -> tuple[Floats, NDArray[np.int64]]:
            return presentation.respond(
                run, rates[part], seeds[part], self.presentation, plan, self.weights_, self.bias_
            )

        parts = np.array_split(np.arange(len(rates)), min(self._n_threads(), len(rates)))
        if len(parts) == 1:
            return work(parts[0])
        with ThreadPoolExecutor(len(parts)) as pool:
            net, outputs = zip(*pool.map(work, parts), strict=True)
        return np.concatenate(net), np.concatenate(outputs)

    # -- inside: parameters ------------------------------------------------------------------

    def _norm(self) -> str:
        if self.encoding != "auto":
            return self.encoding
        return "l1" if self.n_neurons == 1 else "l2"

    def _plan(self, rule: HebbianRule, rate: float) -> Plan:
        gain = self.homeostasis / (1.0 + self.n_samples_seen_ / (20.0 * self.n_neurons_))
        return Plan.of(
            LIF(tau_m=self.tau_m, tau_s=0.0),
            rule,
            rate,
            winner=True,
            gain=gain if self.n_neurons_ > 1 else 0.0,
            threshold=self.threshold_,
        )

    def _n_threads(self) -> int:
        if self.n_jobs is None:
            return 1
        cores = os.cpu_count() or 1
        return self.n_jobs if self.n_jobs > 0 else max(1, cores + 1 + self.n_jobs)

    def _rates(self, rows: Any) -> Floats:
        """Rates per ms, shape (n, n_features)."""
        return presentation.normalised(rows, self._norm()) * (self.rate_scale_ / 1000.0)

    def _rows(self, X: ArrayLike, *, reset: bool) -> Any:
        rows = validate_data(
            self, X, accept_sparse="csr", dtype=np.float64, reset=reset, ensure_all_finite=False
        )
        presentation.refuse_bad_entries(rows, type(self).__name__, signed=self.signed)
        return presentation.on_off(rows) if self.signed else rows

    def _check_parameters(self) -> HebbianRule:
        checks.integer("n_neurons", self.n_neurons, low=1)
        checks.integer("epochs", self.epochs, low=1)
        checks.choice("measure", self.measure, SCORES)
        checks.choice("score_mode", self.score_mode, ("spiking", "mean_field"))
        checks.choice("encoding", self.encoding, ("auto", "l1", "l2", "none"))
        for name in ("memory", "target_spikes", "total_rate", "presentation", "tau_m"):
            checks.number(name, getattr(self, name), above=0.0)
        if not isinstance(self.signed, bool):
            raise TypeError(f"signed must be True or False; got {self.signed!r}.")
        checks.number("homeostasis", self.homeostasis, low=0.0, below=1.0)
        checks.number("contamination", self.contamination, above=0.0, high=0.5)
        if self.n_jobs is not None and checks.integer("n_jobs", self.n_jobs) == 0:
            raise ValueError("n_jobs must not be 0; give a number of threads, or -1 for all cores.")
        rule = self.rule
        if rule is None:
            norm = self._norm()
            rule = HebbianRule(normalization="l1" if norm == "none" else norm)
        if not isinstance(rule, HebbianRule):
            raise TypeError(f"rule must be a HebbianRule or None; got {type(rule).__name__}.")
        if self.score_mode == "mean_field":
            weak_coupling_promotions([0.0], rule)  # refuses a rule without this limit
        return rule
