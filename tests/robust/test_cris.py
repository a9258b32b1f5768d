"""CRIS end to end: regimes of labels, independence of the rows, arrays and networks."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from robust.networks import network, rows, same, weights
from robust.problems import spurious
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV

from septet.robust import (
    AFRClassifier,
    CRISClassifier,
    DFRClassifier,
    ERMClassifier,
    GroupBalancedClassifier,
    GroupDROClassifier,
    GroupDROClassifierCV,
    GroupSearchCV,
    LogitAdjustedClassifier,
    NetworkSettings,
    TauNormClassifier,
    extract_features,
    fit_network,
    predict_rows,
)

SHORT = NetworkSettings(epochs=2, batch_size=32, lr=0.05)
GRID = {"alpha": (0.1, 0.01)}


@pytest.fixture(scope="module")
def trained():
    """Return a network trained on rows that no test uses."""
    model = network()
    fit_network(model, *rows(300, seed=9)[:2], settings=NetworkSettings(epochs=6, lr=0.1))
    return model


def test_regime_one_splits_the_labelled_rows_and_selects_on_validation_rows():
    X, y, a = rows(300)
    held = rows(150, seed=1)
    model = CRISClassifier.from_module(
        network(), settings=SHORT, selection="holdout", random_state=0
    ).fit(X, y, groups=a, validation=held)
    split = model.split_
    assert len(split.phase_one) == len(split.retraining) == 150
    assert len(split.selection) == len(split.phase_one_selection) == 0
    assert set(split.phase_one) & set(split.retraining) == set()
    # the same by hand
    net = network()
    one, two = split.phase_one, split.retraining
    fit_network(net, X[one], y[one], validation=held[:2], settings=SHORT)
    features = extract_features(net, np.concatenate([X[one], X[two], held[0]])).astype(float)
    features = (features - features[:150].mean(axis=0)) / features[:150].std(axis=0)
    fit, select = np.arange(150), np.arange(150, 300)
    head = GroupDROClassifierCV(cv=[(fit, select)], refit=False)
    head.fit(features[150:], np.r_[y[two], held[1]], groups=np.r_[a[two], held[2]])
    assert model.head_.alpha_ == head.alpha_
    np.testing.assert_array_equal(model.head_.coef_, head.coef_)


def test_regime_two_trains_on_rows_without_labels_and_halves_the_labelled():
    X, y, a = rows(400)
    known = np.where(np.arange(400) < 240, -1, a)
    model = CRISClassifier.from_module(
        network(), settings=SHORT, selection="holdout", random_state=0
    ).fit(X, y, groups=known)
    split = model.split_
    assert set(split.phase_one) == set(range(240))
    assert model.n_unknown_ == 240
    assert abs(len(split.retraining) - len(split.selection)) <= 4
    assert (known[np.r_[split.retraining, split.selection]] >= 0).all()


def test_regime_three_selects_by_folds_within_few_labelled_rows():
    X, y, a = rows(400)
    known = np.where(np.arange(400) < 340, -1, a)
    model = CRISClassifier.from_module(network(), settings=SHORT, random_state=0)
    model.fit(X, y, groups=known)
    assert len(model.split_.retraining) == 60
    assert model.head_.selection_accuracy_.shape[0] == 7
    assert model.head_.refit


def test_the_module_predicts_what_the_estimator_predicts_and_the_given_one_is_untouched():
    X, y, a = rows(300)
    given = network()
    before = weights(given)
    names = np.array(["ebb", "flow"])[y]
    model = CRISClassifier.from_module(given, settings=SHORT, random_state=0)
    model.fit(torch.tensor(X), names, groups=a)
    assert same(before, weights(given))
    assert given.training
    fresh, _, _ = rows(100, seed=2)
    expected = model.predict(fresh)
    assert set(expected) <= {"ebb", "flow"}
    np.testing.assert_array_equal(model.classes_[predict_rows(model.module_, fresh)], expected)
    np.testing.assert_allclose(model.predict_proba(fresh).sum(axis=1), 1)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(fresh)), model.predict_proba(fresh))


def test_a_network_that_is_trained_already_keeps_everything_but_its_head():
    X, y, a = rows(300)
    given = network()
    model = CRISClassifier.from_module(given, random_state=0, retrain_fraction=0.5)
    model.fit(X, y, groups=a)
    assert same(weights(given, without=["fc."]), weights(model.module_, without=["fc."]))
    assert not torch.equal(given.fc.weight, model.module_.fc.weight)


@pytest.mark.parametrize(
    "head",
    [
        GroupDROClassifier(0.1),
        GroupDROClassifierCV(cv=3),
        GroupSearchCV(GroupBalancedClassifier(), GRID, cv=3),
        GroupSearchCV(GroupBalancedClassifier(method="subsample"), GRID, cv=3),
        GroupSearchCV(ERMClassifier(), GRID, cv=3),
        GroupSearchCV(AFRClassifier(), {"gamma": (0.5, 1.0)}, cv=3),
        GroupSearchCV(LogitAdjustedClassifier(), GRID, cv=3),
        DFRClassifier(Cs=(1.0, 0.1), n_refits=2),
        AFRClassifier(gamma=1.0, alpha=0.1),
        TauNormClassifier(),
    ],
    ids=lambda head: str(head)[:40],
)
def test_every_rule_retrains_the_head_of_a_network(head, trained):
    X, y, a = rows(400)
    known = np.where(np.arange(400) < 100, -1, a)
    selection = "holdout" if "cv" in head.get_params() else "cv"
    model = CRISClassifier.from_module(
        trained, classifier=head, selection=selection, random_state=0
    ).fit(X, y, groups=known)
    assert (model.predict(X) == y).mean() > 0.5
    again = clone(model).fit(X, y, groups=known)
    np.testing.assert_array_equal(again.head_.coef_, model.head_.coef_)


@pytest.mark.parametrize("extractor", [None, PCA(2)])
def test_rows_of_unknown_group_cannot_influence_the_head_of_given_features(extractor):
    X, y, a = spurious(200, 3)
    known = np.where(np.arange(200) % 3 == 0, -1, a)
    first = CRISClassifier(extractor, random_state=0).fit(X, y, groups=known)
    moved = X.copy()
    unknown = np.flatnonzero(known < 0)
    moved[unknown] = X[np.random.default_rng(0).permutation(unknown)]
    if extractor is None:
        moved[unknown] += 5.0
    second = CRISClassifier(extractor, random_state=0).fit(moved, y, groups=known)
    if extractor is None:
        assert np.array_equal(first.head_.coef_, second.head_.coef_)
        assert np.array_equal(first.center_, second.center_)
    else:  # they train the extractor, whose sums may round otherwise
        np.testing.assert_allclose(first.head_.coef_, second.head_.coef_, atol=1e-6)


@pytest.mark.parametrize(
    "head", [GroupDROClassifier(), GroupBalancedClassifier(), DFRClassifier(random_state=0)]
)
def test_rows_of_unknown_group_cannot_influence_a_head(head):
    X, y, a = spurious(200, 3)
    known = np.where(np.arange(200) % 3 == 0, -1, a)
    unknown = np.flatnonzero(known < 0)
    moved = X.copy()
    moved[unknown] = X[np.random.default_rng(0).permutation(unknown)] - 7.0
    first = clone(head).fit(X, y, groups=known)
    second = clone(head).fit(moved, y, groups=known)
    assert np.array_equal(first.coef_, second.coef_)
    assert np.array_equal(first.intercept_, second.intercept_)


def test_labels_of_any_kind_give_the_same_head():
    X, y, a = spurious(200, 3)
    words = np.array(["land", "water"], dtype=object)[a]
    words[:20] = None
    number = np.where(np.arange(200) < 20, -1, a)
    frame = pd.DataFrame({"place": pd.Categorical(words), "sky": ["blue"] * 200})
    heads = [
        CRISClassifier(random_state=0).fit(X, y, groups=labels).head_
        for labels in (number, words, pd.array(words, dtype="string"), frame)
    ]
    for head in heads[1:]:
        np.testing.assert_array_equal(head.coef_, heads[0].coef_)


def test_overlapping_groups_reach_the_head():
    X, y, a = spurious(200, 3)
    membership = np.column_stack([a, 1 - a, y == 0, y == 1]).astype(float)
    membership[:50] = 0.0
    model = CRISClassifier(head=GroupDROClassifier(0.1)).fit(X, y, group_membership=membership)
    used = slice(50, None)
    Z = (X - X[used].mean(axis=0)) / X[used].std(axis=0)
    alone = GroupDROClassifier(0.1).fit(Z[used], y[used], group_membership=membership[used])
    np.testing.assert_allclose(model.head_.coef_, alone.coef_, atol=1e-8)
    assert model.n_unknown_ == 50


def test_without_any_groups_the_classes_are_the_groups():
    X, y, _ = spurious(200, 3)
    model = CRISClassifier(head=GroupDROClassifier(0.1)).fit(X, 2 * y - 1)
    assert model.groups_.tolist() == [-1, 1]
    assert model.head_.groups_.tolist() == [-1, 1]


def test_the_estimator_can_be_searched_and_pickled():
    X, y, a = spurious(160, 3)
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            CRISClassifier(head=GroupDROClassifier()), {"head__alpha": [1.0, 0.01]}, cv=2
        ).fit(X, y, groups=a)
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))


@pytest.mark.parametrize(
    ("model", "kwargs", "message"),
    [
        (CRISClassifier(), {"groups": [-1] * 40}, "none of the 40 rows has a group label: label"),
        (CRISClassifier(retrain_fraction=0.0), {}, "retrain_fraction must be greater than 0"),
        (CRISClassifier(retrain_fraction=1.2), {}, "retrain_fraction must be at most 1"),
        (CRISClassifier(selection="hold-out"), {}, "Did you mean 'holdout'"),
        (CRISClassifier(PCA(2), retrain_fraction=1.0), {}, "no row is left to train the network"),
        (CRISClassifier(), {"groups": [0, 1]}, "got 2 for 40 rows"),
        (CRISClassifier(), {"y": [0] * 40}, "y has one class only"),
        (CRISClassifier(), {"X": np.full((40, 3), np.nan)}, "120 entries that are NaN or infinite"),
        (
            CRISClassifier(head=GroupDROClassifier(adjustment=-1.0)),
            {},
            r"adjustment \(the constant C\) must be finite and not negative; 4 of 4",
        ),
        (CRISClassifier(head=GroupDROClassifier(0.0)), {}, "alpha must be greater than 0"),
        (
            CRISClassifier.from_module(torch.nn.Sequential(torch.nn.ReLU()), "0"),
            {"groups": [0, 0, -1, -1] * 10},
            "must be a Linear layer; it is a ReLU",
        ),
        (
            CRISClassifier.from_module(network(k=3)),
            {"groups": [0, 0, -1, -1] * 10},
            "the head has 3 outputs; y has 2 classes",
        ),
        (CRISClassifier(), {"validation": (np.ones((3, 3)), [0], [0])}, "3 rows and 1 classes"),
    ],
)
def test_bad_input_is_named(model, kwargs, message):
    X, y, a = spurious(40, 3)
    with pytest.raises(ValueError, match=message):
        model.fit(**{"X": X, "y": y, "groups": a} | kwargs)
