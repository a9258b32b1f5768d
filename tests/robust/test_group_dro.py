"""The worst-group head: worked examples, guarantees and what must not change it."""

import pickle
import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.optimize
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from robust.problems import (
    NINE_CLASSES,
    NINE_GROUPS,
    NINE_ROWS,
    TEN_CLASSES,
    TEN_GROUPS,
    TEN_ROWS,
    overlapping_membership,
    problem,
    spurious,
    three_classes,
)
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from septet.robust import ERMClassifier, GroupBalancedClassifier, GroupDROClassifier
from septet.robust._multipliers import solve_by_multipliers
from septet.robust._newton import solve_by_newton
from septet.robust._solution import Start
from septet.robust._solve import solve

SOLVERS = ["newton", "multipliers"]


def exact(alpha=0.1, solver="newton", **kwargs):
    tol = 1e-14 if solver == "newton" else 1e-12
    kwargs = {"cross_with_label": False, "tol": tol} | kwargs
    return GroupDROClassifier(alpha, solver=solver, **kwargs)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("adjustment", "w", "b", "q", "objective"),
    [
        (
            0.0,
            (2.094563, -0.185916),
            0.185943,
            (0.432434277, 0.065730457, 0.501835266, 0),
            0.334782805372,
        ),
        (
            0.5,
            (2.078058644, -0.304113472),
            0.201486656,
            (0.357171531, 0.090214627, 0.552613842, 0),
            0.662773884276,
        ),
    ],
)
def test_ten_rows_in_four_groups(solver, adjustment, w, b, q, objective):
    head = exact(solver=solver, adjustment=adjustment)
    head.fit(TEN_ROWS, TEN_CLASSES, groups=TEN_GROUPS)
    assert head.primal_objective_ == pytest.approx(objective, abs=1e-11)
    np.testing.assert_allclose(head.coef_[0], w, atol=1e-6)
    np.testing.assert_allclose(head.intercept_, b, atol=1e-6)
    np.testing.assert_allclose(head.group_weights_, q, atol=1e-6)
    if adjustment == 0:
        np.testing.assert_allclose(
            head.group_losses_, (0.224238833, 0.224238833, 0.224238833, 0.168767376), atol=1e-7
        )


@pytest.mark.parametrize("solver", SOLVERS)
def test_overlapping_groups(solver):
    head = exact(solver=solver)
    head.fit(TEN_ROWS, TEN_CLASSES, group_membership=overlapping_membership())
    assert head.primal_objective_ == pytest.approx(0.319736825106, abs=1e-11)
    np.testing.assert_allclose(head.coef_[0], (2.04708041, -0.21651891), atol=2e-6)
    np.testing.assert_allclose(head.intercept_, -0.24507484, atol=2e-6)
    np.testing.assert_allclose(head.group_weights_, (0.24035282, 0.75964718, 0), atol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("alpha", "w", "b", "objective"),
    [
        (0.1, 1.710268387, -0.900343741, 0.515755407800),
        (0.01, 6.063292165, -2.135993061, 0.319428412822),
    ],
)
def test_nine_rows_whose_second_group_decides(solver, alpha, w, b, objective):
    head = exact(alpha, solver=solver).fit(NINE_ROWS, NINE_CLASSES, groups=NINE_GROUPS)
    np.testing.assert_allclose(head.group_weights_, (0, 1), atol=1e-12)
    assert head.primal_objective_ == pytest.approx(objective, abs=2e-12)
    np.testing.assert_allclose([head.coef_[0, 0], head.intercept_[0]], [w, b], atol=1e-6)
    if alpha == 0.1:
        np.testing.assert_allclose(head.group_losses_, (0.091060408, 0.442629959), atol=1e-6)


def test_the_nine_rows_agree_with_the_roots_of_their_equations():
    # the second group decides alone, so its plain problem can be solved by root finding
    x, y = NINE_ROWS[6:, 0], NINE_CLASSES[6:]

    def equations(head):
        p = 1 / (1 + np.exp(-(head[0] * x + head[1])))
        return [np.mean((p - y) * x) + 0.1 / 2 * head[0], np.mean(p - y)]

    root = scipy.optimize.root(equations, [1.0, 0.0], tol=1e-14).x
    head = exact(0.1, tol=1e-15).fit(NINE_ROWS, NINE_CLASSES, groups=NINE_GROUPS)
    np.testing.assert_allclose([head.coef_[0, 0], head.intercept_[0]], root, atol=1e-7)


@pytest.mark.parametrize("alpha", [1.0, 1e-4])
def test_no_linear_head_beats_chance_on_both_groups(alpha):
    x = np.array([1, 2, 3, -1, -2, -3, 0.5, -0.5])[:, None]
    head = exact(alpha).fit(x, [1, 1, 1, 0, 0, 0, 0, 1], groups=[0] * 6 + [1] * 2)
    np.testing.assert_allclose(head.coef_, 0, atol=1e-9)
    np.testing.assert_allclose(head.intercept_, 0, atol=1e-9)
    np.testing.assert_allclose(head.group_weights_, (0.2, 0.8), atol=1e-9)
    np.testing.assert_allclose(head.group_losses_, np.log(2), atol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_three_classes(solver):
    X, y, g = three_classes()
    head = exact(solver=solver).fit(X, y, groups=g)
    np.testing.assert_allclose(head.group_weights_, (0, 1), atol=1e-9)
    np.testing.assert_allclose(head.group_losses_, (0.30185783, 0.336863745), atol=1e-7)
    assert head.primal_objective_ == pytest.approx(0.542054728392, abs=1e-11)
    assert head.coef_.shape == (3, 2)


def test_the_plain_head_of_the_ten_rows():
    head = ERMClassifier(0.1, tol=1e-13).fit(TEN_ROWS, TEN_CLASSES)
    np.testing.assert_allclose(head.coef_[0], (2.070897631, 0.022587131), atol=1e-6)
    np.testing.assert_allclose(head.intercept_, 0.069751666, atol=1e-6)
    log_p = head.predict_log_proba(TEN_ROWS)[np.arange(10), TEN_CLASSES]
    losses = [-log_p[g == TEN_GROUPS].mean() for g in range(4)]
    expected = (0.161099567, 0.262278573, 0.301815306, 0.141409564)
    np.testing.assert_allclose(losses, expected, atol=1e-6)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), k=st.integers(2, 4), soft=st.booleans())
def test_both_methods_reach_the_certified_optimum_and_agree(seed, k, soft):
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(k, 60)), int(rng.integers(1, 12))
    X, y = rng.normal(size=(n, d)) * 3, np.append(np.arange(k), rng.integers(0, k, n - k))
    membership = (rng.random((n, 4)) < 0.4) * (rng.random((n, 4)) if soft else 1.0)
    membership[:, 0] += 0.1
    alpha, adjustment = float(10 ** rng.uniform(-3, 0)), float(rng.random())
    heads = [
        GroupDROClassifier(alpha, solver=solver, adjustment=adjustment).fit(
            X, y, group_membership=membership
        )
        for solver in SOLVERS
    ]
    for head in heads:
        gap = head.primal_objective_ - head.dual_objective_
        assert head.duality_gap_ == gap
        assert -1e-12 <= gap <= 1e-6 * head.primal_objective_
        assert abs(head.group_weights_.sum() - 1) < 1e-9
    assert heads[0].primal_objective_ == pytest.approx(heads[1].primal_objective_, rel=2e-6)


def test_at_the_optimum_only_the_worst_groups_carry_weight():
    X, y, a = spurious(300, 5)
    head = exact(0.01, cross_with_label=True, adjustment=1.0).fit(X, y, groups=a)
    counts = np.array([((y == k) & (a == v)).sum() for k, v in head.groups_])
    adjusted = head.group_losses_ + 1.0 / np.sqrt(counts)
    slack = adjusted.max() - adjusted
    assert (head.group_weights_ * slack).max() <= 1e-6


def test_no_other_head_has_a_smaller_worst_group_objective():
    X, y, a = spurious(300, 5)
    head = GroupDROClassifier(0.05).fit(X, y, groups=a)

    def objective(other):
        log_p = other.predict_log_proba(X)[np.arange(len(y)), y]
        worst = max(-log_p[(y == k) & (a == v)].mean() for k in (0, 1) for v in (0, 1))
        return worst + 0.05 / 4 * float((other.coef_**2).sum())

    assert objective(head) == pytest.approx(head.primal_objective_, abs=1e-9)
    others = [
        ERMClassifier(0.05).fit(X, y),
        GroupBalancedClassifier(0.05).fit(X, y, groups=a),
        LogisticRegression().fit(X, y),
        GroupDROClassifier(0.06).fit(X, y, groups=a),
    ]
    assert all(objective(other) > head.dual_objective_ for other in others)


@pytest.mark.parametrize("k", [2, 3])
def test_one_group_is_logistic_regression(k):
    X, y, _ = spurious(120, 4, n_classes=k)
    alpha = 0.05
    head = exact(alpha).fit(X, y, groups=np.zeros(120))
    C = (2 if k == 2 else 1) / (alpha * 120)
    theirs = LogisticRegression(C=C, tol=1e-12, max_iter=10_000).fit(X, y)
    np.testing.assert_allclose(head.coef_, theirs.coef_, atol=1e-6)
    # scikit-learn leaves the shift of the biases open; probabilities do not
    np.testing.assert_allclose(head.predict_proba(X), theirs.predict_proba(X), atol=1e-6)


def test_a_penalised_bias_is_a_constant_feature():
    X, y, a = spurious(100, 3)
    penalised = exact(0.1, penalize_bias=True).fit(X, y, groups=a)
    constant = exact(0.1, fit_intercept=False).fit(np.c_[X, np.ones(100)], y, groups=a)
    np.testing.assert_allclose(
        np.append(penalised.coef_, penalised.intercept_), constant.coef_[0], atol=1e-6
    )
    assert constant.intercept_.tolist() == [0.0]


def test_duplicating_a_group_changes_nothing_and_shuffling_changes_nothing():
    X, y, a = spurious(150, 4)
    head = exact(0.05, cross_with_label=True).fit(X, y, groups=a)
    extra = np.flatnonzero((y == 1) & (a == 0))
    order = np.random.default_rng(0).permutation(len(y) + len(extra))
    rows = np.concatenate([np.arange(len(y)), extra])[order]
    again = exact(0.05, cross_with_label=True).fit(X[rows], y[rows], groups=a[rows])
    np.testing.assert_allclose(again.coef_, head.coef_, atol=1e-6)
    np.testing.assert_allclose(again.group_weights_, head.group_weights_, atol=1e-6)


def test_renaming_groups_permutes_their_weights():
    X, y, a = spurious(150, 4)
    head = exact(0.05).fit(X, y, groups=2 * y + a)
    names = np.array(["d", "b", "a", "c"])
    again = exact(0.05).fit(X, y, groups=names[2 * y + a])
    by_name = dict(zip(again.groups_, again.group_weights_, strict=True))
    np.testing.assert_allclose([by_name[n] for n in names], head.group_weights_, atol=1e-6)


def test_integer_weights_are_repetitions():
    X, y, a = spurious(80, 3)
    weight = np.random.default_rng(1).integers(0, 4, 80)
    weighted = exact(0.1, adjustment=0.5).fit(X, y, groups=a, sample_weight=weight)
    rows = np.repeat(np.arange(80), weight)
    repeated = exact(0.1, adjustment=0.5).fit(X[rows], y[rows], groups=a[rows])
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-7)


def test_rows_of_unknown_group_cannot_influence_the_head():
    X, y, a = spurious(120, 4)
    groups = a.copy()
    groups[::3] = -1
    unknown = np.flatnonzero(groups == -1)
    head = GroupDROClassifier().fit(X, y, groups=groups)
    moved = X.copy()
    moved[unknown] = 100 * X[np.random.default_rng(0).permutation(unknown)]
    again = GroupDROClassifier().fit(moved, y, groups=groups)
    assert np.array_equal(head.coef_, again.coef_)
    assert np.array_equal(head.intercept_, again.intercept_)
    assert head.n_unknown_ == len(unknown) == 40
    without = GroupDROClassifier().fit(
        np.delete(X, unknown, 0), np.delete(y, unknown), groups=np.delete(groups, unknown)
    )
    assert np.array_equal(head.coef_, without.coef_)


def test_the_type_of_group_labels_does_not_matter():
    X, y, a = spurious(90, 3)
    words = np.array(["land", "water"])[a]
    kinds = [
        a,
        a.astype(float),
        words,
        words.tolist(),
        pd.Categorical(words),
        pl.Series(words),
        pd.DataFrame({"place": words}),
        a.astype(bool),
        pd.Series(a, dtype="Int64"),
    ]
    heads = [GroupDROClassifier().fit(X, y, groups=kind) for kind in kinds]
    assert all(np.array_equal(head.coef_, heads[0].coef_) for head in heads)
    assert heads[2].groups_.tolist() == [(0, "land"), (0, "water"), (1, "land"), (1, "water")]


def test_several_attributes_form_their_cross_product():
    X, y, a = spurious(200, 3)
    night = np.arange(200) // 2 % 2
    both = GroupDROClassifier().fit(X, y, groups=np.c_[a, night])
    joint = GroupDROClassifier(cross_with_label=False).fit(X, y, groups=4 * y + 2 * a + night)
    np.testing.assert_allclose(both.coef_, joint.coef_, atol=1e-5)
    assert len(both.groups_) == 8


def test_without_groups_the_classes_are_the_groups():
    X, y, _ = spurious(90, 3, n_classes=3)
    head = GroupDROClassifier().fit(X, y)
    same = GroupDROClassifier(cross_with_label=False).fit(X, y, groups=y)
    assert np.array_equal(head.coef_, same.coef_)
    assert head.groups_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("method", [solve_by_newton, solve_by_multipliers])
def test_more_features_than_rows_are_reduced_without_loss(method):
    X, y, a = spurious(40, 100)
    full = problem(X, y, 2 * y + a, 0.1)
    unreduced = method(full, Start.cold(full), tol=1e-12, max_iter=5000)
    reduced = solve(full, tol=1e-12)
    assert reduced.theta.shape == (1, 101)
    assert reduced.primal == pytest.approx(unreduced.primal, abs=1e-11)
    np.testing.assert_allclose(reduced.theta, unreduced.theta, atol=1e-5)


def test_a_head_of_float32_features_is_computed_in_float64():
    X, y, a = spurious(100, 4)
    single = X.astype(np.float32)
    head = GroupDROClassifier().fit(single, y, groups=a)
    double = GroupDROClassifier().fit(single.astype(float), y, groups=a)
    assert np.array_equal(head.coef_, double.coef_)
    assert head.coef_.dtype == np.float64


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_memory_mapped_array_is_read_in_blocks(solver, tmp_path, monkeypatch):
    X, y, a = spurious(3000, 16)
    file = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float32, X.shape)
    file[:] = X
    file.flush()
    groups = a.copy()
    groups[:7] = -1
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    whole = GroupDROClassifier(solver=solver).fit(np.array(mapped), y, groups=groups)
    monkeypatch.setattr("septet.robust._head_problem._BLOCK_BYTES", 16 * 8 * 100)
    with sklearn.config_context(working_memory=0.01):
        head = GroupDROClassifier(solver=solver).fit(mapped, y, groups=groups)
    np.testing.assert_allclose(head.coef_, whole.coef_, atol=1e-6)
    np.testing.assert_array_equal(head.predict(mapped), whole.predict(X.astype(np.float32)))


def test_memory_beyond_the_labels_does_not_grow_with_the_rows_read(tmp_path, monkeypatch):
    n, d = 10_000, 256
    file = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float64, (n, d))
    X, y, a = spurious(n, 4)
    file[:] = np.random.default_rng(0).normal(size=(n, d))
    file[:, :4] = X
    file.flush()
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    groups = np.where(np.arange(n) % 10, a, -1)  # unknown rows must not force a copy either
    monkeypatch.setattr("septet.robust._head_problem._BLOCK_BYTES", 1 << 20)
    with sklearn.config_context(working_memory=1):
        tracemalloc.start()
        GroupDROClassifier(0.1, solver="newton").fit(mapped, y, groups=groups)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # the features are 20 MB; about thirty numbers a row, a Hessian and a few blocks come on top
    assert peak < 30 * 8 * n + 6 * 8 * d * d + 4 * (1 << 20)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"alpha": 0.0}, ValueError, "alpha must be greater than 0.*alpha=1e-6"),
        ({"alpha": -1}, ValueError, "alpha must be greater than 0"),
        ({"adjustment": -0.5}, ValueError, "adjustment .* not negative; 4 of 4 groups"),
        ({"adjustment": [0.1, 0.2]}, ValueError, r"one per group \(4\); got shape \(2,\)"),
        ({"solver": "newtn"}, ValueError, "Did you mean 'newton'"),
        ({"tol": 0}, ValueError, "tol must be greater than 0"),
        ({"max_iter": 1.5}, TypeError, "max_iter must be an integer"),
    ],
)
def test_bad_settings_are_named(kwargs, error, message):
    X, y, a = spurious(40, 3)
    with pytest.raises(error, match=message):
        GroupDROClassifier(**kwargs).fit(X, y, groups=a)


def bad_data():
    X, y, a = spurious(40, 3)
    broken = X.copy()
    broken[5, 2], broken[7, 0], broken[9, 1] = np.nan, np.inf, -np.inf
    yield "X contains 3 entries that are NaN or infinite, the first at row 5", broken, y, {}
    yield "y has one class only", X, np.zeros(40), {}
    yield "groups must have one entry per row: got 39 for 40 rows", X, y, {"groups": a[:-1]}
    yield (
        r"sample_weight must not be negative; 2 entries",
        X,
        y,
        {"sample_weight": np.r_[-1, -2, np.ones(38)]},
    )
    yield (
        r"no row has a known group .*40 rows, 40 of them of unknown",
        X,
        y,
        {"groups": np.full(40, -1)},
    )
    yield "1 of 2 classes have no row with a known group", X, y, {"groups": np.where(y, a, -1)}
    yield (
        "give groups or group_membership, not both",
        X,
        y,
        {"groups": a, "group_membership": np.ones((40, 1))},
    )
    yield (
        r"group_membership must have shape \(40, groups\); got \(39, 1\)",
        X,
        y,
        {"group_membership": np.ones((39, 1))},
    )
    yield "not negative; 40 entries are not", X, y, {"group_membership": -np.ones((40, 1))}
    yield r"groups must be 1-D or 2-D", X, y, {"groups": np.zeros((40, 1, 1))}


@pytest.mark.parametrize(("message", "X", "y", "kwargs"), list(bad_data()))
def test_bad_data_are_counted_and_named(message, X, y, kwargs):
    with pytest.raises(ValueError, match=message):
        GroupDROClassifier().fit(X, y, **kwargs)


def test_rows_of_another_length_are_refused():
    X, y, a = spurious(40, 3)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        GroupDROClassifier().fit(X, y[:-1], groups=a)


@pytest.mark.parametrize("solver", SOLVERS)
def test_stopping_early_warns_with_the_certified_gap(solver):
    X, y, a = spurious(200, 5)
    with pytest.warns(ConvergenceWarning, match="certified relative duality gap of .*within"):
        head = GroupDROClassifier(1e-4, solver=solver, max_iter=2).fit(X, y, groups=a)
    best = GroupDROClassifier(1e-4, solver=solver).fit(X, y, groups=a)
    excess = head.primal_objective_ - best.primal_objective_
    assert 0 < excess <= head.duality_gap_


def test_two_fits_are_bit_identical_and_survive_clone_and_pickle():
    X, y, a = spurious(100, 4)
    head = GroupDROClassifier(0.02, adjustment=0.1).fit(X, y, groups=a)
    again = clone(head).fit(X, y, groups=a)
    assert np.array_equal(head.coef_, again.coef_)
    thawed = pickle.loads(pickle.dumps(head))
    assert np.array_equal(thawed.predict_proba(X), head.predict_proba(X))


def test_probabilities_of_far_points_do_not_underflow():
    X, y, a = spurious(100, 4)
    head = GroupDROClassifier().fit(X, y, groups=a)
    log_p = head.predict_log_proba(1e4 * X)
    assert np.isfinite(log_p).all()
    np.testing.assert_allclose(np.exp(log_p), head.predict_proba(1e4 * X), atol=1e-12)
