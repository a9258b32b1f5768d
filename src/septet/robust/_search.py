"""Settings of any linear head, chosen by the worst group."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils import _safe_indexing  # pyrefly: ignore[missing-module-attribute]
from sklearn.utils.validation import has_fit_parameter

from septet._core import checks
from septet._core.random import RandomState, generator
from septet.robust._erm import ERMClassifier
from septet.robust._fitting import TrainingRows, keys_array
from septet.robust._linear_head import LinearHeadBase
from septet.robust._selection import (
    SELECTIONS,
    CrossValidation,
    Selection,
    best_setting,
    make_splits,
    scores_by_group,
)

_GRID = {"alpha": (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)}


class GroupSearchCV(LinearHeadBase):
    """Linear head whose settings are chosen by the worst group of held-out rows.

    Held-out predictions of all splits are pooled per group before the worst one is taken, and folds
    are stratified by group: what scikit-learn's grid search does not do. `GroupDROClassifierCV` is
    this for its own penalty, faster.

    Parameters
    ----------
    estimator : linear classifier or None, default None
        Anything whose `fit` sets ``coef_``, ``intercept_`` and ``classes_``. Groups and weights are
        passed on if its `fit` takes them. None means `ERMClassifier`.
    param_grid : mapping of str to sequence, default {"alpha": (1, 0.3, ..., 0.001)}
        Values to try of each parameter, in order of preference; every combination is tried.
    cv : int, float, splitter or iterable of (fit, select) index pairs, default 5
        As in `GroupDROClassifierCV`.
    selection : {"accuracy", "loss"}, default "accuracy"
        Which worst-group score decides; the other one breaks ties, then the order of the grid.
    refit : bool, default True
        As in `GroupDROClassifierCV`.
    cross_with_label : bool, default True
        Whether groups are combinations of the class and the labels given.
    unknown_group : object, default -1
        Label that means unknown, besides ``None``, NaN and ``NA``.
    random_state : int, numpy.random.Generator or None, default None
        Which rows are held out; also the seed of an estimator that has none of its own.

    Attributes
    ----------
    best_estimator_ : classifier
        The final head.
    best_params_ : dict
        Its settings.
    candidates_ : list of dict
        All settings tried.
    selection_accuracy_, selection_loss_ : ndarray of shape (n_candidates, G)
        Held-out accuracy and mean loss in nats of each group; the chosen row's minimum is no
        estimate.
    coef_, intercept_, classes_, groups_, n_unknown_
        As in `GroupDROClassifier`.

    Raises
    ------
    ValueError
        In `fit`, if the grid is empty, nothing can be held out, or `refit` is off with several
        splits.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y, place = np.repeat([0, 1], 40), np.tile([0, 1], 40)
    >>> X = rng.normal(size=(80, 3)) + np.column_stack([y, 2 * place, y * 0])
    >>> search = GroupSearchCV(param_grid={"alpha": [1.0, 0.01]}, random_state=0)
    >>> search.fit(X, y, groups=place).best_params_["alpha"] in (1.0, 0.01)
    True
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True, "group_membership": True}

    def __init__(
        self,
        estimator: Any = None,
        param_grid: Mapping[str, Sequence[Any]] | None = None,
        *,
        cv: CrossValidation = 5,
        selection: Selection = "accuracy",
        refit: bool = True,
        cross_with_label: bool = True,
        unknown_group: object = -1,
        random_state: RandomState = None,
    ) -> None:
        self.estimator = estimator
        self.param_grid = param_grid
        self.cv = cv
        self.selection = selection
        self.refit = refit
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
        """Choose the settings, then fit the head.

        Parameters
        ----------
        X : array_like of shape (n, d)
            Features.
        y : array_like of shape (n,)
            Classes.
        groups : array_like of shape (n,) or (n, n_attributes), optional
            Group labels; the classes are the groups without them. Rows of unknown group are fitted
            on if the estimator fits on them, and never select.
        group_membership : array_like of shape (n, G), optional
            Multi-hot or soft memberships instead of labels.
        sample_weight : array_like of shape (n,), optional
            Non-negative weights, in scoring and, if the estimator takes them, in fitting.

        Returns
        -------
        GroupSearchCV
            Itself.
        """
        checks.choice("selection", self.selection, SELECTIONS)
        grid = _GRID if self.param_grid is None else self.param_grid
        self.candidates_ = [
            dict(zip(grid, values, strict=True)) for values in product(*grid.values())
        ]
        if not self.candidates_:
            raise ValueError("param_grid must not be empty.")
        rows = self._check_rows(X, y, sample_weight, groups, group_membership)
        data = {"groups": groups, "group_membership": group_membership}
        if sample_weight is not None:
            data["sample_weight"] = rows.weight
        labels = self.classes_[rows.y]
        rng = generator(self.random_state)
        splits = make_splits(self.cv, rows, rng)
        self._seed = int(rng.integers(1 << 31))
        if not self.refit and len(splits) != 1:
            raise ValueError(f"refit=False needs a single split; cv gives {len(splits)}.")
        right = np.zeros((len(self.candidates_), len(rows.table.keys)))
        loss, total = np.zeros_like(right), np.zeros(right.shape[1])
        heads: list[Any] = []
        for fit, select in splits:
            heads = [self._fit_one(s, rows, labels, data, fit) for s in self.candidates_]
            sums = [scores_by_group(h.coef_, h.intercept_, rows, select) for h in heads]
            right += np.array([found[0] for found in sums])
            loss += np.array([found[1] for found in sums])
            total += sums[0][2]
        with np.errstate(invalid="ignore"):
            self.selection_accuracy_, self.selection_loss_ = right / total, loss / total
        best = best_setting(self.selection_accuracy_, self.selection_loss_, self.selection)
        self.best_params_ = self.candidates_[best]
        everything = np.arange(len(rows.y))
        self.best_estimator_ = (
            self._fit_one(self.best_params_, rows, labels, data, everything)
            if self.refit
            else heads[best]
        )
        self.coef_, self.intercept_ = self.best_estimator_.coef_, self.best_estimator_.intercept_
        self.groups_ = keys_array(rows.table)
        self.n_unknown_ = int((~rows.table.known).sum())
        return self

    def _fit_one(
        self,
        settings: dict[str, Any],
        rows: TrainingRows,
        labels: np.ndarray,
        data: dict[str, Any],
        index: np.ndarray,
    ) -> Any:
        """Fit a head with some settings on some rows that have weight."""
        index = index[rows.weight[index] > 0]
        found = len(np.unique(rows.y[index]))
        if found != len(self.classes_):
            raise ValueError(
                f"a split fits on {found} of {len(self.classes_)} classes; use fewer folds or hold "
                "out less."
            )
        base = ERMClassifier() if self.estimator is None else clone(self.estimator)
        head = base.set_params(**settings)
        # every candidate meets the same draws
        if head.get_params().get("random_state", 0) is None:
            head.set_params(random_state=self._seed)
        passed = {
            name: _take(values, index)
            for name, values in data.items()
            if values is not None and has_fit_parameter(head, name)
        }
        return head.fit(rows.X[index], labels[index], **passed)


def _take(values: Any, index: np.ndarray) -> Any:
    """Rows of an array, a DataFrame or a Series."""
    return _safe_indexing(values, index)
