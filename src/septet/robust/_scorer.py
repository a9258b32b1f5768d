"""Worst-group accuracy as a scikit-learn scorer that asks for groups by itself."""

from typing import Any, Protocol

from numpy.typing import ArrayLike
from sklearn.utils.metadata_routing import MetadataRequest

from septet.robust._report import worst_group_accuracy


class _Predictor(Protocol):
    def predict(self, X: ArrayLike) -> Any: ...


class WorstGroupScorer:
    """Scorer for grid searches and cross-validation: the accuracy of the worst group.

    With scikit-learn's metadata routing on, `groups` given to `fit` of a search reaches it without
    further requests. Without groups the classes are the groups.

    Parameters
    ----------
    cross_with_label : bool, default True
        Whether groups are combinations of the class and the labels given.
    unknown_group : object, default -1
        Label that means unknown, besides ``None``, NaN and ``NA``.

    Examples
    --------
    >>> import numpy as np, sklearn
    >>> from sklearn.model_selection import GridSearchCV
    >>> from septet.robust import GroupDROClassifier, WorstGroupScorer
    >>> y, place = np.repeat([0, 1], 40), np.tile([0, 1], 40)
    >>> X = np.random.default_rng(0).normal(size=(80, 3)) + np.column_stack([y, place, y * 0])
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     search = GridSearchCV(
    ...         GroupDROClassifier(), {"alpha": [1.0, 0.01]}, scoring=WorstGroupScorer()
    ...     ).fit(X, y, groups=place)
    >>> bool(0.0 <= search.best_score_ <= 1.0)
    True
    """

    def __init__(self, *, cross_with_label: bool = True, unknown_group: object = -1) -> None:
        self.cross_with_label = cross_with_label
        self.unknown_group = unknown_group

    def __repr__(self) -> str:
        return (
            f"WorstGroupScorer(cross_with_label={self.cross_with_label!r}, "
            f"unknown_group={self.unknown_group!r})"
        )

    def get_metadata_routing(self) -> MetadataRequest:
        """Ask for `groups` and `group_membership` in scoring."""
        request = MetadataRequest(owner=self)
        for name in ("groups", "group_membership"):
            request.score.add_request(param=name, alias=True)
        return request

    def __call__(
        self,
        estimator: _Predictor,
        X: ArrayLike,
        y: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        group_membership: ArrayLike | None = None,
    ) -> float:
        """Return the worst group's accuracy of a fitted estimator.

        Parameters
        ----------
        estimator : object with `predict`
            Fitted classifier.
        X : array_like of shape (n, d)
            Features.
        y : array_like of shape (n,)
            Classes.
        groups, group_membership
            As in `worst_group_accuracy`.
        """
        return worst_group_accuracy(
            y,
            estimator.predict(X),
            groups=groups,
            group_membership=group_membership,
            cross_with_label=self.cross_with_label,
            unknown_group=self.unknown_group,
        )
