"""Group-robust classification: who needs which labels for which worst-group accuracy."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from septet import data
from septet._core import checks
from septet.recipes import Exhibit, Figure, Measure, Run, Table, measured
from septet.recipes._workers import run_all
from septet.recipes.robust import _guarantees, _networks

Results = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Group-robust classification."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Data, initial weights and orders."""
    digits: Literal["mnist-5k", "digits"] = "mnist-5k"
    """Handwriting; digits comes with scikit-learn."""
    n_train: int = 3000
    """Images that train."""
    n_validation: int = 800
    """Images that retrain heads or select."""
    n_test: int = 1200
    """Images that judge."""
    epochs: int = 15
    """Passes of every training."""
    networks: tuple[str, ...] = (
        "erm",
        "split-0.5",
        "split-0.3",
        "group-dro",
        "reweight",
        "subsample",
        "jtt",
    )
    """Trainings: plain, on a part (the number retrains the head), end-to-end rules, JTT."""
    simulations: int = 2000
    """Simulated evaluations for the coverage of the intervals."""
    celeba: bool = False
    """Also the attribute table of CelebA, if it is on this machine."""
    workers: int = 0
    """Trainings at a time, one thread each; zero takes one per core."""

    def __post_init__(self) -> None:
        known = ["erm", "group-dro", "reweight", "subsample", "jtt"]
        for name in self.networks:
            if not name.startswith("split-"):
                checks.choice("networks", name, known)
        if not self.seeds or "erm" not in self.networks:
            raise ValueError("seeds must not be empty and networks must hold 'erm'.")


def run(config: Config, run: Run) -> Results:
    """Train every network of every seed, then check the guarantees; resumable after each."""
    setting = _networks.Setting(
        digits=config.digits,
        sizes=(config.n_train, config.n_validation, config.n_test),
        epochs=config.epochs,
        folder=str(run.checkpoint / "trainings"),
    )
    jobs = [
        (f"{name}-{seed}", _networks.run_job, (name, seed, setting))
        for seed in config.seeds
        for name in config.networks
    ]
    found = run_all(run, jobs, config.workers)
    rows = [
        entry | {"seed": seed}
        for seed in config.seeds
        for name in config.networks
        for entry in found[f"{name}-{seed}"]
    ]
    intervals = run.stage("intervals", _guarantees.coverage, config.simulations)
    table = None
    if config.celeba and data.available("celeba-attributes"):
        table = run.stage("celeba", _guarantees.celeba)
    elif config.celeba:
        run.say("celeba-attributes is not here: its claims are not run")
    return {"rows": rows, "intervals": intervals, "celeba": table}


def _values(results: Results, method: str, key: str = "worst") -> dict[int, float]:
    """Per seed, the accuracy of a method in points."""
    rows = results["rows"]
    return {row["seed"]: 100 * row[key] for row in rows if row["method"] == method and key in row}


def _gain(results: Results, method: str, over: str) -> Measure | None:
    """Points of worst-group accuracy that one method has over another, seed by seed."""
    ours, peer = _values(results, method), _values(results, over)
    if not ours or not peer:
        return None
    gains = [ours[seed] - peer[seed] for seed in ours]
    words = f"{over} {np.mean(list(peer.values())):.1f}; ahead in {sum(g > 0 for g in gains)}"
    return measured(gains, unit="points", peer=f"{words} of {len(gains)} seeds")


def independence_half(results: Results) -> Measure | None:
    """Head on the other half of the rows against head on the network's own half."""
    return _gain(results, "CRIS, 50/50", "reuse, 50/50 (same network)")


def independence_third(results: Results) -> Measure | None:
    """The same with 70 % of the rows for the network."""
    return _gain(results, "CRIS, 70/30", "reuse, 70/30 (same network)")


def memorisation(results: Results) -> Measure | None:
    """Worst-group accuracy of the network on its own rows, over that on the other half."""
    own = _values(results, "plain network, 50/50", "worst on its own rows")
    other = _values(results, "plain network, 50/50", "worst on the other rows")
    if not own:
        return None
    return measured([own[seed] - other[seed] for seed in own], unit="points")


def over_erm(results: Results) -> Measure | None:
    """CRIS with half of the validation labels for retraining against plain training."""
    return _gain(results, "CRIS, halves of 100 %", "ERM")


def few_labels_over_erm(results: Results) -> Measure | None:
    """CRIS with a fifth of the validation labels against plain training."""
    return _gain(results, "CRIS, folds of 20 %", "ERM")


def over_naive(results: Results) -> Measure | None:
    """CRIS against the same rule on the rows that trained the network."""
    return _gain(results, "CRIS, halves of 100 %", "NCRT (same rows)")


def over_group_dro(results: Results) -> Measure | None:
    """CRIS against group DRO of the whole network with the same selection rows."""
    return _gain(results, "CRIS, halves of 100 %", "group DRO end to end")


def few_labels_over_group_dro(results: Results) -> Measure | None:
    """CRIS with a fifth of the validation labels against group DRO with all labels."""
    return _gain(results, "CRIS, folds of 20 %", "group DRO end to end")


def over_jtt(results: Results) -> Measure | None:
    """CRIS against training twice; both see group labels of the validation rows only."""
    return _gain(results, "CRIS, halves of 100 %", "JTT")


def over_balanced_head(results: Results) -> Measure | None:
    """Worst-group head against group-balanced head, all validation labels."""
    return _gain(results, "CRIS, halves of 100 %", "balanced head, halves of 100 %")


def plain_head(results: Results) -> Measure | None:
    """Plain head on the independent half against plain training."""
    return _gain(results, "plain head, 50/50", "ERM")


def planner_shortfall(results: Results) -> Measure | None:
    """Points that a quarter of the labels, planned, stay behind all of them."""
    return _gain(results, "CRIS, folds of 100 %", "CRIS, planned labels")


def inferred_shortfall(results: Results) -> Measure | None:
    """The same if the other rows take part with inferred groups."""
    return _gain(results, "CRIS, folds of 100 %", "CRIS, planned labels, others inferred")


def simultaneous_coverage(results: Results) -> Measure:
    """Share of simulated evaluations in which every group is inside its interval."""
    found = results["intervals"]
    peer = f"Wilson, each alone {found['Wilson, each alone']:.3f}"
    return Measure(found["all at once"], n=int(found["simulations"]), peer=peer)


def bound_coverage(results: Results) -> Measure:
    """Share of simulated evaluations in which the lower bound is below the worst group."""
    return Measure(results["intervals"]["lower bound"], n=int(results["intervals"]["simulations"]))


def _celeba(results: Results, method: str) -> dict[str, Any] | None:
    return next((row for row in results["celeba"] or () if row["method"] == method), None)


def celeba_worst(results: Results) -> Measure | None:
    """Worst-group accuracy on CelebA's attributes with a twentieth of the validation labels."""
    ours = _celeba(results, "group DRO head, 5 % of validation")
    plain = _celeba(results, "ERM")
    if ours is None or plain is None:
        return None
    return measured(100 * ours["worst"], unit="%", peer=f"ERM {100 * plain['worst']:.1f}")


def celeba_gap(results: Results) -> Measure | None:
    """Largest relative duality gap of the heads on CelebA's attributes."""
    rows = results["celeba"]
    return measured(max(row["relative gap"] for row in rows)) if rows else None


_PUBLISHED = {
    "CRIS, halves of 100 %": "favourable to group DRO and JTT, labels in validation only",
    "CRIS, 50/50": "favourable to group DRO, labels in training",
    "CRIS, 70/30": "favourable to group DRO, labels in training",
    "CRIS, folds of 20 %": "robust with a limited amount of labels",
}


def exhibits(results: Results) -> Iterator[Exhibit]:
    """One row a method, a picture of them, and the guarantees."""
    methods = list(dict.fromkeys(row["method"] for row in results["rows"]))
    labels = {row["method"]: row["labels"] for row in results["rows"]}
    table = []
    for method in methods:
        worst = list(_values(results, method).values())
        average = list(_values(results, method, "average").values())
        error = float(np.std(worst, ddof=1) / np.sqrt(len(worst))) if len(worst) > 1 else None
        table.append((method, labels[method], worst, error, float(np.mean(average))))
    yield Table(
        "Digits on photographs",
        "Test accuracy in points, mean over seeds; se: standard error. Group labels: those used to "
        "train or retrain, and those used to select (one number where folds do both). The paper "
        "states orderings in its abstract; its tables could not be read.",
        ["method", "group labels", "worst group", "se", "average", "seeds", "the paper"],
        [
            [
                name,
                used,
                round(float(np.mean(worst)), 1),
                None if error is None else round(error, 1),
                round(average, 1),
                ", ".join(f"{value:.1f}" for value in worst),
                _PUBLISHED.get(name, ""),
            ]
            for name, used, worst, error, average in table
        ],
    )

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for place, (_, _, worst, _, average) in enumerate(reversed(table)):
            axes.plot(worst, [place] * len(worst), "o", color="#4c72b0", alpha=0.5, markersize=4)
            axes.plot(float(np.mean(worst)), place, "|", color="#4c72b0", markersize=12)
            axes.plot(average, place, "x", color="#c44e52", markersize=5)
        axes.set_yticks(range(len(table)), [entry[0] for entry in reversed(table)], fontsize=7)
        axes.set(xlabel="accuracy (points): worst group per seed and mean (blue), average (red)")

    yield Figure(
        "Worst group and average",
        "Heads on rows that the network was not trained on lift the worst group; the same heads on "
        "its own rows do much less.",
        draw,
        size=(7.0, 1.5 + 0.2 * len(table)),
    )
    found = results["intervals"]
    yield Table(
        "Do the intervals hold?",
        "Four groups of 2 000, 100, 10 and 300 rows with accuracies 0.97, 0.9, 0.6 and 0.75. The "
        "worst of several estimates is on average too small.",
        ["quantity", "value"],
        [[key, value] for key, value in found.items()],
    )
    if results["celeba"]:
        columns = list(results["celeba"][0])
        yield Table(
            "Blond hair from 35 attributes (CelebA)",
            "Linear heads on weak features: the ordering is the point, not the level.",
            columns,
            [[row[c] for c in columns] for row in results["celeba"]],
        )
