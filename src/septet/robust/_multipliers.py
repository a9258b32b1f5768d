"""Exponential multipliers with preconditioned L-BFGS for a group-robust head (method B).

The maximum over groups becomes ``tau log sum_g q_g exp((L_g + a_g) / tau)``; the weights at its
minimum are the next multipliers q, and tau halves. The inner minimisation is L-BFGS on top of the
curvature at the start, and stops when the certified gap of its weighted problem is small against
what the multipliers still have to gain.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.linalg

from septet.robust._head_problem import FloatArray, HeadProblem
from septet.robust._solution import HeadSolution, Start

_TAU = 0.05
_MEMORY = 20
_DENSE = 4096


@dataclass(frozen=True, eq=False)
class _Point:
    """Everything known about one head: value and gradient of the smoothed objective included."""

    theta: FloatArray
    logits: FloatArray
    group_losses: FloatArray
    weights: FloatArray
    value: float
    residual: FloatArray


@dataclass(frozen=True, eq=False)
class _Smoothed:
    """The smoothed objective for fixed multipliers and temperature."""

    problem: HeadProblem
    multipliers: FloatArray
    tau: float

    def at(self, theta: FloatArray, logits: FloatArray) -> _Point:
        problem = self.problem
        probabilities, losses = problem.probabilities(logits)
        group_losses = problem.group_losses(losses)
        scores = (group_losses + problem.offset) / self.tau
        top = scores.max()
        tilted = self.multipliers * np.exp(scores - top)
        total = tilted.sum()
        value = self.tau * (top + float(np.log(total))) + problem.penalty_of(theta)
        residual = problem.residual(probabilities)
        return _Point(theta, logits, group_losses, tilted / total, value, residual)

    def gradient(self, point: _Point) -> FloatArray:
        problem = self.problem
        return problem.gradient(point.residual, point.weights) + point.theta * problem.penalty

    def slope(self, point: _Point, direction: FloatArray, change: FloatArray) -> float:
        """Derivative along a direction whose logits change by `change`: no pass over X."""
        row_weights = self.problem.share @ point.weights
        of_loss = float(((point.residual * change).sum(axis=0)) @ row_weights)
        return of_loss + float((point.theta * self.problem.penalty * direction).sum())


@dataclass(eq=False)
class _InverseHessian:
    """Limited-memory BFGS on top of a preconditioner."""

    precondition: Callable[[FloatArray], FloatArray]
    pairs: deque[tuple[FloatArray, FloatArray, float]] = field(
        default_factory=lambda: deque(maxlen=_MEMORY)
    )

    def update(self, step: FloatArray, change: FloatArray) -> None:
        product = float((step * change).sum())
        if product > 0.0:
            self.pairs.append((step, change, product))

    def __call__(self, gradient: FloatArray) -> FloatArray:
        rest, factors = gradient.copy(), []
        for step, change, product in reversed(self.pairs):
            factors.append(float((step * rest).sum()) / product)
            rest -= factors[-1] * change
        out = self.precondition(rest)
        if self.pairs:
            _, change, product = self.pairs[-1]
            out *= product / float((change * self.precondition(change)).sum())
        for (step, change, product), factor in zip(self.pairs, reversed(factors), strict=True):
            out += step * (factor - float((change * out).sum()) / product)
        return out


def solve_by_multipliers(
    problem: HeadProblem, start: Start, *, tol: float, max_iter: int
) -> HeadSolution:
    """Minimise the objective of `problem` until the relative duality gap is at most `tol`."""
    curvature = _curvature(problem, start)
    precondition = _preconditioner(problem, start, curvature)
    theta, logits, weights, tau = start.theta, start.logits, start.weights, _TAU
    dual, steps = -np.inf, 0
    while True:
        # a multiplier of exactly zero could never grow again
        weights = np.maximum(weights, 1e-12)
        smoothed = _Smoothed(problem, weights / weights.sum(), tau)
        point, used = _minimise(
            smoothed, smoothed.at(theta, logits), precondition, tol=tol, max_iter=max_iter - steps
        )
        theta, logits, weights, steps = point.theta, point.logits, point.weights, steps + used
        primal = problem.primal(point.group_losses, theta)
        dual = max(dual, problem.lower_bound(logits, weights))
        converged = primal - dual <= tol * primal
        if converged or steps >= max_iter or tau < 1e-12 * primal:  # sharper is only rounding
            return HeadSolution(
                theta,
                logits,
                weights,
                point.group_losses,
                primal,
                dual,
                steps,
                converged,
                curvature,
            )
        tau /= 2


def _minimise(
    smoothed: _Smoothed,
    point: _Point,
    precondition: Callable[[FloatArray], FloatArray],
    *,
    tol: float,
    max_iter: int,
) -> tuple[_Point, int]:
    """Run L-BFGS; return the last point and the number of steps."""
    problem, inverse = smoothed.problem, _InverseHessian(precondition)
    gradient = smoothed.gradient(point)
    counts = problem.penalty > 0
    for steps in range(max_iter + 1):
        scores = point.group_losses + problem.offset
        primal = float(scores.max()) + problem.penalty_of(point.theta)
        to_gain = float(scores.max() - point.weights @ scores)
        squares = (gradient**2).sum(axis=0)[counts]
        inner_gap = 0.5 * float((squares / problem.penalty[counts]).sum())
        if inner_gap <= max(0.3 * to_gain, 0.3 * tol * primal) or steps == max_iter:
            return point, steps
        direction = -inverse(gradient)
        found = _search(smoothed, point, direction, float((gradient * direction).sum()))
        if found is None:
            return point, steps
        next_gradient = smoothed.gradient(found)
        inverse.update(found.theta - point.theta, next_gradient - gradient)
        point, gradient = found, next_gradient
    raise AssertionError("unreachable")  # the loop returns at its last step


def _search(
    smoothed: _Smoothed, point: _Point, direction: FloatArray, slope: float
) -> _Point | None:
    """Find a step with enough decrease and a flatter slope (Wolfe), by bisection."""
    change = smoothed.problem.forward(direction)
    size, low, high = 1.0, 0.0, np.inf
    for _ in range(40):
        trial = smoothed.at(point.theta + size * direction, point.logits + size * change)
        if trial.value > point.value + 1e-4 * size * slope + 1e-15 * abs(point.value):
            high = size
        elif smoothed.slope(trial, direction, change) < 0.9 * slope:
            low = size
        else:
            return trial
        size = (low + high) / 2 if high < np.inf else 2 * low
    return None


def _curvature(problem: HeadProblem, start: Start) -> FloatArray | None:
    """Hessian of one contrast at the start, averaged over contrasts; None if it is too wide."""
    if start.curvature is not None or problem.shape[1] > _DENSE:
        return start.curvature
    return problem.gram(_row_curvature(problem, start))


def _preconditioner(
    problem: HeadProblem, start: Start, curvature: FloatArray | None
) -> Callable[[FloatArray], FloatArray]:
    """Solve with that Hessian and the penalty, or with their diagonal if it is too wide."""
    if curvature is not None:
        matrix = curvature + np.diag(problem.penalty)
        matrix += 1e-12 * np.trace(matrix) / len(matrix) * np.eye(len(matrix))
        factor: Any = scipy.linalg.cho_factor(matrix, lower=True, check_finite=False)
        solve: Any = scipy.linalg.cho_solve
        return lambda gradient: solve(factor, gradient.T, check_finite=False).T
    row_weights, d = _row_curvature(problem, start), problem.n_features
    diagonal = problem.penalty.copy()
    for part, block in problem.blocks():
        diagonal[:d] += row_weights[part] @ block**2
    if problem.bias != "none":
        diagonal[d] += row_weights.sum()
    diagonal = np.maximum(diagonal, 1e-12 * diagonal.max())
    return lambda gradient: gradient / diagonal


def _row_curvature(problem: HeadProblem, start: Start) -> FloatArray:
    probabilities, _ = problem.probabilities(start.logits)
    spread = (1.0 - (probabilities**2).sum(axis=0)) / problem.shape[0]
    return (problem.share @ start.weights) * spread
