"""Primal-dual Newton method for a group-robust head with a dense Hessian (method A).

Each step minimises a quadratic model of the Lagrangian over the head while maximising over the
group weights: a factorisation of the Hessian, a quadratic programme with one variable per group and
a line search. The Hessian is formed anew only when the gap no longer falls tenfold in a step.
"""

from typing import Any, TypeAlias

import numpy as np
import scipy.linalg

from septet.robust._head_problem import FloatArray, HeadProblem
from septet.robust._simplex import maximise_on_simplex
from septet.robust._solution import HeadSolution, Start

_Factor: TypeAlias = Any

_STALE = 0.2


def solve_by_newton(
    problem: HeadProblem, start: Start, *, tol: float, max_iter: int
) -> HeadSolution:
    """Minimise the objective of `problem` until the relative duality gap is at most `tol`."""
    theta, logits, weights = start.theta, start.logits, start.weights
    curvature = start.curvature
    factor = None if curvature is None else _factorise(problem, curvature)
    dual, last_gap, steps = -np.inf, np.inf, 0
    probabilities, losses = problem.probabilities(logits)
    while True:
        group_losses = problem.group_losses(losses)
        primal = problem.primal(group_losses, theta)
        dual = max(dual, problem.lower_bound(logits, weights))
        gap = primal - dual
        if gap <= tol * primal or steps == max_iter:
            break
        if curvature is None or factor is None or gap > _STALE * last_gap:
            curvature = problem.curvature(probabilities, weights)
            factor = _factorise(problem, curvature)
        last_gap = gap
        residual = problem.residual(probabilities)
        direction, weights, descent = _direction(problem, theta, group_losses, residual, factor)
        change = problem.forward(direction)
        found = _line_search(problem, theta, logits, direction, change, primal, descent)
        if found is None:
            break  # rounding leaves nothing to gain
        size, probabilities, losses = found
        theta, logits, steps = theta + size * direction, logits + size * change, steps + 1
    converged = gap <= tol * primal
    return HeadSolution(
        theta, logits, weights, group_losses, primal, dual, steps, converged, curvature
    )


def _direction(
    problem: HeadProblem,
    theta: FloatArray,
    group_losses: FloatArray,
    residual: FloatArray,
    factor: _Factor,
) -> tuple[FloatArray, FloatArray, float]:
    """Solve the quadratic model: the step, the group weights and the decrease it promises."""
    gradients = problem.group_gradients(residual).reshape(problem.n_groups, -1)
    pull = (theta * problem.penalty).ravel()
    columns = np.column_stack([gradients.T, pull])
    solved: Any = scipy.linalg.cho_solve(factor, columns, check_finite=False)
    per_group, of_pull = solved[:, :-1], solved[:, -1]
    quadratic = gradients @ per_group
    weights = maximise_on_simplex(
        group_losses + problem.offset - gradients @ of_pull, (quadratic + quadratic.T) / 2
    )
    direction = -(per_group @ weights + of_pull)
    descent = -float(direction @ (gradients.T @ weights + pull))
    return direction.reshape(problem.shape), weights, descent


def _line_search(
    problem: HeadProblem,
    theta: FloatArray,
    logits: FloatArray,
    direction: FloatArray,
    change: FloatArray,
    primal: float,
    descent: float,
) -> tuple[float, FloatArray, FloatArray] | None:
    """Find a step that lowers the objective; its size, probabilities and losses.

    A step that gains less than half of what a quadratic would is halved for as long as that gains
    more: overshooting into saturated probabilities would leave no curvature to go on with.
    """

    def trial(size: float) -> tuple[float, tuple[float, FloatArray, FloatArray]]:
        probabilities, losses = problem.probabilities(logits + size * change)
        value = problem.primal(problem.group_losses(losses), theta + size * direction)
        return primal - value, (size, probabilities, losses)

    size = 1.0
    gain, found = trial(size)
    for _ in range(60):
        if gain >= 0.25 * size * descent or (gain >= 0.0 and descent <= 1e-15 * primal):
            return found
        size /= 2
        half_gain, half = trial(size)
        if gain > 0.0 and gain >= half_gain:
            return found
        gain, found = half_gain, half
    return None


def _factorise(problem: HeadProblem, curvature: FloatArray) -> _Factor:
    """Factorise the Hessian; a ridge grows where rounding has made it indefinite."""
    hessian = curvature.copy()
    diagonal = np.einsum("ii->i", hessian)
    diagonal += np.tile(problem.penalty, problem.shape[0])
    ridge = 1e-14 * float(diagonal.max())
    while True:
        try:
            return scipy.linalg.cho_factor(hessian, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            diagonal += ridge
            ridge *= 100
