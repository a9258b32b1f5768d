"""Classifier retraining on independent splits, from rows to predictions."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import _safe_indexing  # pyrefly: ignore[missing-module-attribute]
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_is_fitted,
    has_fit_parameter,
    validate_data,  # pyrefly: ignore[missing-module-attribute]
)

from septet._core import checks
from septet._core.random import RandomState, generator
from septet.robust._fitting import check_finite, keys_array, standardization
from septet.robust._fixed_head import fit_head, full_rows, rescale, unscale
from septet.robust._group_dro_cv import GroupDROClassifierCV
from septet.robust._groups import GroupTable, read_groups
from septet.robust._head_problem import FloatArray
from septet.robust._split import CRISSplit, split_table

_Labelled: TypeAlias = tuple[Any, NDArray[Any], GroupTable]


class CRISClassifier(ClassifierMixin, BaseEstimator):
    """Train a network on some rows, then its head for the worst group on other rows.

    A network has memorised the rows that trained it: on their features every group looks solved,
    and a robust loss finds nothing left to do. On rows that it has not seen the features show what
    they are worth. Only these rows need group labels.

    Parameters
    ----------
    feature_extractor : transformer or None, default None
        Anything with `fit` and `transform`; `NetworkFeatures` for a network. None means that X are
        features already, of a network that was trained on none of the rows given to `fit`.
    head : linear classifier or None, default None
        Rule of retraining: any head of this package; `GroupDROClassifierCV` by default. One whose
        own parameter ``head`` is None starts from the network's head.
    retrain_fraction : float or None, default None
        The paper's p: part of the rows with group label that retrains the head, in (0, 1]; the
        other part trains the network. None means 1 if there are other rows to train the network or
        nothing to train, else 0.5.
    selection : {"cv", "holdout"}, default "cv"
        How a head with a parameter ``cv`` chooses its settings: by its own folds over all rows with
        group label, and is then fitted on all of them; or by rows set aside.
    selection_fraction : float, default 0.5
        Part of each group that is set aside with ``"holdout"``, in (0, 1).
    validation_fraction : float, default 0.0
        Part of each class among the rows of unknown group that only chooses the network's epoch,
        in [0, 1).
    standardize : bool, default True
        Whether the head sees features scaled to mean 0 and variance 1 over the rows that trained
        the network; without a feature extractor, over the rows that retrain the head.
    cross_with_label : bool, default True
        Whether groups are combinations of the class and the labels given.
    unknown_group : object, default -1
        Label that means unknown, besides ``None``, NaN and ``NA``.
    random_state : int, numpy.random.Generator or None, default None
        Which rows go where, and folds if the head has no seed of its own.

    Attributes
    ----------
    extractor_ : transformer or None
        The fitted feature extractor.
    head_ : classifier
        The fitted head; takes standardised features.
    split_ : CRISSplit
        Which rows did what.
    module_ : nn.Module
        For a network: the trained copy, with the retrained head in place.
    center_, scale_ : ndarray of shape (d,)
        The standardisation.
    classes_ : ndarray of shape (K,)
        Classes.
    groups_ : ndarray of shape (G,), object
        Group keys.
    n_unknown_ : int
        Rows of unknown group. They train the network and touch the head in no other way.

    Raises
    ------
    ValueError
        In `fit`, if all group labels given are unknown, nothing is left to train the network, or as
        in `GroupDROClassifier`.

    Notes
    -----
    The journal's three regimes: (1) groups for all training rows, with `validation` rows that
    select; (2) no groups for the training rows, which are passed together with validation rows that
    have them; (3) the same with the groups of a part of these, see `sample_labels`. Without any
    ``groups`` the classes are the groups. The reference implementation retrains in training mode,
    which lets batch statistics leak; here the network stays as it is, buffers included.

    References
    ----------
    T. H. Nguyen, H. R. Zhang, H. L. Nguyen, "Improved Group Robustness via Classifier Retraining on
    Independent Splits", TMLR 2023, algorithm 1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y, place = np.repeat([0, 1], 60), np.tile([0, 1], 60)
    >>> X = rng.normal(size=(120, 3)) + np.column_stack([2 * y, 2 * place, y * 0])
    >>> known = np.where(np.arange(120) % 3 == 0, place, -1)  # a third of the rows has a label
    >>> model = CRISClassifier(random_state=0).fit(X, y, groups=known)
    >>> model.n_unknown_, len(model.split_.retraining)
    (80, 40)
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True, "group_membership": True}

    def __init__(
        self,
        feature_extractor: Any = None,
        head: Any = None,
        *,
        retrain_fraction: float | None = None,
        selection: Literal["cv", "holdout"] = "cv",
        selection_fraction: float = 0.5,
        validation_fraction: float = 0.0,
        standardize: bool = True,
        cross_with_label: bool = True,
        unknown_group: object = -1,
        random_state: RandomState = None,
    ) -> None:
        self.feature_extractor = feature_extractor
        self.head = head
        self.retrain_fraction = retrain_fraction
        self.selection = selection
        self.selection_fraction = selection_fraction
        self.validation_fraction = validation_fraction
        self.standardize = standardize
        self.cross_with_label = cross_with_label
        self.unknown_group = unknown_group
        self.random_state = random_state

    @classmethod
    def from_module(
        cls,
        model: Any,
        head: str = "fc",
        *,
        classifier: Any = None,
        settings: Any = None,
        folder: Any = None,
        **options: Any,
    ) -> Self:
        """Build the estimator for a network.

        Parameters
        ----------
        model : nn.Module
            Network with a linear last layer; copied, never changed.
        head : str, default "fc"
            Name of that layer.
        classifier : linear classifier, optional
            Rule of retraining, the constructor's ``head``.
        settings : NetworkSettings, optional
            How the first phase trains the network; None if it is trained already, on other rows
            than those given to `fit`.
        folder : path, optional
            Checkpoint of the first phase.
        **options
            Other arguments of the constructor. An integer `random_state` seeds the training too.

        Returns
        -------
        CRISClassifier
            Not fitted.
        """
        from septet.robust._network_features import NetworkFeatures

        seed = options.get("random_state")
        features = NetworkFeatures(
            model,
            head,
            settings=settings,
            folder=folder,
            random_state=int(seed) if isinstance(seed, int | np.integer) else 0,
        )
        return cls(features, classifier, **options)

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        group_membership: ArrayLike | None = None,
        validation: tuple[Any, ArrayLike, ArrayLike] | None = None,
    ) -> Self:
        """Train the network, then retrain its head on other rows.

        Parameters
        ----------
        X : array_like
            Rows: of shape (n, d), or whatever the feature extractor takes.
        y : array_like of shape (n,)
            Classes.
        groups : array_like of shape (n,) or (n, n_attributes), optional
            Group labels, unknown ones allowed.
        group_membership : array_like of shape (n, G), optional
            Multi-hot or soft memberships instead of labels.
        validation : (X, y, groups or membership), optional
            Further rows that only select: the network by the average accuracy, the head by the
            worst group. None of the others is then set aside.

        Returns
        -------
        CRISClassifier
            Itself.
        """
        checks.choice("selection", self.selection, ["cv", "holdout"])
        X, y = self._check_rows(X, y)
        rng = generator(self.random_state)
        no_groups = groups is None and group_membership is None
        table = read_groups(
            groups,
            y,
            membership=group_membership,
            cross_with_label=self.cross_with_label,
            unknown_group=None if no_groups else self.unknown_group,
        )
        self.split_ = split = self._split(y, table, rng, validation is not None)
        self.n_unknown_ = int((~table.known).sum())
        self.groups_ = keys_array(table)
        if validation is None:
            rows = split.selection
            choosing: _Labelled = _take(X, rows), y[rows], table.rows(rows)
        else:
            choosing = self._read_validation(validation, group_membership is not None)
        self._fit_extractor(X, y, split, choosing)
        features = self._extract(_take(X, split.retraining))
        own = self.extractor_ is None
        trained = features if own else self._extract(_take(X, split.phase_one))
        self.center_, self.scale_ = standardization(trained, on=self.standardize)
        retraining = (features, y[split.retraining], table.rows(split.retraining))
        self._fit_head(retraining, choosing, rng, classes_are_groups=no_groups)
        return self

    def _check_rows(self, X: Any, y: ArrayLike) -> tuple[Any, NDArray[Any]]:
        if self.feature_extractor is None:
            X, y = validate_data(
                self, X, y, dtype=[np.float64, np.float32], ensure_all_finite=False
            )
            check_finite(X)
        y = np.asarray(y)
        check_classification_targets(y)
        if y.ndim != 1 or len(y) != _count(X):
            raise ValueError(
                f"y must have one class per row: got shape {y.shape} for {_count(X)} rows."
            )
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y has one class only ({self.classes_[0]!r}); a classifier needs at least two."
            )
        return X, y

    def _split(
        self, y: NDArray[Any], table: GroupTable, rng: np.random.Generator, separate: bool
    ) -> CRISSplit:
        """Share the rows out; without a network to train, all rows with a group retrain."""
        fraction = self.retrain_fraction
        if fraction is None:
            nothing_to_train = self.feature_extractor is None
            fraction = 1.0 if nothing_to_train or not table.known.all() else 0.5
        selecting = 0.0
        if self.selection == "holdout" and not separate:
            selecting = checks.number(
                "selection_fraction", self.selection_fraction, above=0, below=1
            )
        split = split_table(
            table,
            y,
            retrain_fraction=fraction,
            selection_fraction=selecting,
            validation_fraction=self.validation_fraction,
            rng=rng,
        )
        if self.feature_extractor is not None and not split.phase_one.size:
            raise ValueError(
                f"no row is left to train the network: lower retrain_fraction (it is {fraction:g}) "
                "or add rows without group label."
            )
        return split

    def _read_validation(
        self, validation: tuple[Any, ArrayLike, ArrayLike], as_membership: bool
    ) -> _Labelled:
        X, y, given = validation
        classes = np.asarray(y)
        if len(classes) != _count(X):
            raise ValueError(f"validation has {_count(X)} rows and {len(classes)} classes.")
        table = read_groups(
            None if as_membership else given,
            classes,
            membership=given if as_membership else None,
            cross_with_label=self.cross_with_label,
            unknown_group=self.unknown_group,
        )
        return X, classes, table

    def _fit_extractor(self, X: Any, y: NDArray[Any], split: CRISSplit, own: _Labelled) -> None:
        """Train the first phase; rows that select the head and rows set aside choose its epoch."""
        self.extractor_ = None
        if self.feature_extractor is None:
            return
        more: dict[str, Any] = {}
        if has_fit_parameter(self.feature_extractor, "validation"):
            rows = _join(_take(X, split.phase_one_selection), own[0])
            classes = np.concatenate([y[split.phase_one_selection], own[1]])
            more = {"validation": (rows, classes)} if len(classes) else {}
        self.extractor_ = clone(self.feature_extractor)
        self.extractor_.fit(_take(X, split.phase_one), y[split.phase_one], **more)

    def _extract(self, X: Any) -> FloatArray:
        """Features before standardisation."""
        features = X if self.extractor_ is None else self.extractor_.transform(X)
        features = np.asarray(features, dtype=np.float64)
        if features.ndim != 2:
            raise ValueError(f"the feature extractor must give 2-D arrays; got {features.shape}.")
        check_finite(features)
        return features

    def _fit_head(
        self,
        retraining: _Labelled,
        choosing: _Labelled,
        rng: np.random.Generator,
        *,
        classes_are_groups: bool,
    ) -> None:
        head = clone(GroupDROClassifierCV() if self.head is None else self.head)
        known = head.get_params(deep=False)
        n = len(retraining[1])
        features, y, table = retraining
        if "cv" in known and len(choosing[1]):
            features = np.vstack([features, self._extract(choosing[0])])
            y = np.concatenate([y, choosing[1]])
            rows = np.arange(n), np.arange(n, len(y))
            head.set_params(cv=[rows], **({"refit": False} if "refit" in known else {}))
            table = table.stack(choosing[2])
        if "random_state" in known and known["random_state"] is None:
            head.set_params(random_state=rng)
        # the labels handed on are crossed already, and None where unknown
        settings = {"cross_with_label": False, "unknown_group": None}
        settings |= {f"estimator__{name}": value for name, value in settings.items()}
        if not classes_are_groups:
            known = head.get_params()
            head.set_params(**{name: value for name, value in settings.items() if name in known})
        present = None
        if (network := self._network) is not None:
            present = rescale(network.present_head(), self.center_, self.scale_)
        self.head_ = fit_head(
            head,
            (features - self.center_) / self.scale_,
            y,
            {} if classes_are_groups else table.labels,
            present=present,
        )
        if network is not None:
            network.put_head(*unscale(*full_rows(self.head_), self.center_, self.scale_))
            self.module_ = network.model_

    @property
    def _network(self) -> Any:
        return self.extractor_ if hasattr(self.extractor_, "present_head") else None

    def _features(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        if self.extractor_ is None:
            X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return (self._extract(X) - self.center_) / self.scale_

    def decision_function(self, X: Any) -> FloatArray:
        """Return logits for the rows of X: of the second class for two classes, else (n, K)."""
        features = self._features(X)
        return self.head_.decision_function(features)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class with the largest logit for each row of X."""
        features = self._features(X)
        return self.head_.predict(features)

    def predict_proba(self, X: Any) -> FloatArray:
        """Return softmax probabilities of shape (n, K) for the rows of X."""
        features = self._features(X)
        return self.head_.predict_proba(features)

    def predict_log_proba(self, X: Any) -> FloatArray:
        """Return logarithms of the probabilities for the rows of X."""
        features = self._features(X)
        return self.head_.predict_log_proba(features)


def _count(X: Any) -> int:
    return len(next(iter(X.values()))) if isinstance(X, Mapping) else len(X)


def _take(X: Any, index: NDArray[np.intp]) -> Any:
    """Rows of an array, a tensor, a DataFrame or a mapping of such."""
    if isinstance(X, Mapping):
        return {name: _take(values, index) for name, values in X.items()}
    return X[index] if hasattr(X, "detach") else _safe_indexing(X, index)


def _join(first: Any, second: Any) -> Any:
    """Rows of both; arrays, tensors or mappings of such."""
    if not _count(first) or not _count(second):
        return second if not _count(first) else first
    if isinstance(first, Mapping):
        return {name: _join(values, second[name]) for name, values in first.items()}
    if hasattr(first, "detach"):
        import torch

        return torch.cat([first, torch.as_tensor(second)])
    return np.concatenate([first, second])
