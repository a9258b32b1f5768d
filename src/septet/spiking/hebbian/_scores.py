"""How far promotions are from the weights: the measures behind the novelty score."""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks

Floats: TypeAlias = NDArray[np.float64]

SCORES = ("chi2", "kl", "tv", "l2", "cosine")
_LOG = 1e-12  # added to a share before its logarithm


def novelty_deviation(shares: ArrayLike, weights: ArrayLike, measure: str = "chi2") -> Floats:
    r"""Measure how far promotions are from weights, for every sample and every neuron.

    With x a row of `shares` and w a row of `weights`, n entries each and :math:`\epsilon = 0.1/n`:

    .. math::
        \chi^2 = \sum_i \frac{(x_i - w_i)^2}{w_i + \epsilon}, \quad
        \mathrm{KL} = \sum_i x_i \log \frac{x_i + 10^{-12}}{w_i + \epsilon}, \quad
        \mathrm{TV} = \tfrac12 \sum_i |x_i - w_i|,

    the Euclidean distance (l2), and one minus the cosine of the angle. `SpikingNoveltyDetector`
    scores with them; they serve as well for prototypes that were found without spikes.

    Parameters
    ----------
    shares : array_like of shape (n_samples, n_features)
        Rows of sum 1.
    weights : array_like of shape (n_neurons, n_features)
        Rows of sum 1.
    measure : {"chi2", "kl", "tv", "l2", "cosine"}, default "chi2"

    Returns
    -------
    ndarray of shape (n_samples, n_neurons)

    Raises
    ------
    ValueError
        If the shapes do not fit or the measure is unknown.

    Examples
    --------
    >>> novelty_deviation([[0.5, 0.5], [1.0, 0.0]], [[0.5, 0.5]], "tv").tolist()
    [[0.0], [0.5]]
    """
    x, w = checks.matrix("shares", shares), checks.matrix("weights", weights)
    if x.shape[1] != w.shape[1]:
        raise ValueError(f"shares have {x.shape[1]} features, weights {w.shape[1]}; same needed.")
    return deviations(x, w, checks.choice("measure", measure, SCORES))


def deviations(shares: Floats, weights: Floats, score: str) -> Floats:
    """Measure as `novelty_deviation` does, of arguments that were checked."""
    room = weights + _floor(weights)
    if score == "chi2":
        constant = (weights**2 / room).sum(axis=1)
        value = shares**2 @ (1.0 / room).T - 2.0 * shares @ (weights / room).T + constant
        return np.maximum(value, 0.0)
    if score == "kl":
        own = (shares * np.log(shares + _LOG)).sum(axis=1)
        return own[:, None] - shares @ np.log(room).T
    if score == "cosine":
        lengths = np.outer(np.linalg.norm(shares, axis=1), np.linalg.norm(weights, axis=1))
        return 1.0 - np.divide(shares @ weights.T, lengths, where=lengths > 0, out=0.0 * lengths)
    out = np.empty((len(shares), len(weights)))
    for k, w in enumerate(weights):
        difference = shares - w
        if score == "tv":
            out[:, k] = 0.5 * np.abs(difference).sum(axis=1)
        else:
            out[:, k] = np.sqrt((difference**2).sum(axis=1))
    return out


def largest_deviation(weights: Floats, score: str) -> float:
    """Largest value that the smallest deviation over neurons can take.

    Every measure is convex in the shares, so that its maximum is at a corner: all promotions at
    one synapse.

    Examples
    --------
    >>> round(largest_deviation(np.array([[0.75, 0.25]]), "tv"), 12)
    0.75
    """
    if score == "cosine":
        return 1.0
    if score == "tv":
        worst = 1.0 - weights.min(axis=1)
    elif score == "kl":
        worst = np.log((1.0 + _LOG) / (weights.min(axis=1) + _floor(weights)))
    else:
        room = weights + _floor(weights) if score == "chi2" else np.ones_like(weights)
        others = (weights**2 / room).sum(axis=1, keepdims=True) - weights**2 / room
        worst = ((1.0 - weights) ** 2 / room + others).max(axis=1)
        if score == "l2":
            worst = np.sqrt(worst)
    return float(worst.min())


def _floor(weights: Floats) -> float:
    return 0.1 / weights.shape[1]
