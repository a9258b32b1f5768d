"""The worst-group linear head."""

from typing import ClassVar, Self

from numpy.typing import ArrayLike

from septet.robust._fitting import bias_mode, check_solver, group_problem
from septet.robust._linear_head import LinearHeadBase
from septet.robust._solve import Solver, solve


class GroupDROClassifier(LinearHeadBase):
    r"""Linear softmax head of least worst-group loss, solved to a certified optimum.

    .. math::
        \min_{W, b} \max_g \Big[ L_g(W, b) + \frac{C_g}{\sqrt{n_g}} \Big]
        + \frac{\alpha}{2} \|W\|_F^2

    with the mean cross-entropy :math:`L_g` of group g in nats. Every fit ends with a proven bound
    of its distance from the optimum, ``duality_gap_``.

    Parameters
    ----------
    alpha : float, default 0.01
        L2 coefficient, above zero.
    adjustment : float or array_like of shape (G,), default 0.0
        Generalisation-adjustment constant C, for all groups or per group in sorted order; it asks
        more of small groups. Not negative.
    fit_intercept : bool, default True
        Whether the head has a bias.
    penalize_bias : bool, default False
        Whether the penalty counts the bias.
    cross_with_label : bool, default True
        Whether groups are combinations of the class and the labels given.
    unknown_group : object, default -1
        Label that means unknown, besides ``None``, NaN and ``NA``.
    solver : {"auto", "newton", "multipliers"}, default "auto"
        ``"newton"`` is a primal-dual Newton method with a dense Hessian, ``"multipliers"`` runs
        exponential multipliers around L-BFGS; ``"auto"`` chooses by the work it takes.
    tol : float, default 1e-6
        Relative duality gap at which to stop.
    max_iter : int, default 1000
        Most Newton or L-BFGS steps.

    Attributes
    ----------
    coef_ : ndarray of shape (1, d) or (K, d), float64
        Weights; one row for two classes.
    intercept_ : ndarray of shape (1,) or (K,), float64
        Bias.
    classes_ : ndarray of shape (K,)
        Classes, sorted.
    groups_ : ndarray of shape (G,), object
        Group keys: (class, label, ...) where crossed, else labels, else classes.
    group_weights_ : ndarray of shape (G,)
        Adversarial weights q, on the simplex.
    group_losses_ : ndarray of shape (G,)
        Mean loss of each group in nats, without the adjustment.
    primal_objective_, dual_objective_, duality_gap_ : float
        Objective, a proven lower bound of the optimum, and their difference.
    n_iter_ : int
        Steps taken.
    n_unknown_ : int
        Rows of unknown group; they took no part.

    Raises
    ------
    ValueError
        In `fit`, if `alpha` is not above zero, `adjustment` is negative, X has NaN or infinite
        entries, y has one class, no row has a group, lengths differ or a weight is negative.

    Notes
    -----
    The reference implementation trains the head by stochastic gradients and multiplicative weights;
    this solves the same problem exactly and leaves the bias unpenalised. Features with more columns
    than rows are first reduced by an exact rotation. Arrays larger than scikit-learn's
    ``working_memory`` are read in blocks of rows, so a memory-mapped array is never loaded whole.

    References
    ----------
    S. Sagawa, P. W. Koh, T. B. Hashimoto, P. Liang, "Distributionally Robust Neural Networks", ICLR
    2020, section 2 and equation 5 (adjustment).
    T. H. Nguyen, H. R. Zhang, H. L. Nguyen, "Improved Group Robustness via Classifier Retraining on
    Independent Splits", TMLR 2023, algorithm 1 (phase 2).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0], [2.0], [3.0], [-1.0], [-2.0], [-3.0], [0.5], [-0.5]])
    >>> y = [1, 1, 1, 0, 0, 0, 0, 1]
    >>> place = [0, 0, 0, 0, 0, 0, 1, 1]
    >>> head = GroupDROClassifier(alpha=0.1, cross_with_label=False).fit(X, y, groups=place)
    >>> head.group_weights_.round(3).tolist()  # no head serves both groups better than chance
    [0.2, 0.8]
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True, "group_membership": True}

    def __init__(
        self,
        alpha: float = 0.01,
        *,
        adjustment: float | ArrayLike = 0.0,
        fit_intercept: bool = True,
        penalize_bias: bool = False,
        cross_with_label: bool = True,
        unknown_group: object = -1,
        solver: Solver = "auto",
        tol: float = 1e-6,
        max_iter: int = 1000,
    ) -> None:
        self.alpha = alpha
        self.adjustment = adjustment
        self.fit_intercept = fit_intercept
        self.penalize_bias = penalize_bias
        self.cross_with_label = cross_with_label
        self.unknown_group = unknown_group
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        group_membership: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit the head on the rows whose group is known.

        Parameters
        ----------
        X : array_like of shape (n, d), float32 or float64
            Features; may be memory-mapped.
        y : array_like of shape (n,)
            Classes.
        groups : array_like of shape (n,) or (n, n_attributes), optional
            Group labels, with unknown ones allowed; the classes are the groups without them.
        group_membership : array_like of shape (n, G), optional
            Multi-hot or soft memberships instead of labels; a row of zeros is unknown.
        sample_weight : array_like of shape (n,), optional
            Non-negative weights.

        Returns
        -------
        GroupDROClassifier
            Itself.
        """
        check_solver(self.alpha, self.solver, self.tol, self.max_iter)
        rows = self._check_rows(X, y, sample_weight, groups, group_membership)
        problem, table = group_problem(
            rows,
            alpha=self.alpha,
            bias=bias_mode(fit_intercept=self.fit_intercept, penalize_bias=self.penalize_bias),
            n_classes=len(self.classes_),
            adjustment=self.adjustment,
        )
        solution = solve(problem, solver=self.solver, tol=self.tol, max_iter=self.max_iter)
        self._set_group_solution(problem, table, solution)
        self.n_unknown_ = int((~rows.table.known).sum())
        self._set_certificate(solution, self.tol)
        return self
