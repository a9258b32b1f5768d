"""Printing: results to standard output, everything else to standard error."""

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np


def result(value: Any, *, as_json: bool = False) -> None:
    """Print one result: a mapping line by line, or as JSON."""
    if as_json:
        print(json.dumps(_plain(value), ensure_ascii=False, indent=1, allow_nan=False))
    elif isinstance(value, Mapping):
        width = max((len(str(key)) for key in value), default=0)
        for key, item in value.items():
            print(f"{key!s:<{width}}  {_cell(item)}")
    else:
        print(value)


def table(rows: Sequence[Mapping[str, Any]], *, as_json: bool = False, title: str = "") -> None:
    """Print rows as a table whose columns are the keys of the first row, or as a JSON list."""
    if as_json or not rows:
        return result(list(rows), as_json=as_json) if as_json else None
    from rich import box
    from rich.console import Console
    from rich.table import Table

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise  # for `main`, which ends quietly; here it would be an exit with 1

    drawn = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left")
    for name in rows[0]:
        numeric = all(isinstance(row[name], int | float) for row in rows)
        drawn.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(_cell(row[name]) for name in rows[0]))
    console = Output(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = max(console.width, 160)
    console.print(drawn)
    return None


def note(text: str) -> None:
    """Say something that is not a result."""
    print(text, file=sys.stderr)


@contextmanager
def progress(title: str) -> Iterator[Callable[[str], None]]:
    """Give a function that shows on standard error what is being done, a line a step in a log."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False)
    if not console.is_terminal:
        yield lambda text: console.print(f"{title}: {text}", soft_wrap=True)
        return
    with console.status(title) as status:
        yield lambda text: status.update(f"{title}: {text}")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no such number
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return "–" if value is None else str(value)
