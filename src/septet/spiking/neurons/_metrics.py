"""Distances and similarity between two spike trains."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks


def victor_purpura(first: ArrayLike, second: ArrayLike, *, cost: float = 0.1) -> float:
    """Return the cheapest way to edit one train into the other.

    Deleting or inserting a spike costs 1, moving it by ``dt`` costs ``cost * |dt|``.

    Parameters
    ----------
    first, second : array_like of shape (n,)
        Spike times in ms, in any order.
    cost : float, default 0.1
        Price of moving a spike by one ms. At 0 the distance is the difference of the counts; spikes
        further apart than ``2 / cost`` are never matched.

    Returns
    -------
    float
        The distance, a metric for ``cost > 0``.

    References
    ----------
    J. D. Victor, K. P. Purpura, "Nature and precision of temporal coding in visual cortex", Journal
    of Neurophysiology 76 (1996) 1310-1326.

    Examples
    --------
    >>> victor_purpura([10.0, 20.0], [12.5, 20.0], cost=0.1)
    0.25
    """
    a, b = _train("first", first), _train("second", second)
    cost = checks.number("cost", cost, low=0.0)
    positions = np.arange(b.size + 1, dtype=np.float64)
    row = positions
    for i, t in enumerate(a, start=1):
        new = row + 1
        new[0] = i
        np.minimum(new[1:], row[:-1] + cost * np.abs(b - t), out=new[1:])
        # inserting spikes of `second` one after another: a running minimum along the row
        row = np.minimum.accumulate(new - positions) + positions
    return float(row[-1])


def van_rossum(first: ArrayLike, second: ArrayLike, *, tau: float = 10.0) -> float:
    r"""Return the distance of two trains after each is filtered with a decaying exponential.

    .. math:: D^2 = \frac{2}{\tau} \int_0^\infty \Big( \sum_i e^{-(t-a_i)/\tau} H(t-a_i)
              - \sum_j e^{-(t-b_j)/\tau} H(t-b_j) \Big)^2 dt,

    scaled such that one surplus spike is at distance 1.

    Parameters
    ----------
    first, second : array_like of shape (n,)
        Spike times in ms, in any order.
    tau : float, default 10.0
        Time constant of the filter in ms.

    References
    ----------
    M. C. W. van Rossum, "A novel spike distance", Neural Computation 13 (2001) 751-763.

    Examples
    --------
    >>> van_rossum([10.0], [])
    1.0
    """
    a, b = _train("first", first), _train("second", second)
    tau = checks.number("tau", tau, above=0.0)
    times = np.concatenate([a, b])
    order = np.argsort(times, kind="stable")
    times = times[order]
    signs = np.repeat([1.0, -1.0], [a.size, b.size])[order]
    decay = np.exp(-np.diff(times, prepend=times[:1]) / tau)
    total = trace = 0.0
    for sign, factor in zip(signs.tolist(), decay.tolist(), strict=True):
        trace = trace * factor
        total += 1.0 + 2.0 * sign * trace
        trace += sign
    return float(np.sqrt(max(total, 0.0)))


def coincidence(
    train: ArrayLike, reference: ArrayLike, *, precision: float = 2.0, duration: float
) -> float:
    r"""Return the coincidence factor Gamma: 1 for equal trains, 0 on average for chance.

    .. math:: \Gamma = \frac{n_{coinc} - 2 \nu \Delta n_{ref}}{\tfrac12 (n_{ref} + n)}
              \cdot \frac{1}{1 - 2 \nu \Delta},\qquad \nu = n / T.

    Parameters
    ----------
    train, reference : array_like of shape (n,)
        Spike times in ms, in any order. Each spike counts for at most one coincidence.
    precision : float, default 2.0
        Largest distance Delta in ms of two coinciding spikes.
    duration : float
        Length T of the recording in ms.

    Raises
    ------
    ValueError
        If `train` is so dense that chance fills every window (``2 * nu * precision >= 1``), or a
        constant is out of range.

    References
    ----------
    W. M. Kistler, W. Gerstner, J. L. van Hemmen, "Reduction of the Hodgkin-Huxley equations to a
    single-variable threshold model", Neural Computation 9 (1997) 1015-1045, eq. 34.

    Examples
    --------
    >>> coincidence([10.0, 50.0], [10.0, 50.0], duration=100.0)
    1.0
    """
    a, b = _train("train", train), _train("reference", reference)
    precision = checks.number("precision", precision, low=0.0)
    duration = checks.number("duration", duration, above=0.0)
    chance = 2 * precision * a.size / duration
    if chance >= 1:
        raise ValueError(
            f"precision = {precision:g} ms is too wide for {a.size} spikes in {duration:g} ms: "
            "every spike coincides by chance."
        )
    if a.size + b.size == 0:
        return 1.0
    hits = i = 0
    for t in b:  # both ascend, so the earliest partner in reach is the best one
        while i < a.size and a[i] < t - precision:
            i += 1
        if i < a.size and a[i] <= t + precision:
            hits += 1
            i += 1
    return float((hits - chance * b.size) / (0.5 * (a.size + b.size)) / (1 - chance))


def _train(name: str, times: ArrayLike) -> NDArray[np.float64]:
    return np.sort(checks.vector(name, times))
