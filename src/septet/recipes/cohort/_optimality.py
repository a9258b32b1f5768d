"""Optimality: closed forms against linear programmes that know every pair constraint."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import coo_array

from septet import cohort

Floats = NDArray[np.float64]


def compare(instances: int, seed: int) -> list[dict[str, float]]:
    """Differences between the closed forms and the solvers on random instances, one entry each."""
    rng = np.random.default_rng(seed)
    return [_instance(rng) for _ in range(instances)]


def _instance(rng: np.random.Generator) -> dict[str, float]:
    n = int(rng.integers(2, 26))
    s, k = on_lattice(random_scores(rng, n)), int(rng.integers(0, n + 1))
    linear = cohort.selection_probabilities(s, k, allow_zero_score=True)
    ratio = cohort.selection_probabilities(s, k, objective="ratio", allow_zero_score=True)
    p = np.asarray(linear)
    entry = {
        "linear": abs(all_pairs(s, k, s) - float(s @ p)),
        "projection": _projection_gap(s, p, k),
        "violation": float(max(linear.max_violation, ratio.max_violation)),
        "monotone": _monotone_gap(s, k, p, rng),
        "chain": _chain_gap(s, k, rng),
        "ratio": 0.0,
        "ptc_utility": 0.0,
        "ptc_ratio": 0.0,
    }
    if s.any():
        reached = float(ratio.ratio) if ratio.ratio is not None else 0.0
        entry["ratio"] = abs(best_ratio(s, k) - reached)
        walk = cohort.permute_then_classify_probabilities(s, k)
        entry["ptc_utility"] = float(s @ walk - s @ p)
        some = s > 0
        entry["ptc_ratio"] = float((walk[some] / s[some]).min()) - reached
    return entry


def random_scores(rng: np.random.Generator, n: int) -> Floats:
    """Scores of every kind: smooth, skewed, in a band, few values, with certainties."""
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


def on_lattice(s: Floats) -> Floats:
    """Scores rounded to multiples of 2**-32, as every exact statement sees them."""
    return np.round(s * 2.0**32) / 2.0**32


def all_pairs(s: Floats, k: int, utility: Floats) -> float:
    """Largest ``utility @ p`` over fair p of sum k, by a solver that is told of every pair."""
    matrix, bound = _pair_constraints(s)
    done = linprog(
        -utility, A_ub=matrix, b_ub=bound, A_eq=np.ones((1, s.size)), b_eq=[k], bounds=(0, 1)
    )
    if not done.success:
        raise RuntimeError(f"the solver failed: {done.message}")
    return float(-done.fun)


def best_ratio(s: Floats, k: int) -> float:
    """Largest ``min p_i / s_i`` over fair p of sum k, by a linear programme."""
    n = s.size
    pairs, bound = _pair_constraints(s)
    rows = np.flatnonzero(s > 0)
    above = coo_array((np.full(rows.size, -1.0), (np.arange(rows.size), rows)), (rows.size, n))
    matrix = np.block(
        [[pairs.toarray(), np.zeros((pairs.shape[0], 1))], [above.toarray(), s[rows, None]]]
    )
    goal = np.zeros(n + 1)
    goal[-1] = -1
    done = linprog(
        goal,
        A_ub=matrix,
        b_ub=np.concatenate([bound, np.zeros(rows.size)]),
        A_eq=np.append(np.ones(n), 0.0)[None],
        b_eq=[k],
        bounds=[(0, 1)] * n + [(0, None)],
    )
    if not done.success:
        raise RuntimeError(f"the solver failed: {done.message}")
    return float(-done.fun)


def _pair_constraints(s: Floats) -> tuple[Any, Floats]:
    i, j = np.nonzero(~np.eye(s.size, dtype=bool))
    rows = np.arange(i.size)
    values = np.concatenate([np.ones(i.size), -np.ones(i.size)])
    place = (np.concatenate([rows, rows]), np.concatenate([i, j]))
    return coo_array((values, place), (i.size, s.size)), np.abs(s[i] - s[j])


def _projection_gap(s: Floats, p: Floats, k: int) -> float:
    """How far p is from the nearest point of sum k: 0 if no direction inside leads closer to s.

    p is nearest exactly if ``(s - p) @ (q - p) <= 0`` for every q, and the largest left side is
    reached where q puts its k units on the largest entries of ``s - p``.
    """
    toward = s - p
    best = np.sort(toward)[s.size - k :].sum()
    return float(max(0.0, best - toward @ p))


def _monotone_gap(s: Floats, k: int, p: Floats, rng: np.random.Generator) -> float:
    """Loss of p under another utility that rises with the score, against the solver."""
    values, place = np.unique(s, return_inverse=True)
    utility = np.sort(rng.normal(size=values.size))[place]
    return abs(all_pairs(s, k, utility) - float(utility @ p))


def _chain_gap(s: Floats, k: int, rng: np.random.Generator) -> float:
    """Difference between our solver, which sees neighbours only, and one that sees all pairs."""
    utility = rng.normal(size=s.size)
    p = np.asarray(cohort.selection_probabilities(s, k, utility=utility, allow_zero_score=True))
    return abs(all_pairs(s, k, utility) - float(utility @ p))
