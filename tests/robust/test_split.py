"""Splits for the phases: disjoint, complete, stratified, seeded; worked sizes of the paper."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from septet._core.errors import SeptetWarning
from septet.robust import cris_split, pseudo_groups, sample_labels

PARTS = ("phase_one", "phase_one_selection", "retraining", "selection")


def waterbirds(counts=(467, 466, 133, 133)):
    y = np.repeat([0, 0, 1, 1], counts)
    return y, np.repeat([0, 1, 0, 1], counts)


@given(
    cells=st.lists(st.integers(2, 30), min_size=4, max_size=4),
    p=st.floats(0.01, 0.99),
    selecting=st.sampled_from([0.0, 0.3, 0.5]),
    validating=st.sampled_from([0.0, 0.2]),
    seed=st.integers(0, 9),
)
def test_the_parts_are_disjoint_and_together_all_rows(cells, p, selecting, validating, seed):
    y, a = waterbirds(cells)
    a = np.concatenate([a, np.full(20, -1)])
    y = np.concatenate([y, np.arange(20) % 2])
    split = cris_split(
        y,
        a,
        retrain_fraction=p,
        selection_fraction=selecting,
        validation_fraction=validating,
        random_state=seed,
    )
    rows = np.concatenate([getattr(split, part) for part in PARTS])
    assert np.array_equal(np.sort(rows), np.arange(len(y)))
    assert (a[split.retraining] >= 0).all()
    assert (a[split.selection] >= 0).all()
    assert (a[split.phase_one_selection] < 0).all()
    # every group keeps a row that retrains the head
    assert len(np.unique(2 * y[split.retraining] + a[split.retraining])) == 4


@pytest.mark.parametrize(("p", "sizes"), [(0.3, (3356, 1439)), (0.5, (2397, 2398))])
def test_the_sizes_are_those_of_the_paper(p, sizes):
    y, a = waterbirds((3498, 184, 56, 1057))
    split = cris_split(y, a, retrain_fraction=p, random_state=0)
    assert (len(split.phase_one), len(split.retraining)) == sizes
    counts = np.bincount(2 * y[split.retraining] + a[split.retraining])
    assert (np.abs(counts - p * np.array([3498, 184, 56, 1057])) <= 1).all()


@pytest.mark.parametrize(
    ("fraction", "per_group"),
    [(0.05, (24, 24, 7, 7)), (0.1, (47, 47, 14, 14)), (0.2, (94, 94, 27, 27))],
)
def test_reduced_labels_are_a_random_part_of_each_group_rounded_up(fraction, per_group):
    y, a = waterbirds()
    rows = sample_labels(y, a, fraction, random_state=0)
    assert np.bincount((2 * y + a)[rows]).tolist() == list(per_group)
    assert not np.array_equal(rows, sample_labels(y, a, fraction, random_state=1))
    assert np.array_equal(rows, sample_labels(y, a, fraction, random_state=0))


def test_a_seed_gives_one_split_and_another_seed_another():
    y, a = waterbirds()
    one, same, other = (cris_split(y, a, random_state=seed) for seed in (0, 0, 1))
    assert np.array_equal(one.retraining, same.retraining)
    assert not np.array_equal(one.retraining, other.retraining)


def test_a_group_of_one_row_goes_to_retraining_with_a_warning():
    y, a = waterbirds((20, 1, 20, 20))
    with pytest.warns(SeptetWarning, match=r"1 group has one row only \(y=0, group=1\)"):
        split = cris_split(y, a, selection_fraction=0.5, random_state=0)
    assert 20 in split.retraining


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"groups": None}, "no group labels were given: pass groups"),
        ({"groups": [-1] * 4}, "none of the 4 rows has a group label: label a few"),
        ({"retrain_fraction": 0.0}, "retrain_fraction must be greater than 0"),
        ({"retrain_fraction": 1.5}, "retrain_fraction must be at most 1"),
        ({"retrain_fraction": 1.0}, "no row is left to train the network"),
        ({"groups": [0, 1]}, "got 2 for 4 rows"),
    ],
)
def test_bad_input_is_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        cris_split([0, 0, 1, 1], **{"groups": [0, 0, 0, 0]} | kwargs)


def test_pseudo_groups_number_class_and_error():
    y, guess = np.array([0, 1, 2, 2, 1]), np.array([0, 2, 2, 0, 1])
    assert pseudo_groups(y, guess).tolist() == [0, 3, 4, 5, 2]
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        pseudo_groups([0, 1], [0, 1, 1])
