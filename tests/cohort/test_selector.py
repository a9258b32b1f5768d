"""The scikit-learn face of cohort selection."""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from septet.cohort import FairCohortSelector, plot_probabilities, selection_probabilities


@parametrize_with_checks([FairCohortSelector()])
def test_it_is_an_estimator(estimator, check):
    check(estimator)


@pytest.fixture
def pool():
    return make_classification(200, random_state=0)


def test_it_chooses_exactly_k_with_the_classifiers_own_probabilities(pool):
    X, y = pool
    selector = FairCohortSelector(make_pipeline(StandardScaler(), LogisticRegression()), k=20)
    selector.fit(X, y)
    expected = selection_probabilities(selector.predict_proba(X)[:, 1], 20)
    assert np.array_equal(np.asarray(selector.selection_probabilities(X)), np.asarray(expected))
    mask = selector.select(X)
    assert mask.sum() == 20
    assert np.array_equal(mask, selector.select(X))
    assert not np.array_equal(mask, selector.set_params(seed="another").select(X))


def test_the_accepted_class_can_be_named(pool):
    X, y = pool
    labels = np.where(y, "no", "yes")
    selector = FairCohortSelector(k=5, accept="yes").fit(X, labels)
    assert np.array_equal(selector.scores(X), selector.predict_proba(X)[:, 1])
    assert np.array_equal(
        selector.set_params(accept="no").scores(X), selector.predict_proba(X)[:, 0]
    )
    with pytest.raises(ValueError, match=r"accept must be one of \['no', 'yes'\]; got 'maybe'"):
        selector.set_params(accept="maybe").scores(X)


def test_it_can_be_searched_over(pool):
    X, y = pool
    search = GridSearchCV(
        FairCohortSelector(LogisticRegression()), {"estimator__C": [0.1, 1.0]}, cv=3
    )
    assert search.fit(X, y).best_estimator_.select(X).sum() == 1


def test_an_ensemble_that_counts_no_members_yet_can_be_chosen_with(pool):
    selector = FairCohortSelector(RandomForestClassifier(3, random_state=0), k=20)
    assert hasattr(selector, "predict_proba")
    assert cross_val_score(selector, *pool, cv=2).min() > 0.5
    assert selector.fit(*pool).select(pool[0]).sum() == 20


def test_the_plot_leaves_out_what_takes_n_squared_steps_for_many(monkeypatch):
    monkeypatch.setattr("septet.cohort._baselines.MOST_SQUARED", 3)
    figure = plot_probabilities([0.9, 0.5, 0.3, 0.1], 2)
    names = {line.get_label() for line in figure.axes[0].get_lines()}
    assert "permute then classify" not in names
    assert "uniform" in names


def test_the_plot_shows_the_optimum_and_the_baselines():
    figure = plot_probabilities([0.9, 0.5, 0.3, 0.1], 2)
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    assert {"best total score", "permute then classify", "top k (unfair)"} <= set(lines)
    np.testing.assert_allclose(
        lines["best total score"].get_ydata(), [0.15, 0.35, 0.55, 0.95], atol=1e-9
    )
