"""The worst-group head with its penalty chosen on held-out rows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from septet._core import checks
from septet._core.random import RandomState, generator
from septet.robust._fitting import (
    TrainingRows,
    bias_mode,
    check_solver,
    group_problem,
    reduce_rows,
    select_rows,
)
from septet.robust._groups import GroupTable
from septet.robust._head_problem import HeadProblem
from septet.robust._linear_head import LinearHeadBase
from septet.robust._selection import (
    SELECTIONS,
    CrossValidation,
    Selection,
    Split,
    best_setting,
    check_settings,
    make_splits,
)
from septet.robust._solution import HeadSolution
from septet.robust._solve import Solver, solve, solve_path


class GroupDROClassifierCV(LinearHeadBase):
    """Worst-group linear head that chooses its penalty by the worst group of held-out rows.

    Each split fits the whole path of penalties, every fit starting from where the larger penalties
    point. Held-out predictions of all splits are pooled per group before the worst one is taken, so
    that a small group is not judged by a handful of rows at a time. A group with a single row is
    always fitted on and never validated; a warning names it.

    Parameters
    ----------
    alphas : sequence of float, default (1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
        L2 coefficients to choose from, above zero.
    cv : int, float, splitter or iterable of (fit, select) index pairs, default 5
        Number of folds, stratified by group; or the fraction of each group that is held out once;
        or given splits.
    selection : {"accuracy", "loss"}, default "accuracy"
        Which worst-group score decides; the other one breaks ties, then the larger penalty.
    refit : bool, default True
        Whether the head is fitted again on all rows. Without it (one split only) the head stays the
        one that was fitted on the rows that were not held out.
    adjustment, fit_intercept, penalize_bias, cross_with_label, unknown_group, solver, tol, max_iter
        As in `GroupDROClassifier`.
    random_state : int, numpy.random.Generator or None, default None
        Which rows are held out.

    Attributes
    ----------
    alpha_ : float
        The penalty chosen.
    selection_accuracy_, selection_loss_ : ndarray of shape (n_alphas, G)
        Held-out accuracy and mean loss in nats of each group, for each penalty; NaN for a group
        that was never held out. The chosen row's minimum selected the model: it is no estimate of
        the accuracy to expect.
    coef_, intercept_, classes_, groups_, group_weights_, group_losses_, n_iter_, n_unknown_
        As in `GroupDROClassifier`, of the final head.
    primal_objective_, dual_objective_, duality_gap_
        As in `GroupDROClassifier`, of the final head.

    Raises
    ------
    ValueError
        In `fit`, as `GroupDROClassifier`; also if nothing can be held out, or if `refit` is off
        with several splits.

    References
    ----------
    T. H. Nguyen, H. R. Zhang, H. L. Nguyen, "Improved Group Robustness via Classifier Retraining on
    Independent Splits", TMLR 2023, algorithm 1 (selection by worst-group accuracy).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y, place = np.repeat([0, 1], 40), np.tile([0, 1], 40)
    >>> X = rng.normal(size=(80, 3)) + np.column_stack([y, 2 * place, y * 0])
    >>> head = GroupDROClassifierCV(alphas=[1.0, 0.01], random_state=0).fit(X, y, groups=place)
    >>> head.alpha_ in (1.0, 0.01), head.selection_accuracy_.shape
    (True, (2, 4))
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True, "group_membership": True}

    def __init__(
        self,
        alphas: Sequence[float] = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001),
        *,
        cv: CrossValidation = 5,
        selection: Selection = "accuracy",
        refit: bool = True,
        adjustment: float | ArrayLike = 0.0,
        fit_intercept: bool = True,
        penalize_bias: bool = False,
        cross_with_label: bool = True,
        unknown_group: object = -1,
        solver: Solver = "auto",
        tol: float = 1e-6,
        max_iter: int = 1000,
        random_state: RandomState = None,
    ) -> None:
        self.alphas = alphas
        self.cv = cv
        self.selection = selection
        self.refit = refit
        self.adjustment = adjustment
        self.fit_intercept = fit_intercept
        self.penalize_bias = penalize_bias
        self.cross_with_label = cross_with_label
        self.unknown_group = unknown_group
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
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
        """Choose the penalty, then fit the head.

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
            Non-negative weights, in fitting and in scoring.

        Returns
        -------
        GroupDROClassifierCV
            Itself.
        """
        alphas = check_settings("alphas", self.alphas)
        check_solver(min(alphas), self.solver, self.tol, self.max_iter)
        checks.choice("selection", self.selection, SELECTIONS)
        rows = self._check_rows(X, y, sample_weight, groups, group_membership)
        splits = make_splits(self.cv, rows, generator(self.random_state))
        if not self.refit and len(splits) != 1:
            raise ValueError(f"refit=False needs a single split; cv gives {len(splits)}.")
        self.n_unknown_ = int((~rows.table.known).sum())
        rows, splits, basis = reduce_rows(rows, splits)
        kept = self._score(rows, splits, alphas)
        best = best_setting(
            self.selection_accuracy_,
            self.selection_loss_,
            self.selection,
            [-alpha for alpha in alphas],
        )
        self.alpha_ = alphas[best]
        if self.refit:
            problem, table = self._problem(rows, self.alpha_)
            solution = solve(problem, solver=self.solver, tol=self.tol, max_iter=self.max_iter)
        else:
            problem, table, solution = kept[best]
        self._set_group_solution(problem, table, solution, basis)
        self._set_certificate(solution, self.tol)
        return self

    def _problem(self, rows: TrainingRows, alpha: float) -> tuple[HeadProblem, GroupTable]:
        return group_problem(
            rows,
            alpha=alpha,
            bias=bias_mode(fit_intercept=self.fit_intercept, penalize_bias=self.penalize_bias),
            n_classes=len(self.classes_),
            adjustment=self.adjustment,
        )

    def _score(
        self, rows: TrainingRows, splits: list[Split], alphas: list[float]
    ) -> list[tuple[HeadProblem, GroupTable, HeadSolution]]:
        """Fit the path on every split, store the held-out scores, return the last split's path."""
        right = np.zeros((len(alphas), len(rows.table.keys)))
        loss, total = np.zeros_like(right), np.zeros(right.shape[1])
        path: list[tuple[HeadProblem, GroupTable, HeadSolution]] = []
        for fit, select in splits:
            problem, table = self._problem(rows.only(fit), alphas[0])
            solutions = solve_path(
                problem, alphas, solver=self.solver, tol=self.tol, max_iter=self.max_iter
            )
            path = [(problem, table, solution) for solution in solutions]
            X, taken = select_rows(rows.X, select)
            held_out = replace(problem, X=X, y=rows.y[select], rows=taken)
            heads = [held_out.evaluate(solution.theta) for solution in solutions]
            sums = rows.table.membership[select].T * rows.weight[select]
            right += np.array([sums @ correct for correct, _ in heads])
            loss += np.array([sums @ losses for _, losses in heads])
            total += sums.sum(axis=1)
        with np.errstate(invalid="ignore"):
            self.selection_accuracy_, self.selection_loss_ = right / total, loss / total
        return path
