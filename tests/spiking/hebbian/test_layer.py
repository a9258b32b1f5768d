"""The learning loop: worked examples, its plain twin, invariants, identities."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from septet.spiking import (
    LIF,
    ConvergenceMonitor,
    HebbianLayer,
    HebbianRule,
    SpikeBatch,
)
from septet.spiking.hebbian._layer import kernels
from septet.spiking.hebbian._poisson import poisson_events

PROMOTIONS = ("binary", "count", "trace", "nearest", "trigger")
RULES = [
    *(HebbianRule(promotion=name) for name in PROMOTIONS),
    HebbianRule(depression=0.3),
    HebbianRule(promotion="nearest", depression=0.3, pairing="nearest"),
    HebbianRule(promotion="binary", depression=0.3, depression_power=1.0),
    HebbianRule(depression=0.3, depression_power=0.5, tau_plus=15.0, tau_minus=30.0),
    HebbianRule(potentiation_power=1.0, w_max=0.5, depression=0.1, depression_power=1.0),
    HebbianRule(normalization="l2"),
    HebbianRule(normalize_every=3, depression=0.2),
    HebbianRule(normalize_every="sample", promotion="count"),
]


def names(rule):
    return ",".join(
        f"{name}={getattr(rule, name)}"
        for name in ("promotion", "depression", "depression_power", "normalization")
    )


def neuron(threshold=0.35, **more):
    return LIF(tau_s=0.0, threshold=threshold, **more)


def events(seed, n=10, duration=400.0, patterns=2, grid=None):
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(patterns):
        times = np.sort(rng.uniform(0, duration, 150))
        if grid:
            times = np.floor(times / grid) * grid
        pairs.append((times, rng.integers(0, n, times.size)))
    return SpikeBatch.from_pairs(pairs, n_units=n, duration=duration)


def test_one_promotion_of_two_inputs_of_three_is_the_worked_update():
    layer = HebbianLayer(
        3,
        lif=neuron(0.6),
        rule=HebbianRule(promotion="binary"),
        learning_rate=0.1,
        weights=[0.5, 0.3, 0.2],
    )
    run = layer.learn(SpikeBatch([1.0, 1.0], [0, 2], [0, 2], n_units=3, duration=2.0))
    assert run.spikes.times.tolist() == [1.0]
    np.testing.assert_allclose(layer.weights, [[0.5, 0.25, 0.25]], rtol=1e-15)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_the_worked_stdp_example_comes_out_to_the_printed_digits(backend):
    def layer():
        return HebbianLayer(
            3,
            lif=neuron(0.8),
            rule=HebbianRule(depression=0.5),
            learning_rate=0.1,
            weights=[0.4, 0.35, 0.25],
            backend=backend,
        )

    def recording(n, duration):
        times, ids = [0, 5, 10, 12, 12, 30], [0, 1, 0, 2, 1, 0]
        return SpikeBatch(times[:n], ids[:n], [0, n], n_units=3, duration=duration)

    early = layer()
    assert early.learn(recording(3, 10.0)).spikes.times.tolist() == [10.0]
    np.testing.assert_allclose(
        early.weights[0], [0.45267506, 0.34547326, 0.20185168], atol=5e-9, rtol=0
    )
    whole = layer()
    whole.learn(recording(6, 31.0))
    np.testing.assert_allclose(
        whole.weights[0], [0.43428109, 0.30023139, 0.15660981], atol=5e-9, rtol=0
    )
    trace = layer()
    trace.learn(recording(5, 12.0))
    assert trace._state.post[0] == pytest.approx(np.exp(-0.1), rel=1e-14)


@pytest.mark.parametrize("rule", RULES, ids=names)
@pytest.mark.parametrize(("n_neurons", "competition"), [(1, "none"), (4, "none"), (4, "winner")])
def test_the_compiled_loop_agrees_with_the_plain_one(rule, n_neurons, competition):
    runs = []
    for backend in ("numba", "numpy"):
        layer = HebbianLayer(
            10,
            n_neurons,
            lif=neuron(t_ref=3.0),
            rule=rule,
            learning_rate=0.02,
            weights=np.random.default_rng(3).random((n_neurons, 10)) + 0.1,
            competition=competition,
            homeostasis=0.02,
            backend=backend,
        )
        monitor = ConvergenceMonitor(threshold=1e-9)
        first = layer.learn(events(1, grid=4.0), monitor=monitor, statistics=True)
        second = layer.learn_poisson(np.linspace(5, 60, 10), 1500.0, carry=True, random_state=2)
        runs.append((layer, first, second, monitor))
    (fast, a1, a2, am), (plain, b1, b2, bm) = runs
    assert a1.spikes == b1.spikes
    assert a2.spikes == b2.spikes
    assert a1.spikes.n_spikes > 10
    np.testing.assert_allclose(fast.weights, plain.weights, atol=1e-14, rtol=0)
    np.testing.assert_allclose(fast.thresholds, plain.thresholds, rtol=1e-13)
    np.testing.assert_allclose(a1.promoted, b1.promoted, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(a1.demoted, b1.demoted, rtol=1e-11, atol=1e-13)
    assert [w.events for w in am.windows] == [w.events for w in bm.windows]


def test_the_loops_agree_where_depression_dominates_and_normalisation_magnifies_rounding():
    rule = HebbianRule(depression=2.0, depression_power=1.0, tau_minus=5000.0)
    weights = []
    for backend in ("numba", "numpy"):
        layer = HebbianLayer(10, lif=neuron(0.2), rule=rule, learning_rate=0.01, backend=backend)
        layer.learn_poisson(np.full(10, 20.0), 12_000.0, random_state=0)
        weights.append(layer.weights)
    np.testing.assert_allclose(*weights, atol=1e-12)


def test_trains_made_on_the_way_are_those_that_can_be_listed():
    rates = np.array([5.0, 0.0, 80.0, 20.0])
    times, ids = poisson_events(rates / 1000, 3000.0, 99)
    counts = np.bincount(ids, minlength=4)
    assert counts[1] == 0
    np.testing.assert_allclose(counts, rates * 3, atol=5 * np.sqrt(240))
    listed, made = (HebbianLayer(4, learning_rate=0.01) for _ in range(2))
    loops = kernels("auto")
    listed._run([(times, ids)], 3000.0, loops.run, False, None, False)
    made._run([(rates / 1000, 99)], 3000.0, loops.run_poisson, False, None, False)
    np.testing.assert_array_equal(listed.weights, made.weights)


@given(
    rule=st.sampled_from(RULES),
    seed=st.integers(0, 2**32),
    rate=st.floats(1e-4, 0.5),
    grid=st.sampled_from([None, 5.0]),
)
def test_weights_and_promotions_obey_the_telescoping_identity(rule, seed, rate, grid):
    layer = HebbianLayer(10, lif=neuron(0.3), rule=rule, learning_rate=rate, backend="numba")
    monitor = ConvergenceMonitor(threshold=1e-9)
    layer.learn(events(seed, patterns=3, grid=grid), carry=True, monitor=monitor)
    watch, start = monitor._watch, np.full((1, 10), 0.1)
    if rule.normalization == "l2":
        start = start * np.sqrt(10)
    if monitor.windows:
        assert max(w.identity_error for w in monitor.windows) <= 1e-10
    else:  # too few events for a window: judge what there is
        left = watch.gd - watch.gdw
        right = (watch.before - start) / rate
        np.testing.assert_allclose(left, right, atol=1e-10 * max(1.0, np.abs(watch.gd).max()))


@given(rule=st.sampled_from(RULES[:9]), seed=st.integers(0, 2**32))
def test_weights_stay_on_the_simplex(rule, seed):
    layer = HebbianLayer(10, lif=neuron(0.3), rule=rule, learning_rate=0.05, backend="numba")
    monitor = ConvergenceMonitor(threshold=1e-9)
    layer.learn(events(seed), monitor=monitor)
    assert (layer.weights >= 0).all()
    np.testing.assert_allclose(monitor._watch.before.sum(axis=1), 1.0, atol=1e-12)


@given(rule=st.sampled_from(RULES), seed=st.integers(0, 2**32))
def test_inputs_may_be_renamed_and_time_and_weights_measured_in_other_units(rule, seed):
    batch = events(seed)
    order = np.random.default_rng(seed).permutation(10)
    start = np.random.default_rng(seed + 1).random(10) + 0.01

    def learned(lif, rule, batch, weights):
        layer = HebbianLayer(10, lif=lif, rule=rule, learning_rate=0.02, weights=weights)
        return layer.learn(batch).spikes, layer.weights[0]

    spikes, weights = learned(neuron(), rule, batch, start)
    renamed = SpikeBatch(
        batch.times, order[batch.ids], batch.indptr, n_units=10, duration=batch.duration
    )
    moved = np.empty(10)
    moved[order] = start
    spikes_2, weights_2 = learned(neuron(), rule, renamed, moved)
    np.testing.assert_array_equal(spikes.times, spikes_2.times)
    np.testing.assert_allclose(weights_2[order], weights, atol=1e-13)
    slower = SpikeBatch(
        4 * batch.times, batch.ids, batch.indptr, n_units=10, duration=4 * batch.duration
    )
    from dataclasses import replace

    rule_4 = replace(
        rule,
        tau_plus=4 * rule.tau_plus,
        tau_minus=4 * rule.tau_minus,
        window=4 * rule.window,
    )
    spikes_4, weights_4 = learned(neuron(tau_m=80.0), rule_4, slower, start)
    np.testing.assert_array_equal(spikes_4.times, 4 * spikes.times)
    np.testing.assert_allclose(weights_4, weights, atol=1e-13)


def test_without_depression_stdp_is_the_hebbian_trace_rule():
    weights = []
    for rule in (HebbianRule(), HebbianRule(depression=1e-300, pairing="nearest")):
        layer = HebbianLayer(10, rule=rule, learning_rate=0.02)
        layer.learn(events(4))
        weights.append(layer.weights)
    np.testing.assert_allclose(*weights, atol=1e-15)


def test_the_spikes_are_those_of_the_exact_simulator_while_weights_are_frozen(rng):
    from septet.spiking import simulate

    weights = rng.random((3, 10))
    weights /= weights.sum(axis=1, keepdims=True)
    lif = neuron(0.3, t_ref=2.5)
    batch = events(8)
    layer = HebbianLayer(10, 3, lif=lif, learning_rate=0.0, weights=weights)
    ours, theirs = layer.learn(batch).spikes, simulate(lif, batch, weights)
    np.testing.assert_array_equal(ours.times, theirs.times)
    np.testing.assert_array_equal(ours.ids, theirs.ids)


def test_of_competing_neurons_the_one_furthest_above_fires_and_all_are_reset():
    layer = HebbianLayer(
        2,
        2,
        lif=neuron(0.3),
        learning_rate=0.1,
        weights=[[0.6, 0.4], [0.7, 0.3]],
        competition="winner",
        rule=HebbianRule(promotion="trigger"),
    )
    batch = SpikeBatch([1.0, 2.0], [0, 1], [0, 2], n_units=2, duration=3.0)
    run = layer.learn(batch)
    assert run.spikes.ids.tolist() == [1, 0]  # at 2 ms neuron 1 has 0.3 times a decay of 1 only
    np.testing.assert_allclose(layer.weights[1], [0.8 / 1.1, 0.3 / 1.1])


def test_the_callers_arrays_are_left_alone_even_if_they_cannot_be_written():
    weights = np.full((1, 10), 0.1)
    weights.flags.writeable = False
    rates = np.full(10, 30.0)
    rates.flags.writeable = False
    layer = HebbianLayer(10, weights=weights, learning_rate=0.05)
    layer.learn_poisson(rates, 500.0, random_state=0)
    assert not np.array_equal(layer.weights, weights)
    assert (weights == 0.1).all()


def test_a_recording_may_come_in_pieces():
    whole, pieces = (HebbianLayer(10, rule=RULES[7], learning_rate=0.02) for _ in range(2))
    batch = events(5, patterns=4)
    joined = whole.learn(batch, carry=True).spikes
    parts = [pieces.learn(batch[p : p + 1], carry=True).spikes for p in range(4)]
    assert SpikeBatch.concatenate(parts) == joined
    np.testing.assert_array_equal(whole.weights, pieces.weights)


@pytest.mark.parametrize("again", [lambda each: pickle.loads(pickle.dumps(each)), copy.deepcopy])
def test_a_copy_of_a_layer_goes_on_as_the_layer_does(again):
    layer = HebbianLayer(10, 2, rule=RULES[5], learning_rate=0.02, competition="winner")
    layer.learn(events(6))
    other = again(layer)
    for each in (layer, other):
        each.learn(events(7), carry=True)
    np.testing.assert_array_equal(other.weights, layer.weights)


def test_an_empty_pattern_changes_nothing():
    layer = HebbianLayer(3, learning_rate=0.1)
    run = layer.learn(SpikeBatch([], [], [0, 0], n_units=3, duration=5.0))
    assert run.spikes.n_spikes == 0
    np.testing.assert_array_equal(layer.weights, np.full((1, 3), 1 / 3))
    assert layer.learn_poisson([0.0, 0.0, 0.0], 10.0).spikes.n_spikes == 0
