"""What a neuron can memorise: exact solutions, capacity, and the noise they bear."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from septet.spiking import (
    LIF,
    SpikeTrainLearner,
    capacity,
    maximise_margin,
    random_associations,
    tolerated_noise,
)

Row = dict[str, Any]


def exact(n_inputs: int, n_patterns: int, n_spikes: int, seed: int) -> Row:
    """Solve for all patterns at once and run the weights freely."""
    SpikeTrainLearner().fit(*random_associations(2, 100, 2, random_state=0))  # compile
    inputs, targets = random_associations(n_patterns, n_inputs, n_spikes, random_state=seed)
    report = SpikeTrainLearner(tol_ms=1e-6).fit(inputs, targets).report_
    return {
        "seed": seed,
        "spikes": n_patterns * n_spikes,
        "wrong trains": report.n_wrong_count,
        "largest error (ms)": report.max_timing_error,
        "rounds": report.rounds,
        "seconds": report.wall_time,
    }


def example(n_inputs: int, n_patterns: int, n_spikes: int, seed: int) -> Row:
    """Learn some patterns; return the first of them and the weights, to be drawn."""
    inputs, targets = random_associations(n_patterns, n_inputs, n_spikes, random_state=seed)
    learner = SpikeTrainLearner().fit(inputs, targets)
    times, ids = inputs[0]
    return {
        "times": times.tolist(),
        "ids": ids.tolist(),
        "duration": inputs.duration,
        "weights": learner.coef_[0].tolist(),
        "targets": targets[0].tolist(),
    }


def settings(rates: Sequence[int], wide: bool) -> list[tuple[str, str, Row]]:
    """Return what is varied, its value, and the arguments of `capacity` that say so."""
    found: list[tuple[str, str, Row]] = [
        ("spikes a pattern", str(n), {"n_spikes": n}) for n in rates
    ]
    found += [
        ("time constants (ms)", f"{tau_m:g} / {tau_s:g}", {"lif": LIF(tau_m, tau_s)})
        for tau_m, tau_s in ((10.0, 2.5), (20.0, 1.25), (20.0, 5.0), (40.0, 10.0))
    ]
    found += [("input rate (Hz)", f"{r:g}", {"input_rate": r}) for r in (2.0, 5.0, 10.0, 20.0)]
    if wide:
        found += [("inputs", str(n), {"n_inputs": n}) for n in (50, 100, 200, 400)]
        found += [
            ("duration (ms)", f"{t:g}", {"duration": t, "n_spikes": round(t / 100)})
            for t in (250.0, 500.0, 1000.0)
        ]
    return found


def one_capacity(n_inputs: int, n_seeds: int, name: str, value: str, changed: Row) -> Row:
    """Capacity with one of the `settings`; what it does not change is 5 spikes a pattern."""
    words: Row = {"lif": None, "n_inputs": n_inputs, "n_spikes": 5} | changed
    curve = capacity(**words, seeds=n_seeds)
    return {
        "varied": name,
        "value": value,
        "capacity": curve.alpha_c,
        "from": curve.interval[0],
        "to": curve.interval[1],
        "resolution": curve.resolution,
        "seeds": curve.n_patterns.size,
        "undecided": curve.undecided,
    }


def robustness(n_inputs: int, n_patterns: int, n_spikes: int, seed: int) -> Row:
    """Noise of the potential at 95 % recall: solution of least norm against the largest margin."""
    inputs, targets = random_associations(n_patterns, n_inputs, n_spikes, random_state=seed)
    bare = SpikeTrainLearner(margin=0.01, min_slope=0.002).fit(inputs, targets)
    default = SpikeTrainLearner().fit(inputs, targets)
    robust = maximise_margin(SpikeTrainLearner(), inputs, targets)
    row: Row = {"seed": seed, "margin": robust.margin}
    for name, learner in (("least norm", bare), ("default", default), ("robust", robust)):
        row[name] = tolerated_noise(None, learner.coef_, inputs, targets, random_state=seed)
        row[f"{name}, norm of weights"] = float(np.linalg.norm(learner.coef_))
    return row
