"""Spikes as CSV: what is written comes back; what cannot be meant is named by line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from septet._core.errors import DataError
from septet.spiking import SpikeBatch, format_spikes, read_spikes, write_spikes

TIMES = st.lists(st.floats(0.0, 100.0, allow_nan=False), max_size=5)


@given(st.lists(st.lists(TIMES, min_size=3, max_size=3), min_size=1, max_size=4))
def test_a_batch_comes_back_bit_for_bit(tmp_path_factory, patterns):
    batch = SpikeBatch.from_lists(patterns, duration=100.0)
    path = tmp_path_factory.mktemp("spikes") / "a.csv"
    write_spikes(batch, path)
    back = read_spikes(path)
    assert back.shape == batch.shape
    assert back.duration == batch.duration
    for p in range(len(batch)):
        for one, other in zip(back.trains(p), batch.trains(p), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_table_of_times_alone_is_one_train(tmp_path):
    (tmp_path / "a.csv").write_text("time\n7.5\n2\n")
    batch = read_spikes(tmp_path / "a.csv")
    assert batch.shape == (1, 1)
    assert batch.duration == 8.0
    assert batch.times.tolist() == [2.0, 7.5]


def test_what_the_caller_says_counts_more_than_what_the_file_says(tmp_path):
    path = tmp_path / "a.csv"
    write_spikes(SpikeBatch.from_lists([[[1.0]]], duration=10.0), path)
    assert read_spikes(path, n_units=3, n_patterns=2, duration=20.0).shape == (2, 3)


def test_an_empty_table_needs_no_spikes():
    empty = SpikeBatch.from_lists([[[]]], duration=10.0)
    assert format_spikes(empty).splitlines()[1:] == ["pattern,time,unit"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pattern,when\n0,1\n", "no column 'time'"),
        ("pattern,time\n0,1\nx,2\n", "line 3: pattern is no number: 'x'"),
        ("pattern,time\n0.5,1\n", "line 2: pattern is no number"),
        ("time\n\nnan\n", "line 3: time must be at least 0 and finite; got nan"),
        ("time\n-1\n", "line 2: time must be at least 0"),
        ("# n_units=1 duration=5.0\ntime,unit\n1,1\n", "unit 1 does not exist"),
        ("# duration=5.0\ntime\n6\n", "later than the duration"),
        ("# duration=five\ntime\n6\n", "line 1: duration is no number"),
        ("# n_patterns=1\npattern,time\n1,2\n", "line 3: the spike is of pattern 1; there are 1"),
        ("pattern,time\n-1,2\n", "line 2: the spike is of pattern -1"),
        ("# n_patterns=inf\ntime\n1\n", "line 1: n_patterns is no number: 'inf'"),
        ("# n_units=1.5\ntime\n1\n", "line 1: n_units is no number: '1.5'"),
        ("time,unit\n1,99999999999999999999\n", "too large"),
        ("time,unit\n1,4000000000\n", "n_units must be from 1 to 2147483647"),
        ("time\n", "holds no spikes and no first line"),
        ("time,unit\n1," + 200_000 * "0" + "\n", "cannot be read as CSV"),
        ("pattern,time\n0\n", "line 2: time is no number"),
    ],
)
def test_what_cannot_be_meant_is_named(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_spikes(tmp_path / "a.csv")


def test_a_file_that_is_not_there_is_missing_data(tmp_path):
    with pytest.raises(DataError, match="does not exist: no spikes to read"):
        read_spikes(tmp_path / "none.csv")


def test_patterns_numbered_far_apart_need_no_list_for_each(tmp_path):
    (tmp_path / "a.csv").write_text("pattern,time\n3000000,1\n7,2\n")
    batch = read_spikes(tmp_path / "a.csv")
    assert len(batch) == 3_000_001
    assert batch[7][0].tolist() == [2.0]


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"time\n\xff\xfe\n")
    with pytest.raises(DataError, match="no UTF-8"):
        read_spikes(tmp_path / "a.csv")
