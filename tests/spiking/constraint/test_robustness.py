"""Noise of the potential: how much is there, how much is borne, and weights that bear the most."""

import numpy as np
import pytest

from septet.spiking import (
    LIF,
    SpikeTrainLearner,
    UnreachableTargetsError,
    maximise_margin,
    noise_recall,
    potential,
    random_associations,
    tolerated_noise,
)
from septet.spiking.constraint import _robustness


@pytest.fixture(scope="module")
def task():
    return random_associations(4, 120, 3, random_state=3)


@pytest.mark.parametrize("lif", [LIF(), LIF(tau_m=10.0, tau_s=10.0, threshold=2.0)])
def test_the_noise_has_the_standard_deviation_asked_for(lif, monkeypatch):
    inputs, targets = random_associations(1, 1, 0, input_rate=0.0, random_state=0)
    run = _robustness._NoisyRun(lif, [[0.0]], inputs, targets, 1.0, 200, 1)
    seen = {}

    def catch(lif, batch, weights):
        seen.update(batch=batch, weights=weights)
        raise _robustness.SeptetError

    monkeypatch.setattr(_robustness, "simulate", catch)
    run.recall(0.05)
    times = np.arange(150.0, 500.0, 50.0)
    values = [
        potential(lif, seen["batch"], seen["weights"][0], times, pattern=p, spikes=[])
        for p in range(200)
    ]
    assert np.std(values) == pytest.approx(0.05 * lif.threshold, rel=0.05)
    assert abs(np.mean(values)) < 0.01 * lif.threshold


def test_the_largest_margin_is_kept_and_a_larger_one_is_proved_impossible(task):
    robust = maximise_margin(SpikeTrainLearner(), *task, resolution=0.01)
    assert robust.exact_
    assert robust.max_timing_error_ < 1e-9
    assert robust.report_.margin >= robust.margin - 1e-6
    more = robust.margin + 0.01
    with pytest.raises(UnreachableTargetsError):
        SpikeTrainLearner(margin=more, min_slope=more, guard=1.0).fit(*task)


def test_it_bears_more_noise_than_the_solution_of_least_norm(task):
    least = SpikeTrainLearner().fit(*task)
    robust = maximise_margin(SpikeTrainLearner(), *task, resolution=0.02)
    assert least.report_.weight_norm < robust.report_.weight_norm
    ours, theirs = (
        tolerated_noise(None, each.coef_, *task, random_state=0) for each in (robust, least)
    )
    assert ours > 2 * theirs


def test_recall_falls_from_1_to_0_and_crosses_95_percent_at_the_tolerated_noise(task):
    weights = maximise_margin(SpikeTrainLearner(), *task, resolution=0.05).coef_
    level = tolerated_noise(None, weights, *task, random_state=5)
    at = [noise_recall(None, weights, *task, f * level, random_state=5) for f in (0, 1, 1.02, 30)]
    assert at[0] == 1.0
    assert at[1] >= 0.95
    assert at[2] <= 0.975
    assert at[3] == 0.0


def test_weights_that_are_wrong_without_noise_tolerate_none(task):
    assert tolerated_noise(None, np.zeros(120), *task) == 0.0


def test_settings_of_the_learner_are_kept_and_it_is_not_changed(task):
    learner = SpikeTrainLearner(bounds=(-0.3, 0.4), margin=0.3)
    fitted = maximise_margin(learner, *task, resolution=0.05)
    assert fitted.coef_.min() >= -0.3
    assert fitted.coef_.max() <= 0.4
    assert 0.0 < fitted.margin < 1.0
    assert learner.margin == 0.3
    assert not hasattr(learner, "coef_")


def test_targets_out_of_reach_raise_the_proof():
    inputs, targets = random_associations(30, 20, 3, random_state=0)
    with pytest.raises(UnreachableTargetsError):
        maximise_margin(SpikeTrainLearner(), inputs, targets)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": -1.0}, "noise must be at least 0"),
        ({"n_repeats": 0}, "n_repeats must be at least 1"),
        ({"tol_ms": 0.0}, "tol_ms must be greater than 0"),
        ({"lif": LIF(tau_s=0.0)}, "needs synaptic currents"),
        ({"weights": np.zeros((2, 120))}, "targets are of 1 neurons, weights of 2"),
        ({"weights": np.zeros(3)}, "n_units = 120"),
    ],
)
def test_bad_settings_are_refused(task, change, message):
    words = {"lif": LIF(), "weights": np.zeros(120), "noise": 0.1} | change
    lif, weights, noise = (words.pop(name) for name in ("lif", "weights", "noise"))
    with pytest.raises(ValueError, match=message):
        noise_recall(lif, weights, *task, noise, **words)
