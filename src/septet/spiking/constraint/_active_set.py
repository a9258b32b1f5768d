"""A compiled dual active-set solver for the smallest correction that satisfies the rows.

``min 1/2 |dw|^2`` subject to rows ``a_j dw >= v_j`` (or ``=``) is solved in the space of the
multipliers: ``dw = sum_j c_j a_j``, so that only inner products of rows are needed. The method of
Goldfarb and Idnani takes violated rows in one after another, letting others go where their
multiplier would change sign; it keeps the Cholesky factor of the active rows' Gram matrix up to
date in both directions. Every iterate is optimal for the rows it holds, which is why it can go on
when rows are added, and why it ends either at the solution or at a proof that there is none.

References
----------
D. Goldfarb, A. Idnani, "A numerically stable dual method for solving strictly convex quadratic
programs", Mathematical Programming 27 (1983) 1-33.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

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
)
from septet.spiking.neurons._jit import compiled, inner, summing

Floats: TypeAlias = NDArray[np.float64]

# What a row is to the solver.
_IDLE, _PASSED, _ACTIVE = range(3)

# A row counts as satisfied within this, relative to its length.
TOLERANCE = 1e-9
# A row whose part outside the span of the active ones is relatively smaller depends on them.
DEPENDENT = 1e-7
# A dependent row that is violated by no more than this is taken for satisfied, not for a proof.
NEGLIGIBLE = 1e-7


@summing
def product(matrix: Floats, j: int, w: Floats) -> float:
    """Inner product of row `j` and `w`; the order of summation is left to the vector registers."""
    total = 0.0
    for u in range(w.size):
        total += matrix[j, u] * w[u]
    return total


@summing
def products(
    matrix: Floats, i: int, j: int, k: int, m: int, w: Floats
) -> tuple[float, float, float, float]:
    """Inner products of four rows and `w`, which is then read once instead of four times."""
    a = b = c = d = 0.0
    for u in range(w.size):
        a += matrix[i, u] * w[u]
        b += matrix[j, u] * w[u]
        c += matrix[k, u] * w[u]
        d += matrix[m, u] * w[u]
    return a, b, c, d


@inner
def shared_softness(rows: Rows, i: int, j: int) -> float:
    """Return what two rows share in softness: all if they are one row or cuts of one interval."""
    if i == j:
        return rows.softness[i]
    if rows.interval[i] < 0 or rows.interval[i] != rows.interval[j]:
        return 0.0
    return rows.softness[i] if rows.pattern[i] == rows.pattern[j] else 0.0


@inner
def violation(rows: Rows, j: int, w: Floats) -> float:
    """Return by how much `w` misses row `j` beyond what its softness allows for."""
    total = rows.bound[j] - product(rows.matrix, j, w)
    if rows.softness[j] > 0:
        for i in range(rows.counts[N_ACTIVE]):
            k = rows.active[i]
            total -= shared_softness(rows, k, j) * rows.multiplier[k]
    return total


@inner
def _solve_lower(factor: Floats, n: int, y: Floats) -> None:
    """Divide by the transpose of the upper triangle `factor`."""
    for j in range(n):
        y[j] /= factor[j, j]
        for i in range(j + 1, n):
            y[i] -= factor[j, i] * y[j]


@summing
def _solve_upper(factor: Floats, n: int, y: Floats) -> None:
    for i in range(n - 1, -1, -1):
        total = y[i]
        for j in range(i + 1, n):
            total -= factor[i, j] * y[j]
        y[i] = total / factor[i, i]


@inner
def _remove(rows: Rows, at: int) -> None:
    """Take the active row at position `at` out: shift columns left, rotate back to a triangle.

    The triangle is the upper one, so that rotations run along rows of memory.
    """
    n, factor = rows.counts[N_ACTIVE], rows.factor
    rows.multiplier[rows.active[at]] = 0.0
    for i in range(at, n - 1):
        rows.active[i] = rows.active[i + 1]
    for j in range(n):
        for i in range(max(at, j - 1), n - 1):
            factor[j, i] = factor[j, i + 1]
    for j in range(at, n - 1):
        x, y = factor[j, j], factor[j + 1, j]
        r = np.hypot(x, y)
        c, s = x / r, y / r
        factor[j, j], factor[j + 1, j] = r, 0.0
        for i in range(j + 1, n - 1):
            x, y = factor[j, i], factor[j + 1, i]
            factor[j, i], factor[j + 1, i] = c * x + s * y, c * y - s * x
    rows.counts[N_ACTIVE] = n - 1


@inner
def _outside(rows: Rows, j: int, ray: Floats) -> tuple[float, bool]:
    """Squared length of row `j` less its part in the span of the active rows, and if it depends.

    Where rounding has eaten the difference of inner products it is computed from the rows.
    """
    n = rows.counts[N_ACTIVE]
    size = np.sqrt(rows.gram[j, j])
    square = rows.gram[j, j]
    for i in range(n):
        k = rows.active[i]
        size += abs(ray[i]) * np.sqrt(rows.gram[k, k])
        square -= ray[i] * rows.gram[k, j]
    if square > 1e-10 * size * size:
        return square, False
    square = rows.softness[j]
    for i in range(n):
        k = rows.active[i]
        if rows.softness[k] > 0:
            square -= 2 * ray[i] * shared_softness(rows, k, j)
            for m in range(n):
                square += ray[i] * ray[m] * shared_softness(rows, k, rows.active[m])
    rest = rows.rest
    rest[:] = rows.matrix[j]
    for i in range(n):
        row = rows.matrix[rows.active[i]]
        for u in range(rest.size):
            rest[u] -= ray[i] * row[u]
    for u in range(rest.size):
        square += rest[u] * rest[u]
    return square, square <= (DEPENDENT * size) ** 2


@inner
def _move(rows: Rows, j: int) -> int:
    """Make row `j` active, dropping what stands in its way; only multipliers are kept up to date.

    `change` collects what is added to them.
    """
    gram, multiplier, change, y, ray = rows.gram, rows.multiplier, rows.change, rows.work, rows.ray
    left = rows.violation[j]
    sign = 1.0 if left >= 0 else -1.0
    while True:
        rows.counts[N_STEPS] += 1
        n = rows.counts[N_ACTIVE]
        for i in range(n):
            y[i] = gram[rows.active[i], j]
        _solve_lower(rows.factor, n, y)
        for i in range(n):
            ray[i] = y[i]
        _solve_upper(rows.factor, n, ray)
        square, dependent = _outside(rows, j, ray)
        step, at = np.inf, -1
        for i in range(n):
            k = rows.active[i]
            if rows.kind[k] != FIRE and sign * ray[i] > 1e-12:
                ratio = multiplier[k] / (sign * ray[i])
                if ratio < step:
                    step, at = ratio, i
        if dependent and multiplier[j] == 0.0 and abs(left) <= NEGLIGIBLE:
            return DONE
        if dependent and at < 0:
            if abs(left) <= NEGLIGIBLE:
                return STALLED
            rows.violation[j] = left
            rows.counts[CULPRIT] = j
            return INFEASIBLE
        full = np.inf if dependent else abs(left) / square
        entered = full <= step
        step = min(step, full) * sign
        multiplier[j] += step
        change[j] += step
        for i in range(n):
            k = rows.active[i]
            multiplier[k] -= step * ray[i]
            change[k] -= step * ray[i]
        if not dependent:
            left -= step * square
        if entered:
            for i in range(n):
                rows.factor[i, n] = y[i]
            rows.factor[n, n] = np.sqrt(square)
            rows.active[n] = j
            rows.counts[N_ACTIVE] = n + 1
            return DONE
        if at < 0:  # not a number any more
            return STALLED
        _remove(rows, at)


@inner
def _enter(rows: Rows, j: int) -> int:
    """Make row `j` active and say what that does to the others."""
    n_rows, gram, violation, change = (
        rows.counts[N_ROWS],
        rows.gram,
        rows.violation,
        rows.change,
    )
    status = _move(rows, j)
    if status == INFEASIBLE:
        change[:n_rows] = 0.0
        return status
    for k in range(n_rows):
        if change[k] != 0.0:
            step = change[k]
            change[k] = 0.0
            for u in range(n_rows):
                violation[u] -= step * gram[k, u]
    return status


@inner
def _optimise(rows: Rows) -> int:
    """Go on to the optimum over all rows. Equalities come in first and stay."""
    n_rows = rows.counts[N_ROWS]
    state = rows.state
    for k in range(n_rows):
        state[k] = _IDLE
    for i in range(rows.counts[N_ACTIVE]):
        state[rows.active[i]] = _ACTIVE
    for j in range(n_rows):
        if rows.kind[j] == FIRE and state[j] != _ACTIVE:
            status = _enter(rows, j)
            if status != DONE:
                return status
    most = rows.counts[N_STEPS] + 50 * (n_rows + rows.matrix.shape[1])
    while rows.counts[N_STEPS] < most:
        for k in range(n_rows):
            if state[k] == _ACTIVE:
                state[k] = _IDLE
        for i in range(rows.counts[N_ACTIVE]):
            state[rows.active[i]] = _ACTIVE
        worst, j = TOLERANCE, -1
        for k in range(n_rows):
            if state[k] == _ACTIVE or rows.kind[k] == FIRE:
                continue
            excess = rows.violation[k] / np.sqrt(rows.gram[k, k])
            if excess > worst and (state[k] == _IDLE or rows.violation[k] > NEGLIGIBLE):
                worst, j = excess, k
        if j < 0:
            return DONE
        status = _enter(rows, j)
        if status != DONE:
            return status
        state[j] = _PASSED  # if it is not active now, it depends on others and matters little
    return STALLED


@inner
def _refine(rows: Rows, start: Floats, w: Floats) -> float:
    """Write the weights of the present multipliers to `w` and polish away the rounding.

    The inner products lose half of the digits where rows are nearly parallel. Residuals computed
    from the rows themselves, solved for with the factor at hand, bring them back. Returns the
    largest violation that is left.
    """
    n_rows, n = rows.counts[N_ROWS], rows.counts[N_ACTIVE]
    y = rows.work
    for sweep in range(4):
        for u in range(w.size):
            w[u] = start[u]
        for k in range(n_rows):
            if rows.multiplier[k] != 0.0:
                for u in range(w.size):
                    w[u] += rows.multiplier[k] * rows.matrix[k, u]
        worst = 0.0
        for i in range(n):
            y[i] = violation(rows, rows.active[i], w)
            worst = max(worst, abs(y[i]))
        if worst < 1e-14 or sweep == 3:
            break
        _solve_lower(rows.factor, n, y)
        _solve_upper(rows.factor, n, y)
        for i in range(n):
            rows.multiplier[rows.active[i]] += y[i]
    worst = 0.0
    for k in range(n_rows):
        rows.violation[k] = violation(rows, k, w)
        miss = abs(rows.violation[k]) if rows.kind[k] == FIRE else rows.violation[k]
        worst = max(worst, miss / np.sqrt(rows.gram[k, k]))
    return worst


@compiled
def solve(rows: Rows, start: Floats, w: Floats) -> int:
    """Find the weights `w` nearest to `start` that satisfy all rows."""
    for _ in range(10):
        status = _optimise(rows)
        if status != DONE or _refine(rows, start, w) <= 2 * NEGLIGIBLE:
            return status
    return STALLED
