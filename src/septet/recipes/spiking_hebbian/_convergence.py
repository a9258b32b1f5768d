"""When does the monitor speak? Rates of false alarms and early stops over fresh seeds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.spiking import LIF, ConvergenceMonitor, HebbianLayer, HebbianRule, MonitorWindow
from septet.spiking.hebbian._monitor import calibrated_threshold

Row = dict[str, Any]
Floats = NDArray[np.float64]

WAYS = ("hebb", "stdp", "winner")
CASES = ((8, 40.0), (8, 400.0), (100, 40.0), (784, 40.0))  # inputs; memory in output spikes
WINDOWS = 6
NEURONS = 3  # of the layer whose neurons compete


def neuron(threshold: float = 0.35) -> LIF:
    """The neuron of all studies."""
    return LIF(tau_m=20.0, tau_s=0.0, threshold=threshold)


def rates(n: int, rng: np.random.Generator) -> Floats:
    """Rates in Hz between 2 and 40, those of the first fifth of the inputs doubled."""
    drawn = rng.uniform(2.0, 40.0, n)
    drawn[: max(1, n // 5)] *= 2.0
    return drawn


def watched(way: str, n: int, memory: float, seed: int, start: str) -> list[Row]:
    """Verdicts on the first windows of every neuron of one layer.

    Parameters
    ----------
    way : {"hebb", "stdp", "winner"}
        Trace promotions; the same with depression 0.3; three neurons that compete for three sets of
        rates shown in turns.
    start : {"uniform", "half"}
        Initial weights: all equal, or all on one half of the inputs.
    """
    rng = np.random.default_rng([seed, n])
    k = NEURONS if way == "winner" else 1
    shown = np.stack(
        [rates(n, rng) if i == 0 else rng.permutation(rates(n, rng)) for i in range(k)]
    )
    depression = 0.3 if way == "stdp" else 0.0
    per_spike = float(shown.sum(axis=1).mean()) * 0.020 * (1.0 - depression)
    weights = np.ones((k, n))
    if start == "half":
        weights[:, n // 2 :] = 0.0
    if k > 1:
        weights = weights * rng.uniform(0.9, 1.1, (k, n))
    layer = HebbianLayer(
        n,
        k,
        lif=neuron(),
        rule=HebbianRule(depression=depression),
        learning_rate=1.0 / (memory * per_spike),
        weights=weights,
        competition="winner" if k > 1 else "none",
        homeostasis=0.01 if k > 1 else 0.0,
    )
    monitor = ConvergenceMonitor(consecutive=10**9)  # never ends the run
    while min(_counts(monitor, k)) < WINDOWS:
        layer.learn_poisson(np.tile(shown, (20, 1)), 500.0, monitor=monitor, random_state=rng)
    rows = []
    for neuron_index in range(k):
        mine = [w for w in monitor.windows if w.neuron == neuron_index][:WINDOWS]
        rows.append(
            {
                "statistics": [w.statistic for w in mine],
                "passed": [w.passed for w in mine],
                "premature": premature(mine),
                "identity error": max(w.identity_error for w in mine),
            }
        )
    return rows


def premature(windows: list[MonitorWindow]) -> bool:
    """Whether the monitor stopped learning while the weights were still on their way.

    It stops after two windows in a row that pass. The weights had not arrived if their mean over
    the second one differs from that over all later ones by more than the fluctuations of either
    mean explain, judged as the monitor judges its residuals.
    """
    passed = [w.passed for w in windows]
    stop = next((i for i in range(1, len(passed) - 1) if passed[i - 1] and passed[i]), None)
    if stop is None:
        return False
    later = windows[stop + 1 :]
    memories = windows[stop].memories
    mean = np.mean([w.mean_weights for w in later], axis=0)
    within = np.mean([w.spread**2 for w in later], axis=0)
    moving = within > 1e-6 * within.mean()
    variance = within[moving] / (1.0 - _share(memories))
    variance = variance * (_share(memories) + _share(len(later) * memories))
    square = (windows[stop].mean_weights - mean)[moving] ** 2 / variance
    return bool(square.mean() > calibrated_threshold(int(moving.sum())))


def _share(memories: float) -> float:
    """Variance of a mean over so many memories, relative to that of the weight itself."""
    return 2.0 / memories * (1.0 - (1.0 - np.exp(-memories)) / memories)


def error_rates(way: str, n: int, memory: float, seeds: int) -> Row:
    """False alarms and early stops of the default monitor of one kind of layer, from both starts.

    The first window holds the approach. What remains of the start at the beginning of the second
    one is exp(-20), so all later windows are converged. A monitor that passes the first stops after
    two windows, the earliest it can; whether that was too early, `premature` tells.
    """
    rows = [
        row
        for seed in range(seeds)
        for start in ("uniform", "half")
        for row in watched(way, n, memory, 10_000 + seed, start)
    ]
    first = np.array([row["statistics"][0] for row in rows])
    later = np.array([row["statistics"][1:] for row in rows])
    passed = np.array([row["passed"] for row in rows])
    return {
        "layer": way,
        "inputs": n,
        "memory (spikes)": memory,
        "runs": seeds * 2,
        "first window passed": float(passed[:, 0].mean()),
        "least first statistic": float(first.min()),
        "premature stops": float(np.mean([row["premature"] for row in rows])),
        "later windows": int(later.size),
        "later failed": float(1.0 - passed[:, 1:].mean()),
        "mean later statistic": float(later.mean()),
        "largest": float(later.max()),
        "identity error": max(row["identity error"] for row in rows),
    }


def _counts(monitor: ConvergenceMonitor, k: int) -> list[int]:
    return np.bincount([w.neuron for w in monitor.windows], minlength=k).tolist()
