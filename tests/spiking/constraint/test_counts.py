"""Desired numbers of spikes: critical thresholds, and learning them."""

import numpy as np
import pytest

from septet.spiking import (
    LIF,
    SpikeBatch,
    SpikeCountLearner,
    critical_thresholds,
    peak_potentials,
    random_associations,
    simulate,
)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("seed", range(4))
def test_a_neuron_fires_k_times_just_below_its_kth_critical_threshold(seed, backend):
    rng = np.random.default_rng(seed)
    trains = [np.sort(rng.uniform(0, 150, 4)).tolist() for _ in range(12)]
    inputs = SpikeBatch.from_lists([trains], duration=200.0)
    weights = rng.uniform(0.0, 0.6, 12)
    for k, threshold in enumerate(
        critical_thresholds(LIF(), inputs, weights, 3, backend=backend), start=1
    ):
        below, above = (
            simulate(LIF(threshold=threshold * factor), inputs, weights[None]).n_spikes
            for factor in (1 - 1e-6, 1 + 1e-6)
        )
        assert below >= k > above


def task(n_patterns=12, n_units=120, seed=0):
    """Random patterns of three classes that want one, two and three spikes."""
    inputs, _ = random_associations(n_patterns, n_units, 0, duration=200.0, random_state=seed)
    return inputs, np.arange(n_patterns) % 3 + 1


class TestCriticalThresholds:
    def test_above_the_highest_potential_nothing_fires(self):
        inputs, _ = task(1)
        w = np.full(120, 0.2)
        (first,) = critical_thresholds(LIF(), inputs, w, 1)
        assert first == pytest.approx(peak_potentials(LIF(), inputs, w[None])[0, 0], rel=1e-9)

    def test_they_descend_and_scale_with_the_weights(self):
        inputs, _ = task(1)
        w = np.random.default_rng(1).normal(0.1, 0.2, 120)
        once, twice = (critical_thresholds(LIF(), inputs, scale * w, 5) for scale in (1, 2))
        assert (np.diff(once) <= 0).all()
        assert twice == pytest.approx(2 * once)

    @pytest.mark.parametrize(
        ("lif", "weights", "match"),
        [
            (LIF(t_ref=1.0), [0.1] * 120, "without a refractory period"),
            (LIF(tau_s=0.0), [0.1] * 120, r"synaptic currents \(tau_s > 0\)"),
            (LIF(), np.ones((2, 120)), "one neuron; got 2 neurons"),
        ],
    )
    def test_where_they_are_not_defined_is_said(self, lif, weights, match):
        with pytest.raises(ValueError, match=match):
            critical_thresholds(lif, task(1)[0], weights, 1)


class TestSpikeCountLearner:
    @pytest.mark.parametrize("settings", [{}, {"block_size": 4, "soft_C": 1.0}, {"soft_C": 1000.0}])
    def test_a_free_run_fires_as_often_as_desired(self, settings):
        inputs, wanted = task()
        learner = SpikeCountLearner(random_state=0, **settings).fit(inputs, wanted)
        assert learner.converged_
        assert learner.predict(inputs).counts()[:, 0].tolist() == wanted.tolist()
        assert learner.errors_[-1] == 0
        assert len(learner.errors_) == learner.n_epochs_ > 1

    def test_silence_and_several_neurons(self):
        inputs, wanted = task(6)
        both = np.column_stack([wanted, np.zeros(6, dtype=int)])
        learner = SpikeCountLearner(random_state=0).fit(inputs, both)
        assert (learner.predict(inputs).counts() == both).all()

    def test_weights_have_the_unit_of_the_threshold(self):
        inputs, wanted = task(6)
        one, tiny = (
            SpikeCountLearner(LIF(threshold=theta), random_state=0).fit(inputs, wanted)
            for theta in (1.0, 2.0**-30)
        )
        assert one.converged_
        assert np.array_equal(tiny.coef_, 2.0**-30 * one.coef_)

    def test_plain_and_compiled_agree(self):
        inputs, wanted = task(2, 30)
        fits = [
            SpikeCountLearner(random_state=0, solver=solver, max_epochs=2).fit(inputs, wanted)
            for solver in ("numpy", "numba")
        ]
        assert fits[0].errors_ == fits[1].errors_
        assert fits[0].coef_ == pytest.approx(fits[1].coef_, abs=1e-6)

    def test_a_pattern_without_inputs_can_only_be_silent_and_is_counted_as_wrong(self):
        inputs = SpikeBatch.from_lists([[[]], [[0.0]]], duration=50.0)
        learner = SpikeCountLearner(max_epochs=3, random_state=0).fit(inputs, [1, 1])
        assert not learner.converged_
        assert learner.errors_[-1] == 1
        assert learner.predict(inputs).counts().ravel().tolist() == [0, 1]

    @pytest.mark.parametrize(
        ("settings", "targets", "error", "match"),
        [
            ({}, [1.5, 1.0], TypeError, "whole numbers, one per pattern"),
            ({}, [1, -1], ValueError, "pattern 1, neuron 0: -1 spikes"),
            ({}, [1], ValueError, "with 2 patterns"),
            ({"relax": 2.0}, [1, 1], ValueError, "relax must be less than 2"),
            ({"soft_C": 0.0}, [1, 1], ValueError, "soft_C must be greater than 0"),
            ({"solver": "cplex"}, [1, 1], ValueError, "solver must be one of"),
            ({"lif": LIF(t_ref=2.0)}, [1, 1], ValueError, "t_ref = 2 ms"),
        ],
    )
    def test_what_cannot_be_meant_is_named(self, settings, targets, error, match):
        with pytest.raises(error, match=match):
            SpikeCountLearner(**settings).fit(task(2)[0], targets)

    def test_other_inputs_than_those_learned_are_refused_by_name(self):
        inputs, wanted = task(2)
        learner = SpikeCountLearner(max_epochs=1, random_state=0).fit(inputs, wanted)
        other = SpikeBatch.from_lists([[[1.0]]], duration=50.0)
        with pytest.raises(ValueError, match="X has 1 features, but SpikeCountLearner is exp"):
            learner.predict(other)
        with pytest.raises(TypeError, match="X must be a SpikeBatch; got list"):
            learner.predict([[1.0]])

    def test_inputs_must_be_spikes(self):
        with pytest.raises(TypeError, match="X must be a SpikeBatch; got ndarray"):
            SpikeCountLearner().fit(np.zeros((2, 3)), [1, 1])
