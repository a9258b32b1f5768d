"""Solve a head problem: choose the method, shrink wide features, follow a path of penalties."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
import scipy.linalg

from septet.robust._head_problem import FloatArray, HeadProblem
from septet.robust._multipliers import solve_by_multipliers
from septet.robust._newton import solve_by_newton
from septet.robust._solution import HeadSolution, Start

Solver: TypeAlias = Literal["auto", "newton", "multipliers"]
SOLVERS = ("auto", "newton", "multipliers")

_NODES = 4
_METHODS = {"newton": solve_by_newton, "multipliers": solve_by_multipliers}


def solve(
    problem: HeadProblem,
    *,
    solver: Solver = "auto",
    tol: float = 1e-6,
    max_iter: int = 1000,
    start: Start | None = None,
) -> HeadSolution:
    """Minimise the objective of `problem` to a relative duality gap of `tol`."""
    return solve_path(
        problem, [problem.alpha], solver=solver, tol=tol, max_iter=max_iter, start=start
    )[0]


def solve_path(
    problem: HeadProblem,
    alphas: Sequence[float],
    *,
    solver: Solver = "auto",
    tol: float = 1e-6,
    max_iter: int = 1000,
    start: Start | None = None,
) -> list[HeadSolution]:
    """Solve for every L2 coefficient, from large to small, each from where the last ones point.

    The solutions come back in the order of `alphas`. `start` is for the largest coefficient.
    """
    reduced, basis = _reduce(problem)
    if start is not None and basis is not None:
        start = replace(start, theta=_map_features(start.theta, basis))
    method = _METHODS[choose_solver(reduced) if solver == "auto" else solver]
    start = start or Start.cold(reduced)
    solutions: dict[int, HeadSolution] = {}
    trail: list[tuple[float, HeadSolution]] = []
    for index in sorted(range(len(alphas)), key=lambda i: -alphas[i]):
        here = replace(reduced, alpha=alphas[index])
        found = method(here, _next_start(here, trail, start), tol=tol, max_iter=max_iter)
        trail = [*trail[-_NODES + 1 :], (float(np.log(alphas[index])), found)]
        solutions[index] = found
    return [
        s if basis is None else replace(s, theta=_map_features(s.theta, basis.T), curvature=None)
        for s in (solutions[i] for i in range(len(alphas)))
    ]


def choose_solver(problem: HeadProblem) -> Literal["newton", "multipliers"]:
    """Choose by an estimate of the work, in units of one multiply-add inside a matrix product.

    Newton forms about seven Hessians and factorises ten; the multipliers form one Hessian block
    and pass about a hundred times over the features, which is bound by memory: the factor of 60.
    """
    (k, width), n = problem.shape, len(problem.y)
    if k * width <= 512:
        return "newton"
    if k * width > 4096:
        return "multipliers"
    newton = 7 * n * width**2 * k * (k + 1) / 2 + 10 * (k * width) ** 3 / 3
    multipliers = n * width**2 + width**3 / 3 + 100 * 60 * n * width * k
    return "newton" if newton <= multipliers else "multipliers"


def _next_start(
    problem: HeadProblem, trail: list[tuple[float, HeadSolution]], start: Start
) -> Start:
    """Extrapolate the last solutions in log(alpha), if that is better than the last one alone.

    Logits are linear in the parameters, so the guess costs no pass over the features.
    """
    if not trail:
        return start
    last = trail[-1][1]
    plain = Start(last.theta, last.logits, last.weights, last.curvature)
    nodes = np.array([position for position, _ in trail])
    if len(np.unique(nodes)) < max(2, len(nodes)):
        return plain
    factors = _extrapolation(nodes, float(np.log(problem.alpha)))
    theta = np.einsum("i,i...", factors, np.array([s.theta for _, s in trail]))
    logits = np.einsum("i,i...", factors, np.array([s.logits for _, s in trail]))
    guess = replace(plain, theta=theta, logits=logits)
    return min(guess, plain, key=lambda candidate: _objective(problem, candidate))


def _extrapolation(nodes: FloatArray, at: float) -> FloatArray:
    """Weights of the values at the nodes in the polynomial through them, evaluated elsewhere."""
    factors = np.empty(len(nodes))
    for i, node in enumerate(nodes):
        others = np.delete(nodes, i)
        factors[i] = np.prod((at - others) / (node - others))
    return factors


def _objective(problem: HeadProblem, start: Start) -> float:
    _, losses = problem.probabilities(start.logits)
    return problem.primal(problem.group_losses(losses), start.theta)


def rotate(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Express n rows of d > n features in a basis of their span: (n, n) features, (d, n) basis."""
    factors: Any = scipy.linalg.qr(features.T, mode="economic", check_finite=False)
    basis, triangle = factors
    return np.ascontiguousarray(triangle.T), basis


def _reduce(problem: HeadProblem) -> tuple[HeadProblem, FloatArray | None]:
    """Rotate features that outnumber the rows: exact, since a head lies in the rows' span."""
    if problem.n_features <= len(problem.y):
        return problem, None
    features, basis = rotate(np.vstack([block for _, block in problem.blocks()]))
    return replace(problem, X=features, rows=None), basis


def _map_features(theta: FloatArray, basis: FloatArray) -> FloatArray:
    """Multiply the feature columns of parameters by `basis`; a bias column stays as it is."""
    d = len(basis)
    return np.hstack([theta[:, :d] @ basis, theta[:, d:]])
