"""Learned weights produce the desired trains: worked numbers, guarantees, and settings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from spiking.patterns import desired_trains, poisson_batch

from septet._core.errors import SeptetWarning
from septet.spiking import (
    LIF,
    SpikeBatch,
    SpikeTrainLearner,
    UnreachableTargetsError,
    potential,
    psp,
    simulate,
)

THREE = SpikeBatch.from_lists([[[0.0], [4.0], [18.0]]], duration=40.0)
LOOSE = {"margin": 0.01, "guard": 8.0, "min_slope": 0.005}


def task(rng, *, n_patterns=4, n_spikes=3, n_units=80, duration=200.0):
    inputs = poisson_batch(rng, n_patterns=n_patterns, n_units=n_units, duration=duration)
    desired = desired_trains(rng, n_patterns=n_patterns, n_spikes=n_spikes, duration=duration)
    return inputs, desired


def free_times(inputs, learner):
    return [times for times, _ in simulate(LIF(), inputs, learner.coef_)]


class TestWorkedNumbers:
    def test_two_inputs_and_one_spike(self):
        inputs = SpikeBatch.from_lists([[[0.0], [10.0]]], duration=50.0)
        assert psp(LIF(), inputs, 0, [12.0])[0] == pytest.approx([0.96957119, 0.49636416], abs=1e-8)
        learner = SpikeTrainLearner().fit(inputs, [[12.0]])
        assert learner.coef_[0] == pytest.approx([0.81720656, 0.41836232], abs=1e-8)
        assert learner.predict(inputs).times == pytest.approx([12.0], abs=1e-12)
        assert learner.report_.rounds == 1  # no maximum was too high
        assert learner.report_.margin > 0.1

    def test_three_inputs_and_two_spikes(self):
        learner = SpikeTrainLearner(**LOOSE).fit(THREE, [[8.0, 25.0]])
        assert learner.coef_[0] == pytest.approx([0.5361386, 0.59915915, 0.7067018], abs=1e-7)
        assert learner.predict(THREE).times == pytest.approx([8.0, 25.0], abs=1e-11)
        rows = psp(LIF(), THREE, 0, [8.0, 25.0])
        bound = np.array([1.0, 1.0 + np.exp(-17 / 20)])
        assert bound[1] == pytest.approx(1.42741493, abs=1e-8)
        steps = np.linalg.solve(rows @ rows.T, bound)
        assert steps == pytest.approx([0.10544261, 0.72888484], abs=1e-8)
        assert learner.coef_[0] == pytest.approx(steps @ rows, abs=1e-10)

        def rise(t):
            before = potential(LIF(), THREE, learner.coef_[0], [t - 1e-6, t])
            return np.diff(before)[0] / 1e-6

        assert rise(8.0) == pytest.approx(0.0698373740, abs=1e-6)
        assert rise(25.0) == pytest.approx(0.0093268057, abs=1e-6)

    def test_the_default_slope_at_both_spikes_is_out_of_reach_of_three_inputs(self):
        with pytest.raises(UnreachableTargetsError, match="rise fast enough at 25 ms") as caught:
            SpikeTrainLearner(margin=1e-3, guard=16.0).fit(THREE, [[8.0, 25.0]])
        assert set(caught.value.certificate.kinds) == {"fire", "rise"}

    @pytest.mark.parametrize(
        ("step", "rate", "expected"),
        [
            ("diagonal", 1.0, [4.3393164, 7.57498672, 19.24850392]),
            ("uniform", 0.3, []),
            ("uniform", 0.4, [6.92535335]),
            ("uniform", 0.5, [5.45245791, 20.18552661]),
        ],
    )
    def test_steps_that_ignore_interference_miss(self, step, rate, expected):
        learner = SpikeTrainLearner(
            mode="online", step=step, learning_rate=rate, init_scale=0.0, **LOOSE
        ).partial_fit(THREE, [[8.0, 25.0]])
        assert learner.predict(THREE).times == pytest.approx(expected, abs=1e-7)
        assert not learner.exact_

    def test_the_exact_step_does_not(self):
        learner = SpikeTrainLearner(mode="online", init_scale=0.0, **LOOSE)
        learner.partial_fit(THREE, [[8.0, 25.0]])
        assert learner.predict(THREE).times == pytest.approx([8.0, 25.0], abs=1e-11)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_spikes=st.integers(0, 4),
    tau_s=st.sampled_from([2.0, 5.0, 20.0]),
    t_ref=st.sampled_from([0.0, 3.0]),
)
def test_a_batch_that_is_solved_fires_exactly_as_desired(seed, n_spikes, tau_s, t_ref):
    inputs, desired = task(np.random.default_rng(seed), n_spikes=n_spikes, n_patterns=2)
    lif = LIF(tau_s=tau_s, t_ref=t_ref)
    learner = SpikeTrainLearner(lif).fit(inputs, desired)
    assert learner.exact_
    assert learner.max_timing_error_ < 1e-9
    got = simulate(lif, inputs, learner.coef_)
    for p, train in enumerate(desired):
        assert got[p][0] == pytest.approx(train, abs=1e-9)
    assert learner.report_.margin >= 0.1 - 1e-5


def test_no_denser_sampling_of_the_constraints_has_a_smaller_solution(rng):
    cvxpy = pytest.importorskip("cvxpy")
    inputs, desired = task(rng, n_patterns=2, n_units=40)
    learner = SpikeTrainLearner(guard_margin=0.0).fit(inputs, desired)
    w, holds = cvxpy.Variable(40), []
    for p, train in enumerate(desired):
        grid = np.sort(np.concatenate([np.arange(0.05, 200, 0.05), train - 2.0, [200.0]]))
        ends = np.append(train, np.inf)[np.searchsorted(train, grid)]
        ceiling = np.where(grid > ends - 2.0, 1.0, 0.9)
        resets = LIF().reset(grid[:, None] - train).sum(axis=1)
        at_spikes = LIF().reset(train[:, None] - train).sum(axis=1)
        holds += [
            psp(LIF(), inputs, p, train) @ w == 1 + at_spikes,
            psp(LIF(), inputs, p, train, slope=True) @ w >= 0.02 - at_spikes / 20,
            psp(LIF(), inputs, p, grid) @ w <= ceiling + resets,
        ]
    cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(w)), holds).solve(solver="CLARABEL")
    assert learner.coef_[0] == pytest.approx(w.value, abs=2e-3)
    assert learner.report_.weight_norm >= np.linalg.norm(w.value) - 1e-6


class TestGuarantees:
    def test_every_exact_step_comes_closer_to_every_solution(self, rng):
        inputs, desired = task(rng, n_patterns=6, n_units=150)
        solution = SpikeTrainLearner().fit(inputs, desired).coef_[0]
        learner = SpikeTrainLearner(mode="online", random_state=0, tol_ms=1e-6)
        seen = []
        for p in [*range(6), *range(6)]:
            before = learner.coef_[0].copy() if seen else None
            learner.partial_fit(inputs[[p]], [desired[p]])
            if before is not None:
                moved = np.sum((learner.coef_[0] - before) ** 2)
                left = np.sum((learner.coef_[0] - solution) ** 2)
                assert left <= np.sum((before - solution) ** 2) - moved + 1e-12
                seen.append(moved)
            seen.append(1.0)
        assert max(seen) > 1e-3

    def test_a_batch_has_the_least_norm_of_all_solutions(self, rng):
        inputs, desired = task(rng)
        least = SpikeTrainLearner().fit(inputs, desired).report_.weight_norm
        for seed in range(3):
            other = SpikeTrainLearner(mode="online", random_state=seed, tol_ms=1e-6)
            other.fit(inputs, desired)
            projected = SpikeTrainLearner()
            projected.coef_, projected.n_features_in_ = other.coef_, 80
            projected.partial_fit(inputs, desired)
            assert projected.exact_
            assert projected.report_.weight_norm >= least - 1e-9

    def test_permuted_inputs_have_permuted_weights(self, rng):
        inputs, desired = task(rng)
        order = rng.permutation(80)
        shuffled = SpikeBatch(
            inputs.times,
            np.argsort(order)[inputs.ids],
            inputs.indptr,
            n_units=80,
            duration=inputs.duration,
        )
        w = SpikeTrainLearner().fit(inputs, desired).coef_[0]
        assert SpikeTrainLearner().fit(shuffled, desired).coef_[0] == pytest.approx(
            w[order], abs=1e-8
        )

    def test_an_input_that_is_silent_gets_no_weight(self, rng):
        inputs, desired = task(rng)
        wider = SpikeBatch(
            inputs.times, inputs.ids, inputs.indptr, n_units=81, duration=inputs.duration
        )
        w = SpikeTrainLearner().fit(wider, desired).coef_[0]
        assert w[80] == 0.0
        assert w[:80] == pytest.approx(SpikeTrainLearner().fit(inputs, desired).coef_[0], abs=1e-10)

    def test_the_same_seed_gives_the_same_bits(self, rng):
        inputs, desired = task(rng)
        for mode in ("batch", "online", "block"):
            fits = [
                SpikeTrainLearner(mode=mode, block_size=2, random_state=7).fit(inputs, desired)
                for _ in range(2)
            ]
            assert np.array_equal(fits[0].coef_, fits[1].coef_)


@pytest.mark.parametrize("mode", ["online", "block", "incremental"])
def test_visiting_patterns_in_turn_ends_within_the_tolerance(mode, rng):
    inputs, desired = task(rng, n_patterns=6, n_units=150)
    learner = SpikeTrainLearner(mode=mode, block_size=4, random_state=1).fit(inputs, desired)
    assert learner.exact_
    assert learner.max_timing_error_ <= 1.0
    assert 1 < learner.report_.epochs < 30
    tight = clone(learner).set_params(tol_ms=1e-3).fit(inputs, desired)
    assert tight.max_timing_error_ <= 1e-3


class TestIncremental:
    def test_it_needs_fewer_passes_than_projections_in_turn(self, rng):
        inputs, desired = task(rng, n_patterns=8, n_units=150)
        epochs = {
            mode: SpikeTrainLearner(mode=mode, random_state=1).fit(inputs, desired).report_.epochs
            for mode in ("incremental", "online")
        }
        assert epochs["incremental"] < epochs["online"]

    def test_from_zero_it_needs_no_larger_weights_than_a_batch(self, rng):
        """It holds a part of the batch's constraints, of which it has the least solution."""
        inputs, desired = task(rng)
        batch = SpikeTrainLearner().fit(inputs, desired)
        learner = SpikeTrainLearner(mode="incremental", init_scale=0.0).fit(inputs, desired)
        assert learner.report_.weight_norm <= batch.report_.weight_norm + 1e-9
        assert learner.exact_

    def test_plain_and_compiled_solvers_agree(self, rng):
        inputs, desired = task(rng, n_patterns=2)
        fits = [
            SpikeTrainLearner(mode="incremental", solver=solver, random_state=3).fit(
                inputs, desired
            )
            for solver in ("numba", "numpy", "daqp")
        ]
        for fit in fits[1:]:
            assert fit.coef_ == pytest.approx(fits[0].coef_, abs=1e-6)

    def test_it_proves_contradictions_between_patterns(self, rng):
        inputs, desired = task(rng, n_patterns=2, n_units=4)
        with pytest.raises(UnreachableTargetsError) as caught:
            SpikeTrainLearner(mode="incremental").fit(inputs, desired)
        assert caught.value.certificate.check(inputs, desired) > 1e3

    def test_a_fraction_of_the_way_is_refused(self, rng):
        inputs, desired = task(rng, n_patterns=1)
        with pytest.raises(ValueError, match="needs relax=1"):
            SpikeTrainLearner(mode="incremental", relax=0.5).fit(inputs, desired)


def test_every_solver_ends_at_the_same_weights(rng):
    inputs, desired = task(rng, n_patterns=2)
    w = SpikeTrainLearner(solver="numba").fit(inputs, desired).coef_
    for solver in ("daqp", "piqp", "numpy"):
        other = SpikeTrainLearner(solver=solver).fit(inputs, desired)
        assert other.coef_ == pytest.approx(w, abs=1e-6), solver
        assert other.exact_


def test_several_neurons_learn_trains_of_their_own(rng):
    inputs = poisson_batch(rng, n_patterns=2, n_units=80)
    targets = SpikeBatch.from_lists(
        [[[50.0, 90.0], [], [120.0]], [[70.0], [60.0, 150.0], []]], duration=200.0
    )
    learner = SpikeTrainLearner().fit(inputs, targets)
    assert learner.coef_.shape == (3, 80)
    got = learner.predict(inputs)
    for p in range(2):
        for k in range(3):
            assert got.trains(p)[k] == pytest.approx(targets.trains(p)[k], abs=1e-9)


def test_silence_can_be_taught(rng):
    inputs = poisson_batch(rng, n_patterns=1, n_units=30)
    learner = SpikeTrainLearner().fit(inputs, [[]])
    assert np.array_equal(learner.coef_, np.zeros((1, 30)))
    empty = SpikeBatch.from_lists([[[], []], [[1.0], [2.0]]], duration=50.0)
    assert SpikeTrainLearner().fit(empty, [[], [12.0]]).exact_


class TestRangesOfWeights:
    def test_signs_are_kept(self, rng):
        inputs, desired = task(rng, n_units=120)
        signs = np.where(np.arange(120) < 90, 1, -1)
        learner = SpikeTrainLearner(signs=signs).fit(inputs, desired)
        assert learner.exact_
        assert (learner.coef_[0] * signs >= 0).all()
        assert (learner.coef_[0] == 0).any()

    def test_bounds_are_kept_and_may_freeze(self, rng):
        inputs, desired = task(rng, n_units=120)
        free = SpikeTrainLearner().fit(inputs, desired).coef_[0]
        most = 0.7 * np.abs(free).max()
        upper = np.full(120, most)
        lower = -upper
        lower[0] = upper[0] = 0.3 * most
        learner = SpikeTrainLearner(bounds=(lower, upper)).fit(inputs, desired)
        assert learner.exact_
        assert learner.coef_[0, 0] == 0.3 * most
        assert np.abs(learner.coef_).max() <= most
        plain = clone(learner).set_params(solver="numpy").fit(inputs, desired)
        assert plain.coef_ == pytest.approx(learner.coef_, abs=1e-7)


class TestSoftConstraints:
    def test_a_stiff_penalty_approaches_the_exact_solution(self, rng):
        inputs, desired = task(rng, n_patterns=2)
        exact = SpikeTrainLearner().fit(inputs, desired)
        stiff = SpikeTrainLearner(soft_C=1e6).fit(inputs, desired)
        assert stiff.coef_ == pytest.approx(exact.coef_, abs=1e-3)
        assert 1e-12 < stiff.max_timing_error_ < 1e-2

    def test_a_weak_penalty_misses_and_says_so(self, rng):
        inputs, desired = task(rng, n_patterns=2)
        with pytest.warns(SeptetWarning, match=r"at soft_C = \(0\.1, 0\.1\)"):
            weak = SpikeTrainLearner(soft_C=(0.1, 0.1)).fit(inputs, desired)
        assert not weak.exact_
        plain = clone(weak).set_params(solver="numpy")
        with pytest.warns(SeptetWarning):
            plain.fit(inputs, desired)
        assert plain.coef_ == pytest.approx(weak.coef_, abs=1e-5)


def test_float32_inputs_are_learned_in_float64(rng):
    inputs, desired = task(rng, n_patterns=1)
    single = SpikeBatch(
        inputs.times.astype(np.float32), inputs.ids, inputs.indptr, n_units=80, duration=200.0
    )
    learner = SpikeTrainLearner().fit(single, [desired[0].astype(np.float32)])
    assert learner.coef_.dtype == np.float64
    assert learner.max_timing_error_ < 1e-9


def test_learning_works_without_numba(monkeypatch, rng):
    inputs, desired = task(rng, n_patterns=2, n_units=40)
    fast = SpikeTrainLearner().fit(inputs, desired)
    plain = SpikeTrainLearner(solver="numpy", mode="online", tol_ms=1e-6).fit(inputs, desired)
    assert fast.exact_
    assert plain.exact_


@pytest.mark.parametrize("threshold", [2.0**-40, 2.0**-7, 2.0**20])
@pytest.mark.parametrize("mode", ["batch", "online", "incremental"])
def test_weights_have_the_unit_of_the_threshold(threshold, mode, rng):
    """A threshold in volts or amperes may be far below any tolerance of a solver."""
    inputs, desired = task(rng, n_patterns=3)
    fits = []
    for theta in (1.0, threshold):
        bounds = (-0.3 * theta, 0.35 * theta)
        learner = SpikeTrainLearner(LIF(threshold=theta), mode=mode, bounds=bounds, random_state=0)
        first = learner.partial_fit(inputs, desired).coef_
        fits.append((first, learner.partial_fit(inputs, desired).coef_, learner))
    (first, second, one), (first_2, second_2, other) = fits
    assert np.array_equal(first_2, threshold * first)
    assert np.array_equal(second_2, threshold * second)
    assert other.exact_ == one.exact_
    assert other.report_.margin == one.report_.margin
