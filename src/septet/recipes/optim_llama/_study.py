"""The parts of the study: tuning, comparison, Adagrad's family, ablations, fine-tuning."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from septet.recipes import Run
from septet.recipes._workers import run_all
from septet.recipes.optim_llama._methods import (
    ADAGRAD,
    CONFIRMED,
    CONTROLS,
    LEAN,
    METHODS,
    Rates,
)
from septet.recipes.optim_llama._training import Job, Setting, run_job

TUNING_SEED = 1_000_000  # of no comparison, so that tuning does not flatter any
FINE_TUNED = ("adam", "adam-two-rates", "adam-snsm")

Results = dict[str, Any]


@dataclass(frozen=True)
class Workers:
    """Trains jobs as stages of a recipe, `n` at a time (0: one per core)."""

    run: Run
    n: int

    def results(self, jobs: Mapping[str, Job]) -> dict[str, Results]:
        """Train what has not been trained yet and return the result of each job by its name."""
        calls = [(name, run_job, (job, self.folder(name))) for name, job in jobs.items()]
        return run_all(self.run, calls, self.n)

    def folder(self, name: str) -> Path:
        """Return where the training called `name` keeps its checkpoint and history."""
        return self.run.checkpoint / "runs" / name


def tune(
    pool: Workers, setting: Setting, methods: Iterable[str], steps: int, *, start: str = ""
) -> dict[str, list[Results]]:
    """Try all rates of each method once; return them with their final losses."""
    short = replace(setting, evaluate_every=steps)
    tries = {
        _name("tune", start and "fine", method, *rates): (method, rates)
        for method in methods
        for rates in METHODS[method].tries
    }
    jobs = {
        name: Job(
            setting=short, method=method, rates=rates, seed=TUNING_SEED, steps=steps, start=start
        )
        for name, (method, rates) in tries.items()
    }
    results = pool.results(jobs)
    tuned: dict[str, list[Results]] = {}
    for name, (method, rates) in tries.items():
        entry = {"rates": list(rates), "loss": results[name]["loss"]}
        tuned.setdefault(method, []).append(entry)
    return tuned


def best(tries: Sequence[Results]) -> Results:
    """Return the try with the lowest loss; a diverged one has none."""
    return min(
        (entry for entry in tries if entry["loss"] is not None), key=lambda entry: entry["loss"]
    )


def compare(
    pool: Workers,
    setting: Setting,
    rates: Mapping[str, Rates],
    seeds: Sequence[int],
    steps: int,
    *,
    part: str = "main",
    starts: Sequence[str] = (),
    keep: str = "",
) -> dict[str, list[Results]]:
    """Train with each method and seed; seeds share weights and the order of samples.

    Parameters
    ----------
    rates : mapping
        Method -> its rates.
    part : str
        First word of the stages' names.
    starts : sequence of str
        For each seed the folder of the run to start from; from random weights if empty.
    keep : str
        The method whose runs are kept.
    """
    named = {(method, seed): _name(part, method, seed) for method in rates for seed in seeds}
    jobs = {
        name: Job(
            setting=setting,
            method=method,
            rates=rates[method],
            seed=seed,
            steps=steps,
            start=starts[seeds.index(seed)] if starts else "",
            keep=method == keep,
        )
        for (method, seed), name in named.items()
    }
    results = pool.results(jobs)
    return {method: [results[named[method, seed]] for seed in seeds] for method in rates}


def ablate(
    pool: Workers, setting: Setting, rates: Rates, seeds: Sequence[int], steps: int
) -> dict[str, dict[str, list[Results]]]:
    """Change one option of AdamSNSM at a time; every row is tuned as its standard is."""
    rank = setting.rank
    frequent = max(1, steps // 10)
    variations: dict[str, dict[str, dict[str, Any]]] = {
        "projection": {
            p: {"projection": p}
            for p in ("svd", "gram", "randomized", "random", "srht", "topk", "uniform")
        },
        "rank": {str(r): {"rank": r} for r in (rank // 4, rank // 2, rank, 2 * rank)},
        "interval": {
            str(i): {"update_interval": i} for i in (frequent // 2, frequent, 3 * frequent, steps)
        },
        "refresh": {
            r: {"refresh": r, "update_interval": frequent // 2} for r in ("reset", "keep", "rotate")
        },
        "bias correction": {
            "momentum": {},
            "whole numerator": {"compat": "reference"},
            "since refresh": {"debias": "since_refresh"},
        },
    }
    short = replace(setting, evaluate_every=steps)
    jobs = {
        (what, value, seed): Job(
            setting=short, method="adam-snsm", rates=rates, seed=seed, steps=steps, changes=changes
        )
        for what, values in variations.items()
        for value, changes in values.items()
        for seed in seeds
    }
    results = pool.results({_name("ablation", *key): job for key, job in jobs.items()})
    return {
        what: {
            value: [results[_name("ablation", what, value, seed)] for seed in seeds]
            for value in values
        }
        for what, values in variations.items()
    }


def symbols_to(curve: Sequence[Sequence[float]], target: float) -> float | None:
    """Return the symbols seen when a curve first reaches `target`, interpolated; None if never."""
    for (before, high), (after, low) in zip([curve[0], *curve], curve, strict=False):
        if low <= target:
            part = (high - target) / (high - low) if high > low else 1.0
            return before + part * (after - before)
    return None


def lean_method(methods: Iterable[str], tuning: Mapping[str, list[Results]]) -> str | None:
    """Return the lean candidate that did best while tuning, or the only one that was compared."""
    candidates = [method for method in methods if method in LEAN]
    if not candidates:
        return None
    return min(candidates, key=lambda m: best(tuning[m])["loss"] if m in tuning else LEAN.index(m))


def study(pool: Workers, setting: Setting, config: Any) -> Results:
    """Run every part that the configuration asks for."""
    tuning = tune(pool, setting, config.methods, config.tuning_steps) if config.tuning_steps else {}
    rates = {m: _rates(tuning, m) for m in config.methods}
    keep = "adam" if config.fine_tuning_steps else ""
    results: Results = {
        "seeds": list(config.seeds),
        "symbols_per_step": setting.batch * setting.accumulate * setting.context,
        "tuning": tuning,
        "rates": rates,
        "main": compare(pool, setting, rates, config.seeds, config.steps, keep=keep),
        "lean": lean_method(config.methods, tuning),
    }
    if config.confirmation_seeds:
        fixed = {m: METHODS[m].tuned for m in (*CONTROLS, CONFIRMED)}
        results["confirmation"] = compare(
            pool, setting, fixed, config.confirmation_seeds, config.steps, part="confirmation"
        )
    if config.adagrad_steps:
        results["adagrad"] = _adagrad(pool, setting, config, results)
    if config.ablation_steps:
        results["ablations"] = ablate(
            pool, setting, rates["adam-snsm"], config.ablation_seeds, config.ablation_steps
        )
    if config.fine_tuning_steps:
        results["fine_tuning"] = _fine_tune(pool, setting, config, results)
    return results


def _adagrad(pool: Workers, setting: Setting, config: Any, results: Results) -> Any:
    steps = config.adagrad_steps
    tuning = tune(pool, setting, ADAGRAD, steps // 2)
    results["tuning"] |= tuning
    rates = {method: _rates(tuning, method) for method in ADAGRAD}
    results["rates"] |= rates
    sparse = replace(setting, evaluate_every=max(1, steps // 4))
    return compare(pool, sparse, rates, config.seeds, steps, part="adagrad")


def _fine_tune(pool: Workers, setting: Setting, config: Any, results: Results) -> Results:
    """Go on from Adam's weights on another text; rates are tuned anew."""
    steps = config.fine_tuning_steps
    other = replace(setting, corpus=config.second_corpus, evaluate_every=max(1, steps // 4))
    starts = [str(pool.folder(_name("main", "adam", seed))) for seed in config.seeds]
    methods = (*FINE_TUNED, *([results["lean"]] if results["lean"] else []))
    tuning = tune(pool, other, methods, steps // 2, start=starts[0])
    rates = {method: _rates(tuning, method) for method in methods}
    runs = compare(pool, other, rates, config.seeds, steps, part="fine-tuning", starts=starts)
    return {"tuning": tuning, "rates": rates, "runs": runs}


def _rates(tuning: Mapping[str, list[Results]], method: str) -> Rates:
    if method not in tuning:
        return METHODS[method].tuned
    lr, lr_dense = best(tuning[method])["rates"]
    return lr, lr_dense


def _name(*parts: object) -> str:
    """Return the name of a stage, fit for a file: words and numbers joined by hyphens."""
    words = (f"{part:g}" if isinstance(part, float) else str(part) for part in parts if part != "")
    return "-".join(words).replace(" ", "-")
