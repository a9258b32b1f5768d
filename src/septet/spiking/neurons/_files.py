"""Spike patterns as CSV: one line a spike."""

import csv
import io
import math
from pathlib import Path

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
        If a line cannot be read or lies outside what was said; the line is named.

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
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text: {error}.") from None
    head, _, rest = text.partition("\n")
    stated: dict[str, float] = {}
    skipped = 0
    if head.startswith("#"):
        text, skipped = rest, 1
        for word in head[1:].split():
            key, _, value = word.partition("=")
            if key in _SHAPE:
                stated[key] = _number(value, path, 1, key)
    reader = csv.DictReader(io.StringIO(text))
    if "time" not in (reader.fieldnames or ()):
        raise DataError(f"{path} has no column 'time'; its columns are {reader.fieldnames}.")
    rows = []
    for row in reader:
        line = reader.line_num + skipped
        p, unit = (
            _number(row.get(name, "0"), path, line, name, whole=True)
            for name in ("pattern", "unit")
        )
        t = _number(row["time"], path, line, "time")
        if not 0 <= t < math.inf:
            raise DataError(f"{path}, line {line}: time must be at least 0 and finite; got {t:g}.")
        rows.append((int(p), t, int(unit)))
    given = {"n_patterns": n_patterns, "n_units": n_units, "duration": duration}
    stated |= {name: value for name, value in given.items() if value is not None}
    most = int(stated.get("n_patterns", max((p for p, _, _ in rows), default=-1) + 1))
    units = int(stated.get("n_units", max((unit for _, _, unit in rows), default=0) + 1))
    last = max((t for _, t, _ in rows), default=1.0)
    for i, (p, _, _) in enumerate(rows):
        if not 0 <= p < most:
            raise DataError(f"{path}: spike {i} is of pattern {p}; there are {most}.")
    patterns = [([], []) for _ in range(most)]
    for p, t, unit in rows:
        patterns[p][0].append(t)
        patterns[p][1].append(unit)
    try:
        return SpikeBatch.from_pairs(
            patterns,
            n_units=units,
            duration=stated.get("duration", math.ceil(last) or 1.0),
            sort=True,
        )
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def _number(text: str | None, path: Path, line: int, name: str, *, whole: bool = False) -> float:
    try:
        return int(text or "") if whole else float(text or "")
    except ValueError:
        raise DataError(f"{path}, line {line}: {name} is no number: {text!r}.") from None
