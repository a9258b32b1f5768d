"""Best fair probabilities for a known task metric: a linear programme, constraints as needed."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet._core.errors import InfeasibleError
from septet.cohort._marginals import lattice_distances
from septet.cohort._scores import LATTICE, Floats
from septet.cohort._shift import apply_shift, exact_shift

_TOLERANCE = 1e-9  # of HiGHS, and of the largest violation that ends the search
_PER_ROW = 4  # violated constraints that join per candidate and round
_BLOCK = 256


def check_metric(metric: ArrayLike, n: int) -> Floats:
    """Return `metric` as float64 distances of shape (n, n).

    Raises
    ------
    ValueError
        If the shape is another, a distance is NaN or negative, the diagonal is not 0 or the matrix
        is not symmetric.
    """
    distances = checks.floats("metric", metric)
    if distances.shape != (n, n):
        raise ValueError(
            f"metric must be an (n, n) matrix of distances, n = {n}; got shape {distances.shape}."
        )
    bad = np.argwhere(~(distances >= 0))
    if len(bad):
        i, j = bad[0].tolist()
        raise ValueError(
            f"metric[{i}, {j}] = {distances[i, j].item()!r} is no distance "
            f"({len(bad)} such {'entry' if len(bad) == 1 else 'entries'})."
        )
    if np.diagonal(distances).any():
        i = int(np.flatnonzero(np.diagonal(distances))[0])
        raise ValueError(f"metric[{i}, {i}] must be 0; got {distances[i, i].item()!r}.")
    if not np.array_equal(distances, distances.T):
        i, j = np.argwhere(distances != distances.T)[0].tolist()
        raise ValueError(f"metric must be symmetric; [{i}, {j}] and [{j}, {i}] differ.")
    return distances


def metric_float(scores: Floats, utility: Floats, metric: Floats, k: int) -> Floats:
    """Maximise ``sum u_i p_i`` over ``abs(p_i - p_j) <= d_ij``, ``sum p = k`` with HiGHS.

    Starts from the pairs adjacent in score and adds, round by round, for every candidate the pairs
    that are violated most, until none is by more than 1e-9.

    Raises
    ------
    InfeasibleError
        If HiGHS gives up; ``p = k / n`` is always feasible, so that only numbers of extreme size
        can cause it.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    n = scores.size
    order = np.argsort(scores, kind="stable")
    pairs = np.concatenate([order[:-1] * n + order[1:], order[1:] * n + order[:-1]])
    while True:
        above, below = np.divmod(pairs, n)
        rows = np.arange(pairs.size)
        entries = np.concatenate([np.ones(pairs.size), -np.ones(pairs.size)])
        columns = np.concatenate([above, below])
        lipschitz = csr_array((entries, (np.tile(rows, 2), columns)), shape=(pairs.size, n))
        result = linprog(
            -utility / max(float(np.abs(utility).max()), np.finfo(np.float64).tiny),
            A_ub=lipschitz if pairs.size else None,
            b_ub=metric[above, below] if pairs.size else None,
            A_eq=np.ones((1, n)),
            b_eq=[k],
            bounds=(0, 1),
            method="highs",
            options={
                "primal_feasibility_tolerance": _TOLERANCE,
                "dual_feasibility_tolerance": _TOLERANCE,
            },
        )
        if result.x is None:
            raise InfeasibleError(f"HiGHS found no probabilities for this metric: {result.message}")
        fresh = np.setdiff1d(_worst_pairs(result.x, metric), pairs, assume_unique=True)
        if not fresh.size:
            return np.clip(result.x, 0, 1)
        pairs = np.concatenate([pairs, fresh])


def metric_exact(p: Floats, metric: Floats, k: int) -> tuple[NDArray, int]:
    """Round a solution of `metric_float` to the lattice so that fairness and sum hold exactly.

    Every value is lowered to what its neighbours allow, ``min_j p_j + d_ij`` with the distances
    rounded down, until nothing moves; a shift and clip, which widens no difference, then restores
    the sum. Both move p by about the solver's tolerance.
    """
    z = np.rint(p * LATTICE).astype(np.int64)
    while True:
        lowered = np.concatenate(
            [
                (z + lattice_distances(metric[i : i + _BLOCK])).min(axis=1)
                for i in range(0, z.size, _BLOCK)
            ]
        )
        if np.array_equal(lowered, z):
            break
        z = lowered
    offset, active = exact_shift(z, k)
    return apply_shift(z, offset, active), active * LATTICE


def _worst_pairs(p: Floats, metric: Floats) -> NDArray[np.int64]:
    """Return, per candidate, up to a few pairs (i, j) as i * n + j with p_i - p_j > d_ij."""
    n = p.size
    found = []
    for start in range(0, n, _BLOCK):
        excess = p[start : start + _BLOCK, None] - p - metric[start : start + _BLOCK]
        few = min(_PER_ROW, n)
        columns = np.argpartition(excess, n - few, axis=1)[:, n - few :]
        rows = np.arange(columns.shape[0])[:, None]
        bad = excess[rows, columns] > _TOLERANCE
        found.append(((rows + start) * n + columns)[bad])
    return np.concatenate(found).astype(np.int64)
