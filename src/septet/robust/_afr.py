"""Automatic feature reweighting: rows that the plain head gets wrong count more."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from septet._core import checks
from septet._core.random import RandomState, generator
from septet.robust._fitting import TrainingRows, check_solver, weighted_problem
from septet.robust._fixed_head import LinearHead, full_rows, rows_for_head
from septet.robust._head_problem import FloatArray, contrasts
from septet.robust._linear_head import LinearHeadBase
from septet.robust._selection import stratified_holdout
from septet.robust._solve import Solver, solve


class AFRClassifier(LinearHeadBase):
    r"""Linear head that stays near a plain one and serves the rows which that one gets wrong.

    .. math::
        \min_{W, b} \sum_i \mu_i\, \ell(W x_i + b, y_i) + \frac{\alpha}{2} \|W - W_0\|_F^2,
        \qquad \mu_i \propto \frac{e^{-\gamma \hat p_i}}{n_{y_i}}

    with the plain head's probability :math:`\hat p_i` of the true class. Needs no group labels to
    train; choose `gamma` and `alpha` by the worst group of a validation set.

    Parameters
    ----------
    head : LinearHead or None, default None
        The plain head, such as the last layer of a network; all rows given to `fit` then retrain it
        and should be rows it was not trained on. Without one, a plain head is trained here first,
        on the rows that are not held out.
    gamma : float, default 4.0
        How much more wrong rows count. Not negative.
    alpha : float, default 0.01
        L2 coefficient of the distance to the plain head, above zero.
    holdout : float, default 0.2
        Fraction of each class kept for retraining; used if `head` is None.
    head_alpha : float, default 0.01
        L2 coefficient of the plain head trained here.
    solver : {"auto", "newton", "multipliers"}, default "auto"
        Method; ``"auto"`` chooses by the work it takes.
    tol : float, default 1e-6
        Relative duality gap at which to stop.
    max_iter : int, default 1000
        Most steps.
    random_state : int, numpy.random.Generator or None, default None
        Which rows are held out.

    Attributes
    ----------
    coef_, intercept_, classes_, primal_objective_, dual_objective_, duality_gap_, n_iter_
        As in `ERMClassifier`, of the reweighted problem.
    n_retrained_ : int
        Rows that retrained the head.

    Notes
    -----
    `alpha` is twice the coefficient of the paper. There is no `sample_weight`: splitting rows at
    random is not splitting their weight.

    References
    ----------
    S. Qiu, A. Potapczynski, P. Izmailov, A. G. Wilson, "Simple and Fast Group Robustness by
    Automatic Feature Reweighting", ICML 2023, equations 2 and 3.

    Examples
    --------
    >>> head = LinearHead([[-1.0, 0.0], [1.0, 0.0]])
    >>> X, y = [[1.0, 0.0], [-1.0, 0.0], [-1.0, 3.0]], [1, 0, 1]
    >>> head.fit().predict(X).tolist(), AFRClassifier(head).fit(X, y).predict(X).tolist()
    ([1, 0, 0], [1, 0, 1])
    """

    def __init__(
        self,
        head: LinearHead | None = None,
        *,
        gamma: float = 4.0,
        alpha: float = 0.01,
        holdout: float = 0.2,
        head_alpha: float = 0.01,
        solver: Solver = "auto",
        tol: float = 1e-6,
        max_iter: int = 1000,
        random_state: RandomState = None,
    ) -> None:
        self.head = head
        self.gamma = gamma
        self.alpha = alpha
        self.holdout = holdout
        self.head_alpha = head_alpha
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Reweight the rows and retrain the head.

        Parameters
        ----------
        X : array_like of shape (n, d)
            Features.
        y : array_like of shape (n,)
            Classes.

        Returns
        -------
        AFRClassifier
            Itself.
        """
        check_solver(self.alpha, self.solver, self.tol, self.max_iter)
        checks.number("gamma", self.gamma, low=0)
        rows = self._check_rows(X, y)
        if self.head is not None:
            coef, bias = full_rows(self.head.fit())
            rows = rows_for_head(self, rows, self.head)
            retrain = np.ones(len(rows.y), dtype=bool)
        else:
            checks.number("head_alpha", self.head_alpha, above=0)
            fraction = checks.number("holdout", self.holdout, above=0, below=1)
            retrain = stratified_holdout(rows.y, fraction, generator(self.random_state))
            if not retrain.any():
                raise ValueError("no class has two rows: nothing is left to retrain the head on.")
            coef, bias = self._train_plain(rows, ~retrain)
        self.n_retrained_ = int(retrain.sum())
        self._retrain(rows, retrain, coef, bias)
        return self

    def _train_plain(self, rows: TrainingRows, mask: np.ndarray) -> tuple[FloatArray, FloatArray]:
        weights = mask.astype(np.float64)
        problem = weighted_problem(
            rows, weights, alpha=self.head_alpha, bias="free", n_classes=len(self.classes_)
        )
        solution = solve(problem, solver=self.solver, tol=self.tol, max_iter=self.max_iter)
        self._set_solution(problem, solution)
        return full_rows(self)

    def _retrain(
        self, rows: TrainingRows, mask: np.ndarray, coef: FloatArray, bias: FloatArray
    ) -> None:
        n_classes = len(self.classes_)
        u = contrasts(n_classes)
        index = np.flatnonzero(mask)
        logits = np.zeros((n_classes - 1, len(rows.y)))
        logits[:, index] = u.T @ (np.asarray(rows.X[index], np.float64) @ coef.T + bias).T
        plain = weighted_problem(
            rows, mask.astype(np.float64), alpha=self.alpha, bias="free", n_classes=n_classes
        )
        p, _ = plain.probabilities(logits[:, index])
        own = p[rows.y[index], np.arange(len(index))]
        counts = np.bincount(rows.y[index], minlength=n_classes)
        weights = np.zeros(len(rows.y))
        weights[index] = np.exp(-self.gamma * (own - own.min())) / counts[rows.y[index]]
        problem = weighted_problem(
            rows, weights, alpha=self.alpha, bias="free", n_classes=n_classes, base=logits
        )
        solution = solve(problem, solver=self.solver, tol=self.tol, max_iter=self.max_iter)
        change = u @ solution.theta
        self._set_head(coef + change[:, :-1], bias + change[:, -1])
        self._set_certificate(solution, self.tol)
