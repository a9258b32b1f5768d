"""The local rules: compiled against plain, worked changes, and what they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spiking.patterns import desired_trains, poisson_batch

from septet.spiking import LIF, RuleLearner, SpikeBatch, psp, simulate
from septet.spiking.constraint import _rule_kernels as fast
from septet.spiking.constraint import _rule_reference as plain
from septet.spiking.constraint._rules import COUNTED, RULES, TIMED
from septet.spiking.constraint._timeline import timeline
from septet.spiking.neurons._backend import Constants

THREE = SpikeBatch.from_lists([[[0.0], [4.0], [18.0]]], duration=40.0)


def task(rng, *, n_patterns=4, n_spikes=2, n_units=60, duration=200.0):
    inputs = poisson_batch(rng, n_patterns=n_patterns, n_units=n_units, duration=duration)
    return inputs, desired_trains(rng, n_patterns=n_patterns, n_spikes=n_spikes, duration=duration)


def targets_of(rule, desired):
    if rule in TIMED:
        return desired
    return [p % 2 if rule == "tempotron" else p % 4 for p in range(len(desired))]


def change(rule, inputs, w, target, **settings):
    """What one visit of the only pattern adds to the weights, at learning rate 1."""
    learner = RuleLearner(rule, learning_rate=1.0, **settings)
    learner.coef_ = np.array([w], dtype=float)
    before = learner.coef_[0].copy()
    learner.partial_fit(inputs, [target])
    return learner.coef_[0] - before


@pytest.mark.parametrize("rule", RULES)
def test_compiled_passes_equal_the_plain_ones(rule, rng):
    inputs, desired = task(rng, n_patterns=3, n_units=25, duration=80.0)
    wanted = targets_of(rule, desired)
    neurons = [LIF(threshold=2.0)]
    if rule not in {"mst", "correlation"}:
        neurons += [LIF(tau_s=20.0), LIF(t_ref=3.0)]
    for lif in neurons:
        for init_scale in (0.01, 0.4):  # silent, and firing too much
            both = [
                RuleLearner(
                    rule,
                    lif,
                    max_epochs=2,
                    init_scale=init_scale,
                    momentum=0.5 if rule == "tempotron" else 0.0,
                    random_state=0,
                    backend=backend,
                ).fit(inputs, wanted)
                for backend in ("numba", "numpy")
            ]
            # the plain correlation rule integrates by sampling: its ranking is the same
            assert both[0].coef_ == pytest.approx(both[1].coef_, abs=1e-9), lif
            assert both[0].errors_ == both[1].errors_


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "correlation"])
def test_weights_have_the_unit_of_the_threshold(rule, backend, rng):
    inputs, desired = task(rng, n_patterns=2, n_units=20, duration=80.0)
    one, four = (
        RuleLearner(
            rule,
            LIF(threshold=theta),
            max_epochs=2,
            init_scale=0.2,
            backend=backend,
            random_state=0,
        ).fit(inputs, targets_of(rule, desired))
        for theta in (1.0, 4.0)
    )
    assert one.errors_[0] > 0
    assert four.coef_ == pytest.approx(4.0 * one.coef_, rel=1e-9)


class TestWorkedChanges:
    """Small cases with the change that each rule's formula gives by hand."""

    def test_finite_precision_raises_the_potential_at_the_end_of_the_window_missed(self):
        got = change("fp", THREE, [0, 0, 0], [8.0, 25.0], tol_ms=1.0)
        assert got == pytest.approx(LIF().psp([9.0, 5.0, 0.0]))

    def test_finite_precision_lowers_the_potential_at_the_first_wrong_spike(self):
        w = [1.5, 0.0, 0.0]
        fired = simulate(LIF(), THREE, w).times
        assert len(fired) == 1
        got = change("fp", THREE, w, [25.0])
        assert got == pytest.approx(-psp(LIF(), THREE, 0, fired)[0], abs=1e-12)

    def test_finite_precision_looks_no_further_than_the_end_of_the_pattern(self):
        got = change("fp", THREE, [0, 0, 0], [39.5], tol_ms=1.0)
        assert got == pytest.approx(LIF().psp([40.0, 36.0, 22.0]))

    def test_projection_at_high_threshold_corrects_every_time_point(self):
        got = change("htp", THREE, [0, 0, 0], [8.0, 25.0])
        assert got == pytest.approx(psp(LIF(), THREE, 0, [8.0, 25.0]).sum(axis=0))

    def test_resume_has_a_part_without_correlation(self):
        got = change("resume", THREE, [0, 0, 0], [10.0], bias=0.01)
        assert got == pytest.approx([0.01 + np.exp(-1.0), 0.01 + np.exp(-0.6), 0.01], abs=1e-12)

    def test_the_chronotron_pulls_a_late_spike_back(self):
        w = [1.05, 0.0, 0.0]
        (fired,) = simulate(LIF(), THREE, w).times
        wanted = fired - 4.0
        got = change("elearning", THREE, w, [wanted])
        assert got == pytest.approx(10 / 10**2 * 4.0 * LIF().psp([fired, fired - 4, 0.0]))

    def test_the_chronotron_inserts_and_deletes_what_is_too_far_off(self):
        w = [1.05, 0.0, 0.0]
        (fired,) = simulate(LIF(), THREE, w).times
        got = change("elearning", THREE, w, [fired + 25.0])  # 1/2 (25 / 10)^2 > 2
        rows = psp(LIF(), THREE, 0, [fired + 25.0, fired])
        assert got == pytest.approx(rows[0] - rows[1])

    def test_psd_adds_currents_at_desired_spikes(self):
        got = change("psd", THREE, [0, 0, 0], [10.0])
        assert got == pytest.approx(LIF(10.0, 2.5).psp([10.0, 6.0, 0.0]), abs=1e-12)

    def test_span_also_counts_inputs_after_the_spike(self):
        got = change("span", THREE, [0, 0, 0], [10.0])
        lag = np.array([10.0, 6.0, 8.0])
        assert got == pytest.approx((np.e / 2) ** 2 * (lag + 5.0) * np.exp(-lag / 5.0))

    def test_the_potential_driven_rule_goes_by_the_distance_from_the_threshold(self):
        w = np.array([0.5, 0.0, 0.0])
        got = change("empd", THREE, w, [10.0])
        row = psp(LIF(), THREE, 0, [10.0])[0]
        assert got == pytest.approx((1 - row @ w) * row, abs=1e-12)

    def test_the_tempotron_moves_the_highest_potential(self):
        w = np.array([0.5, 0.0, 0.0])
        got = change("tempotron", THREE, w, 1)
        peak = LIF().psp_peak_time
        assert got == pytest.approx(LIF().psp([peak, peak - 4.0, peak - 18.0]), abs=1e-9)
        assert change("tempotron", THREE, 3 * w, 0) == pytest.approx(-got, abs=1e-9)

    @pytest.mark.parametrize("rule", ["eml", "emlc"])
    def test_the_first_missing_spike_is_sought_at_the_highest_potential(self, rule):
        got = change(rule, THREE, [0.5, 0.0, 0.0], 1)
        peak = LIF().psp_peak_time
        assert got == pytest.approx(LIF().psp([peak, peak - 4.0, peak - 18.0]), abs=1e-9)

    def test_a_surplus_spike_is_taken_away_at_the_last_one(self):
        w = [1.05, 0.0, 1.0]
        fired = simulate(LIF(), THREE, w).times
        assert len(fired) == 2
        got = change("eml", THREE, w, 1)
        assert got == pytest.approx(-psp(LIF(), THREE, 0, fired[-1:])[0], abs=1e-12)

    def test_the_multi_spike_tempotron_climbs_its_critical_threshold(self):
        got = change("mst", THREE, [0.5, 0.0, 0.0], 1)
        peak = LIF().psp_peak_time
        assert got == pytest.approx(LIF().psp([peak, peak - 4.0, peak - 18.0]), abs=1e-9)

    def test_correlation_changes_the_top_tenth_of_the_inputs(self, rng):
        inputs = poisson_batch(rng, n_units=30)
        got = change("correlation", inputs, np.full(30, 0.01), 5)
        assert np.count_nonzero(got) == 3
        assert set(got) == {0.0, 1.0}


@pytest.mark.parametrize("rule", RULES)
def test_what_is_right_is_left_alone(rule):
    w = [0.5361386, 0.59915915, 0.7067018]  # fires at 8 and 25 ms
    target = [8.0, 25.0] if rule in TIMED else 2 if rule in COUNTED else 1
    assert change(rule, THREE, w, target, margin=0.0).tolist() == [0, 0, 0]


class TestCriticalThresholds:
    """Gütig's spike-threshold surface and its gradient."""

    @staticmethod
    def at(inputs, w, k, kernels="fast"):
        if kernels == "plain":
            threshold, t, before = plain.critical_threshold(plain.Pattern(LIF(), inputs, 0), w, k)
            return threshold, t, before
        spikes = np.zeros(500)
        line = timeline(LIF(), inputs, None, 0.0)
        threshold, t, n = fast.critical_threshold(w, 0, line, Constants.of(LIF()), k, spikes)
        return threshold, t, spikes[:n].copy()

    def gradient(self, inputs, w, k):
        _, t, before = self.at(inputs, w, k)
        out = np.zeros(w.size)
        line = timeline(LIF(), inputs, None, 0.0)
        fast.critical_gradient(w, 0, line, Constants.of(LIF()), t, before, out)
        return out

    @pytest.mark.parametrize("k", [1, 2, 3, 5])
    def test_the_gradient_is_that_of_central_differences(self, k, rng):
        inputs = poisson_batch(rng, n_units=30, duration=500.0)
        w = rng.normal(0.15, 0.1, 30)
        got, h = self.gradient(inputs, w, k), 1e-6
        differences = [
            (self.at(inputs, w + h * e, k)[0] - self.at(inputs, w - h * e, k)[0]) / (2 * h)
            for e in np.eye(30)
        ]
        assert np.abs(got).max() > 0.1
        assert got == pytest.approx(np.array(differences), abs=1e-7 * np.abs(got).max())

    @settings(max_examples=25)
    @given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 6))
    def test_it_is_homogeneous_of_degree_one(self, seed, k):
        rng = np.random.default_rng(seed)
        inputs, w = poisson_batch(rng, n_units=30, duration=300.0), rng.normal(0.15, 0.1, 30)
        threshold, _, _ = self.at(inputs, w, k)
        if threshold > 0:
            got = w @ self.gradient(inputs, w, k)
            assert got == pytest.approx(threshold, rel=1e-10)
            scaled, _, _ = self.at(inputs, 2.5 * w, k)
            assert scaled == pytest.approx(2.5 * threshold, rel=1e-12)

    def test_one_more_spike_appears_there_and_nowhere_above(self, rng):
        inputs, w = poisson_batch(rng, n_units=30, duration=500.0), rng.normal(0.15, 0.1, 30)
        for k in range(1, 8):
            threshold, t, before = self.at(inputs, w, k)
            above, below = (
                simulate(LIF(threshold=threshold * (1 + s)), inputs, w).times for s in (1e-7, -1e-7)
            )
            assert len(above) == k - 1
            assert len(below) >= k
            assert above[: len(before)] == pytest.approx(before, abs=1e-4)
            assert np.abs(below - t).min() < 0.1

    def test_plain_and_compiled_agree(self, rng):
        inputs, w = poisson_batch(rng, n_units=30), rng.normal(0.15, 0.1, 30)
        for k in (1, 2, 4):
            quick, slow = self.at(inputs, w, k), self.at(inputs, w, k, "plain")
            assert quick[0] == pytest.approx(slow[0], rel=1e-12)
            assert quick[2] == pytest.approx(slow[2], abs=1e-9)
            assert self.gradient(inputs, w, k) == pytest.approx(
                plain.critical_gradient(plain.Pattern(LIF(), inputs, 0), w, slow[1], slow[2]),
                abs=1e-6,
            )

    def test_a_neuron_that_only_inhibits_has_none(self, rng):
        inputs = poisson_batch(rng, n_units=5)
        assert not self.at(inputs, -np.ones(5), 1)[0] > 0
        silent = RuleLearner("mst", max_epochs=2)
        silent.coef_ = -np.ones((1, 5))
        assert silent.partial_fit(inputs, [1]).coef_.tolist() == [[-1.0] * 5]
        assert silent.errors_ == [1]


def test_eligibility_is_the_integral_of_potential_and_input(rng):
    inputs, w = poisson_batch(rng, n_units=10), rng.normal(0.3, 0.2, 10)
    spikes = simulate(LIF(), inputs, w).times
    assert len(spikes) > 1
    out = np.zeros(10)
    line = timeline(LIF(), inputs, None, 0.0)
    fast.eligibility(w, 0, line, Constants.of(LIF()), spikes, out)
    slow = plain.eligibility(plain.Pattern(LIF(), inputs, 0), w, steps=20_001)
    assert out == pytest.approx(slow, rel=1e-3, abs=1e-2)


@pytest.mark.parametrize(
    ("rule", "rate"),
    [
        ("fp", 3e-3),
        ("resume", 3e-3),
        ("elearning", 1e-2),
        ("psd", 1e-2),
        ("span", 1e-4),
        ("empd", 1e-2),
        ("htp", 3e-3),
    ],
)
def test_a_light_load_of_spike_times_is_learned(rule, rate, rng):
    inputs, desired = task(rng, n_patterns=2, n_units=200)
    # a perceptron on time points meets them only as closely as its slopes allow
    learner = RuleLearner(rule, learning_rate=rate, tol_ms=2.0, random_state=0, max_epochs=4000)
    learner.fit(inputs, desired)
    assert learner.converged_
    assert learner.errors_[-1] == 0
    assert learner.n_epochs_ == len(learner.errors_) > 1
    error, n_wrong = learner.timing(inputs, desired)
    assert n_wrong == 0
    assert error <= 2.0


@pytest.mark.parametrize("rule", [*COUNTED, "tempotron"])
def test_a_light_load_of_counts_is_learned(rule, rng):
    inputs, desired = task(rng, n_patterns=6, n_units=200)
    wanted = targets_of(rule, desired)
    learner = RuleLearner(rule, random_state=0).fit(inputs, wanted)
    assert learner.converged_
    got = learner.predict(inputs).counts()[:, 0]
    assert (np.minimum(got, 1) if rule == "tempotron" else got).tolist() == wanted


def test_finite_precision_makes_finitely_many_errors_where_a_margin_exists(rng):
    inputs, desired = task(rng, n_patterns=3, n_units=150)
    learner = RuleLearner("fp", random_state=0, max_epochs=5000).fit(inputs, desired)
    assert learner.converged_
    again = RuleLearner("fp")
    again.coef_ = learner.coef_
    assert again.partial_fit(inputs, desired).errors_ == [0]


def test_several_neurons_learn_targets_of_their_own(rng):
    inputs, _ = task(rng, n_patterns=4, n_units=150)
    wanted = np.array([[0, 2], [1, 0], [2, 1], [0, 3]])
    learner = RuleLearner("eml", random_state=0).fit(inputs, wanted)
    assert learner.predict(inputs).counts().tolist() == wanted.tolist()


def test_time_can_be_limited_and_seeds_repeat(rng):
    inputs, desired = task(rng, n_patterns=6, n_spikes=4, n_units=60)
    fits = [RuleLearner(random_state=3, max_epochs=5).fit(inputs, desired) for _ in range(2)]
    assert np.array_equal(fits[0].coef_, fits[1].coef_)
    assert not fits[0].converged_
    assert fits[0].n_epochs_ == 5
    hasty = RuleLearner(max_seconds=1e-9, random_state=3).fit(inputs, desired)
    assert hasty.n_epochs_ == 1


class TestBadInput:
    @pytest.mark.parametrize(
        ("settings", "match"),
        [
            ({"rule": "emlx"}, "rule must be one of .* Did you mean 'eml"),
            ({"learning_rate": 0.0}, "learning_rate must be greater than 0"),
            ({"tol_ms": -1.0}, "tol_ms must be greater than 0"),
            ({"margin": 1.0}, "margin must be less than 1"),
            ({"momentum": 1.0}, "momentum must be less than 1"),
            ({"max_epochs": 0}, "max_epochs must be at least 1"),
            ({"max_seconds": 0}, "max_seconds must be greater than 0"),
            ({"trace_tau": 0.0}, "trace_tau must be greater than 0"),
            ({"lif": LIF(tau_s=0.0)}, "need synaptic currents"),
            ({"rule": "mst", "lif": LIF(t_ref=1.0)}, "defined without a refractory period"),
            ({"rule": "mst", "lif": LIF(tau_s=20.0)}, "for tau_s < tau_m"),
        ],
    )
    def test_settings_are_named(self, settings, match):
        target = [1] if settings.get("rule") in COUNTED else [[8.0]]
        with pytest.raises(ValueError, match=match):
            RuleLearner(**settings).fit(THREE, target)

    @pytest.mark.parametrize(
        ("rule", "target", "error", "match"),
        [
            ("eml", [-1], ValueError, "pattern 0, neuron 0: -1 spikes; must be at least 0"),
            ("tempotron", [2], ValueError, "2 spikes; must be at least 0 and at most 1"),
            ("eml", [0.5], TypeError, "whole numbers, one per pattern; got float64"),
            ("eml", [1, 2], ValueError, r"with 1 patterns; got \(2,\)"),
            ("fp", [[41.0]], ValueError, "at most 40 ms, the duration"),
            ("fp", [[8.0], [9.0]], ValueError, "1 patterns, 2 targets"),
        ],
    )
    def test_targets_are_named(self, rule, target, error, match):
        with pytest.raises(error, match=match):
            RuleLearner(rule).fit(THREE, target)

    def test_inputs_are_named(self):
        with pytest.raises(TypeError, match="X must be a SpikeBatch; got list"):
            RuleLearner().fit([[1.0]], [[8.0]])
        with pytest.raises(TypeError, match="lif must be a LIF or None"):
            RuleLearner(lif="LIF").fit(THREE, [[8.0]])
        learner = RuleLearner(max_epochs=1).fit(THREE, [[8.0]])
        wider = SpikeBatch.from_lists([[[0.0], [4.0], [18.0], []]], duration=40.0)
        with pytest.raises(ValueError, match="1 neurons with 3 inputs; got .* X with 4 features"):
            learner.partial_fit(wider, [[8.0]])
        for call in (lambda: learner.predict(wider), lambda: learner.timing(wider, [[8.0]])):
            with pytest.raises(ValueError, match="X has 4 features, but RuleLearner is expecting"):
                call()
