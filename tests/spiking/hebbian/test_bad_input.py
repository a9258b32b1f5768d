"""What cannot be meant is refused by place; what is odd but legal does no harm."""

import numpy as np
import pytest

from septet.spiking import LIF, HebbianLayer, HebbianRule, SpikeBatch, SpikingNoveltyDetector


def layer(**more):
    return HebbianLayer(3, **more)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"promotion": "spike"}, "promotion must be one of"),
        ({"pairing": "none"}, "pairing must be one of"),
        ({"normalization": "l3"}, "normalization must be one of"),
        ({"depression": -0.1}, "depression must be at least 0"),
        ({"depression": np.nan}, "depression must be"),
        ({"tau_plus": 0.0}, "tau_plus must be greater than 0"),
        ({"tau_minus": -1.0}, "tau_minus must be greater than 0"),
        ({"window": 0.0}, "window must be greater than 0"),
        ({"w_max": 0.0}, "w_max must be greater than 0"),
        ({"normalize_every": 0}, "normalize_every must be at least 1"),
        ({"normalize_every": "spike"}, "normalize_every must be one of"),
    ],
)
def test_a_rule_out_of_range_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        HebbianRule(**settings)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: HebbianLayer(0), "n_inputs must be at least 1"),
        (lambda: layer(learning_rate=-1.0), "learning_rate must be at least 0"),
        (lambda: LIF(tau_s=0.0, threshold=0.0), "threshold must be"),
        (lambda: LIF(tau_m=-1.0, tau_s=0.0), "tau_m must be"),
        (lambda: layer(lif=LIF()), "lif must be a LIF with delta synapses"),
        (lambda: layer(weights=[1.0, -2.0, 0.0]), r"weights must not be negative; weights\[0, 1\]"),
        (lambda: layer(weights=[0.0, 0.0, 0.0]), "weights of neuron 0 are all 0"),
        (lambda: layer(weights=[1.0, np.nan, 0.0]), r"weights\[0, 1\]"),
        (lambda: layer(weights=[1.0, 2.0]), r"weights must be of shape \(1, 3\); got \(2,\)"),
        (lambda: layer(homeostasis=1.0), "homeostasis must be"),
        (lambda: layer(competition="soft"), "competition must be one of"),
        (lambda: layer().learn_poisson([1.0, -1.0, 1.0], 10.0), r"rates\[0, 1\] = -1"),
        (lambda: layer().learn_poisson([1.0, np.inf, 1.0], 10.0), r"rates\[0, 1\]"),
        (lambda: layer().learn_poisson([1.0, 1.0], 10.0), "rates must be of 3 inputs; got 2"),
        (lambda: layer().learn_poisson([1.0] * 3, 0.0), "duration must be greater than 0"),
        (
            lambda: layer().learn(SpikeBatch([], [], [0, 0], n_units=2, duration=1.0)),
            "inputs must be of 3 units; got 2",
        ),
        (
            lambda: SpikeBatch([2.0, 1.0], [0, 1], [0, 2], n_units=3, duration=5.0),
            "event 1: time 1 ms follows 2 ms",
        ),
        (
            lambda: SpikeBatch([1.0], [3], [0, 1], n_units=3, duration=5.0),
            "event 0: unit 3 does not exist",
        ),
        (
            lambda: SpikeBatch([-1.0], [0], [0, 1], n_units=3, duration=5.0),
            "event 0: time -1 ms is negative",
        ),
        (
            lambda: SpikeBatch([np.nan], [0], [0, 1], n_units=3, duration=5.0),
            "event 0: time nan is not finite",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_and_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_events_must_be_a_batch():
    with pytest.raises(TypeError, match="inputs must be a SpikeBatch; got list"):
        layer().learn([[0.0, 1.0]])
    with pytest.raises(TypeError, match="rule must be a HebbianRule"):
        layer(rule="stdp")


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_nothing_is_left_of_traces_and_potentials_after_a_long_silence(backend):
    learner = layer(
        lif=LIF(tau_s=0.0, threshold=0.6),
        rule=HebbianRule(depression=0.5),
        learning_rate=0.1,
        backend=backend,
    )
    long = SpikeBatch([0.0, 0.0, 1e5], [0, 1, 2], [0, 3], n_units=3, duration=2e5)
    assert learner.learn(long).spikes.n_spikes == 1
    state = learner._state
    for values in (state.v, state.pre, state.post):
        assert (values == 0.0).all()  # not the smallest of numbers, which are slow


def test_simultaneous_events_are_one_batch_however_they_are_listed():
    weights = []
    for ids in ([0, 1, 2], [2, 0, 1]):
        learner = layer(lif=LIF(tau_s=0.0, threshold=0.9), learning_rate=0.1, weights=[3, 2, 1])
        run = learner.learn(SpikeBatch([1.0] * 3, ids, [0, 3], n_units=3, duration=2.0))
        assert run.spikes.times.tolist() == [1.0]
        weights.append(learner.weights)
    np.testing.assert_array_equal(*weights)


def test_a_transposed_view_of_the_callers_weights_is_left_alone():
    mine = np.full((10, 1), 0.1)
    learner = HebbianLayer(10, weights=mine.T, learning_rate=0.05)
    assert learner.learn_poisson(np.full(10, 40.0), 1000.0, random_state=0).spikes.n_spikes > 0
    assert (mine == 0.1).all()
    learner.weights[:] = 0.0
    assert learner.weights.sum() == pytest.approx(1.0)


def test_sparse_data_that_a_fixed_threshold_would_leave_silent_make_calibrated_neurons_fire():
    rng = np.random.default_rng(0)
    X = np.zeros((40, 400))
    for row in X:
        row[rng.choice(24, 8, replace=False)] = rng.uniform(0.5, 1.0, 8)
    rates = 2000.0 * X / X.sum(axis=1, keepdims=True)
    fixed = HebbianLayer(400, learning_rate=0.001)  # threshold 0.35, all weights equal
    assert fixed.learn_poisson(rates, 350.0, random_state=0).spikes.n_spikes == 0
    detector = SpikingNoveltyDetector(1, epochs=1, total_rate=2000.0, random_state=0).fit(X)
    assert detector.threshold_ < 0.35
    assert detector.n_silent_ <= 4
    assert np.isfinite(detector.score_samples(X)).all()


def test_a_sample_with_other_features_is_refused_as_scikit_learn_does():
    detector = SpikingNoveltyDetector(1, epochs=1, random_state=0).fit(np.ones((5, 3)))
    with pytest.raises(ValueError, match="X has 2 features, but .* is expecting 3"):
        detector.score_samples(np.ones((1, 2)))
