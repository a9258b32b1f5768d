"""Accuracy of spiking classifiers beside logistic regression; settings chosen on validation."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from septet import data
from septet._core import checks
from septet.spiking import (
    GaussianReceptiveFieldEncoder,
    LatencyEncoder,
    SpikingClassifier,
    SpikingConvolution,
)

Row = dict[str, Any]

SETS = ("iris", "digits", "mnist-5k")
# What is tried for every rule on validation data.
SETTINGS: dict[str, list[Row]] = {
    "lcl": [{"soft_C": C, "average": True} for C in (0.003, 0.01, 0.03)],
    "tempotron": [{"learning_rate": rate} for rate in (3e-4, 1e-3, 3e-3, 1e-2)],
}


def load(name: str) -> tuple[NDArray[Any], NDArray[Any], bool]:
    """Samples (n, n_features), labels (n,) and whether they are images.

    Parameters
    ----------
    name : {"iris", "digits", "mnist-5k"}
        The last one must have been fetched.

    Raises
    ------
    ValueError
        If there is no such set.
    DataError
        If it is not there.

    Examples
    --------
    >>> X, y, images = load("iris")
    >>> X.shape, images
    ((150, 4), False)
    """
    checks.choice("data", name, SETS)
    if name != "mnist-5k":
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        return X, y, name == "digits"
    images = data.load(name)
    return images.images.reshape(len(images.images), -1), images.labels, True


def evaluate(
    X: NDArray[Any],
    y: NDArray[Any],
    *,
    images: bool,
    rules: Sequence[str],
    hidden: bool,
    seed: int,
    test_share: float,
    epochs: int,
) -> list[Row]:
    """Test accuracy of every rule on a random stratified split, beside logistic regression.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Numbers, or images row by row.
    y : ndarray of shape (n_samples,)
        Labels.
    images : bool
        Encode pixels by latency, not numbers by receptive fields.
    rules : sequence of str
        What learns, as in `SpikingClassifier`.
    hidden : bool
        Try a hidden layer of local filters, too. Behind it only ours is tried: it is by far the
        quickest of the rules there.
    seed : int
        Which split, and where everything random begins.
    test_share : float
        Fraction of the samples that is tested on.
    epochs : int
        Most passes over the training data.

    Returns
    -------
    list of dict
        A row for each method: its accuracy on the test part, seconds of processor time,
        which a busy machine does not stretch, and the settings that were chosen.

    Notes
    -----
    An eighth of the training data decides about the settings; the classifier is the one trained on
    the rest.

    Examples
    --------
    >>> X, y, images = load("iris")
    >>> words = {"rules": ["lcl"], "hidden": False, "test_share": 0.25, "epochs": 5}
    >>> rows = evaluate(X, y, images=images, seed=0, **words)
    >>> [row["method"] for row in rows]
    ['logistic regression', 'lcl']
    """
    ways = [(False, rules), *([(True, ("lcl",))] if hidden else [])]
    rest, test = train_test_split(
        np.arange(len(y)), test_size=test_share, stratify=y, random_state=seed
    )
    train, check = train_test_split(rest, test_size=0.125, stratify=y[rest], random_state=seed)
    start = time.process_time()
    pixels = make_pipeline(StandardScaler(), LogisticRegression(C=0.01 if images else 1.0))
    pixels.set_params(logisticregression__max_iter=1000).fit(X[train], y[train])
    rows = [
        {
            "seed": seed,
            "method": "logistic regression",
            "accuracy": pixels.score(X[test], y[test]),
            "seconds": time.process_time() - start,
            "settings": "",
        }
    ]
    for deep, rules in ways:
        start = time.process_time()
        spikes = _spikes(X, train, images, deep, seed)
        encoding = time.process_time() - start
        for rule in rules:
            start = time.process_time()
            found = []
            for i, settings in enumerate(SETTINGS.get(rule, [{}])):
                model = SpikingClassifier(rule, max_epochs=epochs, random_state=seed, **settings)
                model.fit(spikes[train], y[train])
                found.append((model.score(spikes[check], y[check]), -i, settings, model))
            _, _, settings, model = max(found, key=lambda each: each[:2])
            rows.append(
                {
                    "seed": seed,
                    "method": f"{rule}, hidden layer" if deep else rule,
                    "accuracy": model.score(spikes[test], y[test]),
                    "seconds": encoding + time.process_time() - start,
                    "settings": ", ".join(f"{k}={v}" for k, v in settings.items()),
                }
            )
    return rows


def study(name: str, seed: int, rules: Sequence[str], test_share: float, epochs: int) -> list[Row]:
    """Evaluate on one split of a set that `load` knows; behind a hidden layer, too, if images."""
    X, y, images = load(name)
    return evaluate(
        X,
        y,
        images=images,
        rules=rules,
        hidden=images,
        seed=seed,
        test_share=test_share,
        epochs=epochs,
    )


def summary(rows: Sequence[Row]) -> list[Row]:
    """Mean and standard deviation over splits, one row a method."""
    methods = dict.fromkeys(row["method"] for row in rows)
    found = []
    for method in methods:
        mine = [row for row in rows if row["method"] == method]
        accuracy = [row["accuracy"] for row in mine]
        found.append(
            {
                "method": method,
                "accuracy": float(np.mean(accuracy)),
                "sd": float(np.std(accuracy, ddof=1)) if len(mine) > 1 else None,
                "splits": len(mine),
                "seconds": float(np.mean([row["seconds"] for row in mine])),
            }
        )
    return found


def _spikes(X: NDArray[Any], train: NDArray[Any], images: bool, deep: bool, seed: int) -> Any:
    """Encode everything with what was learned from the training part."""
    if not images:
        return GaussianReceptiveFieldEncoder().fit(X[train]).transform(X)
    # within a window this short, brighter pixels leave higher potentials throughout
    spikes = LatencyEncoder(window=10.0, duration=40.0).fit(X[train]).transform(X)
    if not deep:
        return spikes
    layer = SpikingConvolution(random_state=seed)
    if X.shape[1] < 400:  # small images need small windows
        layer.set_params(size=3, stride=1, pool=3)
    return layer.fit(spikes[train]).transform(spikes)
