"""Solvers that know nothing of the closed forms: linear programmes over all pairs."""

import numpy as np
from scipy.optimize import linprog


def solve(s, k, utility, distance=None):
    """Largest utility @ p over p in [0, 1] of sum k with |p_i - p_j| <= distance_ij."""
    n = len(s)
    a, b = pair_constraints(s, distance)
    done = linprog(
        -np.asarray(utility), A_ub=a, b_ub=b, A_eq=np.ones((1, n)), b_eq=[k], bounds=(0, 1)
    )
    assert done.success, done.message
    return -done.fun


def solve_ratio(s, k):
    """Largest min p_i / s_i over the same set."""
    n = len(s)
    a, b = pair_constraints(s, None)
    positive = np.flatnonzero(s)
    share = np.zeros((positive.size, n + 1))
    share[np.arange(positive.size), positive] = -1
    share[:, -1] = s[positive]
    a = np.hstack([np.zeros((0, n)) if a is None else a, np.zeros((len(b), 1))])
    done = linprog(
        np.append(np.zeros(n), -1),
        A_ub=np.vstack([a, share]),
        b_ub=np.append(b, np.zeros(positive.size)),
        A_eq=np.append(np.ones(n), 0)[None],
        b_eq=[k],
        bounds=[(0, 1)] * n + [(0, None)],
    )
    assert done.success, done.message
    return -done.fun


def pair_constraints(s, distance):
    n = len(s)
    i, j = np.nonzero(~np.eye(n, dtype=bool))
    if distance is None:
        distance = np.abs(np.subtract.outer(s, s))
    a = np.zeros((i.size, n))
    a[np.arange(i.size), i] = 1
    a[np.arange(i.size), j] = -1
    return a, distance[i, j]


def random_scores(rng, n):
    kind = rng.integers(5)
    if kind == 0:
        return rng.random(n)
    if kind == 1:
        return rng.beta(0.5, 3, n)
    if kind == 2:
        return 0.4 + 0.02 * rng.random(n)
    if kind == 3:
        return rng.integers(0, 5, n) / 4
    return np.where(rng.random(n) < 0.3, rng.integers(0, 2, n), rng.random(n))
