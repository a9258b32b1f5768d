"""Multi-view audio classification: ten systems on group splits of small real tasks."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from septet._core import checks
from septet.recipes import Exhibit, Figure, Measure, Run, Table, measured
from septet.recipes._workers import run_all
from septet.recipes.audio._study import BRANCHES, VIEWS, WEIGHTED, study
from septet.recipes.audio._tasks import TASKS

SYSTEMS = ("alone", "concat", *WEIGHTED)
ADAPTIVE = "loss: joint"
ENSEMBLE = "loss: ensemble"
_RESAMPLES = 10_000


@dataclass(frozen=True, kw_only=True)
class Config:
    """Multi-view audio classification with adaptive gradient blending."""

    seeds: tuple[int, ...] = tuple(range(20))
    """One split by groups, one first state and one order of clips for each."""
    tasks: tuple[str, ...] = ("drums", "announcers", "instruments")
    """drums: seven kinds of drum, leave authors of kits out; announcers: four speakers under noise,
    leave prompts out; instruments: ten families, leave a sound font out; sounds: made up."""
    systems: tuple[str, ...] = SYSTEMS
    """alone: four single views and late fusion; concat: the joint loss only; then weighted sums."""
    steps: int = 120
    """Steps of Adam at a constant rate."""
    lr: float = 0.001
    """Learning rate."""
    eval_every: int = 6
    """Steps between evaluations of the branches."""
    batch_size: int = 32
    at_once: int = 18
    """Runs that share a pass."""
    control: int = 3
    """Splits on which labels are shuffled as well, to see chance."""
    workers: int = 0
    """Processes, of one thread each; 0 is one for each core."""


Results = dict[str, Any]


def run(config: Config, run: Run) -> Results:
    """Run every task in parts of a few splits, resumable after each part."""
    for system in config.systems:
        checks.choice("systems", system, SYSTEMS)
    for task in config.tasks:
        checks.choice("tasks", task, TASKS)
    per_part = max(1, config.at_once // len(config.systems))
    settings = {
        "steps": config.steps,
        "lr": config.lr,
        "eval_every": config.eval_every,
        "batch_size": config.batch_size,
        "at_once": config.at_once,
    }
    jobs: dict[str, dict[str, Any]] = {}
    for task in config.tasks:
        for number, part in enumerate(_parts(config.seeds, per_part)):
            arguments = {"task_name": task, "seeds": part, "systems": config.systems}
            jobs[f"{task}-{number}"] = arguments | settings
        control = {"task_name": task, "seeds": config.seeds[: config.control], "shuffled": True}
        if config.control:
            jobs[f"{task}-shuffled"] = control | {"systems": ("loss",)} | settings
    listed = [(name, _study_of, (job,)) for name, job in jobs.items()]
    found = run_all(run, listed, config.workers)
    return {
        "tasks": {
            task: list(
                itertools.chain.from_iterable(
                    found[name]
                    for name in jobs
                    if name.startswith(f"{task}-") and not name.endswith("-shuffled")
                )
            )
            for task in config.tasks
        },
        "shuffled": {task: found[f"{task}-shuffled"] for task in config.tasks if config.control},
    }


def _parts(seeds: Sequence[int], size: int) -> list[tuple[int, ...]]:
    return [tuple(seeds[start : start + size]) for start in range(0, len(seeds), size)]


def _study_of(job: dict[str, Any]) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    return study(**job)


def accuracies(results: Results, task: str, system: str, state: str = "best") -> NDArray[Any]:
    """Return the balanced accuracies of a system on the splits of a task."""
    return np.array([split["accuracy"][system][state] for split in results["tasks"][task]])


def best_view(results: Results, task: str) -> str:
    """Return the view with the best mean on a task: a choice that favours it."""
    return max(VIEWS, key=lambda view: accuracies(results, task, view).mean())


def _difference(results: Results, system: str, against: str) -> Measure | None:
    """Return the mean paired difference in points over all splits of all tasks."""
    values: list[float] = []
    peers = []
    for task, splits in results["tasks"].items():
        if any(
            name not in splits[0]["accuracy"] for name in (system, against) if name != "best view"
        ):
            return None
        peer = best_view(results, task) if against == "best view" else against
        theirs = accuracies(results, task, peer)
        values += (100 * (accuracies(results, task, system) - theirs)).tolist()
        peers.append(f"{100 * theirs.mean():.1f}")
    return measured(values, unit="points", peer=f"{against} {', '.join(peers)} %")


def adaptive_over_concat(results: Results) -> Measure | None:
    """Joint head with adapted weights against the plain concatenation network."""
    return _difference(results, ADAPTIVE, "concat")


def adaptive_over_uniform(results: Results) -> Measure | None:
    """Joint head with adapted weights against equal weights."""
    return _difference(results, ADAPTIVE, "uniform: joint")


def adaptive_over_late(results: Results) -> Measure | None:
    """Joint head with adapted weights against late fusion of separate networks."""
    return _difference(results, ADAPTIVE, "late, product")


def adaptive_over_view(results: Results) -> Measure | None:
    """Joint head with adapted weights against the best single view."""
    return _difference(results, ADAPTIVE, "best view")


def ensemble_over_concat(results: Results) -> Measure | None:
    """Mean of the five heads, adapted weights, against concatenation."""
    return _difference(results, ENSEMBLE, "concat")


def ensemble_over_late(results: Results) -> Measure | None:
    """Mean of the five heads, adapted weights, against late fusion."""
    return _difference(results, ENSEMBLE, "late, product")


def ensemble_over_view(results: Results) -> Measure | None:
    """Mean of the five heads, adapted weights, against the best single view."""
    return _difference(results, ENSEMBLE, "best view")


def ensemble_over_uniform(results: Results) -> Measure | None:
    """Mean of the five heads: adapted against equal weights."""
    return _difference(results, ENSEMBLE, "uniform: ensemble")


def compat_over_adaptive(results: Results) -> Measure | None:
    """The tangent rule as published code computes it against the loss form, joint heads."""
    return _difference(results, "tangent, compat: joint", ADAPTIVE)


def stopping(results: Results) -> Measure | None:
    """How much less the adapted network loses between its best and its last state."""
    values = []
    for task, splits in results["tasks"].items():
        if not {ADAPTIVE, "concat"} <= set(splits[0]["accuracy"]):
            return None
        drops = [
            accuracies(results, task, name) - accuracies(results, task, name, "last")
            for name in ("concat", ADAPTIVE)
        ]
        values += (100 * (drops[0] - drops[1])).tolist()
    return measured(values, unit="points")


def chance_gap(results: Results) -> Measure | None:
    """Balanced accuracy with shuffled labels, less chance."""
    values = []
    for task, splits in results["shuffled"].items():
        n_classes = {"drums": 7, "announcers": 4, "instruments": 10, "sounds": 3}[task]
        values += [100 * (s["accuracy"][ADAPTIVE]["best"] - 1 / n_classes) for s in splits]
    return measured(values, unit="points") if values else None


def interval(differences: NDArray[Any]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of paired differences."""
    rng = np.random.default_rng(0)
    draws = rng.integers(len(differences), size=(_RESAMPLES, len(differences)))
    low, high = np.quantile(differences[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def exhibits(results: Results) -> Iterator[Exhibit]:
    """A table and the weights over time for every task, and all differences in one picture."""
    for task in results["tasks"]:
        yield _table(results, task)
    if len(next(iter(results["tasks"].values()))) > 1:
        yield Figure(
            "Against the plain concatenation network",
            "Mean paired difference in balanced accuracy with its 95 % bootstrap interval over "
            "splits. Splits of one task share clips, so that intervals are rather too narrow.",
            lambda figure: _forest(figure, results),
            (7.0, 6.0),
        )
    for task, splits in results["tasks"].items():
        if "loss" in splits[0]["weights"]:
            yield Figure(
                f"Weights over time: {task}",
                "Mean over splits of the weights that the loss form gives to the branches.",
                _weights_of(splits),
            )


def _table(results: Results, task: str) -> Table:
    splits = results["tasks"][task]
    rows = []
    for system in splits[0]["accuracy"]:
        best, last = (100 * accuracies(results, task, system, s) for s in ("best", "last"))
        row: list[Any] = [
            system,
            round(best.mean(), 1),
            round(best.std(ddof=min(1, len(best) - 1)), 1),
        ]
        row.append(round(last.mean(), 1))
        for peer in ("concat", "uniform: joint", "late, product", best_view(results, task)):
            if peer not in splits[0]["accuracy"] or peer == system:
                row.append("–")
                continue
            difference = best - 100 * accuracies(results, task, peer)
            low, high = interval(difference)
            row.append(f"{difference.mean():+.1f} [{low:+.1f}, {high:+.1f}]")
        rows.append(row)
    sizes = splits[0]["sizes"]
    return Table(
        f"Balanced accuracy in %: {task}",
        f"{len(splits)} splits by groups of about {sizes[0]} training, {sizes[1]} validation and "
        f"{sizes[2]} test clips. The best state is that of the best validation score; differences "
        "are paired, with 95 % bootstrap intervals.",
        [
            "system", "best state", "s.d.", "last state", "minus concat", "minus uniform",
            "minus late fusion", f"minus best view ({best_view(results, task)})",
        ],
        rows,
    )  # fmt: skip


def _forest(figure: Any, results: Results) -> None:
    axes = figure.add_subplot()
    systems = [s for s in next(iter(results["tasks"].values()))[0]["accuracy"] if s not in VIEWS]
    systems = [system for system in systems if system != "concat"]
    for number, task in enumerate(results["tasks"]):
        for place, system in enumerate(systems):
            values = accuracies(results, task, system) - accuracies(results, task, "concat")
            values = 100 * values
            low, high = interval(values)
            height = place + 0.2 * (number - 1)
            axes.plot([low, high], [height, height], color=f"C{number}")
            label = task if place == 0 else None
            axes.plot(values.mean(), height, "o", color=f"C{number}", label=label)
    axes.set_yticks(range(len(systems)), systems)
    axes.invert_yaxis()
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_xlabel("points above concatenation")
    axes.legend()


def _weights_of(splits: list[dict[str, Any]]) -> Any:
    def draw(figure: Any) -> None:
        weights = np.mean([split["weights"]["loss"] for split in splits], axis=0)
        axes = figure.add_subplot()
        axes.stackplot(splits[0]["steps"], weights.T, labels=BRANCHES)
        axes.set(xlabel="step", ylabel="weight", ylim=(0, 1))
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))

    return draw
