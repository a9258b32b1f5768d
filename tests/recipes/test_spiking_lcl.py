"""The study of spiking classifiers, which the command line offers, too."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from septet.recipes.spiking_lcl import classification

SPLIT = {"images": False, "hidden": False, "test_share": 0.5, "epochs": 3}


def told(rows):
    """Everything about the rows that no clock has measured."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_every_rule_stands_beside_logistic_regression_on_the_same_split():
    X, y, _ = classification.load("iris")
    rows = classification.evaluate(X, y, rules=("lcl", "tempotron"), seed=3, **SPLIT)
    assert [row["method"] for row in rows] == ["logistic regression", "lcl", "tempotron"]
    rest, test = train_test_split(np.arange(150), test_size=0.5, stratify=y, random_state=3)
    train, _ = train_test_split(rest, test_size=0.125, stratify=y[rest], random_state=3)
    plain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    assert rows[0]["accuracy"] == plain.fit(X[train], y[train]).score(X[test], y[test])
    assert all(row["accuracy"] > 0.8 for row in rows)
    assert rows[1]["settings"].startswith("soft_C=")


def test_what_is_tested_on_has_no_say_in_the_choice_of_settings():
    X, y, _ = classification.load("iris")
    _, test = train_test_split(np.arange(150), test_size=0.5, stratify=y, random_state=0)
    spoilt = X.copy()
    spoilt[test] = np.random.default_rng(0).uniform(X.min(), X.max(), (test.size, 4))
    clean, changed = (
        classification.evaluate(each, y, rules=("lcl",), seed=0, **SPLIT) for each in (X, spoilt)
    )
    assert [row["settings"] for row in clean] == [row["settings"] for row in changed]
    assert changed[1]["accuracy"] < clean[1]["accuracy"] - 0.2


def test_only_ours_is_tried_behind_the_hidden_layer():
    X, y, images = classification.load("digits")
    assert images
    words = SPLIT | {"images": True, "hidden": True, "epochs": 1}
    rows = classification.evaluate(X[:160], y[:160], rules=("tempotron",), seed=0, **words)
    assert [row["method"] for row in rows[1:]] == ["tempotron", "lcl, hidden layer"]


def test_a_split_of_the_study_is_that_of_its_set():
    X, y, _ = classification.load("iris")
    mine = classification.study("iris", 1, ("lcl",), 0.5, 3)
    assert told(mine) == told(classification.evaluate(X, y, rules=("lcl",), seed=1, **SPLIT))


def test_methods_are_summed_up_over_splits():
    rows = [
        {"method": name, "accuracy": a, "seconds": s}
        for name, a, s in (("x", 0.5, 1.0), ("y", 0.9, 2.0), ("x", 0.7, 3.0))
    ]
    x, y = classification.summary(rows)
    assert x == {
        "method": "x",
        "accuracy": pytest.approx(0.6),
        "sd": pytest.approx(0.1 * np.sqrt(2)),
        "splits": 2,
        "seconds": 2.0,
    }
    assert y["sd"] is None


@pytest.mark.parametrize("name", ["adult", "mnist"])
def test_sets_that_it_cannot_classify_are_refused(name):
    with pytest.raises(ValueError, match="data must be one of 'iris', 'digits', 'mnist-5k'"):
        classification.load(name)
