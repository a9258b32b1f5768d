"""The classifier: scikit-learn's own checks, every rule, decoders, and what is refused."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.utils.estimator_checks import parametrize_with_checks

from septet.spiking import (
    SpikingClassifier,
)


@parametrize_with_checks([SpikingClassifier(), SpikingClassifier("tempotron")])
def test_it_is_an_estimator(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    return X[::2], names[::2], X[1::2], names[1::2]


@pytest.mark.parametrize(
    ("rule", "settings", "at_least"),
    [
        ("lcl", {}, 0.93),
        ("lcl", {"coding": "count", "soft_C": 1.0, "block_size": 10, "max_epochs": 5}, 0.85),
        ("lcl", {"coding": "train", "soft_C": 1.0, "max_epochs": 3}, 0.85),
        ("tempotron", {}, 0.9),
        ("mst", {}, 0.85),
        ("eml", {}, 0.85),
        ("emlc", {}, 0.85),
        ("correlation", {}, 0.4),
        ("fp", {"max_epochs": 100}, 0.7),
        ("htp", {"max_epochs": 100}, 0.7),
        ("elearning", {"max_epochs": 100}, 0.7),
        ("resume", {"max_epochs": 100}, 0.7),
        ("psd", {"max_epochs": 100}, 0.7),
        ("span", {"max_epochs": 100, "learning_rate": 1e-4}, 0.7),
        ("empd", {"max_epochs": 100}, 0.7),
    ],
)
def test_every_rule_tells_irises_apart(rule, settings, at_least, iris):
    X, y, X_test, y_test = iris
    model = SpikingClassifier(rule, random_state=0, **settings).fit(X, y)
    assert model.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert model.coef_.shape == (3, 32)
    assert model.score(X_test, y_test) >= at_least
