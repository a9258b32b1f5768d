"""Timing two or more ways of doing one thing in turns, so that a noisy machine disturbs all alike.

A benchmark is a script with ``main()``, which returns a list of :func:`ratio` rows, and ends with
``if __name__ == "__main__": show(main())``.
"""

from __future__ import annotations

import statistics
import sys
import time
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def interleaved(
    ways: Mapping[str, Callable[[], Any]], *, repeats: int = 7, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of every way, measured in turns: one of each, then again."""
    for _ in range(warm_up):
        for way in ways.values():
            way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(
    name: str,
    seconds: Mapping[str, Sequence[float]],
    ours: str,
    peer: str,
    *,
    floor: float | None = None,
) -> dict[str, Any]:
    """How many times faster `ours` is than `peer`: median of the paired ratios with its range."""
    pairs = np.asarray(seconds[peer]) / np.asarray(seconds[ours])
    row: dict[str, Any] = {
        "what": name,
        "ours": ours,
        "ours (ms)": 1e3 * statistics.median(seconds[ours]),
        "peer": peer,
        "peer (ms)": 1e3 * statistics.median(seconds[peer]),
        "times faster": float(np.median(pairs)),
        "from": float(pairs.min()),
        "to": float(pairs.max()),
        "n": len(pairs),
    }
    if floor is not None:
        row |= {"floor": floor, "met": bool(np.median(pairs) >= floor)}
    return row


def versioned(package: str) -> str:
    """Name of an installed package with its version."""
    return f"{package} {metadata.version(package)}"


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the rows as a table, or as JSON with ``--json``."""
    from septet.cli import _console

    columns = {key: None for row in rows for key in row}
    filled = [{key: row.get(key) for key in columns} for row in rows]
    _console.table(filled, as_json="--json" in sys.argv[1:])
