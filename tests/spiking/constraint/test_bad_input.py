"""Targets that are out of reach come with a proof; what cannot be meant is refused by name."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from spiking.patterns import desired_trains, poisson_batch

from septet._core.errors import InfeasibleError, SeptetWarning
from septet.spiking import (
    LIF,
    SpikeBatch,
    SpikeTrainLearner,
    UnreachableTargetsError,
    random_associations,
)
from septet.spiking.constraint._certificate import multipliers_as_proof
from septet.spiking.constraint._targets import check_targets

TWO = SpikeBatch.from_lists([[[0.0], [10.0]]], duration=50.0)


class TestUnreachable:
    def test_equal_patterns_with_different_trains(self, rng):
        inputs = poisson_batch(rng, n_units=50)
        twice = SpikeBatch.concatenate([inputs, inputs])
        with pytest.raises(UnreachableTargetsError, match="pattern 0: fire at 90 ms") as caught:
            SpikeTrainLearner().fit(twice, [[60.0, 90.0], [60.0, 91.0]])
        proof = caught.value.certificate
        assert set(proof.patterns) == {0, 1}
        assert isinstance(caught.value, InfeasibleError)
        assert proof.check(twice, [[60.0, 90.0], [60.0, 91.0]]) > 1e6

    def test_more_spikes_than_inputs(self, rng):
        inputs = poisson_batch(rng, n_patterns=3, n_units=10, rate=30.0)
        desired = desired_trains(rng, n_patterns=3, n_spikes=4, duration=200.0)
        with pytest.raises(UnreachableTargetsError, match="12 desired spikes for 10 inputs") as e:
            SpikeTrainLearner().fit(inputs, desired)
        assert e.value.certificate.check(inputs, desired) > 1e3

    def test_a_spike_before_any_input(self):
        with pytest.raises(UnreachableTargetsError, match="pattern 1: fire at 3 ms"):
            SpikeTrainLearner().fit(
                SpikeBatch.from_lists([[[0.0]], [[5.0]]], duration=50.0), [[12.0], [3.0]]
            )

    def test_a_pattern_without_inputs(self):
        empty = SpikeBatch.from_lists([[[], []]], duration=50.0)
        with pytest.raises(UnreachableTargetsError, match="fire at 12 ms"):
            SpikeTrainLearner().fit(empty, [[12.0]])
        assert SpikeTrainLearner().fit(empty, [[]]).exact_

    def test_weights_of_the_wrong_sign(self):
        with pytest.raises(UnreachableTargetsError, match="weight 0 not above its range") as e:
            SpikeTrainLearner(signs=[-1, -1]).fit(TWO, [[12.0]])
        assert e.value.certificate.check(TWO, [[12.0]]) > 1e6

    @pytest.mark.parametrize("solver", ["numpy", "daqp", "piqp"])
    @pytest.mark.parametrize("lif", [LIF(), LIF(tau_s=20.0), LIF(t_ref=2.0)])
    def test_every_solver_and_neuron_proves_it(self, solver, lif, rng):
        inputs = poisson_batch(rng, n_patterns=2, n_units=6, rate=40.0)
        desired = desired_trains(rng, n_patterns=2, n_spikes=4, duration=200.0)
        with pytest.raises(UnreachableTargetsError) as caught:
            SpikeTrainLearner(lif, solver=solver).fit(inputs, desired)
        assert caught.value.certificate.check(inputs, desired) > 1e3

    @pytest.mark.parametrize("mode", ["batch", "incremental"])
    def test_weights_beyond_all_measure_are_a_proof_too_and_no_failure_of_the_solver(self, mode):
        """The last input is 56 ms old: only weights of some 1e5 make a rise out of its tail."""
        inputs, desired = random_associations(1, 20, 1, random_state=0)
        learner = SpikeTrainLearner(mode=mode, random_state=0)
        try:
            norm = np.linalg.norm(learner.fit(inputs, desired).coef_)
        except UnreachableTargetsError as error:
            norm = error.certificate.check(inputs, desired)
        assert norm > 8e4

    def test_a_stalled_solver_leaves_its_proof_in_the_multipliers(self):
        """Whatever is optimal for some rows proves that no smaller weights satisfy them."""
        inputs, desired = random_associations(2, 40, 2, random_state=0)
        problem = SpikeTrainLearner()._problem(
            LIF(), inputs, check_targets(LIF(), inputs, desired, 1e-3)[0], 0, np.empty((2, 0)), None
        )
        start = np.zeros(40)
        rows = problem.rows(np.arange(2), start)
        found, rows = problem.project(np.arange(2), rows, start, 200)
        multipliers_as_proof(rows)
        norm = np.linalg.norm(found.weights)
        proof = problem.certificate(rows)
        assert proof.excluded_norm == pytest.approx(norm, rel=1e-9)

    def test_any_requirement_less_can_be_met(self, rng):
        inputs = poisson_batch(rng, n_patterns=2, n_units=6, rate=40.0)
        desired = desired_trains(rng, n_patterns=2, n_spikes=4, duration=200.0)
        with pytest.raises(UnreachableTargetsError) as caught:
            SpikeTrainLearner().fit(inputs, desired)
        proof = caught.value.certificate
        rows, bounds = zip(
            *(
                proof._row(inputs, int(p), desired[p], kind, float(t))
                for kind, p, t in zip(proof.kinds, proof.patterns, proof.times, strict=True)
            ),
            strict=True,
        )
        rows, bounds = np.array(rows), np.array(bounds)
        for left_out in range(len(rows)):
            kept = np.arange(len(rows)) != left_out
            w = np.linalg.lstsq(rows[kept], bounds[kept], rcond=1e-12)[0]
            assert rows[kept] @ w == pytest.approx(bounds[kept], abs=1e-6)

    def test_a_forged_proof_is_found_out(self, rng):
        inputs = poisson_batch(rng, n_units=50)
        twice = SpikeBatch.concatenate([inputs, inputs])
        trains = [[60.0, 90.0], [60.0, 91.0]]
        with pytest.raises(UnreachableTargetsError) as caught:
            SpikeTrainLearner().fit(twice, trains)
        proof = caught.value.certificate
        with pytest.raises(ValueError, match="no proof|is negative"):
            replace(proof, multipliers=np.roll(proof.multipliers, 1)).check(twice, trains)
        with pytest.raises(ValueError, match="no desired spike at"):
            proof.check(twice, [[60.0, 90.5], [60.0, 91.0]])

    def test_the_error_survives_a_process_boundary(self, rng):
        with pytest.raises(UnreachableTargetsError) as caught:
            SpikeTrainLearner().fit(TWO, [[12.0, 20.0, 30.0]])
        again = pickle.loads(pickle.dumps(caught.value))
        assert str(again) == str(caught.value)

    def test_soft_solves_the_relaxed_problem_and_warns(self):
        with pytest.warns(SeptetWarning, match="out of reach.*3 desired spikes for 2 inputs"):
            learner = SpikeTrainLearner(on_infeasible="soft").fit(TWO, [[12.0, 20.0, 30.0]])
        assert not learner.exact_
        assert np.isfinite(learner.coef_).all()
        assert len(learner.report_.certificates) == 1

    def test_report_leaves_no_weights_to_be_misled_by(self, rng):
        inputs = poisson_batch(rng, n_units=50)
        twice = SpikeBatch.concatenate([inputs, inputs])
        targets = SpikeBatch.from_lists([[[60.0], [70.0]], [[61.0], [70.0]]], duration=200.0)
        with pytest.warns(SeptetWarning, match="out of reach"):
            learner = SpikeTrainLearner(on_infeasible="report").fit(twice, targets)
        assert np.isnan(learner.coef_[0]).all()
        assert np.isfinite(learner.coef_[1]).all()
        assert learner.n_wrong_count_ == 2
        with pytest.raises(UnreachableTargetsError):
            learner.predict(twice)
        with pytest.raises(UnreachableTargetsError):
            learner.partial_fit(twice, targets)


def test_a_fit_that_gives_up_says_so(rng):
    inputs = poisson_batch(rng, n_patterns=4, n_units=60)
    desired = desired_trains(rng, n_patterns=4, n_spikes=3, duration=200.0)
    with pytest.warns(SeptetWarning, match=r"after 1 epochs \(max_epochs = 1\)"):
        SpikeTrainLearner(mode="online", max_epochs=1, random_state=0).fit(inputs, desired)


def test_weights_that_run_away_are_reported_not_hidden(rng):
    inputs = poisson_batch(rng, n_patterns=3, n_units=60)
    desired = desired_trains(rng, n_patterns=3, n_spikes=3, duration=200.0)
    with pytest.warns(SeptetWarning, match="3 have a wrong number"):
        learner = SpikeTrainLearner(
            mode="online", step="uniform", learning_rate=1e5, max_epochs=2, random_state=0
        ).fit(inputs, desired)
    assert learner.n_wrong_count_ == 3


def test_steps_that_diverge_end_with_finite_weights():
    inputs, desired = random_associations(10, 100, 5, random_state=0)
    learner = SpikeTrainLearner(mode="online", step="diagonal", random_state=0)
    with pytest.warns(SeptetWarning, match="have a wrong number"):
        learner.fit(inputs, desired)
    assert np.isfinite(learner.coef_).all()
    assert learner.report_.epochs < learner.max_epochs


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([[0.0]], r"pattern 0, neuron 0: desired spike 0 at 0 ms must be later than 0"),
        ([[12.0, 51.0]], r"desired spike 1 at 51 ms .* at most 50 ms"),
        ([[20.0, 20.0]], r"desired spikes at 20 and 20 ms must ascend"),
        ([[20.0, 20.0005]], r"more than 0.001 ms apart"),
        ([[30.0, 20.0]], r"desired spikes at 30 and 20 ms must ascend"),
        ([[np.nan]], r"targets\[0\]\[0\] = nan is not finite"),
        ([[12.0], [13.0]], r"one target per pattern: 1 patterns, 2 targets"),
    ],
)
def test_impossible_targets_are_refused(targets, message):
    with pytest.raises(ValueError, match=message):
        SpikeTrainLearner().fit(TWO, targets)


def test_targets_inside_the_refractory_period_are_refused():
    with pytest.raises(ValueError, match="t_ref = 5 ms"):
        SpikeTrainLearner(LIF(t_ref=5.0)).fit(TWO, [[12.0, 16.0]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "onlin"}, "Did you mean 'online'"),
        ({"step": "uniform"}, 'needs mode="online"'),
        ({"solver": "quadprog"}, "solver must be one of"),
        ({"margin": -0.1}, "margin must be at least 0"),
        ({"relax": 2.0}, "relax must be less than 2"),
        ({"soft_C": 0.0}, "soft_C must be greater than 0"),
        ({"soft_C": (1.0, 2.0, 3.0)}, "one number or two"),
        ({"bounds": (1.0, -1.0)}, "weight 0 cannot be at least 1 and at most -1"),
        ({"bounds": ([0.0] * 3, 1.0)}, "lower bounds must be one number or 2"),
        ({"signs": [2, 0]}, "signs must be -1, 0 or 1"),
        ({"lif": LIF(tau_s=0.0)}, "needs synaptic currents"),
        ({"max_epochs": 0}, "max_epochs must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SpikeTrainLearner(**settings).fit(TWO, [[12.0]])


def test_wrong_types_are_refused():
    with pytest.raises(TypeError, match="X must be a SpikeBatch; got list"):
        SpikeTrainLearner().fit([[1.0]], [[12.0]])
    with pytest.raises(TypeError, match="lif must be a LIF"):
        SpikeTrainLearner(lif="LIF").fit(TWO, [[12.0]])


def test_an_empty_batch_and_other_inputs_are_refused():
    none = SpikeBatch([], [], [0], n_units=2, duration=50.0)
    with pytest.raises(ValueError, match="at least one pattern"):
        SpikeTrainLearner().fit(none, [])
    learner = SpikeTrainLearner().fit(TWO, [[12.0]])
    other = SpikeBatch.from_lists([[[1.0]]], duration=50.0)
    with pytest.raises(ValueError, match="X has 1 features, but SpikeTrainLearner is expecting 2"):
        learner.predict(other)
    with pytest.raises(ValueError, match="is expecting 2"):
        learner.partial_fit(other, [[12.0]])


def test_no_margin_is_allowed_with_a_warning():
    with pytest.warns(SeptetWarning, match="touch"):
        SpikeTrainLearner(margin=0.0).fit(TWO, [[12.0]])


def test_nearly_equal_desired_times_are_met_and_their_condition_is_told():
    times = [0.0, 4.0, 9.0, 11.9, 12.02, 13.0, 20.0]
    inputs = SpikeBatch.from_lists([[[t] for t in times]], duration=50.0)
    learner = SpikeTrainLearner(margin=0.01, min_slope=0.0)
    apart = learner.conditioning(inputs, [[12.0, 13.0]])
    close = learner.conditioning(inputs, [[12.0, 12.05]])
    assert apart[0] == close[0] == 2
    assert close[1] > 5 * apart[1]
    fitted = learner.fit(inputs, [[12.0, 12.05]])
    assert fitted.max_timing_error_ < 1e-9
    assert fitted.report_.weight_norm > 50
