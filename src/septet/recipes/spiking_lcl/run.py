"""Linear-constraints learning: exact step sizes against rules that nudge."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from septet.recipes import Exhibit, Figure, Measure, Run, Table, measured
from septet.recipes._workers import Job, run_all
from septet.recipes.spiking_lcl import _memory, _speed, classification
from septet.spiking import LIF, SpikeBatch, plot_potential, plot_raster


@dataclass(frozen=True, kw_only=True)
class Config:
    """Linear-constraints learning of spike trains."""

    seeds: tuple[int, ...] = (0, 1, 2)
    n_inputs: int = 500
    """Input lines of the neuron that memorises."""
    loads: tuple[float, ...] = (0.05, 0.1, 0.2)
    """Desired spikes per input at which learning rules are compared, 5 spikes a pattern."""
    rules: tuple[str, ...] = ("elearning", "fp", "htp", "resume", "psd", "span", "empd")
    """Rules that ours is compared with, each at five step sizes."""
    max_seconds: float = 3.0
    """Time that every run of a rule has at every step size."""
    max_epochs: int = 100_000
    """Passes after which a run ends."""
    interference: tuple[int, ...] = (1, 2, 5, 10, 20)
    """Desired spikes per pattern at which five patterns are learned."""
    interference_seconds: float = 1.0
    """Time of every run there."""
    ablation_epochs: int = 1000
    """Passes after which the ablations end."""
    capacity_inputs: int = 200
    """Input lines for capacity."""
    capacity_rates: tuple[int, ...] = (1, 2, 5, 10, 20)
    """Desired spikes per pattern for capacity."""
    capacity_seeds: int = 10
    """Seeds of every capacity."""
    capacity_wide: bool = False
    """Also vary the number of inputs and the duration."""
    iris_splits: int = 0
    """Random halves of Iris that are classified."""
    mnist_splits: int = 0
    """Random splits of the 5 000 digits (4 000 for training and validation) that are classified."""
    workers: int = 0
    """Runs at a time; zero takes one per core."""


Results = dict[str, Any]
_SPIKES = 5


def run(config: Config, run: Run) -> Results:
    """Do every measurement, as many at a time as there are cores; resumable after each."""
    n, seeds = config.n_inputs, config.seeds
    at = [(max(1, round(load * n / _SPIKES)), _SPIKES) for load in config.loads]
    most, middle = max(at), at[len(at) // 2]

    def compared(part: str, tasks: list[tuple[int, int]], max_seconds: float) -> list[Job]:
        about = (config.rules, n, max_seconds, config.max_epochs)
        return [
            (f"{part}-{patterns}x{spikes}-{seed}", _speed.race, (patterns, spikes, seed, *about))
            for patterns, spikes in tasks
            for seed in seeds
        ]

    settings = _memory.settings(config.capacity_rates, config.capacity_wide)
    parts: dict[str, list[Job]] = {
        "exact": [(f"exact-{seed}", _memory.exact, (n, *most, seed)) for seed in seeds],
        "example": [("example", _memory.example, (n, *most, min(seeds)))],
        "iris": _classified("iris", config.iris_splits),
        "mnist": _classified("mnist-5k", config.mnist_splits),
        "speed": compared("speed", at, config.max_seconds),
        "interference": compared(
            "interference", [(5, k) for k in config.interference], config.interference_seconds
        ),
        "ablation": [
            (f"ablation-{seed}", _speed.ablation, (n, *middle, seed, config.ablation_epochs))
            for seed in seeds
        ],
        "capacity": [
            (
                f"capacity-{i}",
                _memory.one_capacity,
                (config.capacity_inputs, config.capacity_seeds, *s),
            )
            for i, s in enumerate(settings)
        ],
        "robustness": [
            (f"robustness-{seed}", _memory.robustness, (n, *middle, seed)) for seed in seeds
        ],
    }
    # one exact solution first and the others last: while it compiles the solver, the other cores
    # begin with what needs none
    first, *jobs = [job for jobs in parts.values() for job in jobs]
    jobs.sort(key=lambda job: {classification.study: 0, _memory.exact: 2}.get(job[1], 1))
    found = run_all(run, [first, *jobs], config.workers)
    results: Results = {part: [found[name] for name, *_ in jobs] for part, jobs in parts.items()}
    results["example"] = results["example"][0]
    for part in ("iris", "mnist", "speed", "interference", "ablation"):
        results[part] = [row for rows in results[part] for row in rows]
    return results


def _classified(name: str, splits: int) -> list[Job]:
    """Jobs that classify a set, one a split."""
    images = name == "mnist-5k"
    return [
        (
            f"{name}-{seed}",
            classification.study,
            (name, seed, ("lcl", "tempotron"), 0.2 if images else 0.5, 5 if images else 20),
        )
        for seed in range(splits)
    ]


# -- measures ------------------------------------------------------------------------------------


def timing_error(results: Results) -> Measure:
    """Largest timing error of a free run of batch solutions; infinite if a train is wrong."""
    errors = [
        np.inf if row["wrong trains"] else row["largest error (ms)"] for row in results["exact"]
    ]
    return Measure(max(errors), n=sum(row["spikes"] for row in results["exact"]), unit="ms")


def _ratios(results: Results, by: str) -> tuple[list[float], str]:
    """At every load: the best tuned rule's figure over ours, and which rule it is."""
    ratios, names = [], []
    rows = results["speed"]
    for load in sorted({row["load"] for row in rows}):
        here = [row for row in rows if row["load"] == load]
        table = _tuned(here, by)
        ours, rivals = table["lcl"], _rivals(table)
        if ours is None or ours["solved"] < ours["of"] or not rivals:
            ratios.append(0.0 if ours is None or ours["solved"] < ours["of"] else np.inf)
            continue
        name = min(rivals, key=lambda each: rivals[each][by])
        ratios.append(rivals[name][by] / ours[by])
        names.append(f"{name} {rivals[name][by]:.3g}, ours {ours[by]:.3g} at load {load:.2g}")
    return ratios, "; ".join(names)


def _tuned(rows: list[Any], by: str) -> dict[str, Any]:
    rules = dict.fromkeys(row["rule"] for row in rows)
    return {rule: _speed.best([r for r in rows if r["rule"] == rule], by) for rule in rules}


def _rivals(table: dict[str, Any]) -> dict[str, Any]:
    """Rules that are not ours and learned all seeds."""
    return {
        name: one
        for name, one in table.items()
        if name not in _speed.OURS and one and one["solved"] == one["of"]
    }


def epochs_ratio(results: Results) -> Measure:
    """Epochs of the best tuned rule over ours, at the load where that is least."""
    ratios, names = _ratios(results, "epochs")
    return Measure(min(ratios), n=len(ratios), peer=names)


def seconds_ratio(results: Results) -> Measure:
    """Seconds of the best tuned rule over ours, at the load where that is least."""
    ratios, names = _ratios(results, "seconds")
    return Measure(min(ratios), n=len(ratios), peer=names)


def hardest_epochs_ratio(results: Results) -> Measure:
    """Epochs of the best tuned rule over ours at the largest load."""
    ratios, names = _ratios(results, "epochs")
    return Measure(ratios[-1], peer=names.rpartition("; ")[2])


def hardest_seconds_ratio(results: Results) -> Measure:
    """Seconds of the best tuned rule over ours at the largest load."""
    ratios, names = _ratios(results, "seconds")
    return Measure(ratios[-1], peer=names.rpartition("; ")[2])


def step_ratio(results: Results) -> Measure:
    """Epochs with diagonal or uniform steps, whichever needs fewer, over those with exact ones.

    Steps that do not bring all trains right within the epochs allowed count as needing them all.
    """
    found = _tuned(results["ablation"], "epochs")
    exact = found.pop("exact")
    if exact is None or exact["solved"] < exact["of"]:
        return Measure(0.0)
    most = results["ablation"][0]["most epochs"]
    needed = {
        name: one["epochs"] if one and one["solved"] == one["of"] else np.inf
        for name, one in found.items()
    }
    words = [
        f"{name} {epochs:.3g}" if epochs < np.inf else f"{name} more than {most}"
        for name, epochs in needed.items()
    ]
    fewest = min(most, *needed.values())
    return Measure(
        fewest / exact["epochs"],
        n=exact["of"],
        peer=f"{', '.join(words)}; exact {exact['epochs']:.3g}",
    )


def lowest_everywhere(results: Results) -> Measure:
    """Share of output rates at which ours needs the fewest epochs."""
    rows = results["interference"]
    wins = []
    for n in sorted({row["spikes"] for row in rows}):
        table = _tuned([row for row in rows if row["spikes"] == n], "epochs")
        ours = table.pop("lcl")
        rivals = [one["epochs"] for one in _rivals(table).values()]
        solved = ours is not None and ours["solved"] == ours["of"]
        wins.append(float(solved and ours["epochs"] <= min(rivals, default=np.inf)))
    return Measure(float(np.mean(wins)), n=len(wins))


def growth(results: Results) -> Measure | None:
    """How much more the best tuned rule's epochs grow than ours, from fewest to most spikes."""
    rows = results["interference"]
    counts = sorted({row["spikes"] for row in rows})
    grown = {}
    tables = [_tuned([row for row in rows if row["spikes"] == n], "epochs") for n in counts]
    for rule in (name for name in tables[0] if name == "lcl" or name not in _speed.OURS):
        ends = [table[rule] for table in (tables[0], tables[-1])]
        if all(end and end["solved"] == end["of"] for end in ends):
            grown[rule] = ends[1]["epochs"] / ends[0]["epochs"]
    ours = grown.pop("lcl", None)
    if ours is None or not grown:
        return None
    peer = ", ".join(f"{rule} x{factor:.3g}" for rule, factor in grown.items())
    return Measure(min(grown.values()) / ours, peer=f"{peer}, ours x{ours:.3g}")


def typical_capacity(results: Results) -> Measure:
    """Capacity at five spikes a pattern, in desired spikes per input."""
    row = next(
        row
        for row in results["capacity"]
        if row["varied"] == "time constants (ms)" and row["value"] == "20 / 5"
    )
    return Measure(row["capacity"], low=row["from"], high=row["to"])


def proved(results: Results) -> Measure:
    """Share of seeds whose capacity is ended by a proof, over all settings."""
    rows = results["capacity"]
    seeds = sum(row["seeds"] for row in rows)
    return Measure(1 - sum(row["undecided"] for row in rows) / seeds, n=seeds)


def noise_ratio(results: Results) -> Measure:
    """Tolerated noise of the largest margin over that of the default solution of least norm."""
    ratios = [row["robust"] / max(row["default"], 1e-6) for row in results["robustness"]]
    return measured(ratios)


def _difference(rows: list[Any], method: str, other: str) -> Measure | None:
    """Mean difference in accuracy of two methods on the same splits, in points."""
    table = {(row["method"], row["seed"]): row["accuracy"] for row in rows}
    seeds = sorted({row["seed"] for row in rows})
    if not seeds:
        return None
    mine, theirs = ([table[name, seed] for seed in seeds] for name in (method, other))
    gaps = [100 * (a - b) for a, b in zip(mine, theirs, strict=True)]
    peer = f"{method} {np.mean(mine):.4f}, {other} {np.mean(theirs):.4f}"
    return measured(gaps, unit="points", peer=peer)


def mnist_one_layer(results: Results) -> Measure | None:
    """Accuracy of one layer less that of logistic regression, in points."""
    return _difference(results["mnist"], "lcl", "logistic regression")


def mnist_against_tempotron(results: Results) -> Measure | None:
    """Accuracy of one layer less that of the tempotron, in points."""
    return _difference(results["mnist"], "lcl", "tempotron")


def iris_against_tempotron(results: Results) -> Measure | None:
    """Accuracy on Iris less that of the tempotron, in points."""
    return _difference(results["iris"], "lcl", "tempotron")


def mnist_hidden(results: Results) -> Measure | None:
    """Accuracy with the hidden layer."""
    rows = [row for row in results["mnist"] if row["method"] == "lcl, hidden layer"]
    return measured([row["accuracy"] for row in rows]) if rows else None


def mnist_seconds(results: Results) -> Measure | None:
    """Seconds to train with the hidden layer, choice of settings included."""
    rows = [row for row in results["mnist"] if row["method"] == "lcl, hidden layer"]
    return measured([row["seconds"] for row in rows], unit="s") if rows else None


# -- exhibits ------------------------------------------------------------------------------------


def exhibits(results: Results) -> Iterator[Exhibit]:
    """Tables of the comparisons, curves of interference and capacity."""
    yield _table(
        "Learning rules at equal budgets",
        "Medians over the seeds that were solved, at each rule's best of five step sizes; ours at "
        "its defaults. An epoch of ours is dearer: compare seconds, of processor time, too.",
        [
            {"load": round(load, 3), "rule": rule}
            | (one or {"rate": None, "solved": 0, "of": None, "epochs": None, "seconds": None})
            for load in sorted({row["load"] for row in results["speed"]})
            for rule, one in _tuned(
                [row for row in results["speed"] if row["load"] == load], "epochs"
            ).items()
        ],
    )
    yield _table(
        "Exact, diagonal and uniform steps",
        "The same directions; only the sizes differ. Uniform steps at the best of five sizes.",
        [
            {"step": step}
            | (one or {"rate": None, "solved": 0, "of": None, "epochs": None, "seconds": None})
            for step, one in _tuned(results["ablation"], "epochs").items()
        ],
    )
    yield Figure(
        "A pattern that was learned",
        "Its input spikes, and the potential of a free run with the weights that were solved for.",
        partial(_draw_example, results["example"]),
        (7.0, 5.5),
    )
    yield Figure(
        "Interference",
        "Epochs until five patterns are learned, against desired spikes per pattern; every rule at "
        "the best of five step sizes for each number. A line ends where not all seeds were solved.",
        partial(_draw_interference, results["interference"]),
    )
    yield Figure(
        "Capacity",
        "Desired spikes per input that half of the seeds can learn, with 95 % intervals, against "
        "output rate and parameters of the system (5 spikes a pattern unless varied).",
        partial(_draw_capacity, results["capacity"]),
        (7.0, 5.5),
    )
    yield _table("Capacity", "The same as numbers.", results["capacity"])
    for name in ("iris", "mnist"):
        if results[name]:
            yield _table(
                f"Classification: {name}",
                "Mean and standard deviation over random splits; settings chosen on validation.",
                classification.summary(results[name]),
            )
    yield _table(
        "Noise of the potential that is borne at 95 % recall",
        "In thresholds. Least norm: margin 0.01; default: margin 0.1; robust: the largest margin.",
        results["robustness"],
    )


def _table(title: str, caption: str, rows: list[Any]) -> Table:
    columns = list(rows[0])
    return Table(title, caption, columns, [[row[c] for c in columns] for row in rows])


def _draw_example(row: dict[str, Any], figure: Any) -> None:
    upper, lower = figure.subplots(2, sharex=True)
    ends, weights = [0, len(row["times"])], row["weights"]
    inputs = SpikeBatch(
        row["times"], row["ids"], ends, n_units=len(weights), duration=row["duration"]
    )
    plot_raster(inputs, ax=upper, label="input")
    plot_potential(LIF(), inputs, weights, targets=row["targets"], ax=lower)
    upper.set(xlabel="")


def _draw_interference(rows: list[Any], figure: Any) -> None:
    axes = figure.add_subplot()
    counts = sorted({row["spikes"] for row in rows})
    tables = [_tuned([row for row in rows if row["spikes"] == n], "epochs") for n in counts]
    for rule in tables[0]:
        points = [
            (n, table[rule]["epochs"])
            for n, table in zip(counts, tables, strict=True)
            if table[rule] and table[rule]["solved"] == table[rule]["of"]
        ]
        if points:
            axes.plot(
                *zip(*points, strict=True), marker=".", lw=2 if rule == "lcl" else 1, label=rule
            )
    axes.set(xlabel="desired spikes per pattern", ylabel="epochs", yscale="log")
    axes.legend()


def _draw_capacity(rows: list[Any], figure: Any) -> None:
    names = list(dict.fromkeys(row["varied"] for row in rows))
    axes = figure.subplots(2, -(-len(names) // 2), squeeze=False, sharey=True).ravel()
    for ax, name in zip(axes, names, strict=False):
        mine = [row for row in rows if row["varied"] == name]
        middle = [row["capacity"] for row in mine]
        around = [
            [row["capacity"] - row["from"] for row in mine],
            [row["to"] - row["capacity"] for row in mine],
        ]
        ax.errorbar(range(len(mine)), middle, yerr=np.maximum(around, 0), fmt="o-", capsize=3)
        ax.set_xticks(range(len(mine)), [row["value"] for row in mine])
        ax.set(xlabel=name, ylim=(0, None))
    for ax in axes[len(names) :]:
        ax.axis("off")
    figure.supylabel("spikes per input")
