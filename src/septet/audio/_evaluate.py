"""How good a classifier is on clips that it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet.audio._classifier import MultiViewClassifier
from septet.audio._fit import balanced_accuracy


@dataclass(frozen=True)
class Evaluation:
    """Figures of a classifier on test clips.

    Attributes
    ----------
    n_clips : int
    accuracy, balanced_accuracy : float
        Of the classifier's own head; the second is the mean recall over the classes that occur.
    recall : dict from str to (float or None)
        Of each class; None where it does not occur.
    heads : dict from str to float
        Balanced accuracy of every branch and of the ensemble.
    confusion : ndarray of shape (n_classes, n_classes)
        Clips of a class (row) that were decided as another (column).
    classes : tuple of str
    """

    n_clips: int
    accuracy: float
    balanced_accuracy: float
    recall: dict[str, float | None]
    heads: dict[str, float]
    confusion: NDArray[np.int64]
    classes: tuple[str, ...]


def evaluate(
    classifier: MultiViewClassifier, X: Sequence[Any] | NDArray[Any], y: ArrayLike
) -> Evaluation:
    """Decide clips by every head and compare with their labels.

    Parameters
    ----------
    classifier : MultiViewClassifier
        Fitted.
    X : sequence of paths or arrays
    y : array_like of shape (n_clips,)

    Raises
    ------
    DataError
        If a clip is bad.
    ValueError
        If there are not as many labels as clips, one is no class of the classifier, or it has
        no such head.
    """
    truth = np.asarray(y)
    if truth.shape != (len(X),):
        raise ValueError(f"{len(X)} clips need as many labels; got shape {truth.shape}.")
    classes = classifier.classes_
    if unknown := sorted(set(truth.tolist()) - set(classes.tolist())):
        raise ValueError(f"{unknown[0]!r} is no class of this model; they are {classes.tolist()}.")
    checks.choice("head", classifier.head, [*classifier.net_.branches, "ensemble"])
    probabilities = classifier.predict_heads(X)
    places = np.searchsorted(classes, truth)
    decided = {name: table.argmax(axis=1) for name, table in probabilities.items()}
    own = decided[classifier.head]
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (places, own), 1)
    counts = confusion.sum(axis=1)
    recall = {
        str(name): float(confusion[i, i] / counts[i]) if counts[i] else None
        for i, name in enumerate(classes)
    }
    return Evaluation(
        n_clips=len(truth),
        accuracy=float(np.mean(own == places)),
        balanced_accuracy=balanced_accuracy(places, own),
        recall=recall,
        heads={name: balanced_accuracy(places, table) for name, table in decided.items()},
        confusion=confusion,
        classes=tuple(str(name) for name in classes),
    )
