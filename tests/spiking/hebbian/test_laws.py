"""Where weights settle, measured on the layer itself, and what never changes it."""

import numpy as np
import pytest

from septet.spiking import (
    LIF,
    ConvergenceMonitor,
    HebbianLayer,
    HebbianRule,
    SpikeBatch,
    l2_constraint,
)

EIGHT = np.array([0.9, 0.7, 0.5, 0.3, 0.1, 0.05, 0.02, 0.4])


def rows(n, seed):
    """Which of nine inputs spike in each of n moments, 100 ms apart; the last one always does."""
    spiked = np.random.default_rng(seed).random((n, 9)) < np.append(EIGHT, 1.0)
    return SpikeBatch.from_raster(spiked[None].astype(np.int64), dt=100.0)


def dealt(batch, learning_rate, start, **rule):
    """Mean weights and promotions of a neuron that fires at every moment."""
    n = batch.n_units
    layer = HebbianLayer(
        n,
        lif=LIF(tau_s=0.0, threshold=1e-9),
        rule=HebbianRule(promotion="binary", **rule),
        learning_rate=learning_rate,
        weights=start,
    )
    monitor = ConvergenceMonitor(memories=200.0, consecutive=10**9)
    run = layer.learn(batch, monitor=monitor, statistics=True)
    assert run.spikes.n_spikes == batch.duration / 100.0
    events = [w.events for w in monitor.windows]
    assert sum(events) > 0.9 * run.spikes.n_spikes
    mean = np.average([w.mean_weights for w in monitor.windows], axis=0, weights=events)
    return mean, run.promotion[0]


def test_halving_the_rate_halves_the_residual():
    p = np.append(EIGHT, 1.0)
    share = p / p.sum()
    batch = rows(1_000_000, seed=0)
    rates = (0.07, 0.035)  # times the mean number of promotions, below 0.3
    assert rates[0] * p.sum() < 0.3
    residuals = [np.abs(dealt(batch, rate, share)[0] - share).sum() for rate in rates]
    assert residuals[0] / residuals[1] == pytest.approx(2.0, rel=0.25)


def test_under_l2_no_weight_is_further_than_printed_from_the_normalised_promotions():
    p = np.append(EIGHT, 1.0)
    # Promotions as they were dealt take the place of their chances, and with them their noise goes.
    mean, given = dealt(rows(400_000, seed=1), 0.01, l2_constraint(p), normalization="l2")
    assert np.abs(mean - l2_constraint(given)).max() <= 1.2e-3
    assert np.abs(mean - l2_constraint(given)).max() >= 1e-4  # the rate does leave its mark


def test_one_promotion_per_spike_leaves_no_correction_at_any_rate():
    rates = np.linspace(5.0, 60.0, 20)
    for learning_rate in (0.01, 0.3):
        layer = HebbianLayer(
            20,
            lif=LIF(tau_s=0.0, threshold=0.3),
            rule=HebbianRule(promotion="trigger"),
            learning_rate=learning_rate,
        )
        monitor = ConvergenceMonitor(memories=100.0, consecutive=10**9)
        layer.learn_poisson(rates, 300_000.0, monitor=monitor, random_state=0)
        assert monitor.windows
        for window in monitor.windows:
            # the sum of d is 1, so mean weight less mean promotion is the way the weight has gone
            limit = (1.0 + learning_rate) / (learning_rate * window.events)
            assert np.abs(window.residual).max() <= limit


def test_a_silent_input_decays_by_the_same_factor_at_every_event():
    layer = HebbianLayer(
        3,
        lif=LIF(tau_s=0.0, threshold=0.2),
        rule=HebbianRule(promotion="trigger"),
        learning_rate=0.05,
        weights=[0.5, 0.3, 0.2],
    )
    n = layer.learn_poisson([50.0, 50.0, 0.0], 20_000.0, random_state=0).spikes.n_spikes
    assert n > 500
    assert layer.weights[0, 2] == pytest.approx(0.2 / 1.05**n, rel=1e-9)


@pytest.mark.parametrize("learning_rate", [1e-4, 0.05, 50.0])
def test_the_sum_of_the_weights_does_not_drift(learning_rate):
    rule = HebbianRule(depression=0.3 if learning_rate < 1 else 0.0, depression_power=1.0)
    lif = LIF(tau_s=0.0, threshold=0.3)
    layer = HebbianLayer(30, lif=lif, rule=rule, learning_rate=learning_rate)
    monitor = ConvergenceMonitor(consecutive=10**9)
    run = layer.learn_poisson(np.full(30, 30.0), 200_000.0, monitor=monitor, random_state=0)
    assert run.spikes.n_spikes > 3000
    assert monitor._watch.before.sum() == pytest.approx(1.0, abs=1e-12)
    assert all(w.mean_weights.sum() == pytest.approx(1.0, abs=1e-9) for w in monitor.windows)


def test_weights_and_threshold_in_other_units_fire_at_the_same_times():
    start = np.random.default_rng(0).random(10)
    runs = []
    for factor in (1.0, 4.0):
        layer = HebbianLayer(10, weights=factor * start, learning_rate=0.02)
        runs.append((layer.learn_poisson(np.full(10, 40.0), 2000.0, random_state=0), layer.weights))
    assert runs[0][0].spikes == runs[1][0].spikes
    np.testing.assert_array_equal(runs[0][1], runs[1][1])


def test_the_potential_that_crosses_is_the_worked_one():
    # 0.35 at 5 ms, 0.4 e^-0.5 + 0.35 e^-0.25 + 0.4 = 0.9152 at 10 ms
    value = 0.4 * np.exp(-0.5) + 0.35 * np.exp(-0.25) + 0.4
    assert value == pytest.approx(0.9152, abs=5e-5)
    for threshold, fired in ((0.91515, [10.0]), (0.91525, [])):
        layer = HebbianLayer(3, lif=LIF(tau_s=0.0, threshold=threshold), weights=[0.4, 0.35, 0.25])
        batch = SpikeBatch([0.0, 5.0, 10.0], [0, 1, 0], [0, 3], n_units=3, duration=10.0)
        assert layer.respond(batch).spikes.times.tolist() == fired
