"""Selection probabilities for a cohort of exactly k: which solver answers which question."""

import warnings
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from septet._core import checks
from septet._core.errors import InfeasibleError, SeptetWarning
from septet.cohort._chain import chain_exact, chain_float
from septet.cohort._marginals import Marginals
from septet.cohort._metric import check_metric, metric_exact, metric_float
from septet.cohort._scores import LATTICE, Floats, Ints, check_scores, check_size, quantise
from septet.cohort._shift import apply_shift, exact_shift, exact_sum, float_shift


def selection_probabilities(
    scores: ArrayLike,
    k: int,
    *,
    objective: str = "linear",
    utility: ArrayLike | None = None,
    metric: ArrayLike | None = None,
    exact: bool = True,
    allow_zero_score: bool | None = None,
) -> Marginals:
    r"""Return the best selection probabilities that sum to k and treat similar people similarly.

    .. math:: p_i = \min(1, \max(0, s_i + c)), \quad \sum_i p_i = k

    for the linear objective: the largest expected total score among all p in [0, 1] with
    ``abs(p_i - p_j) <= abs(s_i - s_j)`` for every pair, and at the same time the projection of the
    scores on the vectors of sum k.

    Parameters
    ----------
    scores : array_like of shape (n,)
        Probability in [0, 1] with which a fair classifier accepts each candidate alone.
    k : int
        Cohort size, from 0 to n.
    objective : {"linear", "ratio"}, default "linear"
        "linear" maximises ``sum s_i p_i``; "ratio" maximises ``min p_i / s_i``, the largest factor
        by which nobody's chance falls. They differ only if the scores sum to more than k.
    utility : array_like of shape (n,), optional
        Maximise ``sum u_i p_i`` instead, with utilities of any sign and order.
    metric : array_like of shape (n, n), optional
        Task metric that takes the place of ``abs(s_i - s_j)``, solved as a linear programme.
    exact : bool, default True
        Compute on scores rounded once to multiples of 2**-32, so that probabilities, their sum and
        fairness are exact fractions and equal on every platform. False computes in float64.
    allow_zero_score : bool, optional
        What to do if candidates of score 0 must get a chance because fewer than k have a positive
        score's worth of it: True accepts it, False raises, and the default accepts with a warning.

    Returns
    -------
    Marginals
        Array-like of the probabilities, with `shift`, `fractions()`, `tight_pairs` and the rest.

    Raises
    ------
    ValueError
        If a score is no probability, k does not fit, `utility` or `metric` has a wrong shape, or
        ``objective="ratio"`` is combined with one of them.
    InfeasibleError
        If `allow_zero_score` is False and candidates of score 0 would have to be lifted.

    Warns
    -----
    SeptetWarning
        If candidates of score 0 get a positive probability and `allow_zero_score` was not given.

    Notes
    -----
    The paper's full text could not be consulted. Optimality follows from comparing slopes: in order
    of score the solution rises as fast as fairness allows wherever it is not at 0 or 1, so it
    exceeds any other fair p first above it and then below it. With a utility or a metric in exact
    mode, fairness and sum are exact and the objective is optimal up to rounding (about 1e-9 of the
    largest utility per candidate with a metric).

    References
    ----------
    K. Bairaktari, P. Langton, H. L. Nguyen, N. Smedemark-Margulies, J. Ullman: Fair and Useful
    Cohort Selection. TMLR 2023 (arXiv 2009.02207), linear and ratio utilities, offline.

    Examples
    --------
    >>> p = selection_probabilities([0.875, 0.5, 0.25, 0.125], k=2)
    >>> p.shift
    Fraction(1, 16)
    >>> p.fractions()
    [Fraction(15, 16), Fraction(9, 16), Fraction(5, 16), Fraction(3, 16)]
    >>> selection_probabilities([0.75, 0.5, 0.75], k=1, objective="ratio").scale
    Fraction(1, 2)
    """
    values = check_scores(scores)
    size = check_size(k, values.size)
    checks.choice("objective", objective, ("linear", "ratio"))
    if utility is None and metric is None:
        solve = exact_marginals if exact else float_marginals
        p = solve(values, size, objective)
    else:
        if objective != "linear":
            raise ValueError("objective='ratio' knows neither utility= nor metric=; use 'linear'.")
        p = _general(values, size, utility, metric, exact=exact)
    check_zero_scores(p, allow_zero_score)
    return p


def exact_marginals(
    scores: Floats, k: int, objective: str, lattice_scores: Ints | None = None
) -> Marginals:
    """Return the exact marginals of checked scores for the linear or the ratio objective."""
    z = quantise(scores) if lattice_scores is None else lattice_scores
    if objective == "ratio" and k:
        total = exact_sum(z)
        if total >= k * LATTICE:
            wide = total >= 1 << 62
            return Marginals(
                scores,
                k,
                objective,
                lattice_scores=z,
                numerators=(z.astype(object) if wide else z) * k,
                denominator=total,
                scale=Fraction(k * LATTICE, total),
            )
    offset, active = exact_shift(z, k)
    return Marginals(
        scores,
        k,
        objective,
        lattice_scores=z,
        numerators=apply_shift(z, offset, active),
        denominator=active * LATTICE,
        shift=Fraction(offset, active * LATTICE),
    )


def float_marginals(scores: Floats, k: int, objective: str) -> Marginals:
    """Return the float64 marginals of checked scores for the linear or the ratio objective."""
    total = float(scores.sum())
    if objective == "ratio" and 0 < k <= total:
        scale = k / total
        return Marginals(scores, k, objective, values=scores * scale, scale=scale)
    shift = float_shift(scores, k)
    if k in (0, scores.size):
        values = np.full(scores.size, float(k > 0))
    else:
        values = np.clip(scores + shift, 0, 1)
    return Marginals(scores, k, objective, values=values, shift=shift)


def check_zero_scores(p: Marginals, allow: bool | None) -> None:
    """Warn or raise if candidates whom the classifier never accepts get a chance."""
    if allow or p.k == 0:
        return
    z = p.scores if p.lattice_scores is None else p.lattice_scores
    if z.min() > 0:
        return
    zero = z == 0
    weight = p.numerators if p.numerators is not None else np.asarray(p)
    lifted = int(np.count_nonzero(weight[zero] > 0))
    if not lifted:
        return
    refuse_zero_scores(lifted, z.size, p.k, float(p.scores.sum()), allow, stacklevel=4)


def refuse_zero_scores(
    lifted: int, n: int, k: int, total: float, allow: bool | None, *, stacklevel: int = 4
) -> None:
    """Warn (or raise, if `allow` is False) that `lifted` candidates of score 0 get a chance."""
    if allow:
        return
    found = (
        f"{lifted} {'candidates' if lifted > 1 else 'candidate'} of score 0 get"
        f"{'' if lifted > 1 else 's'} a positive probability, because k = {k} is more than the "
        f"scores add up to ({total:.6g})"
    )
    if allow is False:
        raise InfeasibleError(
            f"{found}; without them the largest feasible k is {n - lifted}, the number of positive "
            "scores. Leaving them out is not fairness-preserving: a score just above 0 would count "
            "and 0 would not."
        )
    warnings.warn(
        f"{found}; allow_zero_score=True accepts this silently, False refuses it.",
        SeptetWarning,
        stacklevel=stacklevel,
    )


def _general(
    scores: Floats,
    k: int,
    utility: ArrayLike | None,
    metric: ArrayLike | None,
    *,
    exact: bool,
) -> Marginals:
    n = scores.size
    u = scores if utility is None else checks.vector("utility", utility, size=n)
    distances = None if metric is None else check_metric(metric, n)
    z = quantise(scores) if exact else None
    numerators, denominator, values = None, None, None
    if distances is not None:
        values = metric_float(scores, u, distances, k)
        if exact:
            (numerators, denominator), values = metric_exact(values, distances, k), None
    elif z is not None:
        numerators, denominator = chain_exact(z, u, k)
    else:
        values = chain_float(scores, u, k)
    return Marginals(
        scores,
        k,
        "utility",
        lattice_scores=z,
        numerators=numerators,
        denominator=denominator,
        values=values,
        weights=u,
        metric=distances,
    )
