"""What a batch of spike patterns accepts, refuses and gives back."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from septet.spiking import SpikeBatch, from_aer, from_events, to_aer, to_events


def small() -> SpikeBatch:
    return SpikeBatch.from_lists([[[4.0, 1.0], [2.0]], [[], []], [[0.0], [10.0]]], duration=10.0)


def test_lists_are_merged_in_order_of_time():
    times, ids = small()[0]
    assert times.tolist() == [1.0, 2.0, 4.0]
    assert ids.tolist() == [0, 1, 0]
    assert small().shape == (3, 2)
    assert small().counts().tolist() == [[2, 1], [0, 0], [1, 1]]
    assert [train.tolist() for train in small().trains(0)] == [[1.0, 4.0], [2.0]]


def test_equal_events_are_legal_and_kept():
    batch = SpikeBatch.from_pairs([([1.0, 1.0], [0, 0])], n_units=1, duration=2.0)
    assert batch.n_spikes == 2


def test_slices_arrays_and_masks_pick_patterns():
    batch = small()
    assert batch[1:] == SpikeBatch.from_lists([[[], []], [[0.0], [10.0]]], duration=10.0)
    assert batch[[2, 0]][1][0].tolist() == batch[0][0].tolist()
    assert batch[np.array([True, False, True])] == batch[[0, 2]]
    assert batch[-1][0].tolist() == [0.0, 10.0]
    assert len(batch[[]]) == 0
    with pytest.raises(IndexError):
        batch[3]


def test_batches_join_and_survive_pickling():
    batch = small()
    assert SpikeBatch.concatenate([batch[:1], batch[1:]]) == batch
    assert pickle.loads(pickle.dumps(batch)) == batch
    with pytest.raises(ValueError, match="one number of units"):
        SpikeBatch.concatenate([batch, SpikeBatch([], [], [0], n_units=3, duration=10.0)])


def test_the_arrays_are_copies_that_nobody_can_change():
    times = np.array([1.0, 2.0])
    batch = SpikeBatch(times, [0, 0], [0, 2], n_units=1, duration=5.0)
    times[0] = 4.0
    assert batch.times[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        batch.times[0] = 3.0


def test_float32_times_are_accepted_and_kept_in_float64():
    batch = SpikeBatch(np.float32([0.1]), [0], [0, 1], n_units=1, duration=5.0)
    assert batch.times.dtype == np.float64
    assert batch.times[0] == np.float32(0.1)


@pytest.mark.parametrize(
    ("times", "ids", "message"),
    [
        ([0.0, 1.0, np.nan], [0, 0, 0], r"pattern 1, event 1: time nan is not finite"),
        ([0.0, 1.0, np.inf], [0, 0, 0], r"pattern 1, event 1: time inf is not finite"),
        ([0.0, -1.0, 2.0], [0, 0, 0], r"pattern 1, event 0: time -1 ms is negative"),
        ([0.0, 1.0, 5.5], [0, 0, 0], r"pattern 1, event 1: .* later than the duration, 5 ms"),
        ([0.0, 3.0, 1.0], [0, 0, 0], r"pattern 1, event 1: time 1 ms follows 3 ms"),
        ([0.0, 1.0, 2.0], [0, 0, 2], r"pattern 1, event 1: unit 2 does not exist"),
        ([0.0, 1.0, 2.0], [0, -1, 0], r"pattern 1, event 0: unit -1 does not exist"),
    ],
)
def test_a_bad_event_is_named_by_pattern_and_position(times, ids, message):
    with pytest.raises(ValueError, match=message):
        SpikeBatch(times, ids, [0, 1, 3], n_units=2, duration=5.0)


def test_unsorted_events_are_sorted_only_on_request():
    batch = SpikeBatch([3.0, 1.0], [0, 1], [0, 2], n_units=2, duration=5.0, sort=True)
    assert batch.times.tolist() == [1.0, 3.0]
    assert batch.ids.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SpikeBatch([1.0], [0], [0, 2], n_units=1, duration=2.0), "indptr must run"),
        (lambda: SpikeBatch([1.0], [0], [0, 2, 1], n_units=1, duration=2.0), "not descend"),
        (lambda: SpikeBatch([1.0], [0, 0], [0, 1], n_units=1, duration=2.0), "one length"),
        (lambda: SpikeBatch([1.0], [0], [0, 1], n_units=0, duration=2.0), "n_units"),
        (lambda: SpikeBatch([1.0], [2**31], [0, 1], n_units=2**32, duration=2.0), "n_units must"),
        (lambda: SpikeBatch([1.0], [0], [0, 1], n_units=1, duration=0.0), "duration"),
        (lambda: SpikeBatch.from_lists([[[1.0]], [[], []]], duration=2.0), "same number"),
        (lambda: SpikeBatch.from_pairs([([1.0], [])], n_units=1, duration=2.0), "pattern 0"),
        (lambda: SpikeBatch.from_raster([[0.5]], dt=1.0), "whole counts"),
        (lambda: SpikeBatch.from_raster([1, 0], dt=1.0), "patterns, steps, units"),
    ],
)
def test_malformed_batches_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_fractional_units_are_refused_rather_than_cut():
    with pytest.raises(TypeError, match="ids must hold integers"):
        SpikeBatch([1.0], [0.5], [0, 1], n_units=1, duration=2.0)


@given(arrays(np.int64, (2, 7, 3), elements=st.integers(0, 2)), st.sampled_from([0.1, 0.3, 1.0]))
def test_a_raster_survives_the_way_there_and_back(raster, dt):
    assert np.array_equal(SpikeBatch.from_raster(raster, dt=dt).to_raster(dt=dt), raster)


def test_event_arrays_and_aer_words_survive_the_way_there_and_back(rng):
    times = np.sort(rng.integers(0, 50_000, 40)) / 1000
    batch = SpikeBatch.from_pairs([(times, rng.integers(0, 12, 40))], n_units=12, duration=50.0)
    size = (3, 2, 2)
    again = from_events(to_events(batch, sensor_size=size), sensor_size=size, duration=50.0)
    assert np.array_equal(again.ids, batch.ids)
    assert again.times == pytest.approx(batch.times, abs=1e-12)
    words = from_aer(to_aer(batch), n_units=12, duration=50.0)
    assert np.array_equal(words.ids, batch.ids)
    assert words.times == pytest.approx(batch.times, abs=1e-12)


def test_aer_words_are_big_endian_address_then_time():
    batch = SpikeBatch.from_pairs([([1.5], [258])], n_units=300, duration=5.0)
    assert to_aer(batch) == [bytes([0, 0, 1, 2, 0, 0, 0x05, 0xDC])]


def test_events_outside_the_sensor_and_torn_words_are_refused():
    event = np.array([(5, 0, 10)], dtype=[("x", int), ("p", int), ("t", int)])
    with pytest.raises(ValueError, match=r"pattern 0, event 0: x = 5 is outside the sensor"):
        from_events([event], sensor_size=(5, 1, 1))
    with pytest.raises(ValueError, match="fields x and t"):
        from_events([np.zeros(1, dtype=[("t", int)])], sensor_size=(5, 1, 1))
    with pytest.raises(ValueError, match="no whole number"):
        from_aer([b"123"], n_units=1, duration=1.0)
    with pytest.raises(ValueError, match="exceed 32 bits"):
        to_aer(SpikeBatch([], [], [0], n_units=1, duration=5e6))
    with pytest.raises(ValueError, match="sensor_size must be from 1 to 32768; got 40000"):
        to_events(SpikeBatch([], [], [0], n_units=40_000, duration=5.0), sensor_size=(40_000, 1, 1))
    with pytest.raises(ValueError, match="has 4 pixels"):
        to_events(small(), sensor_size=(2, 2, 1))
