"""What normalised weights must be where learning has come to rest, as functions."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet._core.errors import InfeasibleError
from septet.spiking.hebbian._rule import HebbianRule

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class PromotionConstraint:
    """Stationary weights for given independent promotions; see `promotion_constraint`.

    Attributes
    ----------
    share : ndarray of shape (n,)
        The promotion probabilities divided by their sum: what the weights are for small rates.
    corrected : ndarray of shape (n,)
        With the first-order correction in closed form.
    mean, covariance : ndarray of shape (n,) and (n, n)
        Exact first and second moments of the weights right after normalisation.
    """

    share: Floats
    corrected: Floats
    mean: Floats
    covariance: Floats


def promotion_constraint(
    p: ArrayLike, learning_rate: float, *, spikes_per_normalization: int = 1
) -> PromotionConstraint:
    r"""Where Hebbian weights settle if synapse i is promoted with chance p_i, independently.

    With :math:`\pi_i = p_i / \sum p` and :math:`\bar M = \sum p`,

    .. math::
        E[w_i] \approx \pi_i + \frac{\lambda}{1 + \lambda n \bar M}\, \pi_i
        \Big(p_i - \sum_j \pi_j p_j\Big),

    n being the number of output spikes per normalisation. Exactly, for n = 1 and with
    :math:`g = 1 / (1 + \lambda M)`, :math:`E[w_i] = E[g m_i] / E[g M]`.

    Parameters
    ----------
    p : array_like of shape (n,)
        Promotion probabilities at an output spike, not all 0.
    learning_rate : float
        :math:`\lambda > 0`.
    spikes_per_normalization : int, default 1
        Exact moments are computed for 1 only; for more, they are those of n = 1 and the
        `corrected` mean is the one to use.

    Raises
    ------
    ValueError
        If an entry is no probability, all are 0, or the rate is not positive.

    Notes
    -----
    The moments need :math:`E[g^k \prod m]`; as :math:`g = \int_0^\infty e^{-u(1 + \lambda M)} du`
    and promotions are independent, each is an integral of products over one variable.

    Examples
    --------
    >>> rest = promotion_constraint([0.8, 0.4, 0.2], 0.25)
    >>> rest.mean.round(8).tolist()
    [0.59146151, 0.2751636, 0.13337488]
    >>> rest.covariance.diagonal().round(8).tolist()
    [0.01324025, 0.01187123, 0.0088354]
    """
    p = checks.probabilities("p", p)
    lam = checks.number("learning_rate", learning_rate, above=0.0)
    n = checks.integer("spikes_per_normalization", spikes_per_normalization, low=1)
    total = p.sum()
    if not total > 0:
        raise ValueError("p must have a positive entry: without promotions nothing is learned.")
    share = p / total
    corrected = share + lam / (1 + lam * n * total) * share * (p - share @ p)

    u, weight = _half_line()
    gone = -np.expm1(-lam * u)  # 1 - exp(-lambda u)
    factor = np.maximum(1.0 - np.outer(gone, p), 1e-300)  # E[exp(-lambda u m_i)]
    whole = np.exp(-u + np.log(factor).sum(axis=1))
    promoted = p * (1.0 - gone)[:, None] / factor  # E[m_i exp(-lambda u m_i)] over the same
    once, twice = weight * whole, weight * u * whole  # for E[g ...] and E[g^2 ...]
    gm = once @ promoted
    mean = gm / gm.sum()
    ggm = lam * (twice @ promoted)
    bb = lam**2 * (promoted.T * twice) @ promoted
    np.fill_diagonal(bb, lam**2 * (twice @ promoted))
    cross = np.outer(mean, ggm)
    second = (cross + cross.T + bb) / (1.0 - twice.sum())
    return PromotionConstraint(share, corrected, mean, second - np.outer(mean, mean))


def _half_line() -> tuple[Floats, Floats]:
    """Nodes and weights on (0, 50): panels that halve towards 0, where small scales live."""
    edges = np.concatenate([[0.0], 50.0 * 0.5 ** np.arange(40)[::-1]])
    x, w = np.polynomial.legendre.leggauss(16)
    half = np.diff(edges) / 2
    middle = edges[:-1] + half
    return (middle[:, None] + half[:, None] * x).ravel(), (half[:, None] * w).ravel()


def stdp_constraint(promotion: ArrayLike, demotion: ArrayLike, *, form: str = "active") -> Floats:
    r"""Where weights settle under STDP, given promotions and demotions per output spike.

    Parameters
    ----------
    promotion, demotion : array_like of shape (n,)
        Mean promotion :math:`p^+_i` and demotion :math:`p^-_i` per output spike.
    form : {"active", "difference"}, default "active"
        "difference" is :math:`(p^+_i - p^-_i) / \sum_j (p^+_j - p^-_j)`: exact for demotions as
        they were *applied*, good for nominal ones as long as no weight touches 0. "active" is for
        nominal demotions of which some exceed the promotions: those synapses are pinned at 0,
        :math:`\max(p^+_i - p^-_i, 0)` over its sum.

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    InfeasibleError
        If depression dominates, so that normalisation amplifies and no such point is stable.

    Examples
    --------
    >>> stdp_constraint([0.6, 0.4, 0.1], [0.2, 0.2, 0.3]).round(6).tolist()
    [0.666667, 0.333333, 0.0]
    """
    up = checks.vector("promotion", promotion)
    net = up - checks.vector("demotion", demotion, size=up.size)
    if checks.choice("form", form, ("active", "difference")) == "active":
        net = np.maximum(net, 0.0)
    elif net.sum() <= 0:
        raise InfeasibleError(
            f"demotions outweigh promotions by {-net.sum():.4g} per output spike: normalisation "
            "then amplifies differences and the weights run away. Lower the depression."
        )
    if not net.sum() > 0:
        raise InfeasibleError("no synapse is promoted more than demoted; lower the depression.")
    return net / net.sum()


def multiplicative_constraint(promotion: ArrayLike, coefficient: ArrayLike) -> Floats:
    r"""Where weights settle under multiplicative depression: :math:`w_i = p^+_i / (b_i + S)`.

    Parameters
    ----------
    promotion : array_like of shape (n,)
        :math:`p^+_i`, mean promotion per output spike.
    coefficient : array_like of shape (n,)
        :math:`b_i`, mean demotion per output spike over the weight.

    Returns
    -------
    ndarray of shape (n,)
        With the one S for which the weights sum to 1.

    Raises
    ------
    InfeasibleError
        If no synapse is promoted.

    Examples
    --------
    >>> multiplicative_constraint([0.6, 0.4], [0.0, 1.0]).round(6).tolist()
    [0.774597, 0.225403]
    """
    from scipy.optimize import brentq

    up = checks.vector("promotion", promotion)
    b = checks.vector("coefficient", coefficient, size=up.size)
    used = up > 0
    if not used.any():
        raise InfeasibleError("no synapse is promoted.")
    # Each term is below 1 at S = p_i - b_i; between the largest of those and their sum lies S.
    low = float((up[used] - b[used]).max())
    high = float(up[used].sum() - b[used].min())
    if high > low:
        low = brentq(lambda s: (up[used] / (b[used] + s)).sum() - 1.0, low, high, xtol=1e-15)  # pyrefly: ignore
    return np.where(used, up / np.where(used, b + low, 1.0), 0.0)


def l2_constraint(p: ArrayLike) -> Floats:
    """Where weights settle under L2 normalisation, to first order in the rate: ``p / ||p||``.

    Examples
    --------
    >>> l2_constraint([0.3, 0.4]).tolist()
    [0.6, 0.8]
    """
    p = checks.vector("p", p)
    norm = float(np.linalg.norm(p))
    if not norm > 0:
        raise InfeasibleError("no synapse is promoted.")
    return p / norm


def synaptic_memory(learning_rate: float, promotions_per_spike: float) -> float:
    r"""How many output spikes the weights remember: :math:`1 / (\lambda \bar M)`.

    A learning rate means nothing without the number of promotions per output spike.

    Examples
    --------
    >>> synaptic_memory(1e-3, 50.0)
    20.0
    """
    lam = checks.number("learning_rate", learning_rate, above=0.0)
    return 1.0 / (lam * checks.number("promotions_per_spike", promotions_per_spike, above=0.0))


def is_stable(weights: ArrayLike, promotions: ArrayLike, jacobian: ArrayLike) -> bool:
    r"""Whether a fixed point :math:`w = p(w) / \sum p(w)` attracts.

    The flow is :math:`\dot w = p(w) - (\sum p) w`; it is stable where
    :math:`J = p' - w (1^T p') - (\sum p) I` has eigenvalues of negative real part on
    :math:`\sum \delta w = 0`.

    Parameters
    ----------
    weights, promotions : array_like of shape (n,)
        The point, and p there.
    jacobian : array_like of shape (n, n)
        :math:`\partial p_i / \partial w_j`.

    Examples
    --------
    Promotions that do not depend on the weights are always stable, ones that grow five times as
    fast as their own weight are not:

    >>> is_stable([0.5, 0.5], [0.5, 0.5], [[0, 0], [0, 0]])
    True
    >>> is_stable([0.5, 0.5], [0.5, 0.5], [[5, 0], [0, 5]])
    False
    """
    w = checks.vector("weights", weights)
    p = checks.vector("promotions", promotions, size=w.size)
    slope = checks.matrix("jacobian", jacobian)
    if slope.shape != (w.size, w.size):
        raise ValueError(f"jacobian must be ({w.size}, {w.size}); got {slope.shape}.")
    flow = slope - np.outer(w, slope.sum(axis=0)) - p.sum() * np.eye(w.size)
    basis = np.linalg.qr(np.column_stack([np.ones(w.size), np.eye(w.size)[:, 1:]]))[0][:, 1:]
    return bool((np.linalg.eigvals(basis.T @ flow @ basis).real < 0).all())


def weak_coupling_promotions(rates: ArrayLike, rule: HebbianRule) -> Floats:
    r"""Promotions of independent Poisson inputs when no single weight matters.

    :math:`r\Delta` (count), :math:`r\tau_+` (trace), :math:`1 - e^{-r\Delta}` (binary) and
    :math:`r\tau_+ / (1 + r\tau_+)` (nearest). For count and trace the learned weights are thus the
    mean input, normalised.

    Parameters
    ----------
    rates : array_like of shape (..., n)
        In Hz.
    rule : HebbianRule
        Additive depression is proportional to the rates as well and changes no share; other
        depressions and "trigger" depend on the weights.

    Returns
    -------
    ndarray of shape (..., n)

    Raises
    ------
    ValueError
        If a rate is negative or no number, or the rule's promotions depend on the weights even in
        this limit.

    Examples
    --------
    >>> weak_coupling_promotions([10.0, 40.0], HebbianRule(promotion="count")).tolist()
    [0.2, 0.8]
    """
    per_ms = np.asarray(rates, dtype=np.float64) / 1000.0
    if not (per_ms >= 0).all():
        raise ValueError("rates must be numbers of at least 0.")
    weighty = rule.plastic_depression and (
        rule.depression_power > 0 or rule.promotion not in ("trace", "count")
    )
    if rule.promotion == "trigger" or rule.potentiation_power > 0 or weighty:
        raise ValueError(
            "this rule's promotions depend on the weights even for weak coupling; there is no "
            "mean-field form. Use score_mode='spiking'."
        )
    if rule.promotion == "count":
        return per_ms * rule.window
    if rule.promotion == "binary":
        return -np.expm1(-per_ms * rule.window)
    mean = per_ms * rule.tau_plus
    return mean if rule.promotion == "trace" else mean / (1.0 + mean)
