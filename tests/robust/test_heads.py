"""The heads besides the worst-group one."""

import cvxpy as cp
import numpy as np
import pytest
from robust.problems import problem, spurious
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from septet._core.errors import SeptetWarning
from septet.robust import (
    AFRClassifier,
    DFRClassifier,
    ERMClassifier,
    GroupBalancedClassifier,
    GroupDROClassifier,
    GroupDROClassifierCV,
    LinearHead,
    LogitAdjustedClassifier,
    TauNormClassifier,
)
from septet.robust._l1 import fit_l1
from septet.robust._selection import best_setting, stratified_folds, stratified_holdout
from septet.robust._solve import choose_solver, solve, solve_path


def test_balancing_by_weights_is_weighted_logistic_regression():
    X, y, a = spurious(200, 4)
    head = GroupBalancedClassifier(0.05, tol=1e-12).fit(X, y, groups=a)
    counts = np.bincount(2 * y + a)
    weight = 1 / (4 * counts[2 * y + a])
    theirs = LogisticRegression(C=2 / 0.05, tol=1e-12, max_iter=10_000)
    theirs.fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(head.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_allclose(head.group_weights_, 0.25)
    log_p = head.predict_log_proba(X)[np.arange(200), y]
    np.testing.assert_allclose(head.group_losses_[1], -log_p[(y == 0) & (a == 1)].mean())


def test_subsampling_keeps_the_smallest_groups_size_of_every_group():
    X, y, a = spurious(200, 4)
    head = GroupBalancedClassifier(method="subsample", random_state=0).fit(X, y, groups=a)
    other = GroupBalancedClassifier(method="subsample", random_state=1).fit(X, y, groups=a)
    assert not np.array_equal(head.coef_, other.coef_)
    codes = 2 * y + a
    even = np.concatenate([np.flatnonzero(codes == g)[:5] for g in range(4)])
    balanced = GroupBalancedClassifier(method="subsample").fit(X[even], y[even], groups=a[even])
    plain = ERMClassifier().fit(X[even], y[even])
    assert np.array_equal(balanced.coef_, plain.coef_)
    with pytest.raises(ValueError, match="takes no sample_weight"):
        GroupBalancedClassifier(method="subsample").fit(X, y, sample_weight=np.ones(200))


def test_shifting_the_bias_is_training_with_shifted_logits():
    X, y, _ = spurious(150, 3, n_classes=3, noise=0.4)
    y = np.where(np.arange(150) % 5, y, 0)
    head = LogitAdjustedClassifier(0.1, tau=0.7, tol=1e-13).fit(X, y)
    prior = np.bincount(y) / 150
    np.testing.assert_allclose(head.class_prior_, prior)
    p = problem(X, y, np.zeros(150), 0.1)
    shift = p.contrasts.T @ (0.7 * np.log(prior))
    shifted = problem(X, y, np.zeros(150), 0.1, base=np.tile(shift[:, None], 150))
    trained = solve(shifted, tol=1e-13)
    full = p.contrasts @ trained.theta
    np.testing.assert_allclose(head.coef_, full[:, :3], atol=1e-6)
    np.testing.assert_allclose(head.intercept_ - head.intercept_.mean(), full[:, 3], atol=1e-6)


def test_tau_scales_rows_by_a_power_of_their_length():
    rows, bias = np.array([[3.0, 4.0], [0.6, 0.8], [0.0, 0.0]]), np.array([0.1, 0.2, 0.3])
    X, y = np.eye(3)[:, :2], [0, 1, 2]
    head = TauNormClassifier(LinearHead(rows, bias), taus=[0.5]).fit(X, y)
    expected = [rows[0] / np.sqrt(5), rows[1], rows[2]]
    np.testing.assert_allclose(head.coef_, expected)
    np.testing.assert_allclose(head.intercept_, bias)


def test_tau_zero_is_the_head_itself():
    X, y, a = spurious(100, 3)
    plain = ERMClassifier().fit(X, y)
    head = TauNormClassifier(taus=[0.0]).fit(X, y, groups=a)
    np.testing.assert_allclose(head.coef_, plain.coef_, atol=1e-12)


def test_tau_is_chosen_by_the_worst_group():
    # class 1 has the shorter row: only scaling lets it win on the rows where both are active
    head = LinearHead([[4.0, 0.0], [0.0, 1.0]])
    X = np.array([[1.0, 0.0], [1.0, 0.5], [0.5, 1.0], [0.4, 1.0]])
    y = [0, 0, 1, 1]
    chosen = TauNormClassifier(head, taus=[0.0, 1.0]).fit(X, y)
    assert chosen.selection_accuracy_.tolist() == [[1.0, 0.0], [1.0, 1.0]]
    assert chosen.tau_ == 1.0


def test_a_fixed_head_refuses_what_does_not_fit():
    X, y, _ = spurious(20, 3)
    with pytest.raises(ValueError, match="X has 3 features; the head takes 2"):
        TauNormClassifier(LinearHead(np.eye(2))).fit(X, y)
    with pytest.raises(ValueError, match="does not know 1 of the classes of y, first 7"):
        AFRClassifier(LinearHead(np.eye(3)[:2])).fit(X, np.where(y, 7, 0))
    with pytest.raises(ValueError, match="one row per class, at least two; got 1"):
        LinearHead([[1.0]]).fit()
    with pytest.raises(ValueError, match="classes must be 2 different values, sorted"):
        LinearHead(np.eye(2), classes=["b", "a"]).fit()


@pytest.mark.parametrize("k", [2, 3])
def test_afr_solves_its_reweighted_problem_around_the_given_head(k):
    X, y, _ = spurious(80, 3, n_classes=k)
    rows = np.random.default_rng(0).normal(size=(k, 3))
    head = AFRClassifier(LinearHead(rows), gamma=3.0, alpha=0.2, tol=1e-13).fit(X, y)
    p = np.exp(X @ rows.T)
    p = (p / p.sum(axis=1, keepdims=True))[np.arange(80), y]
    weight = np.exp(-3.0 * p) / np.bincount(y)[y]
    weight /= weight.sum()
    q = head.predict_proba(X)
    residual = weight[:, None] * (q - np.eye(k)[y])
    if k == 2:  # scikit-learn's form keeps the difference of the two rows
        change = head.coef_[0] - (rows[1] - rows[0])
        gradient = residual[:, 1] @ X + 0.2 / 2 * change
    else:
        gradient = residual.T @ X + 0.2 * (head.coef_ - rows)
    np.testing.assert_allclose(gradient, 0, atol=1e-7)
    np.testing.assert_allclose(residual.sum(axis=0), 0, atol=1e-7)
    assert head.n_retrained_ == 80


def test_afr_without_a_head_retrains_on_rows_the_plain_head_has_not_seen():
    X, y, _ = spurious(100, 3)
    head = AFRClassifier(holdout=0.3, random_state=0).fit(X, y)
    assert head.n_retrained_ == 30


@pytest.mark.parametrize("C", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("k", [2, 3])
def test_the_sparse_head_reaches_its_certified_optimum(C, k):
    X, y, _ = spurious(120, 8, n_classes=k)
    head = fit_l1(X, y, k, C=C, tol=1e-6, max_iter=5000)
    assert -1e-12 <= head.relative_gap <= 1e-6
    if k == 2:
        w, b = cp.Variable(8), cp.Variable()
        loss = cp.sum(cp.logistic(cp.multiply(1 - 2 * y, X @ w + b)))
        theirs = cp.Problem(cp.Minimize(C * loss + cp.norm1(w))).solve(solver="CLARABEL")
        assert head.primal == pytest.approx(theirs, rel=1e-5)
        np.testing.assert_allclose(head.coef[0], w.value, atol=1e-3)


def test_dfr_averages_heads_of_balanced_subsets():
    X, y, a = spurious(200, 4)
    X = X * [1, 10, 0.1, 1] + 5

    def heads(n_refits):
        settings = {"Cs": [0.3], "n_refits": n_refits}
        fitted = [DFRClassifier(random_state=i, **settings).fit(X, y, groups=a) for i in range(4)]
        return np.array([head.coef_[0] * [1, 10, 0.1, 1] for head in fitted])

    one, many = heads(1), heads(12)
    assert many.std(axis=0).sum() < 0.5 * one.std(axis=0).sum()
    assert np.abs(many.mean(axis=0) - one.mean(axis=0)).max() < 0.3


def test_dfr_keeps_a_constant_column_out():
    X, y, a = spurious(100, 3)
    X[:, 2] = 0.1
    head = DFRClassifier(n_refits=2, random_state=0).fit(X, y, groups=a)
    assert head.coef_[0, 2] == 0.0


def test_the_path_is_what_cold_solves_give():
    X, y, a = spurious(300, 6, n_classes=3)
    p = problem(X, y, 2 * y + a, 1.0)
    alphas = [0.1, 1.0, 0.003, 0.03, 0.3]
    for solver in ("newton", "multipliers"):
        path = solve_path(p, alphas, solver=solver, tol=1e-9)
        for alpha, found in zip(alphas, path, strict=True):
            cold = solve(problem(X, y, 2 * y + a, alpha), solver="newton", tol=1e-11)
            assert found.converged
            assert found.primal == pytest.approx(cold.primal, rel=1e-8)


def test_the_method_is_chosen_by_the_work():
    def chosen(n, d, k):
        y = np.arange(n) % k
        return choose_solver(problem(np.zeros((n, d)), y, y, 0.1))

    assert chosen(100, 10, 2) == "newton"
    assert chosen(2000, 512, 2) == "newton"
    assert chosen(2000, 512, 10) == "multipliers"
    assert chosen(20, 5000, 2) == "multipliers"


def test_the_penalty_is_chosen_by_pooled_held_out_predictions():
    X, y, a = spurious(160, 10, noise=0.2)
    splits = list(StratifiedKFold(4).split(X, 2 * y + a))
    head = GroupDROClassifierCV(alphas=[1.0, 0.1, 0.001], cv=splits).fit(X, y, groups=a)
    groups = [(y == k) & (a == v) for k, v in head.groups_]
    for i, alpha in enumerate(head.alphas):
        right = np.zeros(160, dtype=bool)
        for fit, select in splits:
            fold = GroupDROClassifier(alpha, tol=1e-9).fit(X[fit], y[fit], groups=a[fit])
            right[select] = fold.predict(X[select]) == y[select]
        expected = [right[g].mean() for g in groups]
        np.testing.assert_allclose(head.selection_accuracy_[i], expected)
    best = int(np.argmax(head.selection_accuracy_.min(axis=1)))
    assert head.alpha_ == head.alphas[best]
    refit = GroupDROClassifier(head.alpha_).fit(X, y, groups=a)
    assert np.array_equal(head.coef_, refit.coef_)


def test_half_and_half_keeps_the_head_of_the_fitted_half():
    X, y, a = spurious(160, 5)
    settings = {"alphas": [0.1, 0.01], "cv": 0.5, "random_state": 0}
    kept = GroupDROClassifierCV(refit=False, **settings).fit(X, y, groups=a)
    refit = GroupDROClassifierCV(**settings).fit(X, y, groups=a)
    assert kept.alpha_ == refit.alpha_
    assert not np.array_equal(kept.coef_, refit.coef_)
    with pytest.raises(ValueError, match="refit=False needs a single split; cv gives 5"):
        GroupDROClassifierCV(refit=False).fit(X, y, groups=a)


def test_more_features_than_rows_are_rotated_once_and_mapped_back():
    X, y, a = spurious(60, 90)
    groups = np.where(np.arange(60) % 7, a, -1)
    splits = list(StratifiedKFold(3).split(X, y))
    head = GroupDROClassifierCV(alphas=[0.5, 0.05], cv=splits).fit(X, y, groups=groups)
    direct = GroupDROClassifier(head.alpha_, tol=1e-10).fit(X, y, groups=groups)
    np.testing.assert_allclose(head.coef_, direct.coef_, atol=1e-4)
    fit, select = splits[0]
    held_out = GroupDROClassifierCV(alphas=[0.5, 0.05], cv=[splits[0]]).fit(X, y, groups=groups)
    fold = GroupDROClassifier(0.5, tol=1e-10).fit(X[fit], y[fit], groups=groups[fit])
    judged = select[groups[select] >= 0]
    right = fold.predict(X[judged]) == y[judged]
    expected = [right[(y[judged] == k) & (a[judged] == v)].mean() for k, v in held_out.groups_]
    np.testing.assert_allclose(held_out.selection_accuracy_[0], expected)


def test_a_group_of_one_is_fitted_on_and_a_warning_names_it():
    X, y, a = spurious(60, 3)
    groups = np.where(np.arange(60) == 5, "rare", np.where(a, "b", "a"))
    with pytest.warns(SeptetWarning, match=r"1 group has one row only \(y=1, group=rare\)"):
        head = GroupDROClassifierCV(random_state=0).fit(X, y, groups=groups)
    column = head.groups_.tolist().index((1, "rare"))
    assert np.isnan(head.selection_accuracy_[:, column]).all()
    assert head.group_weights_[column] >= 0


def test_folds_and_holdouts_take_their_share_of_every_group():
    codes = np.repeat([0, 1, 2, 3, -1], [50, 7, 2, 1, 10])
    rng = np.random.default_rng(0)
    folds = stratified_folds(codes, 5, rng)
    assert np.bincount(folds[codes == 0]).tolist() == [10] * 5
    assert sorted(np.bincount(folds[codes == 1], minlength=5).tolist()) == [1, 1, 1, 2, 2]
    assert len(set(folds[codes == 2].tolist())) == 2
    assert (folds[codes == 3] == -1).all()
    assert (folds[codes == -1] == -1).all()
    marked = stratified_holdout(codes, 0.4, rng)
    assert [int(marked[codes == g].sum()) for g in (0, 1, 2, 3, -1)] == [20, 3, 1, 0, 0]


def test_ties_go_to_the_other_score_then_to_the_first():
    accuracy = np.array([[0.5, 0.9], [0.6, 0.7], [0.6, np.nan], [0.6, 0.9]])
    loss = np.array([[0.1, 0.1], [0.5, 0.2], [0.4, np.nan], [0.4, 0.1]])
    assert best_setting(accuracy, loss, "accuracy") == 2
    assert best_setting(accuracy, loss, "loss") == 0


def test_equal_penalties_of_any_order_give_way_to_the_larger_one(rng):
    X = np.repeat([[-1.0], [1.0]], 20, axis=0)  # separable: every penalty is right everywhere
    y = np.repeat([0, 1], 20)
    settings = {"selection": "accuracy", "random_state": 0}
    for alphas in ((1.0, 1.0 + 1e-13), (1.0 + 1e-13, 1.0)):
        assert GroupDROClassifierCV(alphas, **settings).fit(X, y).alpha_ == 1.0 + 1e-13
    head = LinearHead([[1.0], [-1.0]])
    assert TauNormClassifier(head, taus=(1.0, 0.0)).fit(X, 1 - y).tau_ == 0.0


def test_selection_settings_are_checked():
    X, y, a = spurious(40, 3)
    with pytest.raises(ValueError, match="alphas must not be empty"):
        GroupDROClassifierCV(alphas=[]).fit(X, y, groups=a)
    with pytest.raises(ValueError, match="alpha must be greater than 0"):
        GroupDROClassifierCV(alphas=[0.1, 0.0]).fit(X, y, groups=a)
    with pytest.raises(ValueError, match="cv must be less than 1"):
        GroupDROClassifierCV(cv=1.5).fit(X, y, groups=a)
    with pytest.raises(ValueError, match="cv must be at least 2"):
        GroupDROClassifierCV(cv=1).fit(X, y, groups=a)
    with pytest.raises(ValueError, match="selection must be one of"):
        GroupDROClassifierCV(selection="best").fit(X, y, groups=a)
    with pytest.raises(ValueError, match="no group has two rows"), pytest.warns(SeptetWarning):
        GroupDROClassifierCV().fit(X[:2], y[:2])
