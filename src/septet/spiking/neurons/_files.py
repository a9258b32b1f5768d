"""Spike patterns as CSV: one line a spike."""

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from septet._core.errors import DataError
from septet._core.files import PathLike, write_text
from septet.spiking.neurons._batch import SpikeBatch

_COLUMNS = ("pattern", "time", "unit")
_SHAPE = ("n_patterns", "n_units", "duration")


def format_spikes(spikes: SpikeBatch) -> str:
    """Return a batch as CSV text with the columns pattern, time (ms) and unit.

    A first line that begins with ``#`` holds the number of patterns and units and the duration, so
    that `read_spikes` gives the same batch; other programs skip it as a comment. Times keep all
    their digits.

    Examples
    --------
    >>> batch = SpikeBatch.from_lists([[[1.5], []]], duration=10.0)
    >>> print(format_spikes(batch), end="")
    # n_patterns=1 n_units=2 duration=10.0
    pattern,time,unit
    0,1.5,0
    """
    lines = [
        f"# n_patterns={len(spikes)} n_units={spikes.n_units} duration={spikes.duration!r}",
        ",".join(_COLUMNS),
    ]
    owner = np.repeat(np.arange(len(spikes)), np.diff(spikes.indptr))
    lines += [
        f"{p},{t!r},{unit}"
        for p, t, unit in zip(
            owner.tolist(), spikes.times.tolist(), spikes.ids.tolist(), strict=True
        )
    ]
    return "\n".join(lines) + "\n"


def write_spikes(spikes: SpikeBatch, path: PathLike) -> None:
    """Write a batch as CSV (see `format_spikes`), whole or not at all."""
    write_text(path, format_spikes(spikes))


def read_spikes(
    path: PathLike,
    *,
    n_patterns: int | None = None,
    n_units: int | None = None,
    duration: float | None = None,
) -> SpikeBatch:
    """Read a CSV file with a line a spike: the columns time (ms), and pattern and unit.

    Parameters
    ----------
    path : str or os.PathLike
        The file. Lines may come in any order; a missing column pattern or unit counts as 0.
    n_patterns, n_units, duration : optional
        What the file does not say in its first line; by default as large as its spikes demand.

    Raises
    ------
    DataError
        If there is no such file, a line cannot be read or lies outside what was said (the line is
        named), or neither spikes nor a first line say how many patterns there are.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "spikes.csv"
    >>> write_spikes(SpikeBatch.from_lists([[[1.5], []]], duration=10.0), path)
    >>> read_spikes(path)
    SpikeBatch(n_patterns=1, n_units=2, n_spikes=1, duration=10.0 ms)
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: no spikes to read.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text: {error}.") from None
    stated, text, skipped = _stated(path, text)
    given = {"n_patterns": n_patterns, "n_units": n_units, "duration": duration}
    stated |= {name: value for name, value in given.items() if value is not None}
    rows = _rows(path, text, skipped)
    if not rows and "n_patterns" not in stated:
        raise DataError(f"{path} holds no spikes and no first line that says how many patterns.")
    lines, owners, times, units = zip(*rows, strict=True) if rows else ((), (), (), ())
    most = stated.get("n_patterns", max(owners, default=-1) + 1)
    for line, p in zip(lines, owners, strict=True):
        if not 0 <= p < most:
            raise DataError(f"{path}, line {line}: the spike is of pattern {p}; there are {most}.")
    try:
        owner = np.array(owners, dtype=np.int64)
        order = np.argsort(owner, kind="stable")
        return SpikeBatch(
            np.array(times, dtype=np.float64)[order],
            np.array(units, dtype=np.int64)[order],
            np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=most))]),
            n_units=stated.get("n_units", max(units, default=0) + 1),
            duration=stated.get("duration", math.ceil(max(times, default=1.0)) or 1.0),
            sort=True,
        )
    except (ValueError, OverflowError, MemoryError) as error:
        raise DataError(f"{path}: {error}") from None


def _stated(path: Path, text: str) -> tuple[dict[str, Any], str, int]:
    """Return what a first line with ``#`` says, the text after it, and its number of lines."""
    head, _, rest = text.partition("\n")
    if not head.startswith("#"):
        return {}, text, 0
    stated: dict[str, Any] = {}
    for word in head[1:].split():
        key, _, value = word.partition("=")
        if key in _SHAPE:
            stated[key] = _number(value, path, 1, key, whole=key != "duration")
    return stated, rest, 1


def _rows(path: Path, text: str, skipped: int) -> list[tuple[int, int, float, int]]:
    """Return line, pattern, time and unit of every spike."""
    reader = csv.DictReader(io.StringIO(text))
    rows = []
    try:
        if "time" not in (reader.fieldnames or ()):
            raise DataError(f"{path} has no column 'time'; its columns are {reader.fieldnames}.")
        for row in reader:
            line = reader.line_num + skipped
            p, unit = (
                _number(row.get(name, "0"), path, line, name, whole=True)
                for name in ("pattern", "unit")
            )
            t = _number(row["time"], path, line, "time")
            if not 0 <= t < math.inf:
                raise DataError(
                    f"{path}, line {line}: time must be at least 0 and finite; got {t:g}."
                )
            rows.append((line, p, t, unit))
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as CSV: {error}.") from None
    return rows


def _number(text: str | None, path: Path, line: int, name: str, *, whole: bool = False) -> Any:
    try:
        return int(text or "") if whole else float(text or "")
    except ValueError:
        raise DataError(f"{path}, line {line}: {name} is no number: {text!r}.") from None
