"""A scikit-learn estimator that shortlists exactly k with the scores of any classifier."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils import get_tags  # pyrefly: ignore[missing-module-attribute]
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from septet.cohort._draw import draw
from septet.cohort._marginals import Marginals
from septet.cohort._selection import selection_probabilities


def _has(method: str) -> Any:
    def check(self: "FairCohortSelector") -> bool:
        getattr(self.estimator_ if hasattr(self, "estimator_") else self._inner(), method)
        return True

    return available_if(check)


class FairCohortSelector(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Classify as usual, and choose exactly k of a pool fairly by the classifier's probabilities.

    Parameters
    ----------
    estimator : classifier with ``predict_proba``, optional
        What scores the candidates; default :class:`sklearn.linear_model.LogisticRegression`.
    k : int, default 1
        Cohort size.
    objective : {"linear", "ratio"}, default "linear"
        See `selection_probabilities`.
    accept : object, optional
        Class whose probability is the score; the last of ``classes_`` by default.
    seed : str or int, default 0
        Public seed of the draw.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier.
    classes_ : ndarray of shape (n_classes,)
        Its classes.
    n_features_in_, feature_names_in_
        As the classifier has them.

    Notes
    -----
    `select` chooses among the rows that it is given, so its answer for a row depends on the others,
    as every choice of exactly k must; `predict` and `predict_proba` are the classifier's own.

    References
    ----------
    K. Bairaktari et al.: Fair and Useful Cohort Selection. TMLR 2023.

    Examples
    --------
    >>> X, y = np.arange(20.0).reshape(-1, 1), np.arange(20) > 9
    >>> selector = FairCohortSelector(k=3).fit(X, y)
    >>> int(selector.select(X).sum())
    3
    >>> round(float(np.sum(selector.selection_probabilities(X))), 9)
    3.0
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        k: int = 1,
        objective: str = "linear",
        accept: Any = None,
        seed: str | int = 0,
    ) -> None:
        self.estimator = estimator
        self.k = k
        self.objective = objective
        self.accept = accept
        self.seed = seed

    def fit(self, X: ArrayLike, y: ArrayLike, **fit_params: Any) -> Self:
        """Fit the classifier on X of shape (n_samples, n_features) and labels y."""
        self.estimator_ = clone(self._inner()).fit(X, y, **fit_params)
        self.classes_ = self.estimator_.classes_
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        return self

    def scores(self, X: ArrayLike) -> NDArray[np.float64]:
        """Acceptance probability of each row alone, shape (n_samples,).

        Raises
        ------
        ValueError
            If `accept` is no class.
        """
        check_is_fitted(self)
        accept = self.classes_[-1] if self.accept is None else self.accept
        (column,) = np.nonzero(self.classes_ == accept)
        if column.size != 1:
            raise ValueError(f"accept must be one of {self.classes_.tolist()}; got {accept!r}.")
        return np.asarray(self.estimator_.predict_proba(X), dtype=np.float64)[:, column[0]]

    def selection_probabilities(self, X: ArrayLike) -> Marginals:
        """Chance of each row of the pool X to be among the k."""
        return selection_probabilities(self.scores(X), self.k, objective=self.objective)

    def select(self, X: ArrayLike) -> NDArray[np.bool_]:
        """Draw the cohort from the pool X: a mask of shape (n_samples,) with exactly k true."""
        p = self.selection_probabilities(X)
        mask = np.zeros(len(p), dtype=bool)
        mask[draw(p, seed=self.seed)] = True
        return mask

    @_has("predict")
    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Classes that the classifier predicts, shape (n_samples,)."""
        check_is_fitted(self)
        return self.estimator_.predict(X)

    @_has("predict_proba")
    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probabilities that the classifier predicts, shape (n_samples, n_classes)."""
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    @_has("decision_function")
    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Decision values of the classifier."""
        check_is_fitted(self)
        return self.estimator_.decision_function(X)

    def _inner(self) -> Any:
        # not by truth: an ensemble counts its members, and has none before it is fitted
        return LogisticRegression() if self.estimator is None else self.estimator

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # pyrefly: ignore[missing-attribute]
        inner = get_tags(self._inner())
        tags.input_tags = inner.input_tags
        tags.classifier_tags = inner.classifier_tags
        return tags
