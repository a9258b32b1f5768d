"""A hidden layer of spiking neurons that look at parts of an image."""

from typing import Any, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags  # pyrefly: ignore[missing-module-attribute]
from sklearn.utils.validation import check_is_fitted

from septet._core import checks
from septet._core.random import RandomState, generator
from septet.spiking.neurons._batch import SpikeBatch
from septet.spiking.neurons._estimators import check_spikes, neuron
from septet.spiking.neurons._lif import LIF
from septet.spiking.neurons._simulate import simulate

Floats = NDArray[np.float64]

# Patterns that are cut into windows at once, and windows that the filters are taken from.
_AT_ONCE, _SAMPLED = 500, 20_000
# Standard deviation, relative to that of all windows, below which a window shows nothing.
_BLANK = 0.5


class SpikingConvolution(TransformerMixin, BaseEstimator):
    r"""Neurons with local receptive fields whose weights are sampled from the training data.

    Every filter is the postsynaptic potential that one window of one training image leaves, less
    its mean. Copies of it sit at windows all over the image and fire, exactly simulated, where the
    image resembles it; stronger resemblance fires earlier and more often. The copies within a cell
    of a coarse grid share one output line (pooling). Nothing is learned by gradients: a readout
    behind this layer, such as a `SpikingClassifier`, learns.

    Parameters
    ----------
    n_filters : int, default 48
        Number of filters.
    size : int, default 7
        Side of the windows in pixels.
    stride : int, default 2
        Distance of neighbouring windows in pixels.
    pool : int, default 5
        The outputs are pooled on a grid of ``pool x pool`` cells.
    sparsity : float, default 0.85
        Fraction of windows at which a filter's potential, on training data, would not reach the
        threshold at the time when potentials are highest.
    image_shape : tuple of two ints, optional
        Height and width of the images; by default they are square.
    lif : LIF, optional
        The neuron; ``LIF()`` by default.
    n_threads : int, default 1
        Threads of the simulation.
    random_state : int, numpy.random.Generator or None, default None
        Source of the windows.

    Attributes
    ----------
    coef_ : ndarray of shape (n_filters, size ** 2)
        The filters, scaled to the neuron's threshold.
    image_shape_ : tuple of two ints
        Height and width.
    n_features_in_ : int
        Number of input lines, height times width.

    Raises
    ------
    ValueError
        If the input lines are no image of that shape, or windows do not fit.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from septet.spiking import LatencyEncoder, SpikingConvolution
    >>> X = load_digits().data[:50]
    >>> spikes = LatencyEncoder(window=10.0, duration=40.0).fit_transform(X)
    >>> layer = SpikingConvolution(8, size=3, stride=1, pool=3, random_state=0)
    >>> layer.fit_transform(spikes).shape
    (50, 72)
    """

    def __init__(
        self,
        n_filters: int = 48,
        *,
        size: int = 7,
        stride: int = 2,
        pool: int = 5,
        sparsity: float = 0.85,
        image_shape: tuple[int, int] | None = None,
        lif: LIF | None = None,
        n_threads: int = 1,
        random_state: RandomState = None,
    ) -> None:
        self.n_filters = n_filters
        self.size = size
        self.stride = stride
        self.pool = pool
        self.sparsity = sparsity
        self.image_shape = image_shape
        self.lif = lif
        self.n_threads = n_threads
        self.random_state = random_state

    def fit(self, X: SpikeBatch, y: Any = None) -> Self:
        """Sample the filters.

        Parameters
        ----------
        X : SpikeBatch
            One unit per pixel, row by row.
        y : ignored
        """
        del y
        self._check(X)
        self.image_shape_ = self._shape(X.n_units)
        self.n_features_in_ = X.n_units
        rows, columns = self._grid()
        rng = generator(self.random_state)
        images = _potentials(neuron(self.lif), X).reshape(len(X), *self.image_shape_)
        windows = sliding_window_view(images, (self.size, self.size), axis=(1, 2))
        windows = windows[:, :: self.stride, :: self.stride]
        shape = (len(X), rows, columns)
        picked = windows[tuple(rng.integers(0, n, _SAMPLED) for n in shape)]
        picked = picked.reshape(_SAMPLED, self.size**2)
        centred = picked - picked.mean(axis=1, keepdims=True)
        contrast = np.linalg.norm(centred, axis=1)
        telling = np.flatnonzero(contrast > _BLANK * np.sqrt(np.mean(contrast**2)))
        if telling.size < self.n_filters:
            raise ValueError(
                f"{self.n_filters} filters need as many windows that show something; "
                f"there are {telling.size}."
            )
        chosen = rng.choice(telling, self.n_filters, replace=False)
        filters = centred[chosen] / contrast[chosen, None]
        drive = np.quantile(picked @ filters.T, self.sparsity, axis=0)
        least = 0.05 * np.median(contrast[telling])  # a filter that almost nothing resembles
        self.coef_ = filters * (neuron(self.lif).threshold / np.maximum(drive, least))[:, None]
        return self

    def transform(self, X: SpikeBatch) -> SpikeBatch:
        """Return the pooled spikes: unit ``filter * pool ** 2 + cell``."""
        check_is_fitted(self)
        check_spikes(self, X)
        parts = [self._run(X[i : i + _AT_ONCE]) for i in range(0, len(X), _AT_ONCE)]
        return SpikeBatch.concatenate(parts) if parts else self._run(X)

    def _run(self, X: SpikeBatch) -> SpikeBatch:
        rows, columns = self._grid()
        fired = simulate(neuron(self.lif), self._windows(X), self.coef_, n_threads=self.n_threads)
        window = np.repeat(np.arange(len(fired)), np.diff(fired.indptr))
        pattern, place = np.divmod(window, rows * columns)
        i, j = np.divmod(place, columns)
        cell = i * self.pool // rows * self.pool + j * self.pool // columns
        unit = fired.ids * self.pool**2 + cell
        order = np.lexsort((unit, fired.times, pattern))
        return SpikeBatch(
            fired.times[order],
            unit[order],
            np.concatenate([[0], np.cumsum(np.bincount(pattern, minlength=len(X)))]),
            n_units=self.n_filters * self.pool**2,
            duration=X.duration,
        )

    def _windows(self, X: SpikeBatch) -> SpikeBatch:
        """Cut every pattern into windows, each a pattern of its own."""
        rows, columns = self._grid()
        owner = np.repeat(np.arange(len(X)), np.diff(X.indptr))
        y, x = np.divmod(X.ids, self.image_shape_[1])
        found = []
        reach = -(-self.size // self.stride)  # windows that a pixel lies in, in either direction
        for up in range(reach):
            for left in range(reach):
                i, j = y // self.stride - up, x // self.stride - left
                dy, dx = y - i * self.stride, x - j * self.stride
                inside = (i >= 0) & (i < rows) & (dy < self.size)
                inside &= (j >= 0) & (j < columns) & (dx < self.size)
                window = (owner * rows + i) * columns + j
                found.append((window[inside], X.times[inside], (dy * self.size + dx)[inside]))
        window, times, unit = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.lexsort((unit, times, window))
        counts = np.bincount(window, minlength=len(X) * rows * columns)
        return SpikeBatch(
            times[order],
            unit[order],
            np.concatenate([[0], np.cumsum(counts)]),
            n_units=self.size**2,
            duration=X.duration,
        )

    # -- checks ------------------------------------------------------------------------------

    def _grid(self) -> tuple[int, int]:
        height, width = self.image_shape_
        return (height - self.size) // self.stride + 1, (width - self.size) // self.stride + 1

    def _check(self, X: SpikeBatch) -> None:
        check_spikes(self, X, fitted=False)
        neuron(self.lif)
        if len(X) == 0:
            raise ValueError("at least one pattern is needed; got an empty batch.")
        for name in ("n_filters", "size", "stride", "pool", "n_threads"):
            checks.integer(name, getattr(self, name), low=1)
        checks.number("sparsity", self.sparsity, low=0.0, below=1.0)

    def _shape(self, n_units: int) -> tuple[int, int]:
        side = round(n_units**0.5)
        height, width = (side, side) if self.image_shape is None else self.image_shape
        if height * width != n_units:
            raise ValueError(
                f"{n_units} input lines are no image of {height} x {width} pixels; set image_shape."
            )
        if self.size > min(height, width):
            raise ValueError(
                f"windows of {self.size} pixels do not fit an image of {height} x {width}."
            )
        return height, width

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()  # pyrefly: ignore[missing-attribute]
        if tags.transformer_tags is not None:
            tags.transformer_tags.preserves_dtype = []  # the result is no array
        return tags


def _potentials(lif: LIF, X: SpikeBatch) -> Floats:
    """Postsynaptic potential of every unit at the time when their sum over all is largest."""
    grid = np.linspace(0.0, X.duration, 101)[1:]
    at = grid[np.argmax([lif.psp(t - X.times).sum() for t in grid])]
    owner = np.repeat(np.arange(len(X)), np.diff(X.indptr))
    values = np.zeros(X.shape)
    np.add.at(values, (owner, X.ids), lif.psp(at - X.times))
    return values
