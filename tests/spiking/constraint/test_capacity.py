"""Capacity: random associations, the search for the largest load, and the curve over seeds."""

import joblib
import numpy as np
import pytest

from septet.spiking import (
    LIF,
    CapacityCurve,
    SpikeTrainLearner,
    UnreachableTargetsError,
    capacity,
    random_associations,
)


def test_patterns_of_a_seed_do_not_depend_on_how_many_are_drawn():
    few, few_targets = random_associations(2, 20, 3, random_state=4)
    many, many_targets = random_associations(5, 20, 3, random_state=4)
    assert many[:2] == few
    assert all(np.array_equal(a, b) for a, b in zip(few_targets, many_targets, strict=False))


def test_desired_spikes_keep_their_distance_and_fill_the_pattern():
    _, targets = random_associations(2000, 1, 5, duration=101.0, random_state=0)
    trains = np.array(targets)
    assert np.diff(trains).min() >= 10.0
    assert trains.min() >= 30.0
    assert trains.max() <= 100.0
    # squeezed to the free 30 ms the k-th of 5 uniform times has mean 30 k / 6
    expected = 30.0 + 30.0 * np.arange(1, 6) / 6 + 10.0 * np.arange(5)
    np.testing.assert_allclose(trains.mean(axis=0), expected, atol=0.6)


def test_inputs_have_the_rate_asked_for():
    inputs, _ = random_associations(20, 100, 0, input_rate=8.0, random_state=0)
    expected = 20 * 100 * 8.0 * 0.5
    assert abs(inputs.n_spikes - expected) < 5 * np.sqrt(expected)


def test_spikes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="8 desired spikes 10 ms apart do not fit"):
        random_associations(1, 5, 8, duration=90.0)


def test_a_curve_counts_seeds_and_its_capacity_is_where_half_of_them_fail():
    curve = CapacityCurve(20, 2, np.array([1, 3, 2, 3]), 0)
    np.testing.assert_allclose(curve.loads, [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(curve.solved, [1.0, 0.75, 0.5, 0.0])
    assert curve.alpha_c == pytest.approx(0.3)
    assert curve.interval == pytest.approx((0.1, 0.3))  # four seeds: their whole range


def test_the_interval_of_ten_seeds_leaves_one_out_at_either_end():
    curve = CapacityCurve(10, 1, np.arange(1, 11), 0)
    # P(Binomial(10, 1/2) <= 1) = 11 / 1024 is at most 0.025, P(<= 2) = 56 / 1024 is not
    assert curve.interval == pytest.approx((0.2, 0.9))


@pytest.mark.parametrize("n_spikes", [1, 2, 5])
def test_a_leaky_neuron_stores_between_a_tenth_and_four_tenths_spikes_per_synapse(n_spikes):
    curve = capacity(LIF(), 100, n_spikes, 3)
    assert 0.12 <= curve.alpha_c <= 0.42
    assert curve.undecided == 0


def test_one_pattern_more_than_the_largest_number_is_proved_impossible():
    (most,) = capacity(None, 60, 3, [7]).n_patterns
    learner = SpikeTrainLearner(margin=0.01, min_slope=0.002)
    inputs, targets = random_associations(most, 60, 3, random_state=7)
    assert learner.fit(inputs, targets).exact_
    inputs, targets = random_associations(most + 1, 60, 3, random_state=7)
    with pytest.raises(UnreachableTargetsError) as caught:
        learner.fit(inputs, targets)
    assert caught.value.certificate.check(inputs, targets) > 100.0


def test_a_neuron_that_cannot_answer_even_one_pattern_has_capacity_0():
    curve = capacity(None, 2, 4, 2)
    assert curve.alpha_c == 0.0
    assert curve.solved.tolist() == [0.0]


def test_the_result_does_not_depend_on_the_number_of_workers():
    alone = capacity(None, 40, 2, 4)
    with joblib.parallel_config("threading"):
        together = capacity(None, 40, 2, 4, n_jobs=2)
    np.testing.assert_array_equal(alone.n_patterns, together.n_patterns)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_the_seeds_can_run_on_a_dask_cluster():
    distributed = pytest.importorskip("distributed")
    alone = capacity(None, 40, 2, 4)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config("dask", wait_for_workers_timeout=60),
    ):
        there = capacity(None, 40, 2, 4)
        assert len(client.scheduler_info()["workers"]) == 2
    np.testing.assert_array_equal(alone.n_patterns, there.n_patterns)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"seeds": []}, "seeds must name"),
        ({"n_spikes": 0}, "n_spikes must be at least 1"),
        ({"n_inputs": 0}, "n_inputs must be at least 1"),
        ({"n_spikes": 60}, "do not fit"),
        ({"lif": LIF(tau_s=0.0)}, "needs synaptic currents"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        capacity(**{"n_inputs": 20, "n_spikes": 2, "seeds": 1} | change)
