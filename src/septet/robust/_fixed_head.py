"""A linear head that was trained elsewhere, as a fitted classifier."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from septet._core import checks
from septet.robust._fitting import TrainingRows
from septet.robust._linear_head import LinearHeadBase


class LinearHead(LinearHeadBase):
    """Linear softmax head with given weights, such as the last layer of a network.

    Parameters
    ----------
    coef : array_like of shape (K, d)
        Weights, one row per class (also for two classes).
    intercept : array_like of shape (K,), optional
        Bias; zero if left out.
    classes : array_like of shape (K,), optional
        Classes in the order of the rows, sorted; 0 .. K - 1 if left out.

    Attributes
    ----------
    coef_ : ndarray of shape (1, d) or (K, d), float64
        Weights in scikit-learn's form.
    intercept_ : ndarray of shape (1,) or (K,), float64
        Bias in the same form.
    classes_ : ndarray of shape (K,)
        Classes.
    rows_ : ndarray of shape (K, d), float64
        The weights as given.
    bias_ : ndarray of shape (K,), float64
        The bias as given.

    Raises
    ------
    ValueError
        In `fit`, if the shapes do not fit or an entry is not finite.

    Examples
    --------
    >>> head = LinearHead([[-1.0, 0.0], [1.0, 0.0]], classes=["cat", "dog"]).fit()
    >>> head.predict([[3.0, 1.0]]).tolist()
    ['dog']
    """

    def __init__(
        self,
        coef: ArrayLike,
        intercept: ArrayLike | None = None,
        classes: ArrayLike | None = None,
    ) -> None:
        self.coef = coef
        self.intercept = intercept
        self.classes = classes

    def fit(self, X: ArrayLike | None = None, y: ArrayLike | None = None) -> Self:
        """Check the weights; X and y are there for pipelines only and are not looked at."""
        self.rows_ = checks.matrix("coef", self.coef)
        n_classes = len(self.rows_)
        if n_classes < 2:
            raise ValueError(f"coef must have one row per class, at least two; got {n_classes}.")
        bias = np.zeros(n_classes) if self.intercept is None else self.intercept
        self.bias_ = checks.vector("intercept", bias, size=n_classes)
        names = np.arange(n_classes) if self.classes is None else np.asarray(self.classes)
        if names.shape != (n_classes,) or not np.array_equal(names, np.unique(names)):
            raise ValueError(
                f"classes must be {n_classes} different values, sorted; got {names!r}."
            )
        self.classes_ = names
        self.n_features_in_ = self.rows_.shape[1]
        self._set_head(self.rows_, self.bias_)
        return self


def full_rows(head: LinearHeadBase) -> tuple[np.ndarray, np.ndarray]:
    """Weights (K, d) and bias (K,) of a fitted head, one row per class also for two classes."""
    if isinstance(head, LinearHead):
        return head.rows_, head.bias_
    if len(head.classes_) > 2:
        return head.coef_, head.intercept_
    half, bias = head.coef_[0] / 2, head.intercept_[0] / 2
    return np.stack([-half, half]), np.array([-bias, bias])


def rescale(head: LinearHead, center: np.ndarray, scale: np.ndarray) -> LinearHead:
    """Return the head that does to standardised features what `head` does to the features."""
    rows, bias = full_rows(head)
    return LinearHead(rows * scale, bias + rows @ center, head.classes_).fit()


def unscale(
    rows: np.ndarray, bias: np.ndarray, center: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turn a head for standardised features into one for the features as they are."""
    rows = rows / scale
    return rows, bias - rows @ center


def fit_head(
    classifier: Any,
    features: np.ndarray,
    y: ArrayLike,
    given: Mapping[str, Any],
    *,
    present: LinearHead | None = None,
) -> Any:
    """Clone and fit a classifier, handing it groups and the present head if it has use for them."""
    fitted = clone(classifier)
    known = fitted.get_params()
    for name in ("head", "estimator__head"):  # its own, or that of what it searches
        if present is not None and name in known and known[name] is None:
            fitted.set_params(**{name: present})
    passed = {k: v for k, v in given.items() if v is not None and has_fit_parameter(fitted, k)}
    return fitted.fit(features, y, **passed)


def rows_for_head(estimator: LinearHeadBase, rows: TrainingRows, head: LinearHead) -> TrainingRows:
    """Recode the classes of `rows` as the head's and give the head's classes to the estimator."""
    found = estimator.classes_
    strange = np.setdiff1d(found, head.classes_)
    if strange.size:
        raise ValueError(
            f"the head does not know {strange.size} of the classes of y, first {strange[0]}."
        )
    if rows.X.shape[1] != head.n_features_in_:
        raise ValueError(f"X has {rows.X.shape[1]} features; the head takes {head.n_features_in_}.")
    estimator.classes_ = head.classes_
    return replace(rows, y=np.searchsorted(head.classes_, found)[rows.y])
