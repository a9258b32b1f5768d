"""A head whose rows are shortened by a power of their length."""

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from septet._core import checks
from septet._core.random import RandomState, generator
from septet.robust._fitting import TrainingRows, check_solver, keys_array, weighted_problem
from septet.robust._fixed_head import LinearHead, full_rows, rows_for_head
from septet.robust._head_problem import FloatArray
from septet.robust._linear_head import LinearHeadBase
from septet.robust._selection import (
    SELECTIONS,
    CrossValidation,
    Selection,
    Split,
    best_setting,
    check_settings,
    make_splits,
    scores_by_group,
)
from septet.robust._solve import Solver, solve

_TAUS = tuple(np.linspace(0.0, 10.0, 101).round(10).tolist())


class TauNormClassifier(LinearHeadBase):
    r"""Linear head with rows scaled to :math:`w_k / \|w_k\|^\tau`, bias as it was.

    tau is chosen by the worst group. With a `head` from elsewhere nothing is trained and all rows
    given to `fit` select tau. Without one, a plain head is trained here; then tau is chosen on
    held-out rows.

    Parameters
    ----------
    head : LinearHead or None, default None
        Head to scale, such as the last layer of a network.
    taus : sequence of float, default 0.0, 0.1, ..., 10.0
        Exponents to choose from. 0 leaves the head alone.
    alpha : float, default 0.01
        L2 coefficient of the plain head trained if `head` is None.
    cv : int, float, splitter or iterable of (fit, select) index pairs, default 5
        As in `GroupDROClassifierCV`; used if `head` is None.
    selection : {"accuracy", "loss"}, default "accuracy"
        Which worst-group score decides; the other one breaks ties, then the smaller tau.
    cross_with_label : bool, default True
        Whether groups are combinations of the class and the labels given.
    unknown_group : object, default -1
        Label that means unknown, besides ``None``, NaN and ``NA``.
    solver, tol, max_iter
        As in `ERMClassifier`; used if `head` is None.
    random_state : int, numpy.random.Generator or None, default None
        Which rows are held out.

    Attributes
    ----------
    tau_ : float
        The exponent chosen.
    selection_accuracy_, selection_loss_ : ndarray of shape (n_taus, G)
        Scores of each group for each exponent; the chosen one's minimum is no estimate.
    coef_, intercept_, classes_, groups_, n_unknown_, n_iter_
        As in `GroupDROClassifier`.

    Notes
    -----
    The reference code scans tau from 1; this one from 0, so that the head itself is among the
    choices.

    References
    ----------
    B. Kang et al., "Decoupling Representation and Classifier for Long-Tailed Recognition", ICLR
    2020, section 4.2.

    Examples
    --------
    >>> head = LinearHead([[3.0, 0.0], [0.0, 1.0]], [0.0, 0.1])
    >>> X, y = [[1.0, 0.5], [0.4, 1.0], [1.0, 2.0]], [0, 1, 1]
    >>> scaled = TauNormClassifier(head, taus=[0.0, 1.0]).fit(X, y)
    >>> scaled.tau_, scaled.predict(X).tolist()
    (1.0, [0, 1, 1])
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True, "group_membership": True}

    def __init__(
        self,
        head: LinearHead | None = None,
        *,
        taus: Sequence[float] = _TAUS,
        alpha: float = 0.01,
        cv: CrossValidation = 5,
        selection: Selection = "accuracy",
        cross_with_label: bool = True,
        unknown_group: object = -1,
        solver: Solver = "auto",
        tol: float = 1e-6,
        max_iter: int = 1000,
        random_state: RandomState = None,
    ) -> None:
        self.head = head
        self.taus = taus
        self.alpha = alpha
        self.cv = cv
        self.selection = selection
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
        """Choose tau and scale the head.

        Parameters
        ----------
        X : array_like of shape (n, d)
            Features.
        y : array_like of shape (n,)
            Classes.
        groups : array_like of shape (n,) or (n, n_attributes), optional
            Group labels; the classes are the groups without them. Rows of unknown group train the
            plain head but select nothing.
        group_membership : array_like of shape (n, G), optional
            Multi-hot or soft memberships instead of labels.
        sample_weight : array_like of shape (n,), optional
            Non-negative weights.

        Returns
        -------
        TauNormClassifier
            Itself.
        """
        check_solver(self.alpha, self.solver, self.tol, self.max_iter)
        checks.choice("selection", self.selection, SELECTIONS)
        taus = check_settings("taus", self.taus)
        rows = self._check_rows(X, y, sample_weight, groups, group_membership)
        self.n_unknown_ = int((~rows.table.known).sum())
        self.groups_ = keys_array(rows.table)
        everything = np.arange(len(rows.y))
        if self.head is not None:
            head = full_rows(self.head.fit())
            rows = rows_for_head(self, rows, self.head)
            self.n_iter_ = 1
            self._score(rows, taus, [(head, (everything, everything))])
        else:
            splits = make_splits(self.cv, rows, generator(self.random_state))
            self._score(rows, taus, [(self._train(rows.only(fit)), (fit, s)) for fit, s in splits])
            head = self._train(rows)
        best = best_setting(self.selection_accuracy_, self.selection_loss_, self.selection, taus)
        self.tau_ = taus[best]
        self._set_head(*_scale(*head, self.tau_))
        return self

    def _train(self, rows: TrainingRows) -> tuple[FloatArray, FloatArray]:
        problem = weighted_problem(
            rows, rows.weight, alpha=self.alpha, bias="free", n_classes=len(self.classes_)
        )
        solution = solve(problem, solver=self.solver, tol=self.tol, max_iter=self.max_iter)
        self._set_solution(problem, solution)
        self._set_certificate(solution, self.tol)
        return full_rows(self)

    def _score(
        self,
        rows: TrainingRows,
        taus: list[float],
        heads: list[tuple[tuple[FloatArray, FloatArray], Split]],
    ) -> None:
        """Pool the scores of every tau over heads and the rows that each is judged on."""
        right = np.zeros((len(taus), len(rows.table.keys)))
        loss, total = np.zeros_like(right), np.zeros(right.shape[1])
        for head, (_, select) in heads:
            sums = [scores_by_group(*_scale(*head, tau), rows, select) for tau in taus]
            right += np.array([found[0] for found in sums])
            loss += np.array([found[1] for found in sums])
            total += sums[0][2]
        with np.errstate(invalid="ignore"):
            self.selection_accuracy_, self.selection_loss_ = right / total, loss / total


def _scale(coef: FloatArray, bias: FloatArray, tau: float) -> tuple[FloatArray, FloatArray]:
    """Divide each row by its length to the power tau; a row of zeros stays."""
    length = np.linalg.norm(coef, axis=1, keepdims=True)
    return coef / np.where(length > 0, length, 1.0) ** tau, bias
