"""Distances between trains, against brute force and their defining integrals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from septet.spiking import coincidence, van_rossum, victor_purpura

trains = st.lists(st.floats(0, 100), max_size=6)


def plain_victor_purpura(a, b, cost):
    a, b = sorted(a), sorted(b)
    table = np.zeros((len(a) + 1, len(b) + 1))
    table[:, 0], table[0] = np.arange(len(a) + 1), np.arange(len(b) + 1)
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            moved = table[i - 1, j - 1] + cost * abs(a[i - 1] - b[j - 1])
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, moved)
    return table[-1, -1]


@given(trains, trains, st.floats(0, 2))
def test_victor_purpura_is_the_cheapest_edit(a, b, cost):
    expected = plain_victor_purpura(a, b, cost)
    assert victor_purpura(a, b, cost=cost) == pytest.approx(expected, abs=1e-9)


@given(trains, trains, trains)
def test_victor_purpura_and_van_rossum_are_metrics(a, b, c):
    for distance in (victor_purpura, van_rossum):
        assert distance(a, a) == pytest.approx(0, abs=1e-6)
        assert distance(a, b) == pytest.approx(distance(b, a), abs=1e-9)
        assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-6


def test_van_rossum_is_the_integral_of_the_squared_difference(rng):
    a, b, tau = rng.uniform(0, 80, 5), rng.uniform(0, 80, 3), 7.0
    t = np.arange(0, 250, 1e-3) + 5e-4
    traces = [np.where(t > s, np.exp(-(t - s) / tau), 0.0) for s in (*a, *b)]
    difference = np.sum(traces[:5], axis=0) - np.sum(traces[5:], axis=0)
    expected = np.sqrt(2 / tau * np.sum(difference**2) * 1e-3)
    assert van_rossum(a, b, tau=tau) == pytest.approx(expected, rel=1e-3)


def test_far_trains_are_as_far_as_their_spikes_are_many():
    assert victor_purpura([1.0], [900.0]) == 2.0
    assert van_rossum([1.0], [900.0]) == pytest.approx(np.sqrt(2))


def test_chance_has_no_coincidence_and_equality_has_all(rng):
    duration = 1e5
    a, b = (rng.uniform(0, duration, 2000) for _ in range(2))
    assert coincidence(a, a, duration=duration) == pytest.approx(1.0)
    assert coincidence(a, b, duration=duration) == pytest.approx(0.0, abs=0.05)
    assert coincidence([], [], duration=10.0) == 1.0
    assert coincidence([5.0], [60.0], duration=100.0) < 0.0


def test_each_spike_takes_part_in_one_coincidence_at_most():
    once = coincidence([10.0], [9.0, 11.0], duration=1000.0)
    chance = 2 * 2.0 / 1000
    assert once == pytest.approx((1 - chance * 2) / 1.5 / (1 - chance))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: victor_purpura([np.nan], []), "first"),
        (lambda: victor_purpura([1.0], [2.0], cost=-1.0), "cost"),
        (lambda: van_rossum([1.0], [2.0], tau=0.0), "tau"),
        (lambda: coincidence([1.0] * 30, [2.0], duration=100.0), "too wide"),
    ],
)
def test_bad_trains_and_constants_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
