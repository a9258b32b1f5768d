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


def exact(n_inputs: int, n_patterns: int, n_spikes: int, seeds: Sequence[int]) -> list[Row]:
    """Solve for all patterns at once and run the weights freely."""
    SpikeTrainLearner().fit(*random_associations(2, 100, 2, random_state=0))  # compile
    rows = []
    for seed in seeds:
        inputs, targets = random_associations(n_patterns, n_inputs, n_spikes, random_state=seed)
        report = SpikeTrainLearner(tol_ms=1e-6).fit(inputs, targets).report_
        rows.append(
            {
                "seed": seed,
                "spikes": n_patterns * n_spikes,
                "wrong trains": report.n_wrong_count,
                "largest error (ms)": report.max_timing_error,
                "rounds": report.rounds,
                "seconds": report.wall_time,
            }
        )
    return rows


def capacities(
    n_inputs: int, rates: Sequence[int], wide: bool, n_seeds: int, workers: int
) -> list[Row]:
    """Capacity against output rate, and at 5 spikes a pattern against the system's parameters."""
    settings: list[tuple[str, str, Row]] = [
        ("spikes a pattern", str(n), {"n_spikes": n}) for n in rates
    ]
    settings += [
        ("time constants (ms)", f"{tau_m:g} / {tau_s:g}", {"lif": LIF(tau_m, tau_s)})
        for tau_m, tau_s in ((10.0, 2.5), (20.0, 1.25), (20.0, 5.0), (40.0, 10.0))
    ]
    settings += [("input rate (Hz)", f"{r:g}", {"input_rate": r}) for r in (2.0, 5.0, 10.0, 20.0)]
    if wide:
        settings += [("inputs", str(n), {"n_inputs": n}) for n in (50, 100, 200, 400)]
        settings += [
            ("duration (ms)", f"{t:g}", {"duration": t, "n_spikes": round(t / 100)})
            for t in (250.0, 500.0, 1000.0)
        ]
    rows = []
    for name, value, changed in settings:
        words: Row = {"lif": None, "n_inputs": n_inputs, "n_spikes": 5} | changed
        curve = capacity(**words, seeds=n_seeds, n_jobs=workers)
        rows.append(
            {
                "varied": name,
                "value": value,
                "capacity": curve.alpha_c,
                "from": curve.interval[0],
                "to": curve.interval[1],
                "resolution": curve.resolution,
                "seeds": curve.n_patterns.size,
                "undecided": curve.undecided,
            }
        )
    return rows


def robustness(n_inputs: int, n_patterns: int, n_spikes: int, seeds: Sequence[int]) -> list[Row]:
    """Noise of the potential at 95 % recall: solution of least norm against the largest margin."""
    rows = []
    for seed in seeds:
        inputs, targets = random_associations(n_patterns, n_inputs, n_spikes, random_state=seed)
        bare = SpikeTrainLearner(margin=0.01, min_slope=0.002).fit(inputs, targets)
        default = SpikeTrainLearner().fit(inputs, targets)
        robust = maximise_margin(SpikeTrainLearner(), inputs, targets)
        row: Row = {"seed": seed, "margin": robust.margin}
        for name, learner in (("least norm", bare), ("default", default), ("robust", robust)):
            row[name] = tolerated_noise(None, learner.coef_, inputs, targets, random_state=seed)
            row[f"{name}, norm of weights"] = float(np.linalg.norm(learner.coef_))
        rows.append(row)
    return rows
