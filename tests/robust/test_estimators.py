"""scikit-learn's own checks of every estimator here; none may fail."""

import numpy as np
import pytest
import sklearn
from robust.problems import spurious
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from septet import robust

# smaller than the defaults where that only saves time
ESTIMATORS = [
    robust.AFRClassifier(gamma=1.0, random_state=0),
    robust.CRISClassifier(head=robust.GroupDROClassifier()),
    robust.DFRClassifier(Cs=(0.3,), n_refits=1, tol=0.05),
    robust.ERMClassifier(),
    robust.GroupBalancedClassifier(),
    robust.GroupDROClassifier(),
    robust.GroupDROClassifierCV(alphas=(1.0, 0.01), cv=0.5),
    robust.GroupSearchCV(param_grid={"alpha": (1.0, 0.01)}, cv=0.5),
    robust.LogitAdjustedClassifier(),
    robust.TauNormClassifier(taus=(0.0, 1.0), cv=0.5),
]
GROUPED = [e for e in ESTIMATORS if "cross_with_label" in e.get_params()]


def name(estimator) -> str:
    return type(estimator).__name__


def test_every_estimator_of_the_package_is_checked():
    public = {n for n in robust.__all__ if n.endswith(("Classifier", "CV"))}
    assert {name(e) for e in ESTIMATORS} == public


@parametrize_with_checks(ESTIMATORS)
def test_estimators_follow_scikit_learns_conventions(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", GROUPED, ids=name)
def test_groups_reach_the_head_through_a_pipeline_and_a_grid_search(estimator):
    X, y, a = spurious(120, 3)
    groups = a.astype(object)
    groups[:5] = None
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler(), clone(estimator).set_params())
        key = f"{name(estimator).lower()}__unknown_group"
        search = GridSearchCV(pipeline, {key: [-1, 7]}, cv=2, error_score="raise")
        search.fit(X, y, groups=groups)
    head = search.best_estimator_[-1]
    assert head.n_unknown_ == 5
    assert [tuple(key) for key in head.groups_] == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name)
@pytest.mark.parametrize("k", [2, 4])
def test_probabilities_decisions_and_predictions_tell_the_same(estimator, k):
    X, y, _ = spurious(120, 5, n_classes=k)
    names = np.array(["d", "c", "b", "a"])[y]
    head = clone(estimator).fit(X, names)
    p, scores = head.predict_proba(X), head.decision_function(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    if k == 2:
        np.testing.assert_allclose(np.log(p[:, 1] / p[:, 0]), scores, atol=1e-9)
    else:
        shifted = scores - scores.max(axis=1, keepdims=True)
        np.testing.assert_allclose(np.log(p / p.max(axis=1, keepdims=True)), shifted, atol=1e-9)
    assert (head.predict(X) == head.classes_[p.argmax(axis=1)]).all()
    assert head.score(X, names) > 1 / k


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name)
def test_two_fits_with_one_seed_are_bit_identical(estimator):
    X, y, _ = spurious(120, 4)
    one, two = clone(estimator), clone(estimator)
    for head in (one, two):
        if "random_state" in head.get_params():
            head.set_params(random_state=3)
        head.fit(X, y)
    assert np.array_equal(one.decision_function(X), two.decision_function(X))
