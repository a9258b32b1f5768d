"""The quadratic programme: our solvers against each other, other packages and the conditions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.spiking.constraint import _active_set, _compiled, _reference, _solvers
from septet.spiking.constraint._rows import (
    BELOW,
    CULPRIT,
    DONE,
    FIRE,
    INFEASIBLE,
    N_ACTIVE,
    N_ROWS,
    empty_rows,
    resized,
)

SOLVERS = {
    "numba": _active_set.solve,
    "numpy": _solvers.solve_plainly,
    "daqp": _solvers.solve_with_daqp,
    "piqp": _solvers.solve_with_piqp,
}


def problem(rng, *, n_inputs=12, n_equal=3, n_below=15, soft=False):
    """Random rows; without softness they are feasible at a known point."""
    n = n_equal + n_below
    rows = empty_rows(n + 4, n_inputs)
    rows.matrix[:n] = rng.normal(size=(n, n_inputs))
    rows.bound[:n] = rows.matrix[:n] @ rng.normal(size=n_inputs)
    rows.bound[n_equal:n] -= rng.uniform(0, 0.5, n_below)
    rows.kind[:n] = [FIRE] * n_equal + [BELOW] * n_below
    rows.interval[:n] = -1
    if soft:
        rows.bound[:n] += rng.normal(size=n)
        rows.softness[:n] = np.repeat([0.3, 0.1], [n_equal, n_below])
        rows.interval[n_equal:n] = rng.integers(0, 4, n_below)
    rows.counts[N_ROWS] = n
    start = rng.normal(size=n_inputs)
    _reference.append(rows, 0, start)
    return rows, start


def solved(name, rows, start):
    w = np.zeros(start.size)
    assert SOLVERS[name](rows, start, w) == DONE
    return w


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("soft", [False, True])
def test_every_solver_finds_what_a_modelling_language_finds(name, soft, rng):
    cvxpy = pytest.importorskip("cvxpy")
    rows, start = problem(rng, soft=soft)
    w, miss = cvxpy.Variable(12), cvxpy.Variable(7)
    cost = 0.5 * cvxpy.sum_squares(w - start)
    value = rows.matrix[:18] @ w
    if soft:  # three misses of their own, four shared by the cuts of an interval
        cost = cost + 0.5 * (cvxpy.sum_squares(miss[:3]) / 0.3 + cvxpy.sum_squares(miss[3:]) / 0.1)
        value = value + miss[np.r_[0:3, 3 + rows.interval[3:18]]]
    holds = [value[:3] == rows.bound[:3], value[3:] >= rows.bound[3:18]]
    cvxpy.Problem(cvxpy.Minimize(cost), holds).solve(solver="CLARABEL")
    assert solved(name, rows, start) == pytest.approx(w.value, abs=1e-5)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(0, 25), st.booleans())
def test_the_compiled_solution_satisfies_the_conditions_of_optimality(seed, equal, below, soft):
    rng = np.random.default_rng(seed)
    rows, start = problem(rng, n_equal=equal, n_below=below, soft=soft)
    w = solved("numba", rows, start)
    n = equal + below
    c = rows.multiplier[:n]
    softness = rows.gram[:n, :n] - rows.matrix[:n] @ rows.matrix[:n].T
    slack = rows.matrix[:n] @ w + softness @ c - rows.bound[:n]
    assert w == pytest.approx(start + rows.matrix[:n].T @ c, abs=1e-9)  # stationary
    assert slack[:equal] == pytest.approx(0, abs=1e-10)  # primal feasible
    assert slack[equal:].min(initial=0.0) >= -1e-6
    assert c[equal:].min(initial=0.0) >= -1e-9  # dual feasible
    assert c[equal:] * slack[equal:] == pytest.approx(0, abs=1e-8)  # complementary
    assert w == pytest.approx(solved("numpy", rows, start), abs=1e-6)


def test_solving_goes_on_where_it_was_when_rows_are_added(rng):
    rows, start = problem(rng, n_below=10)
    w = solved("numba", rows, start)
    more, _ = problem(rng, n_equal=0, n_below=4)
    first = int(rows.counts[N_ROWS])
    rows.matrix[first : first + 4] = more.matrix[:4]
    rows.bound[first : first + 4] = more.matrix[:4] @ w + 0.2
    rows.kind[first : first + 4], rows.interval[first : first + 4] = BELOW, -1
    rows.counts[N_ROWS] = first + 4
    _compiled.append(rows, first, w)
    again = solved("numba", rows, start)
    assert again == pytest.approx(solved("numpy", rows, start), abs=1e-8)
    assert not np.allclose(again, w)


def test_a_store_that_grows_keeps_its_state(rng):
    rows, start = problem(rng)
    w = solved("numba", rows, start)
    bigger = resized(rows, 60)
    assert solved("numba", bigger, start) == pytest.approx(w, abs=1e-12)


@pytest.mark.parametrize("name", SOLVERS)
def test_contradicting_rows_come_with_a_proof(name, rng):
    rows, start = problem(rng, n_equal=2, n_below=4)
    combined = rows.matrix[:2].T @ [1.0, -2.0]
    rows.matrix[6], rows.kind[6], rows.interval[6] = combined, FIRE, -1
    rows.bound[6] = rows.bound[:2] @ [1.0, -2.0] + 0.5
    rows.counts[N_ROWS] = 7
    _reference.append(rows, 6, start)
    assert SOLVERS[name](rows, start, np.zeros(12)) == INFEASIBLE
    n, j = rows.counts[N_ACTIVE], rows.counts[CULPRIT]
    y = np.zeros(7)
    y[rows.active[:n]], y[j] = -rows.ray[:n], 1.0
    assert np.linalg.norm(y @ rows.matrix[:7]) < 1e-9
    assert abs(y @ rows.bound[:7]) > 0.1


def test_an_equation_that_follows_from_others_is_dropped(rng):
    rows, start = problem(rng, n_equal=2, n_below=0)
    rows.matrix[2], rows.kind[2] = rows.matrix[:2].sum(axis=0), FIRE
    rows.bound[2], rows.interval[2] = rows.bound[:2].sum(), -1
    rows.counts[N_ROWS] = 3
    _reference.append(rows, 2, start)
    w = solved("numba", rows, start)
    assert rows.matrix[:3] @ w == pytest.approx(rows.bound[:3], abs=1e-12)
    assert rows.counts[N_ACTIVE] == 2


def test_nearly_parallel_rows_are_met_to_rounding(rng):
    rows, start = problem(rng, n_equal=0, n_below=0)
    base, other = rng.normal(size=(2, 12))
    rows.matrix[0], rows.matrix[1] = base, base + 1e-5 * other
    rows.bound[:2], rows.kind[:2], rows.interval[:2] = [1.0, 1.00001], FIRE, -1
    rows.counts[N_ROWS] = 2
    _reference.append(rows, 0, start)
    w = solved("numba", rows, start)
    assert rows.matrix[:2] @ w == pytest.approx([1.0, 1.00001], abs=1e-10)
