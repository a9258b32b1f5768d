"""Normalised Hebbian weights are promotion probabilities: the law, the stopping rule, novelty."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from septet.recipes import Exhibit, Figure, Measure, Run, Table, measured
from septet.recipes._workers import Job, run_all
from septet.recipes.spiking_hebbian import _constraint, _convergence, _drift, _novelty


@dataclass(frozen=True, kw_only=True)
class Config:
    """Hebbian and STDP learning with normalised weights."""

    learning_rates: tuple[float, ...] = (0.1, 0.03, 0.01, 0.003, 0.001)
    """Learning rates of the Hebbian rules."""
    stdp_rates: tuple[float, ...] = (0.003, 0.001, 0.0003, 0.0001)
    """Learning rates of STDP."""
    depressions: tuple[float, ...] = (0.1, 0.3, 0.6, 0.9)
    """Depression over potentiation of STDP."""
    spikes: int = 100_000
    """Output spikes of every measurement; each has two replicas with weights learned and frozen."""
    monitor_seeds: int = 100
    """Seeds of every kind of layer at which the monitor is tried, from two starts each."""
    sets: tuple[str, ...] = ("digits", "mnist", "fashion-mnist")
    """Data sets for novelty."""
    splits: tuple[int, ...] = (10, 11, 12, 13, 14)
    """Splits into training and test data; nothing was chosen on these."""
    classes: int = 10
    """Classes that are normal in turn."""
    train: int = 1000
    """Most training images of a class."""
    test: int = 1000
    """Test images of all classes."""
    neurons: int = 100
    """Competing neurons, and prototypes of k-means."""
    pyod: bool = True
    """Also three detectors of PyOD, which are slow, where it is installed."""
    drift_seeds: int = 20
    """Streams whose digit changes."""
    drift_windows: int = 500
    """Windows of each before the change."""
    workers: int = 0
    """Runs at a time; zero takes one per core."""


Results = dict[str, Any]


def run(config: Config, run: Run) -> Results:
    """Do every measurement, as many at a time as there are cores; resumable after each."""
    spikes = config.spikes
    parts: dict[str, list[Job]] = {
        "hebbian": [
            (f"hebbian-{rule}-{rate:g}", _constraint.hebbian, (rule, rate, spikes))
            for rule in _constraint.HEBBIAN
            for rate in config.learning_rates
        ],
        "stdp": [
            (f"stdp-{depression:g}-{rate:g}", _constraint.stdp, (depression, rate, spikes))
            for depression in config.depressions
            for rate in config.stdp_rates
        ],
        "approach": [("approach", _constraint.approach, ())],
        "pinned": [("pinned", _constraint.pinned, (max(2000, spikes // 20),))],
        "monitor": [
            (f"monitor-{way}-{n}-{memory:g}", _convergence.error_rates, (way, n, memory, seeds))
            for seeds in (config.monitor_seeds,)
            for way in _convergence.WAYS
            for n, memory in _convergence.CASES
        ],
        "novelty": [
            (
                f"novelty-{name}-{split}",
                _novelty.one_split,
                (
                    name,
                    split,
                    config.classes,
                    config.train,
                    config.test,
                    config.neurons,
                    config.pyod,
                ),
            )
            for name in config.sets
            for split in config.splits
        ],
        "drift": [
            (f"drift-{seed}", _drift.change_of_digit, (seed, config.drift_windows, 500.0))
            for seed in range(config.drift_seeds)
        ],
    }
    # the longest first, so that no core is left with one at the end
    order = ("novelty", "monitor", "stdp", "hebbian", "drift", "pinned", "approach")
    found = run_all(run, [job for part in order for job in reversed(parts[part])], config.workers)
    results: Results = {part: [found[name] for name, *_ in jobs] for part, jobs in parts.items()}
    results["pinned"], results["approach"] = results["pinned"][0], results["approach"][0]
    results["novelty"] = [row for rows in results["novelty"] for row in rows]
    return results


# -- measures ------------------------------------------------------------------------------------


def smallest_rate_residual(results: Results) -> Measure:
    """Distance of weights and promotion shares at the smallest rate, the worst rule's."""
    least = min(row["learning rate"] for row in results["hebbian"])
    rows = [row for row in results["hebbian"] if row["learning rate"] == least]
    return Measure(max(row["same events"] for row in rows), n=len(rows))


def residual_falls(results: Results) -> Measure:
    """Residual at the largest rate over that at the smallest, least of the rules."""
    ratios = []
    for rule in _constraint.HEBBIAN:
        mine = {r["learning rate"]: r for r in results["hebbian"] if r["rule"] == rule}
        ratios.append(mine[max(mine)]["same events"] / mine[min(mine)]["same events"])
    return Measure(min(ratios), n=len(ratios))


def frozen_over_noise(results: Results) -> Measure:
    """Distance from promotions of frozen weights on fresh trains over what noise alone gives.

    At the smallest rate, the largest over the rules.
    """
    least = min(row["learning rate"] for row in results["hebbian"])
    ratios = [
        row["frozen, fresh"] / row["noise of it"]
        for row in results["hebbian"]
        if row["learning rate"] == least
    ]
    return Measure(max(ratios), n=len(ratios))


def stdp_applied(results: Results) -> Measure:
    """Largest distance from the constraint in what was applied, over all of STDP."""
    values = [row["applied"] for row in results["stdp"]]
    return Measure(max(values), n=len(values))


def stdp_nominal(results: Results) -> Measure | None:
    """Largest distance from promotion less demotion where next to nothing is clipped."""
    values = [row["nominal"] for row in results["stdp"] if row["clipped per spike"] < 0.01]
    return Measure(max(values), n=len(values)) if values else None


def stdp_clipped(results: Results) -> Measure | None:
    """Largest distance from promotion less demotion where demotions are clipped."""
    values = [row["nominal"] for row in results["stdp"] if row["clipped per spike"] > 0.5]
    return Measure(max(values), n=len(values)) if values else None


def pinned_active(results: Results) -> Measure:
    """Distance from the active-set form where half of the synapses are pinned at 0."""
    row = results["pinned"]
    return Measure(row["error, active set"], peer=f"plain form {row['error, difference']:.3g}")


def identity(results: Results) -> Measure:
    """Largest relative error of the telescoping identity in the monitored runs."""
    rows = results["monitor"]
    return Measure(max(row["identity error"] for row in rows), n=len(rows))


def false_alarms(results: Results) -> Measure:
    """Share of converged windows that the monitor fails, the worst kind of layer's."""
    worst = max(results["monitor"], key=lambda row: row["later failed"])
    return Measure(worst["later failed"], n=worst["later windows"], peer=_kind(worst))


def early_stops(results: Results) -> Measure:
    """Share of approaches that pass as converged with 100 inputs or more, or a long memory."""
    rows = [r for r in results["monitor"] if r["inputs"] >= 100 or r["memory (spikes)"] > 100]
    worst = max(rows, key=lambda row: row["first window passed"])
    return Measure(worst["first window passed"], n=worst["runs"], peer=_kind(worst))


def early_stops_few_inputs(results: Results) -> Measure:
    """Share of approaches that pass as converged with 8 inputs and a memory of 40 spikes."""
    rows = [r for r in results["monitor"] if r["inputs"] < 100 and r["memory (spikes)"] < 100]
    worst = max(rows, key=lambda row: row["first window passed"])
    return Measure(worst["first window passed"], n=worst["runs"], peer=_kind(worst))


def premature_stops(results: Results) -> Measure:
    """Share of runs that were stopped before the weights had arrived, the worst kind of layer's."""
    worst = max(results["monitor"], key=lambda row: row["premature stops"])
    return Measure(worst["premature stops"], n=worst["runs"], peer=_kind(worst))


def _kind(row: Any) -> str:
    return f"{row['layer']}, {row['inputs']} inputs, memory of {row['memory (spikes)']:g} spikes"


def _areas(results: Results, name: str) -> dict[str, list[float]]:
    """Areas by detector, one entry a split."""
    found: dict[str, list[float]] = {}
    for row in results["novelty"]:
        if row["set"] == name:
            found.setdefault(row["detector"], []).append(row["area"])
    return found


def _spiking(results: Results, name: str) -> Measure | None:
    """Area of the layer of spiking neurons, beside the best of scikit-learn with partial_fit."""
    areas = _areas(results, name)
    if not areas:
        return None
    online = {d: float(np.mean(v)) for d, v in areas.items() if d.startswith("SGD")}
    best = max(online, key=lambda each: online[each])
    return measured(areas[_layer(areas)], peer=f"{best} {online[best]:.4f}")


def _layer(areas: dict[str, list[float]]) -> str:
    return next(d for d in areas if d.endswith("spiking neurons"))


def _prototypes(results: Results, name: str) -> Measure | None:
    """Area of the spiking layer less that of k-means prototypes with the same score."""
    areas = _areas(results, name)
    if not areas:
        return None
    other = next(d for d in areas if d.startswith("k-means"))
    ours, theirs = areas[_layer(areas)], areas[other]
    gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
    return measured(gaps, peer=f"{other} {np.mean(theirs):.4f}, ours {np.mean(ours):.4f}")


def digits_area(results: Results) -> Measure | None:
    """Mean area on digits."""
    return _spiking(results, "digits")


def mnist_area(results: Results) -> Measure | None:
    """Mean area on MNIST."""
    return _spiking(results, "mnist")


def fashion_area(results: Results) -> Measure | None:
    """Mean area on Fashion-MNIST."""
    return _spiking(results, "fashion-mnist")


def mnist_against_prototypes(results: Results) -> Measure | None:
    """Area on MNIST less that of k-means prototypes."""
    return _prototypes(results, "mnist")


def digits_against_prototypes(results: Results) -> Measure | None:
    """Area on digits less that of k-means prototypes."""
    return _prototypes(results, "digits")


def one_neuron_is_the_mean(results: Results) -> Measure | None:
    """Largest difference in area between one neuron and the mean image with the same score."""
    gaps = []
    for name in {row["set"] for row in results["novelty"]}:
        areas = _areas(results, name)
        pairs = zip(areas["1 spiking neuron"], areas["1 mean template"], strict=True)
        gaps += [abs(a - b) for a, b in pairs]
    return Measure(max(gaps), n=len(gaps)) if gaps else None


def windows_between_false_alarms(results: Results) -> Measure:
    """Windows of unchanged input per alarm on frozen weights; promised are 500."""
    rows = results["drift"]
    windows = sum(row["windows"] for row in rows)
    alarms = sum(row["false alarms"] for row in rows)
    return Measure(windows / max(alarms, 1), n=windows, peer=f"{alarms} alarms")


def windows_until_alarm(results: Results) -> Measure:
    """Median number of windows until the alarm after the digit has changed."""
    delays = [row["windows until alarm, 100% foreign"] for row in results["drift"]]
    return Measure(float(np.median(delays)), n=len(delays))


# -- exhibits ------------------------------------------------------------------------------------


def exhibits(results: Results) -> Iterator[Exhibit]:
    """Tables of the law, the monitor's rates, areas and delays."""
    yield _table(
        "Hebbian weights and promotion shares",
        "Sum of absolute differences. On the same events the constraint holds by construction, "
        "up to its correction terms; frozen at their mean and on fresh trains, noise dominates.",
        results["hebbian"],
    )
    yield Figure(
        "Weights on their way",
        "Of nine of a hundred inputs, from equal weights; dashed: the shares of promotions in the "
        "second half, at which the theory says that they settle.",
        partial(_draw_approach, results["approach"]),
    )
    yield Figure(
        "Residual against learning rate",
        "Distance between mean weights and promotion shares, on the events that taught them.",
        partial(_draw_residuals, results["hebbian"]),
    )
    yield _table(
        "STDP by three forms of the constraint",
        "Nominal: promotion less demotion as the rule states it. Active set: the same, cut at 0. "
        "Applied: demotions as they were applied. Frozen: the active set on fresh trains.",
        results["stdp"],
    )
    yield _table(
        "Half of the synapses pinned at 0",
        "20 inputs lead a recurring pattern, 20 lag by 5 ms; depression 0.8.",
        [results["pinned"]],
    )
    yield _table(
        "What the monitor said",
        "First windows hold the approach and should fail; all later ones are converged and should "
        "pass. Default settings, windows of 20 memories.",
        results["monitor"],
    )
    for name in dict.fromkeys(row["set"] for row in results["novelty"]):
        yield _table(
            f"Novelty: {name}",
            f"Area under the ROC curve of one class against the others, mean over classes and "
            f"splits; prototypes and spiking layers score by {_novelty.SCORE[name]}, single "
            "ones by chi2.",
            summary(results, name),
        )
    yield _table(
        "A stream whose digit changes",
        "Windows of ten samples; 51 means no alarm within 50 windows.",
        results["drift"],
    )


def kept(results: Results) -> dict[str, Any]:
    """What the documentation draws: the tables as rows."""
    sets = dict.fromkeys(row["set"] for row in results["novelty"])
    tables = {name: results[name] for name in ("hebbian", "stdp", "monitor")}
    return tables | {"novelty": {name: summary(results, name) for name in sets}}


def summary(results: Results, name: str) -> list[dict[str, Any]]:
    """Mean and standard deviation over splits, best first."""
    rows = []
    for detector, values in _areas(results, name).items():
        mine = [r for r in results["novelty"] if r["set"] == name and r["detector"] == detector]
        rows.append(
            {
                "detector": detector,
                "area": float(np.mean(values)),
                "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
                "splits": len(values),
                "worst class": float(np.mean([r["area there"] for r in mine])),
                "cpu seconds": float(np.mean([r["cpu seconds"] for r in mine])),
            }
        )
    return sorted(rows, key=lambda row: -row["area"])


def _table(title: str, caption: str, rows: list[Any]) -> Table:
    columns = list(rows[0])
    return Table(title, caption, columns, [[row[c] for c in columns] for row in rows])


def _draw_approach(row: dict[str, Any], figure: Any) -> None:
    axes = figure.add_subplot()
    for i, (values, share) in enumerate(
        zip(np.transpose(row["weights"]), row["shares"], strict=True)
    ):
        axes.plot(row["spikes"], values, color=f"C{i}")
        axes.axhline(share, color=f"C{i}", lw=0.7, ls="--")
    axes.set(xlabel="output spikes", ylabel="weight")


def _draw_residuals(rows: list[Any], figure: Any) -> None:
    axes = figure.add_subplot()
    for rule in _constraint.HEBBIAN:
        mine = [row for row in rows if row["rule"] == rule]
        axes.loglog(
            [row["learning rate"] for row in mine],
            [row["same events"] for row in mine],
            marker="o",
            label=rule,
        )
    axes.set(xlabel="learning rate", ylabel="sum of absolute differences")
    axes.legend()
