"""What a head solver starts from and what it returns."""

from dataclasses import dataclass

import numpy as np

from septet.robust._head_problem import FloatArray, HeadProblem


@dataclass(frozen=True, eq=False)
class HeadSolution:
    """A head with the certificate of its sub-optimality.

    Attributes
    ----------
    theta : ndarray of shape (K - 1, width)
        Head in contrast coordinates; the last column is the bias if there is one.
    logits : ndarray of shape (K - 1, n)
        Its contrast logits of the rows it was fitted on.
    weights : ndarray of shape (G,)
        Adversarial group weights.
    group_losses : ndarray of shape (G,)
        Mean loss of each group, without offsets.
    primal, dual : float
        Objective of the head, and the best proven lower bound of the optimum.
    n_iter : int
        Steps taken.
    converged : bool
        Whether ``primal - dual <= tol * primal``.
    curvature : ndarray or None
        Hessian (without the penalty) that the last Newton step used; the next solve may start on
        it.
    """

    theta: FloatArray
    logits: FloatArray
    weights: FloatArray
    group_losses: FloatArray
    primal: float
    dual: float
    n_iter: int
    converged: bool
    curvature: FloatArray | None = None

    @property
    def gap(self) -> float:
        """Proven bound of ``primal`` minus the optimum."""
        return self.primal - self.dual


@dataclass(frozen=True, eq=False)
class Start:
    """Where a solver begins: parameters, their logits, group weights, maybe a Hessian."""

    theta: FloatArray
    logits: FloatArray
    weights: FloatArray
    curvature: FloatArray | None = None

    @classmethod
    def cold(cls, problem: HeadProblem) -> "Start":
        """Begin at the zero head with equal group weights."""
        weights = np.full(problem.n_groups, 1.0 / problem.n_groups)
        return cls.at(problem, np.zeros(problem.shape), weights)

    @classmethod
    def at(cls, problem: HeadProblem, theta: FloatArray, weights: FloatArray) -> "Start":
        """Begin at given parameters and group weights."""
        return cls(theta, problem.logits(theta), weights)
