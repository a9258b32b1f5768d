"""What all linear heads share: prediction, the checks of `fit` and the fitted attributes."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,  # pyrefly: ignore[missing-module-attribute]
    check_is_fitted,
    validate_data,  # pyrefly: ignore[missing-module-attribute]
)

from septet.robust._fitting import TrainingRows, check_finite, drop_empty, keys_array
from septet.robust._groups import GroupTable, read_groups
from septet.robust._head_problem import FloatArray, HeadProblem
from septet.robust._solution import HeadSolution


class LinearHeadBase(ClassifierMixin, BaseEstimator):
    """Prediction of a linear head; the subclasses fit it."""

    classes_: NDArray[Any]
    coef_: FloatArray
    intercept_: FloatArray

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return logits: of the second class over the first for two classes, else one per class.

        Parameters
        ----------
        X : array_like of shape (n, d)
            Features.

        Returns
        -------
        ndarray of shape (n,) or (n, K), float64
            Logits.
        """
        check_is_fitted(self)
        features: NDArray[Any] = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        scores = np.empty((len(features), len(self.intercept_)))
        rows = max(1, (1 << 21) // max(1, features.shape[1]))
        for start in range(0, len(features), rows):
            part = slice(start, start + rows)
            scores[part] = features[part] @ self.coef_.T + self.intercept_
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the class with the largest logit for each row of X (n, d)."""
        scores = self.decision_function(X)
        index = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[index]

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Return softmax probabilities of shape (n, K) for the rows of X (n, d)."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return np.column_stack([expit(-scores), expit(scores)])
        return softmax(scores, axis=1)

    def predict_log_proba(self, X: ArrayLike) -> FloatArray:
        """Return logarithms of the probabilities, without underflow, for the rows of X (n, d)."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return -np.logaddexp(0.0, np.column_stack([scores, -scores]))
        return log_softmax(scores, axis=1)

    def _set_solution(
        self, problem: HeadProblem, solution: HeadSolution, basis: FloatArray | None = None
    ) -> None:
        """Store a solution's head in scikit-learn's form, in the features before a reduction."""
        full = problem.contrasts @ solution.theta
        d = problem.n_features
        coef = full[:, :d] if basis is None else full[:, :d] @ basis.T
        self._set_head(coef, full[:, d] if problem.bias != "none" else np.zeros(len(full)))

    def _set_group_solution(
        self,
        problem: HeadProblem,
        table: GroupTable,
        solution: HeadSolution,
        basis: FloatArray | None = None,
    ) -> None:
        self._set_solution(problem, solution, basis)
        self.groups_ = keys_array(table)
        self.group_weights_ = solution.weights
        self.group_losses_ = solution.group_losses

    def _set_head(self, coef: FloatArray, intercept: FloatArray) -> None:
        """Store a head given with one row per class in scikit-learn's form."""
        if len(self.classes_) == 2:
            coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
        self.coef_, self.intercept_ = coef, intercept

    def _check_rows(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        membership: ArrayLike | None = None,
    ) -> TrainingRows:
        """Check the input of `fit`, read the groups and set `classes_`."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], ensure_all_finite=False)
        check_finite(X)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y has one class only ({self.classes_[0]!r}); a classifier needs at least two."
            )
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        if (negative := int((weight < 0).sum())) > 0:
            raise ValueError(f"sample_weight must not be negative; {negative} entries are.")
        params = self.get_params(deep=False)
        table = read_groups(
            groups,
            y,
            membership=membership,
            cross_with_label=params.get("cross_with_label", True),
            unknown_group=params.get("unknown_group", -1),
        )
        return TrainingRows(X, codes.astype(np.intp), weight, drop_empty(table, weight))

    def _set_certificate(self, solution: HeadSolution, tol: float) -> None:
        """Store objective, bound and gap; warn if the gap is above `tol`."""
        self.primal_objective_ = solution.primal
        self.dual_objective_ = solution.dual
        self.duality_gap_ = solution.gap
        self.n_iter_ = max(1, solution.n_iter)
        if not solution.converged:
            warnings.warn(
                f"{type(self).__name__} stopped after {solution.n_iter} steps with a certified "
                f"relative duality gap of {solution.gap / solution.primal:.2e} (tol={tol:g}): the "
                f"objective {solution.primal:.6g} is within {solution.gap:.2e} of the optimum. "
                "Raise max_iter or alpha, or standardise the features.",
                ConvergenceWarning,
                stacklevel=3,
            )
