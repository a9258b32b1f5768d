"""Accuracy of spiking classifiers beside logistic regression; settings chosen on validation."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from septet.spiking import (
    GaussianReceptiveFieldEncoder,
    LatencyEncoder,
    SpikingClassifier,
    SpikingConvolution,
)

Row = dict[str, Any]

# What is tried for every rule on validation data.
SETTINGS: dict[str, list[Row]] = {
    "lcl": [{"soft_C": C, "average": True} for C in (0.003, 0.01, 0.03)],
    "tempotron": [{"learning_rate": rate} for rate in (3e-4, 1e-3, 3e-3, 1e-2)],
}


def load(name: str) -> tuple[NDArray[Any], NDArray[Any], bool]:
    """Samples, labels and whether they are images, of iris, digits or a fetched set of images."""
    from sklearn import datasets

    if name in {"iris", "digits"}:
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        return X, y, name == "digits"
    from septet import data

    images = data.load(name)
    return images.images.reshape(len(images.images), -1), images.labels, True


def evaluate(
    X: NDArray[Any],
    y: NDArray[Any],
    *,
    images: bool,
    rules: Sequence[str],
    hidden: bool,
    seeds: Sequence[int],
    test_share: float,
    epochs: int,
    workers: int = 1,
) -> list[Row]:
    """Test accuracy of every rule on random stratified splits, one row each.

    Behind the hidden layer only ours is tried: it is by far the quickest of the rules there.
    An eighth of the training data decides about the settings; the classifier is the one trained on
    the rest. Seconds are of processor time, which a busy machine does not stretch.
    """
    ways = [(False, rules), *([(True, ("lcl",))] if hidden else [])]
    splits = Parallel(n_jobs=workers)(
        delayed(_split)(X, y, images, ways, seed, test_share, epochs) for seed in seeds
    )
    return [row for rows in splits for row in rows]


def _split(
    X: NDArray[Any],
    y: NDArray[Any],
    images: bool,
    ways: Sequence[tuple[bool, Sequence[str]]],
    seed: int,
    test_share: float,
    epochs: int,
) -> list[Row]:
    """Evaluate logistic regression, then the rules without and with the hidden layer."""
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
