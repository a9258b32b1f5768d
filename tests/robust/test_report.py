"""Reports: intervals that cover, averages as defined, overlapping groups, comparisons."""

import json

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from robust.problems import spurious
from scipy.stats import beta, binom, binomtest
from sklearn.model_selection import cross_validate

from septet._core.errors import SeptetWarning
from septet.robust import (
    GroupDROClassifier,
    WorstGroupScorer,
    clopper_pearson_interval,
    clopper_pearson_lower,
    compare_models,
    group_report,
    wilson_interval,
    worst_group_accuracy,
)

WATERBIRDS = {(0, 0): 3498, (0, 1): 184, (1, 0): 56, (1, 1): 1057}


def predictions(accuracies, sizes):
    """Rows of four groups with given accuracies; returns y, predictions and the attribute."""
    y = np.repeat([0, 0, 1, 1], sizes)
    a = np.repeat([0, 1, 0, 1], sizes)
    right = np.concatenate(
        [np.arange(n) < round(p * n) for p, n in zip(accuracies, sizes, strict=True)]
    )
    return y, np.where(right, y, 1 - y), a


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(8, 10, 0.490162, 0.943318), (48, 133, 0.284245, 0.445369), (0, 10, 0.0, 0.277533)],
)
def test_wilson_intervals_have_the_published_bounds(k, n, low, high):
    lower, upper = wilson_interval(k, n)
    assert lower == pytest.approx(low, abs=5e-7)
    assert upper == pytest.approx(high, abs=5e-7)


@given(st.integers(1, 300), st.data(), st.floats(0.5, 0.999))
def test_intervals_agree_with_scipy(n, data, confidence):
    k = data.draw(st.integers(0, n))
    for ours, method in ((wilson_interval, "wilson"), (clopper_pearson_interval, "exact")):
        theirs = binomtest(k, n).proportion_ci(confidence, method=method)
        np.testing.assert_allclose(ours(k, n, confidence), theirs, atol=1e-10)
    one_sided = binomtest(k, n, alternative="greater").proportion_ci(confidence)
    assert clopper_pearson_lower(k, n, confidence) == pytest.approx(one_sided.low, abs=1e-10)


def test_no_trials_have_no_interval_and_impossible_counts_are_refused():
    assert np.isnan(np.stack(wilson_interval([0, 0], [0, 0]))).all()
    assert np.isnan(clopper_pearson_lower(0, 0))
    with pytest.raises(ValueError, match="between 0 and n; 1 entries do not, the first is 3 of 2"):
        clopper_pearson_interval([1, 3], [2, 2])
    with pytest.raises(ValueError, match="confidence must be less than 1"):
        wilson_interval(1, 2, 1.0)


def test_the_family_of_intervals_covers_at_its_level_with_a_group_of_ten(rng):
    p, sizes = np.array([0.97, 0.9, 0.6, 0.75]), np.array([2000, 100, 10, 300])
    correct = rng.binomial(sizes, p, size=(2000, 4))
    lower, upper = clopper_pearson_interval(correct, sizes, 1 - 0.05 / 4)
    assert ((lower <= p) & (p <= upper)).all(axis=1).mean() >= 0.94
    bound = clopper_pearson_lower(correct, sizes, 1 - 0.05 / 4).min(axis=1)
    assert (bound <= p.min()).mean() >= 0.94


def test_the_coverage_of_one_interval_is_exactly_at_least_its_level():
    # summed over all outcomes, not simulated
    n = 10
    k = np.arange(n + 1)
    lower, upper = clopper_pearson_interval(k, n)
    for p in np.linspace(0.01, 0.99, 50):
        assert binom.pmf(k, n, p)[(lower <= p) & (p <= upper)].sum() >= 0.95
    assert lower[3] == pytest.approx(beta.ppf(0.025, 3, 8), abs=1e-12)


def test_a_report_counts_every_group_and_finds_the_worst():
    y, guess, a = predictions((0.993, 0.705, 0.481, 0.962), (1000, 1000, 1000, 1000))
    report = group_report(y, guess, a, training=WATERBIRDS, selected_on="validation")
    assert [row.key for row in report.groups] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [row.correct for row in report.groups] == [993, 705, 481, 962]
    assert report.worst_group == (1, 0)
    assert report.worst_group_accuracy == 0.481
    assert report.adjusted_average == pytest.approx(0.969135349, abs=5e-10)
    assert report.average_accuracy == pytest.approx(np.mean((0.993, 0.705, 0.481, 0.962)))
    assert report.gap == pytest.approx(0.993 - 0.481)
    assert report.lower_bound == pytest.approx(
        min(beta.ppf(0.05 / 4, k, 1001 - k) for k in (993, 705, 481, 962))
    )
    for row in report.groups:
        wilson = wilson_interval(row.correct, 1000)
        family = clopper_pearson_interval(row.correct, 1000, 1 - 0.05 / 4)
        assert row.interval == tuple(map(float, wilson))
        assert row.family_interval == tuple(map(float, family))


def test_weighting_by_the_evaluation_counts_is_the_plain_average():
    sizes = (2255, 2255, 642, 642)
    accuracies = (0.993, 0.705, 0.481, 0.962)
    y, guess, a = predictions(accuracies, sizes)
    report = group_report(y, guess, a, training=(y, a))
    assert report.adjusted_average == pytest.approx(report.average_accuracy)
    assert np.dot(accuracies, sizes) / sum(sizes) == pytest.approx(0.820744909, abs=5e-10)
    assert report.average_accuracy == pytest.approx(0.820744909, abs=3e-4)


def test_the_text_defines_every_number_it_prints():
    y, guess, a = predictions((0.9, 0.8, 0.5, 0.9), (50, 20, 10, 50))
    text = str(group_report(y, guess, a, training=WATERBIRDS, losses=np.full(130, 0.25)))
    for words in (
        "smallest of several estimates",
        "95 % confidence (one-sided Clopper-Pearson",
        "share of all 130 rows",
        "their share of the training data",
        "nats",
        "model selected on: not stated",
        "y=1, group=0",
        "worst",
    ):
        assert words in text
    assert "selected on: test rows" in str(group_report(y, guess, a, selected_on="test rows"))


def test_the_report_is_json_and_a_frame():
    y, guess, a = predictions((0.9, 0.8, 0.5, 0.9), (50, 20, 10, 50))
    report = group_report(y, guess, a)
    loaded = json.loads(report.to_json())
    assert loaded == json.loads(json.dumps(report.to_dict()))
    assert loaded["worst_group"] == [1, 0]
    frame = report.to_pandas()
    assert frame["n"].tolist() == [50, 20, 10, 50]
    assert frame["accuracy"].tolist() == [0.9, 0.8, 0.5, 0.9]


def test_the_plot_shows_every_group():
    y, guess, a = predictions((0.9, 0.8, 0.5, 0.9), (50, 20, 10, 50))
    figure = group_report(y, guess, a).plot()
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == ["y=1, group=1", "y=1, group=0", "y=0, group=1", "y=0, group=0"]


def test_a_training_group_without_rows_is_nan_and_left_out():
    y, guess, a = predictions((0.9, 0.8, 0.0, 0.5), (50, 20, 0, 50))
    with pytest.warns(SeptetWarning, match=r"1 group has no row .*\(y=1, group=0\)"):
        report = group_report(y, guess, a, training=WATERBIRDS)
    row = report.groups[2]
    assert (row.key, row.n) == ((1, 0), 0)
    assert np.isnan(row.accuracy)
    assert report.worst_group == (1, 1)
    assert report.adjusted_coverage == pytest.approx(1 - 56 / 4795)
    expected = (3498 * 0.9 + 184 * 0.8 + 1057 * 0.5) / (4795 - 56)
    assert report.adjusted_average == pytest.approx(expected)
    assert "98.83 %" in str(report)
    assert json.loads(report.to_json())["groups"][2]["accuracy"] is None


def test_groups_stand_in_the_order_of_their_numbers_with_training_data_too():
    y, place = np.zeros(12, dtype=int), np.arange(12)
    report = group_report(y, y, place, training=(y, place))
    assert [row.key for row in report.groups] == [(0, i) for i in range(12)]


def test_a_group_unseen_in_training_is_judged_and_marked():
    y, guess, a = predictions((0.9, 0.8, 0.5, 0.9), (50, 20, 10, 50))
    report = group_report(y, guess, a, training={(0, 0): 90, (0, 1): 5, (1, 1): 5})
    assert [row.seen for row in report.groups] == [True, True, False, True]
    assert report.worst_group == (1, 0)
    assert "unseen in training" in str(report)


def test_rows_of_unknown_group_count_in_the_average_only():
    y, guess, a = predictions((1.0, 1.0, 1.0, 0.5), (10, 10, 10, 10))
    unknown = np.where((y == 1) & (a == 1), -1, a)
    report = group_report(y, guess, unknown)
    assert report.n_unknown == 10
    assert report.average_accuracy == 35 / 40
    assert report.worst_group_accuracy == 1.0
    assert report.absent == ("y=1, group=1",)


def test_overlapping_groups_are_judged_each_by_its_members():
    y = np.array([0, 0, 1, 1, 1])
    guess = np.array([0, 1, 1, 0, 0])
    members = pd.DataFrame(
        {"black": [1, 1, 0, 0, 0], "female": [0, 1, 1, 1, 0], "muslim": [0, 0, 0, 0, 0]}
    )
    with pytest.warns(SeptetWarning, match="muslim"):
        report = group_report(y, guess, group_membership=members)
    assert [(row.name, row.n, row.correct) for row in report.groups] == [
        ("group=black", 2, 1),
        ("group=female", 3, 1),
        ("group=muslim", 0, 0),
    ]
    assert report.worst_group == "female"
    assert report.n_unknown == 1
    with pytest.raises(ValueError, match="memberships of zero or one; 5 entries"):
        group_report(y, guess, group_membership=np.full((5, 1), 0.5))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (([0, 1], [0]), r"of one length and not empty; got shapes \(2,\) and \(1,\)"),
        (([], []), "not empty"),
        (([0, 1], [0, 1], [-1, -1]), "no row has a known group"),
    ],
)
def test_bad_reports_are_refused(args, message):
    with pytest.raises(ValueError, match=message):
        group_report(*args)
    with pytest.raises(ValueError, match="no group of the training data occurs"):
        group_report([0, 1], [0, 1], training={"land": 3})


def test_the_worst_group_scorer_receives_groups_by_itself():
    X, y, a = spurious(120, 3)
    with sklearn.config_context(enable_metadata_routing=True):
        found = cross_validate(
            GroupDROClassifier(),
            X,
            y,
            params={"groups": a},
            cv=2,
            scoring=WorstGroupScorer(),
            return_estimator=True,
            return_indices=True,
            error_score="raise",
        )
    for i in range(2):
        test = found["indices"]["test"][i]
        guess = found["estimator"][i].predict(X[test])
        expected = worst_group_accuracy(y[test], guess, groups=a[test])
        assert found["test_score"][i] == expected
        assert expected == min(
            (guess == y[test])[(y[test] == k) & (a[test] == v)].mean()
            for k in (0, 1)
            for v in (0, 1)
        )


def test_two_equal_models_differ_by_nothing():
    y, guess, a = predictions((0.9, 0.8, 0.5, 0.9), (50, 20, 10, 50))
    found = compare_models(y, guess, guess, a, random_state=0)
    assert found.worst_group_difference == 0
    assert found.worst_group_interval == (0, 0)
    assert found.better == 0
    assert "no clear difference" in str(found)


def test_the_bootstrap_is_paired_and_stratified():
    # wholly correlated errors: the difference of a group's accuracies is certain
    y, first, a = predictions((1.0, 1.0, 1.0, 0.5), (10, 10, 10, 40))
    second = np.where((y == 1) & (a == 1), y, first)
    found = compare_models(y, first, second, a, random_state=0)
    assert found.worst_group_difference == 0.5
    se = np.sqrt(0.25 / 40)
    low, high = found.worst_group_interval
    assert low == pytest.approx(0.5 - 1.96 * se, abs=0.03)
    assert high == pytest.approx(0.5 + 1.96 * se, abs=0.03)
    assert found.group_intervals["y=0, group=0"] == (0.0, 0.0)
    assert "better" in str(found)
    assert json.loads(found.to_json())["better"] == 1.0
    again = compare_models(y, first, second, a, random_state=0)
    assert again == found


def test_the_interval_of_a_difference_covers(rng):
    sizes, both = 200, [0.15, 0.15, 0.05, 0.65]  # wrong, only second, only first, both right
    truth, hits = both[1] - both[2], 0
    for _ in range(200):
        cells = rng.multinomial(sizes, both)
        y = np.zeros(sizes, int)
        outcome = np.repeat(np.arange(4), cells)
        first, second = 1 - (outcome >= 2), 1 - outcome % 2
        found = compare_models(y, first, second, y, n_resamples=400, random_state=rng)
        low, high = found.worst_group_interval
        hits += low <= truth <= high
    assert hits / 200 >= 0.90
