import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse

from septet.robust._groups import read_groups

Y = [0, 0, 1, 1, 1, 0]


@pytest.mark.parametrize(
    "groups",
    [
        [0, 1, 0, 1, -1, 1],
        np.array([0, 1, 0, 1, np.nan, 1]),
        [0, 1, 0, 1, None, 1],
        ["0", "1", "0", "1", None, "1"],
        np.array(["0", "1", "0", "1", float("nan"), "1"], dtype=object),
        pd.Series([0, 1, 0, 1, pd.NA, 1], dtype="Int64"),
        pd.Series(["a", "b", "a", "b", pd.NA, "b"]),
        pd.Categorical(["a", "b", "a", "b", None, "b"]),
        pl.Series("c", [0, 1, 0, 1, None, 1]),
        pl.Series("c", ["a", "b", "a", "b", None, "b"], dtype=pl.Categorical),
        pd.DataFrame({"c": ["a", "b", "a", "b", None, "b"]}),
        pl.DataFrame({"c": [False, True, False, True, None, True]}),
        np.array([[0, 5], [1, 5], [0, 5], [1, 5], [0, -1], [1, 5]]),
    ],
    ids=lambda groups: type(groups).__name__,
)
def test_every_kind_of_label_gives_the_same_groups(groups):
    table = read_groups(groups, Y)
    assert table.codes.tolist() == [0, 1, 2, 3, -1, 1]
    assert table.counts.tolist() == [1, 2, 1, 1]
    assert table.known.tolist() == [True] * 4 + [False, True]


def test_integers_keep_their_value_when_a_missing_entry_makes_them_floats():
    assert read_groups([0.0, np.nan, 7.0], [0, 1, 1]).keys == ((0, 0), (1, 7))


def test_a_chosen_value_means_unknown():
    table = read_groups(["?", "a", "b"], [0, 0, 0], unknown_group="?")
    assert table.codes.tolist() == [-1, 0, 1]
    assert read_groups([9, 1, -1], [0, 0, 0], unknown_group=9).codes.tolist() == [-1, 1, 0]


def test_cells_that_never_occur_are_listed_and_are_no_groups():
    table = read_groups(["w", "l", "w"], [0, 0, 1])
    assert table.keys == ((0, "l"), (0, "w"), (1, "w"))
    assert table.absent == ((1, "l"),)
    assert table.names == ("y=0, group=l", "y=0, group=w", "y=1, group=w")


def test_groups_may_mix_classes_when_not_crossed():
    table = read_groups(np.array(["b", "a", "b"]), [0, 1, 1], cross_with_label=False)
    assert table.keys == ("a", "b")
    assert table.codes.tolist() == [1, 0, 1]


def test_labels_of_several_types_are_sorted_somehow_and_kept_apart():
    table = read_groups([1, "1", 1, True], [0] * 4, cross_with_label=False)
    assert len(set(table.codes.tolist())) == 2  # Python holds 1 and True equal


@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_array, pd.DataFrame, pl.DataFrame])
def test_memberships_may_be_dense_sparse_or_frames(kind):
    membership = np.array([[1.0, 0.5], [0.0, 0.0], [0.0, 2.0]])
    table = read_groups(None, [0, 1, 1], membership=kind(membership))
    assert table.counts.tolist() == [1.0, 2.5]
    assert table.known.tolist() == [True, False, True]
    with pytest.raises(ValueError, match="1 rows belong to more than one"):
        _ = table.codes


def test_names_of_columns_name_the_groups():
    frame = pd.DataFrame({"place": ["w", "l"], "night": [1, 0]})
    assert read_groups(frame, [0, 1]).names == ("y=0, place=w, night=1", "y=1, place=l, night=0")
