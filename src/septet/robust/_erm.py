"""Plain and group-balanced linear heads: one weighted mean of the losses."""

from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from septet._core import checks
from septet._core.random import RandomState, generator
from septet.robust._fitting import (
    TrainingRows,
    bias_mode,
    check_solver,
    keys_array,
    share_of,
    used_groups,
    weighted_problem,
)
from septet.robust._head_problem import FloatArray
from septet.robust._linear_head import LinearHeadBase
from septet.robust._solve import Solver, solve


class ERMClassifier(LinearHeadBase):
    r"""Linear softmax head of least mean cross-entropy, with a certificate.

    .. math:: \min_{W, b} \frac{1}{n} \sum_i \ell(W x_i + b, y_i) + \frac{\alpha}{2} \|W\|_F^2

    The same problem as logistic regression (``C = 1 / (alpha n)``, and ``2 / (alpha n)`` for two
    classes in scikit-learn's parametrisation), in the scaling of the robust heads.

    Parameters
    ----------
    alpha : float, default 0.01
        L2 coefficient, above zero.
    fit_intercept : bool, default True
        Whether the head has a bias.
    penalize_bias : bool, default False
        Whether the penalty counts the bias.
    solver : {"auto", "newton", "multipliers"}, default "auto"
        Method; ``"auto"`` chooses by the work it takes.
    tol : float, default 1e-6
        Relative duality gap at which to stop.
    max_iter : int, default 1000
        Most steps.

    Attributes
    ----------
    coef_ : ndarray of shape (1, d) or (K, d), float64
        Weights; one row for two classes.
    intercept_ : ndarray of shape (1,) or (K,), float64
        Bias.
    classes_ : ndarray of shape (K,)
        Classes, sorted.
    primal_objective_, dual_objective_, duality_gap_ : float
        Objective, a proven lower bound of the optimum, and their difference.
    n_iter_ : int
        Steps taken.

    Raises
    ------
    ValueError
        In `fit`, if `alpha` is not above zero, X has NaN or infinite entries, y has one class,
        lengths differ or a weight is negative.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> head = ERMClassifier(alpha=0.1).fit(X, [0, 0, 1, 1])
    >>> head.predict([[0.5]]).tolist(), bool(head.duality_gap_ <= 1e-6)
    ([1], True)
    """

    def __init__(
        self,
        alpha: float = 0.01,
        *,
        fit_intercept: bool = True,
        penalize_bias: bool = False,
        solver: Solver = "auto",
        tol: float = 1e-6,
        max_iter: int = 1000,
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.penalize_bias = penalize_bias
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the head.

        Parameters
        ----------
        X : array_like of shape (n, d), float32 or float64
            Features; may be memory-mapped.
        y : array_like of shape (n,)
            Classes.
        sample_weight : array_like of shape (n,), optional
            Non-negative weights.

        Returns
        -------
        ERMClassifier
            Itself.
        """
        check_solver(self.alpha, self.solver, self.tol, self.max_iter)
        rows = self._check_rows(X, y, sample_weight)
        self._fit_weighted(rows, rows.weight)
        return self

    def _fit_weighted(self, rows: TrainingRows, row_weights: FloatArray) -> None:
        bias = bias_mode(fit_intercept=self.fit_intercept, penalize_bias=self.penalize_bias)
        problem = weighted_problem(
            rows, row_weights, alpha=self.alpha, bias=bias, n_classes=len(self.classes_)
        )
        solution = solve(problem, solver=self.solver, tol=self.tol, max_iter=self.max_iter)
        self._set_solution(problem, solution)
        self._set_certificate(solution, self.tol)


class GroupBalancedClassifier(ERMClassifier):
    r"""Linear softmax head that counts every group alike.

    .. math:: \min_{W, b} \frac{1}{G} \sum_g L_g(W, b) + \frac{\alpha}{2} \|W\|_F^2

    Parameters
    ----------
    alpha : float, default 0.01
        L2 coefficient, above zero.
    method : {"reweight", "subsample"}, default "reweight"
        Weigh the rows, or keep as many random rows of each group as the smallest has.
    fit_intercept : bool, default True
        Whether the head has a bias.
    penalize_bias : bool, default False
        Whether the penalty counts the bias.
    cross_with_label : bool, default True
        Whether groups are combinations of the class and the labels given.
    unknown_group : object, default -1
        Label that means unknown, besides ``None``, NaN and ``NA``.
    solver : {"auto", "newton", "multipliers"}, default "auto"
        Method; ``"auto"`` chooses by the work it takes.
    tol : float, default 1e-6
        Relative duality gap at which to stop.
    max_iter : int, default 1000
        Most steps.
    random_state : int, numpy.random.Generator or None, default None
        Which rows ``"subsample"`` keeps.

    Attributes
    ----------
    coef_, intercept_, classes_, primal_objective_, dual_objective_, duality_gap_, n_iter_
        As in `ERMClassifier`.
    groups_ : ndarray of shape (G,), object
        Group keys: (class, label, ...) where crossed, else labels.
    group_weights_ : ndarray of shape (G,)
        1 / G each.
    group_losses_ : ndarray of shape (G,)
        Mean loss of each group, in nats.
    n_unknown_ : int
        Rows of unknown group; they took no part.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0], [-0.5]])
    >>> head = GroupBalancedClassifier().fit(X, [0, 0, 1, 1, 1], groups=["a", "a", "a", "a", "b"])
    >>> head.groups_.tolist()
    [(0, 'a'), (1, 'a'), (1, 'b')]
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True, "group_membership": True}

    def __init__(
        self,
        alpha: float = 0.01,
        *,
        method: Literal["reweight", "subsample"] = "reweight",
        fit_intercept: bool = True,
        penalize_bias: bool = False,
        cross_with_label: bool = True,
        unknown_group: object = -1,
        solver: Solver = "auto",
        tol: float = 1e-6,
        max_iter: int = 1000,
        random_state: RandomState = None,
    ) -> None:
        super().__init__(
            alpha,
            fit_intercept=fit_intercept,
            penalize_bias=penalize_bias,
            solver=solver,
            tol=tol,
            max_iter=max_iter,
        )
        self.method = method
        self.cross_with_label = cross_with_label
        self.unknown_group = unknown_group
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        group_membership: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit the head.

        Parameters
        ----------
        X : array_like of shape (n, d), float32 or float64
            Features; may be memory-mapped.
        y : array_like of shape (n,)
            Classes.
        groups : array_like of shape (n,) or (n, n_attributes), optional
            Group labels; the classes are the groups without them.
        group_membership : array_like of shape (n, G), optional
            Multi-hot or soft memberships instead of labels.
        sample_weight : array_like of shape (n,), optional
            Non-negative weights; not with ``method="subsample"``.

        Returns
        -------
        GroupBalancedClassifier
            Itself.
        """
        check_solver(self.alpha, self.solver, self.tol, self.max_iter)
        checks.choice("method", self.method, ["reweight", "subsample"])
        rows = self._check_rows(X, y, sample_weight, groups, group_membership)
        used, table, totals = used_groups(rows, len(self.classes_))
        share = share_of(table, rows.weight[used], totals)
        row_weights = np.zeros(len(rows.y))
        if self.method == "reweight":
            row_weights[used] = share.mean(axis=1)
        else:
            if sample_weight is not None:
                raise ValueError(
                    'method="subsample" takes no sample_weight: it keeps or drops rows.'
                )
            kept = balanced_subset(table.codes, generator(self.random_state))
            row_weights[used[kept]] = 1.0
        self._fit_weighted(rows, row_weights)
        self.groups_ = keys_array(table)
        self.group_weights_ = np.full(len(totals), 1.0 / len(totals))
        losses = -self.predict_log_proba(rows.X[used])[np.arange(len(used)), rows.y[used]]
        self.group_losses_ = share.T @ losses
        self.n_unknown_ = int((~rows.table.known).sum())
        return self


def balanced_subset(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose as many random rows of each group as the smallest group has; sorted indices."""
    counts = np.bincount(codes)
    chosen = [
        rng.choice(np.flatnonzero(codes == g), counts.min(), replace=False)
        for g in range(len(counts))
    ]
    return np.sort(np.concatenate(chosen))
