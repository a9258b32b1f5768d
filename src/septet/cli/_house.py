"""Commands of the house: list, doctor, reproduce, report, bench, demo."""

import dataclasses
import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

import septet
from septet._core import checks
from septet.cli import _console

Json = Annotated[bool, tyro.conf.arg(name="json")]


def list_(*, as_json: Json = False) -> int:
    """Name every recipe with the scales it can run at."""
    from septet import recipes

    rows = []
    for name in recipes.names():
        recipe = recipes.load(name)
        seconds = {scale.name: scale.seconds for scale in recipe.scales.values()}
        rows.append(
            {
                "recipe": name,
                "title": recipe.title,
                "claims": len(recipe.claims),
                "expected time": ", ".join(f"{k} {v:.0f} s" for k, v in seconds.items() if v),
            }
        )
    _console.table(rows, as_json=as_json)
    return 0


def doctor(*, as_json: Json = False) -> int:
    """Say what is installed, which extras are missing and where data and runs are kept."""
    from septet import data
    from septet._core.runs import environment

    facts: dict[str, Any] = {"septet": septet.__version__}
    here = environment()
    facts |= {key: here[key] for key in ("python", "platform", "processor", "cores")}
    for package, extra in _optional().items():
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            facts[package] = None if as_json else f'missing: pip install "septet[{extra}]"'
    facts["data cache"] = str(data.cache_folder())
    facts["data sets present"] = [name for name in data.names() if data.available(name)]
    _console.result(facts, as_json=as_json)
    return 0


@dataclasses.dataclass(frozen=True)
class Reproduce:
    """Run RECIPE (or `all`) and print each claim beside what was measured.

    Further options are the recipe's own settings: `septet reproduce NAME --settings` lists them.
    """

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")]
    """A name from `septet list`, or `all`."""
    scale: Literal["smoke", "laptop", "full", "paper"] = "laptop"
    """smoke decides nothing; laptop takes at most 90 s a recipe; full has all seeds, baselines."""
    seeds: int | None = None
    """Use seeds 0 to SEEDS - 1 instead of the scale's own."""
    runs: Path = Path("runs")
    """Folder that keeps the runs; an unfinished one goes on where it stopped."""
    plan: bool = False
    """Only print the data to fetch, the expected time and memory."""
    settings: bool = False
    """Only list the recipe's own settings with their values at this scale."""
    fetch: bool = False
    """Fetch missing data first."""
    fresh: bool = False
    """Start over instead of going on."""
    as_json: Json = False
    """Print JSON."""


def reproduce(words: list[str]) -> int:
    """Run a recipe, or `all`, and print each claim beside what was measured."""
    from septet import recipes

    options, unknown = tyro.cli(
        Reproduce,
        prog="septet reproduce",
        args=words,
        return_unknown_args=True,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    every = options.recipe == "all"
    if options.settings:
        unknown = ["--help"]
    if every and unknown:
        raise ValueError("settings belong to one recipe, not to all; name one.")
    chosen = [recipes.load(n) for n in (recipes.names() if every else [options.recipe])]
    if every:
        chosen = [recipe for recipe in chosen if options.scale in recipe.scales]
    # a plan needs no code of the recipe's own, unless there are settings to check
    configs = [_config(r, options, unknown) for r in chosen if unknown or not options.plan]
    if options.plan:
        return _plan(chosen, options.scale, as_json=options.as_json)
    if options.fetch:
        _fetch(name for recipe in chosen for name in recipe.scale(options.scale).data)
    outcomes = []
    for recipe, config in zip(chosen, configs, strict=True):
        with _console.progress(recipe.name) as say:
            outcomes.append(
                recipes.reproduce(
                    recipe, options.scale, config, options.runs, fresh=options.fresh, say=say
                )
            )
    _show([row for outcome in outcomes for row in outcome.rows], as_json=options.as_json)
    for outcome in outcomes:
        if outcome.reason:
            _console.note(f"not run: {outcome.folder.parent.name} ({outcome.reason})")
    _write_reports([o.folder for o in outcomes if not o.reason], options.runs)
    if any(outcome.missed for outcome in outcomes):
        return 1
    return 3 if any(outcome.reason for outcome in outcomes) else 0


def report(run: tyro.conf.Positional[Path]) -> int:
    """Write one self-contained HTML file for the run folder RUN and print its path."""
    from septet.report import write_report

    print(write_report(run))
    return 0


def bench(name: tyro.conf.Positional[str], /, *, as_json: Json = False) -> int:
    """Compare with the best public peers, side by side in one run (`all` for every benchmark)."""
    folder = Path(septet.__file__).parents[2] / "benchmarks"
    known = sorted(p.stem for p in folder.glob("*.py") if p.stem != "sidebyside")
    if not known:
        raise ValueError(f"benchmarks come with the source checkout; there are none in {folder}.")
    if name != "all" and name not in known:
        raise ValueError(f"name must be one of all, {', '.join(known)}; got {name!r}.")
    flags = ["--json"] if as_json else []
    for each in known if name == "all" else [name]:
        done = subprocess.run([sys.executable, str(folder / f"{each}.py"), *flags], check=False)  # noqa: S603 - our own script
        if done.returncode:
            return done.returncode
    return 0


def demo(*, port: int | None = None, no_browser: bool = False, as_json: Json = False) -> int:
    """Open a local web page with four of the methods to try; Ctrl-C ends it.

    Parameters
    ----------
    port
        Port on 127.0.0.1; the first free one from 7860 on if none is given.
    no_browser
        Only print the address.
    as_json
        Print the address as JSON.
    """
    from septet.demo import serve

    def ready(address: str) -> None:
        if as_json:
            _console.result({"address": address}, as_json=True)
        else:
            print(address)
        sys.stdout.flush()

    serve(port=port, open_browser=not no_browser, ready=ready)
    return 0


COMMANDS = {
    "list": list_,
    "doctor": doctor,
    "reproduce": reproduce,
    "report": report,
    "bench": bench,
    "demo": demo,
}


def _optional() -> dict[str, str]:
    """Packages that an extra brings, and the smallest that does, as the metadata declares them."""
    brought: dict[str, list[str]] = {}
    for line in importlib.metadata.requires("septet") or ():
        said = re.fullmatch(r"([\w.-]+).*extra == ['\"]([\w-]+)['\"]", line)
        if said and said[1] != "septet":
            brought.setdefault(said[2], []).append(said[1])
    smallest = sorted(brought, key=lambda extra: -len(brought[extra]))  # the last one stays
    return {package: extra for extra in smallest for package in brought[extra]}


def _config(recipe: Any, options: Reproduce, words: list[str]) -> Any:
    """Settings of the scale, changed by the number of seeds and by the words left over."""
    config = recipe.config(options.scale)
    if options.seeds is not None:
        checks.integer("seeds", options.seeds, low=1, high=100_000)
        config = dataclasses.replace(config, seeds=tuple(range(options.seeds)))
    prog = f"septet reproduce {recipe.name}"
    config = tyro.cli(type(config), prog=prog, args=words, default=config)
    _refuse_endless(config)
    return config


def _refuse_endless(value: Any, name: str = "settings") -> None:
    """Refuse NaN and infinities, which no result can hold."""
    if isinstance(value, float):
        checks.number(name, value)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _refuse_endless(getattr(value, field.name), field.name)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_endless(item, name)


def _fetch(wanted: Iterable[str]) -> None:
    """Fetch what is missing; what cannot be reached is said, and its recipes are then not run."""
    from septet import data
    from septet._core.errors import DataError

    def bring(name: str) -> None:
        say(name)
        try:
            data.fetch(name)
        except DataError as error:
            _console.note(str(error))

    missing = [name for name in dict.fromkeys(wanted) if not data.available(name)]
    if missing:
        with _console.progress("fetching") as say, ThreadPoolExecutor(4) as pool:
            list(pool.map(bring, missing))


def _plan(chosen: list[Any], scale: str, *, as_json: bool) -> int:
    from septet import data

    rows = [
        {
            "recipe": each.name,
            "data to fetch": [n for n in each.scale(scale).data if not data.available(n)],
            "expected seconds": each.scale(scale).seconds,
            "expected memory (MB)": each.scale(scale).memory_mb,
        }
        for each in chosen
    ]
    _console.table(rows, as_json=as_json)
    return 0


def _show(rows: list[Any], *, as_json: bool) -> None:
    if as_json:
        _console.result([dataclasses.asdict(row) for row in rows], as_json=True)
        return
    _console.table(
        [
            {
                "claim": f"{row.recipe}/{row.claim}: {row.says}",
                "as published": row.published,
                "measured here": row.measured + (f" ({row.expected})" if row.expected else ""),
                "best peer": row.peer or "–",
                "verdict": row.verdict + (f": {row.note}" if row.note else ""),
            }
            for row in rows
        ]
    )


def _write_reports(folders: list[Path], runs: Path) -> None:
    from septet._core.errors import MissingExtraError
    from septet.report import write_index, write_report

    try:
        for folder in folders:
            write_report(folder)
        _console.note(f"report: {os.path.relpath(write_index(runs))}")
    except MissingExtraError as error:
        _console.note(f"no report: {error}")
