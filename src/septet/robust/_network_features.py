"""A network as a feature extractor in scikit-learn's form."""

from copy import deepcopy
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from septet._core import checks
from septet._core.files import PathLike
from septet.robust._features import Inputs, extract_features, find_head, head_of, write_head
from septet.robust._fixed_head import LinearHead
from septet.robust._network import NetworkSettings, fit_network


class NetworkFeatures(TransformerMixin, BaseEstimator):
    """Input of a network's last layer, after plain training of the network.

    Parameters
    ----------
    model : nn.Module
        Network whose outputs are one logit per class, in sorted order of the classes. It is copied,
        never changed.
    head : str, default "fc"
        Name of its last layer, a Linear.
    settings : NetworkSettings, optional
        How `fit` trains it. None leaves it as it is: a network that was trained elsewhere.
    batch_size : int, default 256
        Rows per forward pass of `transform`.
    folder : path, optional
        Holds the checkpoint of the training, which goes on where it was stopped.
    random_state : int, default 0
        Seed of the training.

    Attributes
    ----------
    model_ : nn.Module
        The trained copy.
    history_ : list of dict
        History of the training; empty without one.
    classes_ : ndarray of shape (K,)
        Classes.

    Examples
    --------
    >>> import torch
    >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> features = NetworkFeatures(network, "2").fit(np.zeros((4, 3)), [0, 1, 0, 1])
    >>> features.transform(np.zeros((4, 3))).shape
    (4, 4)
    """

    def __init__(
        self,
        model: nn.Module,
        head: str = "fc",
        *,
        settings: NetworkSettings | None = None,
        batch_size: int = 256,
        folder: PathLike | None = None,
        random_state: int = 0,
    ) -> None:
        self.model = model
        self.head = head
        self.settings = settings
        self.batch_size = batch_size
        self.folder = folder
        self.random_state = random_state

    def fit(
        self, X: Inputs, y: ArrayLike, *, validation: tuple[Inputs, ArrayLike] | None = None
    ) -> Self:
        """Train the copy on all rows given; `validation` rows (X, y) choose the epoch.

        Raises
        ------
        ValueError
            If the head is not a Linear layer or has not one output per class.
        """
        checks.integer("batch_size", self.batch_size, low=1)
        layer = find_head(self.model, self.head)
        self.classes_, codes = np.unique(np.asarray(y), return_inverse=True)
        if len(self.classes_) != layer.out_features:
            raise ValueError(
                f"the head has {layer.out_features} outputs; y has {len(self.classes_)} classes."
            )
        self.model_ = deepcopy(self.model)
        self.history_ = []
        if self.settings is not None:
            if validation is not None:
                validation = validation[0], np.searchsorted(self.classes_, validation[1])
            self.history_ = fit_network(
                self.model_,
                X,
                codes,
                validation=validation,
                settings=self.settings,
                folder=self.folder,
                random_state=self.random_state,
            )
        return self

    def transform(self, X: Inputs) -> NDArray[np.float32]:
        """Return the features (n, d) of the rows."""
        check_is_fitted(self)
        return extract_features(self.model_, X, head=self.head, batch_size=self.batch_size)

    def present_head(self) -> LinearHead:
        """Return the last layer as a classifier of features."""
        check_is_fitted(self)
        return head_of(self.model_, self.head, self.classes_)

    def put_head(self, rows: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
        """Replace weights (K, d) and bias (K,) of the last layer of the copy."""
        write_head(find_head(self.model_, self.head), rows, bias)
