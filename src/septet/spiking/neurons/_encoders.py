"""Numbers into spikes: scikit-learn transformers whose output is a `SpikeBatch`."""

from hashlib import blake2b
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags  # pyrefly: ignore[missing-module-attribute]
from sklearn.utils.validation import (
    check_is_fitted,
    validate_data,  # pyrefly: ignore[missing-module-attribute]
)

from septet._core import checks
from septet._core.random import RandomState, generator
from septet.spiking.neurons._batch import SpikeBatch

Floats: TypeAlias = NDArray[np.float64]


class _Encoder(TransformerMixin, BaseEstimator):
    """What the encoders share: the range of the data is learned, values outside are clipped."""

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Learn the range of the data.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Training data.
        y : ignored
        """
        del y
        self._check()
        self._learn(validate_data(self, X, dtype=np.float64))
        return self

    def transform(self, X: ArrayLike) -> SpikeBatch:
        """Return one spike pattern per sample.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Data; values outside the range of the training data count as its ends.
        """
        check_is_fitted(self)
        return self._encode(validate_data(self, X, dtype=np.float64, reset=False))

    def _check(self) -> None:
        raise NotImplementedError

    def _learn(self, X: Floats) -> None:
        raise NotImplementedError

    def _encode(self, X: Floats) -> SpikeBatch:
        raise NotImplementedError

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()  # pyrefly: ignore[missing-attribute]
        if tags.transformer_tags is not None:
            tags.transformer_tags.preserves_dtype = []  # the result is no array
        return tags


class LatencyEncoder(_Encoder):
    r"""One spike per feature, the earlier the larger the value.

    With the intensity :math:`u \in [0, 1]` of a value within `limits`, unit ``i`` fires once at
    :math:`t = \frac{1 - u}{1 - u_0}\, T_{enc}` if :math:`u > u_0`, the `cutoff`, and not otherwise.

    Parameters
    ----------
    window : float, default 40.0
        Time :math:`T_{enc}` in ms within which all spikes fall.
    duration : float, default 80.0
        Length of a pattern in ms, at least `window`.
    cutoff : float, default 0.1
        Intensity, in [0, 1), up to which a unit stays silent.
    limits : tuple of two floats, optional
        Values of intensity 0 and 1; by default the least and the largest of the training data, over
        all features.

    Attributes
    ----------
    limits_ : tuple of two floats
        The limits in use.
    n_features_in_ : int
        Number of features and of units.

    Examples
    --------
    >>> from septet.spiking import LatencyEncoder
    >>> encoder = LatencyEncoder(limits=(0, 255)).fit([[0, 0]])
    >>> encoder.transform([[255, 127.5], [0, 255]]).trains(0)
    [array([0.]), array([22.22222222])]
    """

    def __init__(
        self,
        *,
        window: float = 40.0,
        duration: float = 80.0,
        cutoff: float = 0.1,
        limits: tuple[float, float] | None = None,
    ) -> None:
        self.window = window
        self.duration = duration
        self.cutoff = cutoff
        self.limits = limits

    def _check(self) -> None:
        _check_times(self.window, self.duration, self.cutoff)
        _check_limits(self.limits)

    def _learn(self, X: Floats) -> None:
        self.limits_ = _limits(X, self.limits)

    def _encode(self, X: Floats) -> SpikeBatch:
        u = _intensity(X, self.limits_)
        times = (1 - u) / (1 - self.cutoff) * self.window
        return _first_spikes(times, u > self.cutoff, self.duration)


class GaussianReceptiveFieldEncoder(_Encoder):
    r"""Several units per feature, each with a bell-shaped response around a centre of its own.

    Field :math:`j = 1 \dots k` of a feature with range :math:`[a, b]` has its centre at
    :math:`c_j = a + \frac{2j - 3}{2} \cdot \frac{b - a}{k - 2}` and the width
    :math:`s = \frac{b - a}{\beta (k - 2)}`. Its unit fires at :math:`(1 - r)\, T_{enc}` for the
    response :math:`r = e^{-(v - c_j)^2 / 2 s^2}` if that exceeds `cutoff`.

    Parameters
    ----------
    n_fields : int, default 8
        Fields k per feature, at least 3.
    beta : float, default 1.5
        How narrow the fields are.
    window : float, default 40.0
        Time :math:`T_{enc}` in ms within which all spikes fall.
    duration : float, default 80.0
        Length of a pattern in ms, at least `window`.
    cutoff : float, default 0.1
        Response, in [0, 1), up to which a unit stays silent.

    Attributes
    ----------
    low_, high_ : ndarray of shape (n_features,)
        Range of each feature in the training data; a constant feature gets the width 1.
    n_features_in_ : int
        Number of features; there are `n_fields` times as many units.

    References
    ----------
    S. M. Bohte, J. N. Kok, H. La Poutré, "Error-backpropagation in temporally encoded networks of
    spiking neurons", Neurocomputing 48 (2002) 17-37.

    Examples
    --------
    >>> from septet.spiking import GaussianReceptiveFieldEncoder
    >>> encoder = GaussianReceptiveFieldEncoder(n_fields=4).fit([[0.0], [1.0]])
    >>> [times.round(1).tolist() for times in encoder.transform([[0.25]]).trains(0)]
    [[27.0], [0.0], [27.0], []]
    """

    def __init__(
        self,
        n_fields: int = 8,
        *,
        beta: float = 1.5,
        window: float = 40.0,
        duration: float = 80.0,
        cutoff: float = 0.1,
    ) -> None:
        self.n_fields = n_fields
        self.beta = beta
        self.window = window
        self.duration = duration
        self.cutoff = cutoff

    def _check(self) -> None:
        checks.integer("n_fields", self.n_fields, low=3)
        checks.number("beta", self.beta, above=0.0)
        _check_times(self.window, self.duration, self.cutoff)

    def _learn(self, X: Floats) -> None:
        self.low_, self.high_ = X.min(axis=0), X.max(axis=0)
        self.high_ = np.where(self.high_ > self.low_, self.high_, self.low_ + 1.0)

    def _encode(self, X: Floats) -> SpikeBatch:
        step = (self.high_ - self.low_) / (self.n_fields - 2)
        centres = self.low_[:, None] + (np.arange(self.n_fields) - 0.5) * step[:, None]
        lag = np.clip(X, self.low_, self.high_)[:, :, None] - centres
        response = np.exp(-0.5 * (lag / (step[:, None] / self.beta)) ** 2).reshape(len(X), -1)
        return _first_spikes((1 - response) * self.window, response > self.cutoff, self.duration)


class PoissonEncoder(_Encoder):
    r"""Independent Poisson trains whose rates are proportional to the values.

    A value of intensity :math:`u \in [0, 1]` within `limits` fires at the rate
    :math:`u\, r_{max}`.

    Parameters
    ----------
    max_rate : float, default 100.0
        Rate in Hz of a unit whose value is at the upper limit.
    duration : float, default 80.0
        Length of a pattern in ms.
    limits : tuple of two floats, optional
        Values of intensity 0 and 1; by default the least and the largest of the training data, over
        all features.
    random_state : int, numpy.random.Generator or None, default None
        Source of the seed, which is drawn by `fit`.

    Attributes
    ----------
    limits_ : tuple of two floats
        The limits in use.
    seed_ : int
        The seed.
    n_features_in_ : int
        Number of features and of units.

    Notes
    -----
    The trains of a sample depend on the seed and on its values alone, not on its place or on the
    samples beside it, so that results do not change with the size or order of batches. Equal
    samples get equal trains; fit with another `random_state` for others.

    Examples
    --------
    >>> from septet.spiking import PoissonEncoder
    >>> encoder = PoissonEncoder(max_rate=50, duration=10_000, limits=(0, 1), random_state=0)
    >>> encoder.fit_transform([[0.0, 0.5, 1.0]]).counts()
    array([[  0, 249, 528]])
    """

    def __init__(
        self,
        max_rate: float = 100.0,
        *,
        duration: float = 80.0,
        limits: tuple[float, float] | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.max_rate = max_rate
        self.duration = duration
        self.limits = limits
        self.random_state = random_state

    def _check(self) -> None:
        checks.number("max_rate", self.max_rate, above=0.0)
        checks.number("duration", self.duration, above=0.0)
        _check_limits(self.limits)

    def _learn(self, X: Floats) -> None:
        self.limits_ = _limits(X, self.limits)
        self.seed_ = int(generator(self.random_state).integers(2**63))

    def _encode(self, X: Floats) -> SpikeBatch:
        times, ids = [np.empty(0)], [np.empty(0, np.int64)]
        for row, u in zip(X + 0.0, _intensity(X, self.limits_), strict=True):  # no -0.0
            digest = blake2b(row.tobytes(), digest_size=16).digest()
            rng = np.random.default_rng([self.seed_, int.from_bytes(digest, "little")])
            counts = rng.poisson(u * self.max_rate * self.duration / 1000)
            times.append(rng.uniform(0.0, self.duration, counts.sum()))
            ids.append(np.repeat(np.arange(u.size), counts))
        return SpikeBatch(
            np.concatenate(times),
            np.concatenate(ids),
            np.cumsum([len(part) for part in times]),
            n_units=X.shape[1],
            duration=self.duration,
            sort=True,
        )


def _check_times(window: float, duration: float, cutoff: float) -> None:
    checks.number("window", window, above=0.0)
    checks.number("duration", duration, low=window)
    checks.number("cutoff", cutoff, low=0.0, below=1.0)


def _check_limits(limits: tuple[float, float] | None) -> None:
    if limits is not None:
        low, high = checks.vector("limits", limits, size=2)
        if not low < high:
            raise ValueError(f"limits must ascend; got ({low:g}, {high:g}).")


def _limits(X: Floats, limits: tuple[float, float] | None) -> tuple[float, float]:
    low, high = (X.min(), X.max()) if limits is None else limits
    return float(low), float(high) if high > low else float(low) + 1.0


def _intensity(X: Floats, limits: tuple[float, float]) -> Floats:
    return np.clip((X - limits[0]) / (limits[1] - limits[0]), 0.0, 1.0)


def _first_spikes(times: Floats, fires: NDArray[np.bool_], duration: float) -> SpikeBatch:
    """Build a batch from one time per unit, of which only some count."""
    ids = np.nonzero(fires)[1]
    indptr = np.concatenate([[0], np.cumsum(fires.sum(axis=1))])
    return SpikeBatch(
        times[fires], ids, indptr, n_units=times.shape[1], duration=duration, sort=True
    )
