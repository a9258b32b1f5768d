"""Auditing: fairness over all pairs, groups, and the comparison with other mechanisms."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from septet.cohort import audit, selection_probabilities
from septet.cohort._audit import worst_pair
from septet.cohort._marginals import largest_excess

TABLE = {  # utility, relative to the optimum, smallest ratio, largest violation
    "linear optimum": (9.08875, 1, 0, 0),
    "ratio optimum": (7.16156, 0.78796, 0.36754, 0),
    "permute then classify": (7.17081, 0.78898, 0.36527, 0),
    "weighted sampling": (5.51932, 0.60727, 0.14124, 0),
    "uniform": (5.44153, 0.59871, 0.13052, 0),
    "top k": (11.69779, 1.28706, 0, 0.99242),
}
NARROW = {
    "linear optimum": (1, 0),
    "ratio optimum": (1, 0),
    "permute then classify": (0.99171, 0),
    "weighted sampling": (0.88028, 0),
    "uniform": (0.86359, 0),
    "top k": (1.78970, 0.99969),
}


def test_the_comparison_on_synthetic_scores_is_the_published_one():
    rng = np.random.default_rng(7)
    report = audit(rng.beta(2, 5, 200), 20)
    assert [row.name for row in report.mechanisms] == list(TABLE)
    for row in report.mechanisms:
        found = (row.utility, row.relative, row.min_ratio, row.violation)
        np.testing.assert_allclose(found, TABLE[row.name], atol=6e-6)
    narrow = audit(rng.random(200) * 0.08, 20)
    for row in narrow.mechanisms:
        np.testing.assert_allclose((row.relative, row.violation), NARROW[row.name], atol=6e-6)


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=12),
)
def test_the_worst_pair_is_the_worst_of_all_pairs(rows):
    s, p = (np.array(column) / 8 for column in zip(*rows, strict=True))
    excess = np.abs(np.subtract.outer(p, p)) - np.abs(np.subtract.outer(s, s))
    low, high, found = worst_pair(s, p)
    n = len(rows)
    off = excess[~np.eye(n, dtype=bool)]
    assert found == (off.max() if n > 1 else 0)
    assert largest_excess(s, p) == max(0, excess.max())
    if n > 1:
        assert excess[low, high] == found
        assert p[low] <= p[high]


def test_unfair_probabilities_are_named_with_the_pair():
    report = audit([0.5, 0.6, 0.9], p=[0.0, 1.0, 0.0], id=["a", "b", "c"])
    assert (report.fair, report.k, report.worst_pair) == (False, 1, ("a", "b"))
    assert report.violation == pytest.approx(0.9)
    assert "NOT FAIR: 'b' is preferred to 'a' by 0.9 more than their scores differ" in str(report)


def test_groups_outcomes_and_seats_are_counted():
    frame = pd.DataFrame(
        {"s": [0.9, 0.7, 0.2, 0.2], "g": ["x", "x", "y", "y"], "good": [1, 0, 1, 0]}
    )
    report = audit(frame, 2, score="s", group="g", outcome="good", chosen=[0, 1])
    x, y = report.groups
    assert (x.label, x.n, x.selected, y.selected) == ("x", 2, 2, 0)
    assert x.mean_score == pytest.approx(0.8)
    assert x.expected == pytest.approx(1.6)
    assert (x.impact_ratio, y.impact_ratio) == (1, pytest.approx(0.25))
    assert report.mechanisms[0].outcome == pytest.approx(0.9 + 0.2)
    assert "impact ratio" in str(report)
    assert report.to_dict()["groups"][1]["label"] == "y"


def test_a_frames_own_column_of_probabilities_can_be_audited():
    frame = pd.DataFrame({"s": [0.9, 0.1], "p": [0.75, 0.25]})
    report = audit(frame, score="s", p="p")
    assert (report.fair, report.mechanisms[0].name) == (True, "this selection")
    assert {row.name for row in report.mechanisms} >= {"linear optimum", "uniform"}


def test_marginals_know_their_scores_and_size():
    p = selection_probabilities([0.9, 0.5, 0.1], 1, objective="ratio")
    report = audit(p)
    assert (report.k, report.mechanisms[0].name) == (1, "ratio optimum")
    assert audit([0.9, 0.5, 0.1], p=p).mechanisms == report.mechanisms
    assert audit(p, id=["a", "b", "c"]).worst_pair == ("b", "a")
    with pytest.raises(TypeError, match="p must be left out"):
        audit(p, p=[1.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "k is needed"),
        ({"p": [0.5]}, ValueError, "p must have 2 entries, one per candidate; got 1"),
        ({"p": [0.5, 0.4]}, ValueError, "p must add up to the cohort size, 1; got 0.9"),
        ({"k": 2, "p": [0.5, 0.5]}, ValueError, "p must add up to the cohort size, 2; got 1"),
        ({"p": [0.5, 1.5]}, ValueError, r"p\[1\] = 1.5 is no probability"),
        ({"p": "p"}, TypeError, "p='p' names a column, but the candidates are no frame"),
        ({"k": 1, "group": ["a"]}, ValueError, "group must have 2 entries"),
        ({"k": 1, "outcome": [1, 2, 3]}, ValueError, "outcome must have 2 entries; got 3"),
        ({"k": 1, "objective": "x"}, ValueError, "objective must be one of"),
        ({"k": 2, "p": selection_probabilities([0.2, 0.5], 1)}, ValueError, "k must be 1, .*got 2"),
    ],
)
def test_what_cannot_be_audited_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        audit([0.25, 0.5], **options)


def test_nobody_and_a_single_candidate():
    assert audit([0.3], 1).fair
    assert audit([0.3, 0.4], 0).mechanisms[0].relative == 1
    assert audit([0.0, 0.0], 1).mechanisms[0].min_ratio is None
