"""Choosing settings of any head by the worst group of held-out rows."""

import numpy as np
import pytest
from robust.problems import spurious
from sklearn.linear_model import LogisticRegression

from septet.robust import (
    AFRClassifier,
    ERMClassifier,
    GroupBalancedClassifier,
    GroupDROClassifier,
    GroupDROClassifierCV,
    GroupSearchCV,
)

ALPHAS = (1.0, 0.1, 0.01)


def test_the_search_agrees_with_the_faster_one_for_the_same_head():
    X, y, a = spurious(300, 4)
    slow = GroupSearchCV(GroupDROClassifier(tol=1e-9), {"alpha": ALPHAS}, cv=3, random_state=0).fit(
        X, y, groups=a
    )
    fast = GroupDROClassifierCV(ALPHAS, cv=3, random_state=0, tol=1e-9).fit(X, y, groups=a)
    np.testing.assert_array_equal(slow.selection_accuracy_, fast.selection_accuracy_)
    np.testing.assert_allclose(slow.selection_loss_, fast.selection_loss_, atol=1e-5)
    assert slow.best_params_ == {"alpha": fast.alpha_}
    np.testing.assert_allclose(slow.coef_, fast.coef_, atol=1e-3)


def test_every_combination_is_tried_and_the_best_worst_group_wins():
    X, y, a = spurious(400, 4, seed=1)
    grid = {"gamma": (0.0, 4.0, 12.0), "alpha": (0.1, 0.01)}
    search = GroupSearchCV(AFRClassifier(random_state=0), grid, cv=0.5, random_state=0)
    search.fit(X, y, groups=a)
    assert len(search.candidates_) == 6
    worst = search.selection_accuracy_.min(axis=1)
    assert worst[search.candidates_.index(search.best_params_)] == worst.max()


def test_foreign_classifiers_are_searched_too():
    X, y, a = spurious(200, 3)
    search = GroupSearchCV(LogisticRegression(), {"C": (0.01, 1.0)}, random_state=0)
    search.fit(X, y, groups=a)
    assert search.best_params_["C"] in (0.01, 1.0)
    assert np.array_equal(search.coef_, search.best_estimator_.coef_)


def test_without_refit_the_head_is_the_one_of_the_fitting_rows():
    X, y, a = spurious(200, 3)
    fit, select = np.arange(120), np.arange(120, 200)
    search = GroupSearchCV(
        GroupBalancedClassifier(), {"alpha": (0.1,)}, cv=[(fit, select)], refit=False
    ).fit(X, y, groups=a)
    alone = GroupBalancedClassifier(0.1).fit(X[fit], y[fit], groups=a[fit])
    np.testing.assert_allclose(search.coef_, alone.coef_, atol=1e-12)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (GroupSearchCV(param_grid={"alpha": ()}), "param_grid must not be empty"),
        (GroupSearchCV(selection="accurate"), "Did you mean 'accuracy'"),
        (GroupSearchCV(refit=False), "refit=False needs a single split; cv gives 5"),
        (GroupSearchCV(ERMClassifier(), {"alpha": (0.0,)}), "alpha must be greater than 0"),
        (
            GroupSearchCV(ERMClassifier(), cv=[(np.arange(0, 60, 2), np.arange(60))]),
            "1 of 2 classes; use fewer folds",
        ),
    ],
)
def test_bad_settings_are_named(search, message):
    X, y, a = spurious(60, 3, noise=0.0)
    with pytest.raises(ValueError, match=message):
        search.fit(X, y, groups=a)
