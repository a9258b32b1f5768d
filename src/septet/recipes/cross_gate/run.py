"""What a gate of novelty scores keeps from a classifier, beside the classifier's own margin."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from septet._core import checks
from septet.recipes import Exhibit, Figure, Measure, Run, Table, measured
from septet.recipes._workers import run_all
from septet.spiking import LatencyEncoder, SpikingClassifier, SpikingNoveltyDetector

Floats: TypeAlias = NDArray[np.float64]
Results = dict[str, Any]
_REFUSED = 0.05  # share of known samples that a gate may hold back
_GATES = ("none", "novelty", "margin")


@dataclass(frozen=True, kw_only=True)
class Config:
    """A novelty detector as a gate before a spiking classifier."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Which classes are known, splits, and everything random."""
    known: int = 7
    """Classes that are known, of ten."""
    neurons: int = 30
    """Of the detector."""
    epochs: int = 30
    """Most passes of the classifier."""
    samples: int = 1797
    """Of all digits."""
    workers: int = 0
    """Seeds at a time; zero takes one per core."""

    def __post_init__(self) -> None:
        checks.integer("known", self.known, low=2, high=9)
        checks.integer("samples", self.samples, low=200, high=1797)
        if not self.seeds:
            raise ValueError("seeds must not be empty.")


def run(config: Config, run: Run) -> Results:
    """Classify behind each gate with every seed; resumable after each."""
    jobs = [(f"seed-{seed}", _gated, (config, seed)) for seed in config.seeds]
    return {"rows": list(run_all(run, jobs, config.workers).values())}


def _gated(config: Config, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    X, y = load_digits(return_X_y=True)
    chosen = rng.permutation(len(y))[: config.samples]
    X, y = X[chosen], y[chosen]
    known = np.isin(y, rng.permutation(10)[: config.known])
    inside = np.flatnonzero(known)
    train, gate, shown = np.split(inside, [len(inside) // 2, 3 * len(inside) // 4])
    strange = np.flatnonzero(~known)[: len(shown)]
    test = np.concatenate([shown, strange])

    detector = SpikingNoveltyDetector(config.neurons, random_state=seed).fit(X[train])
    spikes = LatencyEncoder(window=10.0, duration=40.0).fit(X[train]).transform(X)
    classifier = SpikingClassifier(
        "lcl", soft_C=0.01, average=True, max_epochs=config.epochs, random_state=seed
    ).fit(spikes[train], y[train])

    answers, belongs = classifier.predict(spikes[test]), known[test]
    right = belongs & (answers == y[test])
    scores = {
        "novelty": detector.score_samples(X[np.concatenate([gate, test])]),
        "margin": _margin(classifier, spikes[np.concatenate([gate, test])]),
    }
    found = {"none": _said(right, np.ones(len(test), dtype=bool), belongs)}
    for name, values in scores.items():
        least = np.quantile(values[: len(gate)], _REFUSED)
        row = _said(right, values[len(gate) :] >= least, belongs)
        found[name] = row | {"area": float(roc_auc_score(belongs, values[len(gate) :]))}
    return found


def _margin(classifier: Any, spikes: Any) -> Floats:
    """Largest decision value less the second largest."""
    values = np.sort(classifier.decision_function(spikes).reshape(len(spikes), -1), axis=1)
    return np.abs(values[:, 0]) if values.shape[1] == 1 else values[:, -1] - values[:, -2]


def _said(
    right: NDArray[np.bool_], through: NDArray[np.bool_], belongs: NDArray[np.bool_]
) -> dict[str, float]:
    """Share of wrong answers among those given, and shares of known and unknown let through."""
    return {
        "wrong": float((~right[through]).mean()),
        "known": float(through[belongs].mean()),
        "unknown": float(through[~belongs].mean()),
    }


def _column(results: Results, gate: str, key: str) -> Floats:
    return 100 * np.array([row[gate][key] for row in results["rows"]])


def wrong_answers_avoided(results: Results) -> Measure:
    """Points of wrong answers that the novelty gate saves."""
    none, ours, peer = (_column(results, gate, "wrong") for gate in _GATES)
    words = f"no gate {none.mean():.1f}, own margin {peer.mean():.1f}"
    return measured(list(none - ours), unit="points", peer=words)


def area_over_margin(results: Results) -> Measure:
    """Points of area under the ROC curve over the classifier's own margin."""
    ours, peer = (_column(results, gate, "area") for gate in _GATES[1:])
    return measured(list(ours - peer), unit="points", peer=f"own margin {peer.mean():.1f}")


def exhibits(results: Results) -> Iterator[Exhibit]:
    """Tell what every gate lets through."""
    yield Table(
        "What goes through the gate",
        "Per cent, mean over seeds. Each gate may hold back a twentieth of the known.",
        ["gate", "wrong answers", "known let through", "unknown let through", "area"],
        [
            [
                gate,
                *(round(float(_column(results, gate, k).mean()), 1) for k in _KEYS),
                None if gate == "none" else round(float(_column(results, gate, "area").mean()), 1),
            ]
            for gate in _GATES
        ],
    )
    yield Figure(
        "Wrong answers, seed by seed",
        "Per cent of the answers given behind each gate; one line a seed.",
        lambda figure: _draw(figure, results),
    )


def _draw(figure: Any, results: Results) -> None:
    axes = figure.add_subplot()
    for values in np.transpose([_column(results, gate, "wrong") for gate in _GATES]):
        axes.plot(_GATES, values, "o-", alpha=0.6)
    axes.set(ylim=(0, None), xlabel="gate", ylabel="wrong answers (%)")


_KEYS = ("wrong", "known", "unknown")
