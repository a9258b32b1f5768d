"""Other ways to choose k of n, as draws and, where there is one, with their law in closed form."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core.random import RandomState, generator
from septet.cohort._scores import Floats, check_scores, check_size

Rows: TypeAlias = NDArray[np.intp]

MOST_SQUARED = 20_000  # candidates for whom pictures and reports take n squared steps


def permute_then_classify(scores: ArrayLike, k: int, *, random_state: RandomState = None) -> Rows:
    """Draw by visiting everybody in random order and taking whoever's coin says yes.

    When as many are left as there are free places, all of them are taken.

    Parameters
    ----------
    scores : array_like of shape (n,)
        Acceptance probability of each candidate alone.
    k : int
        Cohort size, from 0 to n.
    random_state : int, numpy.random.Generator or None
        Source of the draw.

    Returns
    -------
    ndarray of shape (k,), dtype intp
        Row numbers of the cohort, ascending.

    Raises
    ------
    ValueError
        If a score is no probability or k does not fit.

    References
    ----------
    C. Dwork, C. Ilvento: Fairness Under Composition. ITCS 2019.

    Examples
    --------
    >>> permute_then_classify([1.0, 1.0, 0.0, 0.0], 2, random_state=0)
    array([0, 1])
    """
    s, k, rng = _door(scores, k, random_state)
    order = rng.permutation(s.size)
    return np.sort(order[_visit(rng.random(s.size) < s[order], k)])


def first_come(scores: ArrayLike, k: int, *, random_state: RandomState = None) -> Rows:
    """Draw by visiting everybody in row order and taking whoever's coin says yes.

    When as many are left as there are free places, all of them are taken. Unfair: who comes late
    finds no place. Parameters, result and errors as for `permute_then_classify`.
    """
    s, k, rng = _door(scores, k, random_state)
    return _visit(rng.random(s.size) < s, k)


def weighted_sampling(scores: ArrayLike, k: int, *, random_state: RandomState = None) -> Rows:
    """Draw a set with probability proportional to its total score.

    One member is drawn by score, the others uniformly. Parameters, result and errors as for
    `permute_then_classify`; in addition, scores that are all zero are refused.

    References
    ----------
    C. Dwork, C. Ilvento: Fairness Under Composition. ITCS 2019.
    """
    s, k, rng = _door(scores, k, random_state)
    if k == 0:
        return np.empty(0, np.intp)
    _some_positive(s)
    leader = rng.choice(s.size, p=s / s.sum())
    others = rng.choice(s.size - 1, size=k - 1, replace=False)
    return np.sort(np.append(others + (others >= leader), leader)).astype(np.intp)


def uniform(scores: ArrayLike, k: int, *, random_state: RandomState = None) -> Rows:
    """Draw any k with equal chances; parameters as for `permute_then_classify`."""
    s, k, rng = _door(scores, k, random_state)
    return np.sort(rng.choice(s.size, size=k, replace=False))


def top_k(scores: ArrayLike, k: int, *, random_state: RandomState = None) -> Rows:
    """Take the k largest scores, equal ones by lot; parameters as for `permute_then_classify`."""
    s, k, rng = _door(scores, k, random_state)
    return np.sort(np.lexsort((rng.random(s.size), -s))[:k])


def successive(scores: ArrayLike, k: int, *, random_state: RandomState = None) -> Rows:
    """Draw one after another by score without replacement, as weighted samplers usually do.

    This is ``Generator.choice(replace=False, p=scores / sum)``; the chances that come out are not
    proportional to the scores, have no closed form and are not fair. Parameters as for
    `permute_then_classify`; fewer than k positive scores are refused.
    """
    s, k, rng = _door(scores, k, random_state)
    positive = int(np.count_nonzero(s))
    if positive < k:
        raise ValueError(
            f"scores must have at least k = {k} positive entries here; got {positive}."
        )
    if k == 0:
        return np.empty(0, np.intp)
    return np.sort(rng.choice(s.size, size=k, replace=False, p=s / s.sum()))


def permute_then_classify_probabilities(scores: ArrayLike, k: int) -> Floats:
    r"""Exact chance of each candidate under `permute_then_classify`.

    .. math::
        p_i = s_i \, E\min(1, \tfrac{k}{1 + B_i}) + (1 - s_i) \, E\tfrac{(k - B_i)^+}{n - B_i}

    with :math:`B_i` the number of yes's among the others, a Poisson-binomial variable.

    Parameters
    ----------
    scores : array_like of shape (n,)
        Acceptance probability of each candidate alone.
    k : int
        Cohort size, from 0 to n.

    Returns
    -------
    ndarray of shape (n,), dtype float64

    Raises
    ------
    ValueError
        If a score is no probability or k does not fit.

    Notes
    -----
    The law of all n sums is computed once; each candidate is then divided out of it in the
    direction in which errors shrink (upwards for scores up to 1/2, downwards above), all candidates
    at once: O(n²) operations, O(n) memory.

    Examples
    --------
    >>> permute_then_classify_probabilities([0.5, 0.25, 0.75], 1)
    array([0.3125 , 0.15625, 0.53125])
    """
    s, k, _ = _door(scores, k, None)
    n = s.size
    others = np.arange(n)
    if_yes = np.minimum(1.0, k / (1.0 + others))
    if_no = np.maximum(k - others, 0) / (n - others)
    yes, no = _leave_one_out(s, if_yes, if_no)
    return s * yes + (1 - s) * no


def weighted_sampling_probabilities(scores: ArrayLike, k: int) -> Floats:
    """Exact chance of each candidate under `weighted_sampling`; parameters as for that.

    Fair if and only if the scores add up to at least ``(n - k) / (n - 1)`` or are all equal.

    Examples
    --------
    >>> weighted_sampling_probabilities([0.5, 0.25, 0.75], 1)
    array([0.33333333, 0.16666667, 0.5       ])
    """
    s, k, _ = _door(scores, k, None)
    n = s.size
    if k == 0 or n == 1:
        return np.full(n, float(k))
    _some_positive(s)
    return (k - 1) / (n - 1) + s / s.sum() * (n - k) / (n - 1)


def uniform_probabilities(scores: ArrayLike, k: int) -> Floats:
    """Chance k / n of each candidate."""
    s, k, _ = _door(scores, k, None)
    return np.full(s.size, k / s.size)


def top_k_probabilities(scores: ArrayLike, k: int) -> Floats:
    """Chance of each candidate under `top_k`: 1, 0, or an equal share for the tied at the edge.

    Examples
    --------
    >>> top_k_probabilities([0.9, 0.5, 0.5, 0.1], 2)
    array([1. , 0.5, 0.5, 0. ])
    """
    s, k, _ = _door(scores, k, None)
    if k == 0:
        return np.zeros(s.size)
    edge = np.partition(s, s.size - k)[s.size - k]
    above, tied = s > edge, s == edge
    return above + tied * ((k - np.count_nonzero(above)) / np.count_nonzero(tied))


def _door(
    scores: ArrayLike, k: int, random_state: RandomState
) -> tuple[Floats, int, np.random.Generator]:
    s = check_scores(scores)
    return s, check_size(k, s.size), generator(random_state)


def _some_positive(s: Floats) -> None:
    if not s.any():
        raise ValueError("scores must not all be zero here: there is nothing to weigh by.")


def _visit(yes: NDArray[np.bool_], k: int) -> Rows:
    """Positions taken by a visitor who needs exactly k and knows how many are still to come."""
    before = np.concatenate([[0], np.cumsum(yes)])
    if before[-1] >= k:
        return np.flatnonzero(yes)[:k]
    forced = int(np.argmax(before + np.arange(yes.size, -1, -1) == k))
    return np.concatenate([np.flatnonzero(yes[:forced]), np.arange(forced, yes.size)])


def _poisson_binomial(s: Floats) -> Floats:
    """Law of the number of yes's, shape (n + 1,)."""
    law = np.zeros(s.size + 1)
    law[0] = 1.0
    for i, p in enumerate(s.tolist(), start=1):
        law[1 : i + 1] = law[1 : i + 1] * (1 - p) + law[:i] * p
        law[0] *= 1 - p
    return law


def _leave_one_out(s: Floats, *functions: Floats) -> list[Floats]:
    """Expectations of functions of the yes's among the others, for everybody at once."""
    law = _poisson_binomial(s)
    out = [np.empty(s.size) for _ in functions]
    up = s <= 0.5
    for rows, kept, steps, at in (
        (up, 1 - s[up], range(s.size), lambda r: r),
        (~up, s[~up], range(s.size - 1, -1, -1), lambda r: r + 1),
    ):
        chances = _divide_out(law, kept, steps, at, functions)
        for total, part in zip(out, chances, strict=True):
            total[rows] = part
    return out


def _divide_out(
    law: Floats, kept: Floats, steps: range, at: Callable[[int], int], functions: tuple[Floats, ...]
) -> list[Floats]:
    """Divide each candidate out of the law, step by step, and sum the functions on the way.

    `kept` is the probability of the candidate's more likely answer, at least 1/2.
    """
    lost = 1 - kept
    rest = np.zeros(kept.size)
    totals = [np.zeros(kept.size) for _ in functions]
    for r in steps:
        rest = (law[at(r)] - lost * rest) / kept
        for total, values in zip(totals, functions, strict=True):
            total += values[r] * rest
    return totals
