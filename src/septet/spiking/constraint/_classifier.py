"""Classification with spiking neurons, one per class, behind the scikit-learn interface."""

from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_is_fitted,
    column_or_1d,
    validate_data,  # pyrefly: ignore[missing-module-attribute]
)

from septet._core import checks
from septet._core.random import RandomState, generator
from septet.spiking.constraint._counts import SpikeCountLearner
from septet.spiking.constraint._learner import SpikeTrainLearner
from septet.spiking.constraint._peaks import learn_peaks, peak_potentials
from septet.spiking.constraint._rules import COUNTED, RULES, TIMED, RuleLearner
from septet.spiking.neurons import (
    LIF,
    GaussianReceptiveFieldEncoder,
    SpikeBatch,
    simulate,
    van_rossum,
    victor_purpura,
)
from septet.spiking.neurons._backend import BACKENDS
from septet.spiking.neurons._estimators import check_spikes, neuron

Floats: TypeAlias = NDArray[np.float64]

_CODINGS = {"lcl": ("peak", "count", "train"), "tempotron": ("peak",)}
_CODINGS |= dict.fromkeys(COUNTED, ("count",)) | dict.fromkeys(TIMED, ("train",))
_DISTANCES = {"van_rossum": van_rossum, "victor_purpura": victor_purpura}


class SpikingClassifier(ClassifierMixin, BaseEstimator):
    r"""Classify spike patterns, or numbers encoded as such, with one neuron per class.

    Parameters
    ----------
    rule : str, default "lcl"
        What learns: ``"lcl"``, which solves for the weights, or one of the rules of `RuleLearner`.
    encoder : transformer, optional
        Turns arrays into a `SpikeBatch`; ``GaussianReceptiveFieldEncoder()`` by default. Inputs
        that are a `SpikeBatch` already pass through.
    lif : LIF, optional
        The neuron; ``LIF()`` by default. It needs synaptic currents (``tau_s > 0``).
    coding : {"auto", "peak", "count", "train"}, default "auto"
        What the neuron of a class shall do: reach the threshold for patterns of its class and stay
        below it for others; fire `n_spikes` times or not at all; or answer with the train of
        `targets`. ``"lcl"`` can do all three ("auto" is the first), ``"tempotron"`` the first,
        ``"mst"``, ``"eml"``, ``"emlc"`` and ``"correlation"`` the second, others the third.
    decoder : {"auto", "peak", "count", "van_rossum", "victor_purpura"}, default "auto"
        The class is that of the neuron with the highest potential if it never reset; with the most
        spikes, and of these the highest potential; or the class whose target trains are nearest to
        those fired, summed over neurons. "auto" is the one that suits the coding, with van Rossum's
        distance (10 ms) for trains.
    n_spikes : int, default 2
        Spikes of a class's own neuron where they are counted or, evenly spread over the pattern,
        where trains are learned.
    targets : SpikeBatch, optional
        For trains: what the layer shall answer, one pattern per class in the order of the sorted
        labels; the number of its units is that of the neurons.
    margin : float, optional
        Distance from the threshold, as a fraction of it, that is kept in learning; by default 0.4
        for peaks and 0.1 for others.
    soft_C : float, default 0.1
        Penalty of a missed constraint, ``C / 2 * miss ** 2``, of ``"lcl"``.
    block_size : int, default 100
        Patterns that ``"lcl"`` solves for at once.
    average : bool, default False
        Whether ``"lcl"`` with peaks returns the mean of the weights after every block, which is
        often better on noisy data, instead of the last ones.
    learning_rate : float, optional
        Step size of the other rules; their own default if not given.
    max_epochs : int, default 20
        Passes over the data after which to stop.
    backend : {"auto", "numba", "numpy"}, default "auto"
        Compiled kernels or plain ones.
    random_state : int, numpy.random.Generator or None, default None
        Source of initial weights and the order of patterns.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    coef_ : ndarray of shape (n_neurons, n_units)
        The weights.
    encoder_ : transformer or None
        The fitted encoder; None if it was not needed.
    targets_ : SpikeBatch or None
        The desired trains, where the coding has some.
    n_iter_ : int
        Passes made.
    n_features_in_ : int
        Number of features, or of input units.

    Raises
    ------
    ValueError
        If settings do not go together, there is one class only, or features do not fit.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from septet.spiking import SpikingClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> SpikingClassifier(random_state=0).fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.9
    True
    """

    def __init__(
        self,
        rule: str = "lcl",
        *,
        encoder: Any = None,
        lif: LIF | None = None,
        coding: str = "auto",
        decoder: str = "auto",
        n_spikes: int = 2,
        targets: SpikeBatch | None = None,
        margin: float | None = None,
        soft_C: float = 0.1,
        block_size: int = 100,
        average: bool = False,
        learning_rate: float | None = None,
        max_epochs: int = 20,
        backend: str = "auto",
        random_state: RandomState = None,
    ) -> None:
        self.rule = rule
        self.encoder = encoder
        self.lif = lif
        self.coding = coding
        self.decoder = decoder
        self.n_spikes = n_spikes
        self.targets = targets
        self.margin = margin
        self.soft_C = soft_C
        self.block_size = block_size
        self.average = average
        self.learning_rate = learning_rate
        self.max_epochs = max_epochs
        self.backend = backend
        self.random_state = random_state

    def fit(self, X: ArrayLike | SpikeBatch, y: ArrayLike) -> Self:
        """Learn to tell classes apart.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features), or SpikeBatch
            Samples.
        y : array_like of shape (n_samples,)
            Their labels.
        """
        coding = self._check()
        if isinstance(X, SpikeBatch):
            self.encoder_, inputs = None, X
            self.n_features_in_ = X.n_units
            y = column_or_1d(y, warn=True)
            if len(y) != len(X):
                raise ValueError(f"there must be one label per pattern: {len(X)} and {len(y)}.")
        else:
            X, y = validate_data(self, X, y, dtype=np.float64)
            encoder = GaussianReceptiveFieldEncoder() if self.encoder is None else self.encoder
            self.encoder_: Any = clone(encoder).fit(X, y)
            inputs = self._encoded(X)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if self.classes_.size < 2:
            raise ValueError(
                f"at least two classes are needed; got one class, {self.classes_.tolist()}."
            )
        self.targets_ = self._targets(inputs) if coding == "train" else None
        learn = {
            "peak": self._learn_peaks,
            "count": self._learn_counts,
            "train": self._learn_trains,
        }
        self.coef_, self.n_iter_ = learn[coding](inputs, codes)
        return self

    def predict(self, X: ArrayLike | SpikeBatch) -> NDArray[Any]:
        """Return the label of each sample."""
        score = self.decision_function(X)
        best = (score > 0).astype(int) if score.ndim == 1 else score.argmax(axis=1)
        return self.classes_[best]

    def decision_function(self, X: ArrayLike | SpikeBatch) -> Floats:
        """Return the score of each class; for two classes, the second's less the first's.

        Scores are highest potentials in thresholds; numbers of spikes, plus a fraction that grows
        with the highest potential; or distances with a minus sign.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or (n_samples,) for two classes
        """
        check_is_fitted(self)
        score = self._scores(self._inputs(X))
        return score[:, 1] - score[:, 0] if self.classes_.size == 2 else score

    def spikes(self, X: ArrayLike | SpikeBatch) -> SpikeBatch:
        """Return what the neurons answer."""
        check_is_fitted(self)
        return simulate(neuron(self.lif), self._inputs(X), self.coef_, backend=self.backend)

    # -- learning ----------------------------------------------------------------------------

    def _learn_peaks(self, inputs: SpikeBatch, codes: NDArray[Any]) -> tuple[Floats, int]:
        fires = codes[:, None] == np.arange(self.classes_.size)
        margin = 0.4 if self.margin is None else self.margin
        if self.rule == "tempotron":
            return self._learn_by_rule(inputs, fires.astype(np.int64), margin)
        weights, errors = learn_peaks(
            neuron(self.lif),
            inputs,
            fires,
            margin=margin,
            soft_C=self.soft_C,
            block_size=self.block_size,
            max_epochs=self.max_epochs,
            average=self.average,
            backend=self.backend,
            rng=generator(self.random_state),
        )
        return weights, len(errors)

    def _learn_counts(self, inputs: SpikeBatch, codes: NDArray[Any]) -> tuple[Floats, int]:
        wanted = self.n_spikes * (codes[:, None] == np.arange(self.classes_.size))
        margin = 0.1 if self.margin is None else self.margin
        if self.rule != "lcl":
            return self._learn_by_rule(inputs, wanted, margin)
        learner = SpikeCountLearner(
            neuron(self.lif),
            block_size=self.block_size,
            margin=margin,
            soft_C=self.soft_C,
            solver=self._solver(),
            max_epochs=self.max_epochs,
            random_state=self.random_state,
        ).fit(inputs, wanted)
        return learner.coef_, learner.n_epochs_

    def _learn_trains(self, inputs: SpikeBatch, codes: NDArray[Any]) -> tuple[Floats, int]:
        assert self.targets_ is not None
        wanted, margin = self.targets_[codes], 0.1 if self.margin is None else self.margin
        if self.rule != "lcl":
            return self._learn_by_rule(inputs, wanted, margin)
        learner = SpikeTrainLearner(
            neuron(self.lif),
            mode="block",
            block_size=self.block_size,
            margin=margin,
            soft_C=self.soft_C,
            solver=self._solver(),
            random_state=generator(self.random_state),
        )
        for epoch in range(self.max_epochs):
            if learner.partial_fit(inputs, wanted).exact_:
                return learner.coef_, epoch + 1
        return learner.coef_, self.max_epochs

    def _learn_by_rule(self, inputs: SpikeBatch, wanted: Any, margin: float) -> tuple[Floats, int]:
        learner = RuleLearner(
            self.rule,
            neuron(self.lif),
            learning_rate=self.learning_rate,
            margin=margin,
            max_epochs=self.max_epochs,
            backend=self.backend,
            random_state=self.random_state,
        ).fit(inputs, wanted)
        return learner.coef_, learner.n_epochs_

    def _targets(self, inputs: SpikeBatch) -> SpikeBatch:
        n = self.classes_.size
        if self.targets is not None:
            if not isinstance(self.targets, SpikeBatch):
                raise TypeError(
                    f"targets must be a SpikeBatch or None; got {type(self.targets).__name__}."
                )
            if len(self.targets) != n:
                raise ValueError(
                    f"targets must have one pattern per class: {n} classes, {len(self.targets)} "
                    "patterns."
                )
            return self.targets
        train = inputs.duration * np.arange(1, self.n_spikes + 1) / (self.n_spikes + 1)
        return SpikeBatch.from_lists(
            [[train if k == c else [] for k in range(n)] for c in range(n)],
            duration=inputs.duration,
        )

    # -- decoding ----------------------------------------------------------------------------

    def _scores(self, inputs: SpikeBatch) -> Floats:
        coding = self._check()
        decoder = self.decoder
        if decoder == "auto":
            decoder = {"train": "van_rossum"}.get(coding, coding)
        if decoder in _DISTANCES:
            return self._nearness(inputs, decoder)
        lif = neuron(self.lif)
        high = peak_potentials(lif, inputs, self.coef_, backend=self.backend) / lif.threshold
        if decoder == "peak":
            return high
        counts = simulate(lif, inputs, self.coef_, backend=self.backend).counts()
        return counts + 0.5 + np.arctan(high) / np.pi

    def _nearness(self, inputs: SpikeBatch, decoder: str) -> Floats:
        """Return minus the distance of the answers to each class's trains."""
        distance, targets = _DISTANCES[decoder], self.targets_
        assert targets is not None
        wanted = [targets.trains(c) for c in range(len(targets))]
        fired = simulate(neuron(self.lif), inputs, self.coef_, backend=self.backend)
        trains = [fired.trains(p) for p in range(len(inputs))]
        score = np.zeros((len(inputs), len(wanted)))
        for k in range(fired.n_units):
            # most classes want the same of a neuron: silence
            keys = [each[k].tobytes() for each in wanted]
            desired = dict(zip(keys, (each[k] for each in wanted), strict=True))
            away = np.array(
                [[distance(mine[k], each) for each in desired.values()] for mine in trains]
            )
            places = [list(desired).index(key) for key in keys]
            score -= away.reshape(len(trains), len(desired))[:, places]
        return score

    # -- checks ------------------------------------------------------------------------------

    def _solver(self) -> str:
        return "numpy" if self.backend == "numpy" else "auto"

    def _inputs(self, X: ArrayLike | SpikeBatch) -> SpikeBatch:
        """Return the samples as spikes, if they are what was fitted."""
        if not isinstance(X, SpikeBatch):
            if self.encoder_ is None:
                raise TypeError(
                    "the classifier was fitted to a SpikeBatch; got an array: encode it likewise."
                )
            return self._encoded(validate_data(self, X, dtype=np.float64, reset=False))
        if self.encoder_ is not None:
            raise TypeError("the classifier was fitted to arrays and encodes them; got SpikeBatch.")
        return check_spikes(self, X)

    def _encoded(self, X: Floats) -> SpikeBatch:
        batch = self.encoder_.transform(X)
        if not isinstance(batch, SpikeBatch):
            raise TypeError(
                f"encoder must turn arrays into a SpikeBatch; got {type(batch).__name__}."
            )
        return batch

    def _check(self) -> str:
        """Check the settings; return the coding."""
        checks.choice("rule", self.rule, ("lcl", *RULES))
        checks.choice("backend", self.backend, BACKENDS)
        checks.choice("coding", self.coding, ("auto", "peak", "count", "train"))
        checks.choice("decoder", self.decoder, ("auto", "peak", "count", *_DISTANCES))
        possible = _CODINGS[self.rule]
        coding = possible[0] if self.coding == "auto" else self.coding
        if coding not in possible:
            raise ValueError(
                f"rule={self.rule!r} learns coding={' or '.join(map(repr, possible))}; "
                f"got {coding!r}."
            )
        if self.decoder in _DISTANCES and coding != "train":
            raise ValueError(f'decoder={self.decoder!r} needs coding="train"; got {coding!r}.')
        if self.targets is not None:
            if coding != "train":
                raise ValueError(f'targets need coding="train"; got {coding!r}.')
            if self.decoder in {"peak", "count"}:
                raise ValueError(f"targets are decoded by a distance; got {self.decoder!r}.")
        if neuron(self.lif).tau_s == 0:
            raise ValueError("the classifier needs synaptic currents (tau_s > 0).")
        for name in ("n_spikes", "block_size", "max_epochs"):
            checks.integer(name, getattr(self, name), low=1)
        checks.number("soft_C", self.soft_C, above=0.0)
        if self.margin is not None:
            checks.number("margin", self.margin, low=0.0, below=1.0)
        if self.learning_rate is not None:
            checks.number("learning_rate", self.learning_rate, above=0.0)
        return coding
