"""Running a recipe: a folder that tells everything, resumes where it stopped and is never redone.

A run folder holds ``config.toml`` (complete), ``environment.json``, ``history.jsonl`` (append-only,
one object a line), ``checkpoint/`` (what resuming needs), ``exhibits/`` and ``result.json``, which
is written last: where it stands, the run is finished.
"""

import dataclasses
import json
import shutil
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import tomli_w

from septet import data
from septet._core.errors import CheckpointError, DataError, SeptetError
from septet._core.exhibits import write_exhibits
from septet._core.files import write_json, write_text
from septet._core.runs import SCHEMA, environment, plain, source_digest
from septet._core.seals import is_sealed, sealed
from septet.recipes._claims import Measure, Row
from septet.recipes._recipe import Recipe


@dataclass(frozen=True)
class Run:
    """What a recipe's code gets: its folder, its scale and ways to keep results and say things."""

    folder: Path
    scale: str
    say: Callable[[str], None]

    @property
    def checkpoint(self) -> Path:
        """Folder for whatever resuming needs; anything written there survives an interruption."""
        path = self.folder / "checkpoint"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def stage(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        """Result of ``function(*args)``, computed once in the life of the run folder.

        The result must be JSON; a resumed run reads it back instead of computing it again, and a
        first run gets the very value that a resumed one would read.

        Raises
        ------
        CheckpointError
            If the result that was kept is damaged.
        """
        path = self.checkpoint / f"{name}.json"
        if not path.exists():
            self.say(name)
            self.keep(name, *timed(function, *args))
        return _kept(path)

    def keep(self, name: str, value: Any, seconds: float) -> None:
        """Keep the result of a stage that took so many seconds, wherever it was computed."""
        write_json(self.checkpoint / f"{name}.json", sealed({"value": value}))
        self.record(stage=name, seconds=round(seconds, 3))

    def record(self, **entry: Any) -> None:
        """Append one line to the history."""
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n"
        with (self.folder / "history.jsonl").open("ab") as file:
            file.write(line.encode("utf-8"))


def timed(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """Return ``function(*args)`` and the seconds that it took."""
    start = time.perf_counter()
    value = function(*args)
    return value, time.perf_counter() - start


def _kept(path: Path) -> Any:
    """Return the result of a stage, once its digest was compared."""
    try:
        read = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict) or not is_sealed(read) or set(read) != {"sha256", "value"}:
        raise CheckpointError(f"{path} is damaged: remove it, and it is computed again.")
    return read["value"]


@dataclass(frozen=True)
class Outcome:
    """What came out of one recipe."""

    folder: Path
    rows: tuple[Row, ...]
    reason: str = ""
    """Why the recipe was not run, with the command that would help; empty if it was."""

    @property
    def missed(self) -> bool:
        """Whether an expected claim was missed."""
        return any(row.missed for row in self.rows)


def reproduce(
    recipe: Recipe,
    scale: str,
    config: Any,
    root: Path,
    *,
    fresh: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Run `recipe` in ``root/NAME/SCALE``, going on where an earlier run stopped.

    A data set that is not there makes every claim *not run*; nothing is fetched here.

    Raises
    ------
    SeptetError
        If the folder holds a run with other settings and `fresh` is not set.
    DataError
        If the folder is damaged and `fresh` is not set.
    """
    folder = root / recipe.name / scale
    missing = [name for name in recipe.scale(scale).data if not data.available(name)]
    if missing:
        reason = f"data missing: septet data fetch {' '.join(missing)}"
        return Outcome(folder, tuple(_rows(recipe, scale, None, reason)), reason)
    complete = {"recipe": recipe.name, "scale": scale, "settings": plain(config)}
    if fresh and folder.exists():
        shutil.rmtree(folder)
    _open(folder, complete, recipe.scale(scale).data, say)
    finished = folder / "result.json"
    if not finished.exists():
        run = Run(folder, scale, say)
        results = recipe.module.run(config, run)
        say("drawing figures")
        exhibits = getattr(recipe.module, "exhibits", None)
        write_exhibits(exhibits(results) if exhibits else (), folder / "exhibits")
        rows = _rows(recipe, scale, results, "")
        result = {
            "schema": SCHEMA,
            "title": recipe.title,
            "summary": recipe.summary,
            "rows": [dataclasses.asdict(row) for row in rows],
            "results": results,
        }
        write_json(finished, result)
    rows = _read(finished, lambda text: tuple(Row(**row) for row in json.loads(text)["rows"]))
    return Outcome(folder, rows)


def _read(path: Path, parse: Callable[[str], Any]) -> Any:
    """Return what a file of a run folder holds."""
    try:
        return parse(path.read_text("utf-8"))
    except (ValueError, KeyError, TypeError, RecursionError, FileNotFoundError) as error:
        raise DataError(
            f"{path} is damaged ({type(error).__name__}): add --fresh to start over."
        ) from None


def _open(
    folder: Path, complete: dict[str, Any], data_sets: Sequence[str], say: Callable[[str], None]
) -> None:
    """Make the run folder, or check that the one there belongs to the same settings and code."""
    path = folder / "config.toml"
    if path.exists():
        facts = itemgetter("recipe", "scale", "settings")
        there = _read(path, lambda text: facts(tomllib.loads(text)))
        source = _read(folder / "environment.json", lambda text: json.loads(text)["source"])
        if there != facts(tomllib.loads(tomli_w.dumps(complete))):
            raise SeptetError(
                f"{path} is of a run with other settings: add --fresh to replace it, "
                "or --runs FOLDER to keep both."
            )
        if source == source_digest():
            return
        aside = folder.parent / "earlier" / f"{folder.name}-{source[:8]}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.parent.mkdir(exist_ok=True)
        folder.rename(aside)
        say(f"a run by other code was moved to earlier/{aside.name}")
    folder.mkdir(parents=True, exist_ok=True)
    digests = {name: data.digests(name) for name in data_sets}
    write_json(folder / "environment.json", environment() | {"data": digests})
    write_text(path, tomli_w.dumps(complete))


def _rows(recipe: Recipe, scale: str, results: Any, reason: str) -> list[Row]:
    rows = []
    for claim in recipe.claims:
        value: Measure | None = None
        if results is not None:
            value = getattr(recipe.module, claim.measure)(results)
        rows.append(
            Row(
                recipe.name,
                scale,
                claim.id,
                claim.says,
                claim.published,
                claim.expectation(scale),
                str(value) if value is not None else "",
                value.peer if value is not None else "",
                claim.judge(scale, value),
                reason or claim.known_miss,
            )
        )
    return rows
