"""Exact simulation: printed spike times, closed forms, an ODE solver, and the twins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from spiking.patterns import poisson_batch

from septet.spiking import LIF, SpikeBatch, SpikeStorm, simulate

BACKENDS = ("numba", "numpy")
NEURONS = (LIF(), LIF(tau_s=10.0), LIF(tau_s=20.0), LIF(t_ref=4.0), LIF(tau_s=0.0))


def one(*trains, duration=100.0):
    return SpikeBatch.from_lists([list(trains)], duration=duration)


@pytest.mark.parametrize("backend", BACKENDS)
class TestPrintedSpikeTimes:
    def test_one_strong_input_makes_four_spikes(self, backend):
        out = simulate(LIF(), one([0.0]), [3.0], backend=backend)
        printed = [1.2214094440691, 2.86303585684983, 5.40533946044742, 12.9145646341304]
        assert out.times == pytest.approx(printed, abs=1e-9)

    def test_half_the_membrane_constant_has_a_closed_form(self, backend):
        out = simulate(LIF(tau_s=10.0), one([0.0]), [1.5], backend=backend)
        # 6 (u - u^2) = 1 with u = exp(-t / 20)
        closed = -20 * np.log((1 + np.sqrt(1 - 4 / 6)) / 2)
        assert out.times == pytest.approx([4.7480157230323865], abs=1e-12)
        assert out.times == pytest.approx([closed], abs=1e-12)

    def test_two_inputs_meet_a_spike_time_that_was_solved_for(self, backend):
        w = np.array([0.96957119, 0.49636416])
        out = simulate(LIF(), one([0.0], [10.0]), w / (w @ w), backend=backend)
        assert out.times == pytest.approx([12.0], abs=1e-6)


def test_an_ode_solver_with_events_finds_the_same_spikes(rng):
    inputs = poisson_batch(rng, n_units=10, duration=60.0, rate=30.0)
    w = rng.normal(0.5, 0.5, 10)
    lif = LIF()
    found = simulate(lif, inputs, w).times
    assert found.size >= 4

    rate = 1 / lif.tau_s - 1 / lif.tau_m
    state, now, expected = np.zeros(2), 0.0, []

    def reaches(t, y):
        return y[0] - lif.threshold

    reaches.terminal, reaches.direction = True, 1
    stops = [*zip(inputs.times, w[inputs.ids], strict=True), (inputs.duration, 0.0)]
    for then, weight in stops:
        while now < then:
            # dV/dt = -V/tau_m + I, dI/dt = -I/tau_s, I in units of K's slope at 0
            run = solve_ivp(
                lambda t, y: [-y[0] / lif.tau_m + y[1], -y[1] / lif.tau_s],
                (now, then),
                state,
                events=reaches,
                rtol=1e-12,
                atol=1e-14,
            )
            now, state = run.t[-1], run.y[:, -1]
            if run.t_events[0].size:
                expected.append(now)
                state = np.array([0.0, state[1]])
        state[1] += weight * lif.psp_norm * rate
    assert found == pytest.approx(expected, abs=1e-8)


def clock_driven(lif, inputs, w, dt):
    """Spikes of a run on a grid: inputs and outputs move to the nearest and the next step."""
    slow = fast = 0.0
    spikes, e = [], 0
    for step in range(1, round(inputs.duration / dt) + 1):
        slow *= np.exp(-dt / lif.tau_m)
        fast *= np.exp(-dt / lif.tau_s)
        if slow - fast >= lif.threshold:
            spikes.append(step * dt)
            slow = fast
        while e < inputs.n_spikes and inputs.times[e] < (step + 0.5) * dt:
            slow += w[inputs.ids[e]] * lif.psp_norm
            fast += w[inputs.ids[e]] * lif.psp_norm
            e += 1
    return np.array(spikes)


def test_a_clock_driven_run_converges_to_the_exact_spikes_at_first_order():
    rng = np.random.default_rng(0)
    inputs = poisson_batch(rng, n_units=20, duration=400.0, rate=20.0)
    w = np.abs(rng.normal(0.3, 0.1, 20))
    exact = simulate(LIF(), inputs, w).times
    assert exact.size > 50
    per_step = []
    for dt in (0.04, 0.02, 0.01, 0.005):
        spikes = clock_driven(LIF(), inputs, w, dt)
        assert spikes.size == exact.size
        per_step.append(np.abs(spikes - exact).mean() / dt)
    assert per_step == pytest.approx([np.mean(per_step)] * 4, rel=0.25)


@pytest.mark.parametrize("lif", NEURONS, ids=lambda lif: f"{lif.synapse}-{lif.t_ref:g}")
def test_the_compiled_layer_equals_its_plain_twin(lif, rng):
    inputs = poisson_batch(rng, n_patterns=3, n_units=40, duration=150.0, rate=20.0)
    w = rng.normal(0.08, 0.25, (7, 40))
    fast, plain = (simulate(lif, inputs, w, backend=name) for name in BACKENDS)
    assert fast.n_spikes > 50
    assert np.array_equal(fast.indptr, plain.indptr)
    assert np.array_equal(fast.ids, plain.ids)
    assert fast.times == pytest.approx(plain.times, abs=1e-10)


@pytest.mark.parametrize("lif", NEURONS, ids=lambda lif: f"{lif.synapse}-{lif.t_ref:g}")
def test_a_layer_is_its_neurons_one_by_one(lif, rng):
    inputs = poisson_batch(rng, n_patterns=2, rate=20.0)
    w = rng.normal(0.1, 0.2, (5, 30))
    layer = simulate(lif, inputs, w)
    for k in range(5):
        alone = simulate(lif, inputs, w[k])
        for p in range(2):
            assert alone[p][0].tolist() == layer.trains(p)[k].tolist()


def test_threads_do_not_change_the_result(rng):
    inputs = poisson_batch(rng, n_patterns=9)
    w = rng.normal(0.1, 0.2, (4, 30))
    assert simulate(LIF(), inputs, w, n_threads=2) == simulate(LIF(), inputs, w)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 40.0), st.sampled_from([1.0, 5.0, 20.0]))
def test_only_the_ratio_of_weights_and_threshold_matters(seed, scale, tau_s):
    rng = np.random.default_rng(seed)
    inputs, w = poisson_batch(rng), rng.normal(0.1, 0.2, 30)
    base = simulate(LIF(tau_s=tau_s), inputs, w)
    scaled = simulate(LIF(tau_s=tau_s, threshold=scale), inputs, scale * w)
    assert scaled.times == pytest.approx(base.times, abs=1e-9)


def test_two_and_a_half_times_everything_leaves_the_spikes_in_place(rng):
    inputs, w = poisson_batch(rng), rng.normal(0.15, 0.2, 30)
    base = simulate(LIF(), inputs, w)
    assert base.n_spikes > 3
    scaled = simulate(LIF(threshold=2.5), inputs, 2.5 * w)
    assert scaled.times == pytest.approx(base.times, abs=1e-11)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 300.0))
def test_inputs_that_come_later_make_outputs_that_come_later(seed, shift):
    rng = np.random.default_rng(seed)
    inputs, w = poisson_batch(rng), rng.normal(0.15, 0.2, 30)
    later = SpikeBatch.from_pairs(
        [(inputs.times + shift, inputs.ids)], n_units=30, duration=inputs.duration + shift
    )
    assert simulate(LIF(), later, w).times == pytest.approx(
        simulate(LIF(), inputs, w).times + shift, abs=1e-9
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_potential_is_held_at_zero_through_the_refractory_period(backend):
    lif = LIF(t_ref=3.0)
    spikes = simulate(lif, one([0.0]), [3.0], backend=backend).times
    assert spikes[0] == pytest.approx(1.2214094440691, abs=1e-9)
    assert np.all(np.diff(spikes) > 3.0)
    # after the hold the potential starts from 0 and the current has decayed meanwhile
    restart = spikes[0] + 3.0
    current = 3.0 * lif.psp_norm * np.exp(-restart / lif.tau_s)
    s = spikes[1] - restart
    rise = current * (np.exp(-s / lif.tau_m) - np.exp(-s / lif.tau_s))
    assert rise == pytest.approx(lif.threshold, abs=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_delta_synapses_fire_at_arrivals_after_all_of_one_time(backend):
    lif = LIF(tau_s=0.0)
    inputs = one([10.0, 30.0], [10.0, 12.0])
    # 0.6 + 0.6 only together reach the threshold; the surplus is lost with the reset
    out = simulate(lif, inputs, [0.6, 0.6], backend=backend)
    assert out.times.tolist() == [10.0]
    # inhibition that arrives at the same time counts before the threshold is tested
    assert simulate(lif, inputs, [1.2, -0.3], backend=backend).times.tolist() == [30.0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_potential_that_just_touches_the_threshold_fires(backend):
    lif = LIF(tau_s=20.0)
    assert simulate(lif, one([0.0]), [1.0 + 1e-12], backend=backend).times == pytest.approx(
        [20.0], abs=1e-4
    )
    assert simulate(lif, one([0.0]), [1.0 - 1e-12], backend=backend).n_spikes == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_input_no_spike_and_no_pattern_no_result(backend):
    silent = simulate(LIF(), one([], []), [1.0, 1.0], backend=backend)
    assert silent.shape == (1, 1)
    assert silent.n_spikes == 0
    none = SpikeBatch([], [], [0], n_units=2, duration=5.0)
    assert simulate(LIF(), none, np.ones((3, 2)), backend=backend).shape == (0, 3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_storm_is_an_error_and_never_a_shortened_train(backend):
    inputs = SpikeBatch.from_lists([[[]], [[1.0]]], duration=100.0)
    w = [[0.1], [1e6]]
    with pytest.raises(SpikeStorm, match="neuron 1 fires more than 50 times in pattern 1") as storm:
        simulate(LIF(), inputs, w, max_spikes=50, backend=backend)
    assert (storm.value.pattern, storm.value.neuron) == (1, 1)
    n_exact = simulate(LIF(), inputs, [3.0], backend=backend).n_spikes
    assert simulate(LIF(), inputs, [3.0], max_spikes=n_exact, backend=backend).n_spikes == n_exact


def test_output_that_outgrows_the_buffer_is_complete(rng):
    inputs = poisson_batch(rng, n_patterns=2, n_units=5, duration=200.0, rate=50.0)
    w = np.full((4, 5), 40.0)
    fast, plain = (simulate(LIF(), inputs, w, backend=name) for name in BACKENDS)
    assert fast.n_spikes > 5000
    assert np.array_equal(fast.ids, plain.ids)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"weights must be .* n_units = 2; got \(1,\)"),
        (np.zeros((0, 2)), "weights must be"),
        ([[1.0, np.nan]], r"weights\[0, 1\] = nan is not finite"),
        (np.zeros((1, 1, 2)), "2-D"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        simulate(LIF(), one([1.0], [2.0]), weights)


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="Did you mean 'numba'"):
        simulate(LIF(), one([1.0]), [1.0], backend="nunba")
