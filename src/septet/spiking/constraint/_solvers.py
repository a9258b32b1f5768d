"""The quadratic programme behind every step: the plain solver, and those of other packages."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from septet._core.extras import needs
from septet.spiking.constraint._rows import (
    CULPRIT,
    DONE,
    FIRE,
    INFEASIBLE,
    N_ACTIVE,
    N_ROWS,
    N_STEPS,
    STALLED,
    Rows,
    shared_misses,
)

Floats: TypeAlias = NDArray[np.float64]
Solve: TypeAlias = Callable[[Rows, Floats, Floats], int]

_TOLERANCE = 1e-9
_DEPENDENT = 1e-7
_NEGLIGIBLE = 1e-7


def solve_plainly(rows: Rows, start: Floats, w: Floats) -> int:
    """Solve as `_active_set.solve` does, from scratch and with a new factor at every step."""
    n = int(rows.counts[N_ROWS])
    gram, equal = rows.gram[:n, :n], rows.kind[:n] == FIRE
    length = np.sqrt(np.diag(gram))
    violation = rows.bound[:n] - rows.matrix[:n] @ start
    c = np.zeros(n)
    active: list[int] = []
    passed = np.zeros(n, dtype=bool)
    pending = np.flatnonzero(equal).tolist()
    for _ in range(50 * (n + w.size)):
        residual = violation - gram @ c
        if pending:
            j = pending.pop(0)
        else:
            with np.errstate(divide="ignore", invalid="ignore"):
                excess = residual / length
            excess[equal | (passed & (residual <= _NEGLIGIBLE))] = -np.inf
            excess[active] = -np.inf
            j = int(np.nanargmax(excess)) if n else -1
            if j < 0 or not excess[j] > _TOLERANCE:
                break
        status = _enter(rows, j, residual[j], c, active, equal)
        if status != DONE:
            return status
        passed[j] = True
    else:
        return STALLED
    soft = _softness(rows)
    # one pass of refinement with residuals from the rows themselves
    miss = rows.bound[active] - rows.matrix[active] @ (start + rows.matrix[:n].T @ c)
    c[active] += _in_terms_of(gram, active, miss - soft[active] @ c)
    w[:] = start + rows.matrix[:n].T @ c
    rows.multiplier[:n] = c
    rows.violation[:n] = rows.bound[:n] - rows.matrix[:n] @ w - soft @ c
    rows.active[: len(active)] = active
    rows.counts[N_ACTIVE] = len(active)
    return DONE


def _enter(
    rows: Rows,
    j: int,
    violation: float,
    c: Floats,
    active: list[int],
    equal: NDArray[np.bool_],
) -> int:
    """Make row `j` active, dropping what stands in its way."""
    gram = rows.gram
    sign = 1.0 if violation >= 0 else -1.0
    while True:
        rows.counts[N_STEPS] += 1
        ray = _in_terms_of(gram, active, gram[active, j])
        rest = rows.matrix[j] - ray @ rows.matrix[active]
        square = rest @ rest
        if rows.softness[j] > 0:
            both, y = [*active, j], np.append(-ray, 1.0)
            square += y @ _softness(rows)[np.ix_(both, both)] @ y
        size = np.sqrt(gram[j, j]) + np.abs(ray) @ np.sqrt(gram[active, active])
        dependent = square <= (_DEPENDENT * size) ** 2
        if dependent and c[j] == 0.0 and abs(violation) <= _NEGLIGIBLE:
            return DONE
        blocking = (sign * ray > 1e-12) & ~equal[active]
        if dependent and not blocking.any():
            if abs(violation) <= _NEGLIGIBLE:
                return STALLED
            rows.active[: len(active)], rows.ray[: len(active)] = active, ray
            rows.counts[N_ACTIVE], rows.counts[CULPRIT] = len(active), j
            rows.violation[j] = violation
            return INFEASIBLE
        ratio = np.full(len(active), np.inf)
        ratio[blocking] = c[active][blocking] / (sign * ray[blocking])
        shortest = ratio.min(initial=np.inf)
        full = np.inf if dependent else abs(violation) / square
        step = sign * min(shortest, full)
        c[j] += step
        c[active] -= step * ray
        if full <= shortest:
            active.append(j)
            return DONE
        if not dependent:
            violation -= step * square
        c[active.pop(int(ratio.argmin()))] = 0.0


def _in_terms_of(gram: Floats, active: list[int], products: Floats) -> Floats:
    """Return the combination of the active rows that has the given inner products with them."""
    if not active:
        return np.zeros(0)
    return np.asarray(cho_solve(cho_factor(gram[np.ix_(active, active)]), products))


def _softness(rows: Rows) -> Floats:
    """Return the part of the Gram matrix that stands for misses."""
    miss = shared_misses(rows)
    return (miss[:, None] == miss) * rows.softness[: miss.size]


def solve_with_daqp(rows: Rows, start: Floats, w: Floats) -> int:
    """Solve with DAQP, a dual active-set method; soft rows get variables of their own."""
    daqp = needs("daqp", extra="solvers", purpose='solver="daqp"')
    n = int(rows.counts[N_ROWS])
    matrix, miss = _with_misses(rows)
    lower = rows.bound[:n] - rows.matrix[:n] @ start
    upper = np.where(rows.kind[:n] == FIRE, lower, 1e30)
    sense = np.where(rows.kind[:n] == FIRE, 5, 0).astype(np.int32)
    size = matrix.shape[1]
    x, _, flag, _ = daqp.solve(
        np.eye(size), np.zeros(size), matrix, upper, lower, sense, primal_tol=1e-10
    )
    if flag != 1:
        return solve_plainly(rows, start, w)  # which proves it infeasible, or solves it
    _take(rows, np.asarray(x), miss, start, w)
    return DONE


def solve_with_piqp(rows: Rows, start: Floats, w: Floats) -> int:
    """Solve with PIQP, an interior-point method; soft rows get variables of their own."""
    piqp = needs("piqp", extra="solvers", purpose='solver="piqp"')
    n = int(rows.counts[N_ROWS])
    matrix, miss = _with_misses(rows)
    bound = rows.bound[:n] - rows.matrix[:n] @ start
    equal = rows.kind[:n] == FIRE
    size = matrix.shape[1]
    solver = piqp.DenseSolver()
    solver.settings.eps_abs = solver.settings.eps_rel = 1e-11
    solver.settings.verbose = False
    lowest = np.full(int((~equal).sum()), -np.inf)
    solver.setup(
        np.eye(size),
        np.zeros(size),
        matrix[equal],
        bound[equal],
        -matrix[~equal],
        lowest,
        -bound[~equal],
    )
    if solver.solve() != piqp.PIQP_SOLVED:
        return solve_plainly(rows, start, w)
    _take(rows, np.asarray(solver.result.x), miss, start, w)
    return DONE


def _with_misses(rows: Rows) -> tuple[Floats, NDArray[np.int64]]:
    """Return the rows with one more column per miss, scaled such that its cost is 1/2 x^2."""
    n = int(rows.counts[N_ROWS])
    miss = shared_misses(rows)
    columns = np.unique(miss[miss >= 0])
    extra = (miss[:, None] == columns) * np.sqrt(rows.softness[:n, None])
    return np.hstack([rows.matrix[:n], extra]), miss


def _take(rows: Rows, x: Floats, miss: NDArray[np.int64], start: Floats, w: Floats) -> None:
    """Read weights and misses off a solution; the first row of each miss bears its multiplier."""
    w[:] = start + x[: w.size]
    columns, first = np.unique(miss, return_index=True)
    first = first[columns >= 0]
    rows.multiplier[: miss.size] = 0.0
    rows.multiplier[first] = x[w.size :] / np.sqrt(rows.softness[first])
