"""Encoders: worked numbers, scikit-learn's own checks, and what is refused."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from septet.spiking import (
    GaussianReceptiveFieldEncoder,
    LatencyEncoder,
    PoissonEncoder,
    SpikeBatch,
)


@parametrize_with_checks(
    [LatencyEncoder(), GaussianReceptiveFieldEncoder(), PoissonEncoder(random_state=0)]
)
def test_they_are_estimators(estimator, check):
    check(estimator)


class TestLatency:
    def test_larger_values_fire_earlier_and_small_ones_not_at_all(self):
        encoder = LatencyEncoder(limits=(0.0, 1.0)).fit([[0.0] * 5])
        batch = encoder.transform([[1.0, 0.55, 0.1001, 0.1, 0.0]])
        assert [t.tolist() for t in batch.trains(0)][3:] == [[], []]
        assert batch.times == pytest.approx([0.0, 20.0, 0.8999 / 0.9 * 40])
        assert batch.duration == 80.0

    def test_the_range_is_that_of_the_training_data(self):
        encoder = LatencyEncoder().fit([[2.0, 4.0], [6.0, 3.0]])
        assert encoder.limits_ == (2.0, 6.0)
        assert encoder.transform([[9.0, -5.0]]).times.tolist() == [0.0]

    def test_a_constant_is_silent(self):
        assert LatencyEncoder().fit_transform([[3.0, 3.0]]).n_spikes == 0


class TestGaussianReceptiveFields:
    def test_centres_and_widths_are_bohtes(self):
        encoder = GaussianReceptiveFieldEncoder(n_fields=4, beta=1.5, cutoff=0.0)
        encoder.fit([[0.0], [1.0]])
        got = encoder.transform([[0.1]])
        centres, width = np.array([-0.25, 0.25, 0.75, 1.25]), 1 / (1.5 * 2)
        response = np.exp(-0.5 * ((0.1 - centres) / width) ** 2)
        assert np.concatenate(got.trains(0)) == pytest.approx((1 - response) * 40)

    def test_features_have_ranges_and_units_of_their_own(self):
        X = np.array([[0.0, 100.0], [1.0, 300.0], [0.5, 200.0]])
        encoder = GaussianReceptiveFieldEncoder().fit(X)
        batch = encoder.transform(X)
        assert batch.n_units == 16
        trains = batch.trains(2)
        for one, other in zip(trains[:8], trains[8:], strict=True):
            assert one == pytest.approx(other)

    def test_values_outside_count_as_the_ends(self):
        encoder = GaussianReceptiveFieldEncoder().fit([[0.0], [1.0]])
        outside, ends = (encoder.transform(X) for X in ([[-3.0], [7.0]], [[0.0], [1.0]]))
        assert np.array_equal(outside.times, ends.times)

    def test_a_constant_feature_is_encoded_all_the_same(self):
        batch = GaussianReceptiveFieldEncoder().fit_transform([[5.0], [5.0]])
        assert 0 < batch.n_spikes < 16


class TestPoisson:
    def test_rates_are_proportional_to_the_values(self):
        encoder = PoissonEncoder(200.0, duration=1000.0, limits=(0.0, 1.0), random_state=1)
        X = np.tile(np.linspace(0, 1, 5), (400, 1)) + np.arange(400)[:, None] * 1e-12
        counts = encoder.fit_transform(X).counts()
        expected = 200.0 * np.linspace(0, 1, 5)
        assert np.abs(counts.mean(axis=0) - expected).max() < 4 * np.sqrt(200 / 400)
        assert counts.var(axis=0)[1:] == pytest.approx(expected[1:], rel=0.3)

    def test_times_are_uniform_and_ascend(self):
        batch = PoissonEncoder(300.0, duration=2000.0, random_state=0).fit_transform([[0.0, 1.0]])
        assert (np.diff(batch.times) >= 0).all()
        assert batch.times.mean() == pytest.approx(1000.0, abs=4 * 2000 / np.sqrt(12 * 600))

    def test_a_sample_has_its_trains_whatever_stands_beside_it(self):
        X = np.random.default_rng(0).uniform(size=(5, 3))
        encoder = PoissonEncoder(random_state=2).fit(X)
        whole, one = encoder.transform(X), encoder.transform(X[[3]])
        assert np.array_equal(whole[3][0], one[0][0])
        assert not np.array_equal(whole[2][0], whole[3][0])

    def test_seeds_repeat_and_differ(self):
        X = np.random.default_rng(0).uniform(size=(5, 3))
        a, b, c = (PoissonEncoder(random_state=s).fit_transform(X).times for s in (1, 1, 2))
        assert np.array_equal(a, b)
        assert not np.array_equal(a, c)
        fresh = [PoissonEncoder().fit_transform(X).times.tolist() for _ in range(2)]
        assert fresh[0] != fresh[1]


def test_the_counts_of_a_batch_feed_any_estimator():
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(80, 4))
    y = X[:, 0] > 0.5
    model = make_pipeline(PoissonEncoder(500.0, random_state=0), LogisticRegression()).fit(X, y)
    assert model.score(X, y) > 0.85
    batch = SpikeBatch.from_lists([[[1.0, 2.0], []]], duration=5.0)
    assert np.asarray(batch).tolist() == [[2, 0]]
    assert np.asarray(batch, dtype=np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="they cannot be a view"):
        np.array(batch, copy=False)


@pytest.mark.parametrize(
    ("encoder", "match"),
    [
        (LatencyEncoder(window=0.0), "window must be greater than 0"),
        (LatencyEncoder(duration=30.0), "duration must be at least 40"),
        (LatencyEncoder(cutoff=1.0), "cutoff must be less than 1"),
        (LatencyEncoder(limits=(1.0, 1.0)), r"limits must ascend; got \(1, 1\)"),
        (GaussianReceptiveFieldEncoder(2), "n_fields must be at least 3"),
        (GaussianReceptiveFieldEncoder(beta=0.0), "beta must be greater than 0"),
        (PoissonEncoder(-1.0), "max_rate must be greater than 0"),
        (PoissonEncoder(random_state=-1), "random_state must not be negative"),
    ],
)
def test_settings_are_named(encoder, match):
    with pytest.raises(ValueError, match=match):
        encoder.fit([[0.0, 1.0]])
