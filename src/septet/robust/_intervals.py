"""Confidence intervals for accuracies."""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, ndtri

from septet._core import checks

FloatArray: TypeAlias = NDArray[np.float64]


def wilson_interval(
    correct: ArrayLike, n: ArrayLike, confidence: float = 0.95
) -> tuple[FloatArray, FloatArray]:
    r"""Wilson's score interval of a success rate.

    Parameters
    ----------
    correct : array_like of int
        Successes.
    n : array_like of int
        Trials, of the same shape. The interval of no trials is NaN.
    confidence : float, default 0.95
        Two-sided level, between 0 and 1.

    Returns
    -------
    lower, upper : ndarray, float64
        Bounds within [0, 1].

    Raises
    ------
    ValueError
        If a count is negative, there are more successes than trials or `confidence` is no level.

    References
    ----------
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.

    Examples
    --------
    >>> lower, upper = wilson_interval(8, 10)
    >>> round(float(lower), 6), round(float(upper), 6)
    (0.490162, 0.943318)
    """
    k, n = _counts(correct, n)
    z = ndtri(0.5 + _level(confidence) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        center = (k + z**2 / 2) / (n + z**2)
        half = z / (n + z**2) * np.sqrt(k * (n - k) / n + z**2 / 4)
    lower, upper = center - half, center + half
    # exact at the ends, where rounding would leave -1e-17
    lower, upper = np.where(k == 0, 0.0, lower), np.where(k == n, 1.0, upper)
    return np.where(n > 0, lower, np.nan), np.where(n > 0, upper, np.nan)


def clopper_pearson_interval(
    correct: ArrayLike, n: ArrayLike, confidence: float = 0.95
) -> tuple[FloatArray, FloatArray]:
    """Clopper and Pearson's interval of a success rate: its coverage is guaranteed.

    Parameters
    ----------
    correct : array_like of int
        Successes.
    n : array_like of int
        Trials, of the same shape. The interval of no trials is NaN.
    confidence : float, default 0.95
        Two-sided level, between 0 and 1.

    Returns
    -------
    lower, upper : ndarray, float64
        Bounds within [0, 1].

    Raises
    ------
    ValueError
        If a count is negative, there are more successes than trials or `confidence` is no level.

    Notes
    -----
    For a family of G groups call it at ``1 - (1 - confidence) / G``.

    References
    ----------
    C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case
    of the binomial", Biometrika 1934.

    Examples
    --------
    >>> lower, upper = clopper_pearson_interval(0, 10)
    >>> float(lower), round(float(upper), 6)  # 1 - 0.025 ** (1 / 10)
    (0.0, 0.308497)
    """
    tail = (1 - _level(confidence)) / 2
    k, n = _counts(correct, n)
    return _lower(k, n, tail), 1 - _lower(n - k, n, tail)


def clopper_pearson_lower(correct: ArrayLike, n: ArrayLike, confidence: float = 0.95) -> FloatArray:
    """One-sided lower bound of a success rate by Clopper and Pearson.

    Parameters
    ----------
    correct : array_like of int
        Successes.
    n : array_like of int
        Trials, of the same shape. The bound of no trials is NaN.
    confidence : float, default 0.95
        One-sided level, between 0 and 1.

    Returns
    -------
    ndarray, float64
        Lower bounds within [0, 1].

    Raises
    ------
    ValueError
        If a count is negative, there are more successes than trials or `confidence` is no level.

    Examples
    --------
    >>> round(float(clopper_pearson_lower(10, 10)), 6)  # 0.05 ** (1 / 10)
    0.741134
    """
    k, n = _counts(correct, n)
    return _lower(k, n, 1 - _level(confidence))


def _lower(k: FloatArray, n: FloatArray, tail: float) -> FloatArray:
    bound = betaincinv(np.maximum(k, 1.0), n - k + 1, tail)
    return np.where(n > 0, np.where(k == 0, 0.0, bound), np.nan)


def _counts(correct: ArrayLike, n: ArrayLike) -> tuple[FloatArray, FloatArray]:
    k, n = np.broadcast_arrays(
        np.asarray(correct, dtype=np.float64), np.asarray(n, dtype=np.float64)
    )
    bad = ~((k >= 0) & (k <= n))
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"correct must lie between 0 and n; {int(bad.sum())} entries do not, "
            f"the first is {k.ravel()[at]:g} of {n.ravel()[at]:g}."
        )
    return k, n


def _level(confidence: float) -> float:
    return checks.number("confidence", confidence, above=0, below=1)
