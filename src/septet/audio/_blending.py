"""The arithmetic of gradient blending: ratios, normalisation and the optimal blend."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks

SMALLEST_WEIGHT = 1e-5
"""What a weight above zero is raised to."""


def normalize_weights(
    raw: ArrayLike,
    *,
    allowed: ArrayLike | None = None,
    renormalize: bool = True,
) -> NDArray[np.float64]:
    """Scale raw weights to sum 1, raising the smallest above zero to 1e-5.

    Parameters
    ----------
    raw : array_like of shape (n_branches,)
        Not negative. If they sum to zero or to nothing finite, they carry no information and the
        allowed branches get equal weights.
    allowed : array_like of bool, optional
        Branches that may have a weight; all by default, one at least.
    renormalize : bool, default True
        Whether to scale again after small weights were raised, so that the sum is 1 to rounding.

    Returns
    -------
    ndarray of shape (n_branches,)

    Raises
    ------
    ValueError
        If no branch is allowed.

    Examples
    --------
    >>> normalize_weights([3, 1, 0])
    array([0.75, 0.25, 0.  ])
    """
    raw = np.asarray(raw, dtype=np.float64)
    usable = np.ones(raw.shape, bool) if allowed is None else np.asarray(allowed, dtype=bool)
    if not usable.any():
        raise ValueError("no branch is allowed to have a weight.")
    raw = np.where(usable, raw, 0.0)
    total = raw.sum()
    if not np.isfinite(total) or total <= 0:
        return usable / usable.sum()
    weights = raw / total
    weights[(weights > 0) & (weights < SMALLEST_WEIGHT)] = SMALLEST_WEIGHT
    return weights / weights.sum() if renormalize else weights


def blend_ratios(
    gain: ArrayLike,
    overfit: ArrayLike,
    *,
    rho: float | None = None,
    eps: float | None = None,
) -> NDArray[np.float64]:
    """Return ``max(0, G / (O^2 + eps))``, which grows with generalisation and falls with overfit.

    Parameters
    ----------
    gain : array_like of shape (n_branches,)
        G, how much (or how fast) the validation loss fell.
    overfit : array_like of shape (n_branches,)
        O, how much (or how fast) the gap between validation and training loss grew.
    rho : float, optional
        Relative regulariser, ``eps = (rho median |O|)^2``: the result does not depend on the scale
        of the losses. If the median is 0 the ratios are ``max(0, G)``.
    eps : float, optional
        Absolute regulariser instead.

    Raises
    ------
    ValueError
        Unless exactly one of `rho` and `eps` is given.

    Examples
    --------
    >>> blend_ratios([1.0, 1.0, -1.0], [1.0, 0.5, 0.1], eps=0.0)
    array([1., 4., 0.])
    """
    if (rho is None) == (eps is None):
        raise ValueError("give either rho or eps.")
    gain, overfit = np.asarray(gain, np.float64), np.asarray(overfit, np.float64)
    if eps is None:
        middle = float(np.nanmedian(np.abs(overfit)))
        if middle == 0:
            return np.maximum(0.0, gain)
        eps = (checks.number("rho", rho, above=0) * middle) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.maximum(0.0, gain / (overfit**2 + eps))


def gblend_weights(
    before: tuple[ArrayLike, ArrayLike],
    after: tuple[ArrayLike, ArrayLike],
    *,
    rho: float = 1e-3,
) -> NDArray[np.float64]:
    """Return G-Blend's weights from losses before and after each branch was trained alone.

    Parameters
    ----------
    before, after : pair of array_like of shape (n_branches,)
        Mean training and mean validation losses.
    rho : float, default 1e-3
        See :func:`blend_ratios`.

    Returns
    -------
    ndarray of shape (n_branches,)
        ``w_k = (G_k / O_k^2) / sum``; equal weights if no branch gained anything.

    Raises
    ------
    ValueError
        If no branch has finite losses.

    References
    ----------
    W. Wang, D. Tran, M. Feiszli, "What Makes Training Multi-Modal Classification Networks Hard?",
    CVPR 2020, algorithms 1 and 2.

    Examples
    --------
    >>> gblend_weights(([2.0, 2.0], [2.0, 2.0]), ([1.0, 0.5], [1.5, 1.5])).round(2)
    array([0.8, 0.2])
    """
    (train0, validation0), (train1, validation1) = (
        tuple(np.asarray(losses, np.float64) for losses in pair) for pair in (before, after)
    )
    with np.errstate(invalid="ignore"):  # infinite losses have no difference
        gain = validation0 - validation1
        overfit = (validation1 - train1) - (validation0 - train0)
    finite = np.isfinite(gain) & np.isfinite(overfit)
    if not finite.any():
        raise ValueError("no branch has finite losses before and after it was trained alone.")
    gain, overfit = np.where(finite, gain, np.nan), np.where(finite, overfit, np.nan)
    return normalize_weights(blend_ratios(gain, overfit, rho=rho), allowed=finite)


def squared_ogr(weights: ArrayLike, gains: ArrayLike, spreads: ArrayLike) -> float:
    """Return the expected squared overfitting-to-generalisation ratio of a blend.

    ``sum_k w_k^2 sigma_k^2 / (sum_k w_k g_k)^2``, for branch gradients whose overfitting parts are
    uncorrelated.

    Parameters
    ----------
    weights : array_like of shape (n_branches,)
    gains : array_like of shape (n_branches,)
        ``g_k``, the branch gradient's part along the true gradient.
    spreads : array_like of shape (n_branches,)
        ``sigma_k``, the standard deviation of its overfitting part.

    References
    ----------
    Wang, Tran, Feiszli, CVPR 2020, section 3 (stated there for the optimum).
    """
    weights = checks.vector("weights", weights)
    gains = checks.vector("gains", gains, size=weights.size)
    spreads = checks.vector("spreads", spreads, size=weights.size)
    along = float(weights @ gains)
    return (
        float("inf") if along == 0 else float((weights * spreads) @ (weights * spreads)) / along**2
    )


def optimal_blend(gains: ArrayLike, spreads: ArrayLike) -> NDArray[np.float64]:
    """Return the weights that minimise :func:`squared_ogr`, ``g_k / sigma_k^2`` over their sum.

    The minimum is ``1 / sum_k (g_k / sigma_k)^2``: another branch never makes it worse.

    Parameters
    ----------
    gains, spreads : array_like of shape (n_branches,)
        See :func:`squared_ogr`; gains not negative, one above 0, and spreads above 0.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> optimal_blend([1, 0.5, 0.2], [2, 0.5, 0.1]).round(6)
    array([0.011236, 0.089888, 0.898876])
    """
    gains = checks.vector("gains", gains)
    spreads = checks.vector("spreads", spreads, size=gains.size)
    if (gains < 0).any() or not gains.any():
        raise ValueError("gains must not be negative, and one of them must be above 0.")
    if (spreads <= 0).any():
        raise ValueError("spreads must be above 0.")
    ratios = gains / spreads**2
    return ratios / ratios.sum()
