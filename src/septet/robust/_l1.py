"""L1-penalised softmax regression with a certificate, for the heads of DFR."""

from dataclasses import dataclass

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from scipy.special import log_softmax, xlogy

from septet.robust._head_problem import FloatArray


@dataclass(frozen=True, eq=False)
class SparseHead:
    """Solution of an L1-penalised problem: one row for two classes, else one per class."""

    coef: FloatArray
    intercept: FloatArray
    primal: float
    dual: float
    n_iter: int

    @property
    def relative_gap(self) -> float:
        return (self.primal - self.dual) / self.primal


def fit_l1(
    X: FloatArray, y: NDArray[np.intp], n_classes: int, *, C: float, tol: float, max_iter: int
) -> SparseHead:
    """Minimise ``C * sum_i loss_i + sum |w|`` over weights w and a free bias.

    Bound-constrained L-BFGS on the positive and negative parts of the weights; the duality gap says
    when to stop. Two classes have a single row of weights, the logit of the second class.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Features.
    y : ndarray of shape (n,), intp
        Class codes, each of them present.
    n_classes : int
        K.
    C : float
        Inverse strength of the penalty, above zero.
    tol : float
        Relative duality gap to reach.
    max_iter : int
        Most iterations.
    """
    n_rows, d = (1 if n_classes == 2 else n_classes), X.shape[1]
    one_hot = np.eye(n_classes)[y][:, -n_rows:]
    x = np.zeros(2 * n_rows * d + n_rows)
    bounds = [(0.0, None)] * (2 * n_rows * d) + [(None, None)] * n_rows

    def split(x: FloatArray) -> tuple[FloatArray, FloatArray]:
        parts = x[: 2 * n_rows * d].reshape(2, n_rows, d)
        return parts[0] - parts[1], x[2 * n_rows * d :]

    def objective(x: FloatArray) -> tuple[float, FloatArray]:
        coef, bias = split(x)
        log_p = _log_probabilities(X @ coef.T + bias, n_classes)
        residual = C * (np.exp(log_p[:, -n_rows:]) - one_hot)
        pull = residual.T @ X
        loss = -C * log_p[np.arange(len(y)), y].sum()
        gradient = np.concatenate([(1 + pull).ravel(), (1 - pull).ravel(), residual.sum(axis=0)])
        return float(loss + x[: 2 * n_rows * d].sum()), gradient

    used, accuracy = 0, 1e-3
    while True:
        found = scipy.optimize.minimize(
            objective,
            x,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxcor": 20, "maxiter": max_iter - used, "gtol": accuracy, "ftol": 0.0},
        )
        x, used = found.x, used + int(found.nit)
        coef, bias = split(x)
        primal = float(objective(x)[0])
        head = SparseHead(coef, bias, primal, _lower_bound(X, y, coef, bias, C, n_classes), used)
        if head.relative_gap <= tol or used >= max_iter or accuracy < 1e-12:
            return head
        accuracy /= 10


def _log_probabilities(scores: FloatArray, n_classes: int) -> FloatArray:
    if n_classes == 2:
        return -np.logaddexp(0.0, np.hstack([scores, -scores]))
    return log_softmax(scores, axis=1)


def _lower_bound(
    X: FloatArray, y: NDArray[np.intp], coef: FloatArray, bias: FloatArray, C: float, n_classes: int
) -> float:
    """Value of the dual at the head's own probabilities, moved to where they are feasible."""
    n_rows = len(coef)
    p = np.exp(_log_probabilities(X @ coef.T + bias, n_classes))
    have, want = p.sum(axis=0), np.bincount(y, minlength=n_classes)
    kept = p * np.minimum(1.0, want / have)
    lacking = np.maximum(want - have, 0.0)
    if lacking.any():
        p = kept + np.outer((p - kept).sum(axis=1), lacking / lacking.sum())
    residual = p - np.eye(n_classes)[y]
    pull = C * float(np.abs(residual[:, -n_rows:].T @ X).max())
    p = np.eye(n_classes)[y] + residual / max(1.0, pull)
    return -C * float(xlogy(p, p).sum())
