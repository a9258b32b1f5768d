"""The history of a run: one JSON object a line, only ever appended to."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from septet._core.errors import CheckpointError
from septet._core.files import PathLike


def append_history(path: PathLike, record: Mapping[str, Any]) -> None:
    """Append one record as a line; NaN and the infinities become ``"nan"``, ``"inf"``, ``"-inf"``.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "history.jsonl"
    >>> append_history(path, {"step": 1, "loss": 0.5})
    >>> append_history(path, {"step": 2, "loss": float("inf")})
    >>> read_history(path)
    [{'step': 1, 'loss': 0.5}, {'step': 2, 'loss': 'inf'}]
    """
    line = json.dumps(_finite(record), ensure_ascii=False, allow_nan=False)
    with Path(path).open("ab") as file:
        file.write(line.encode() + b"\n")


def read_history(path: PathLike) -> list[dict[str, Any]]:
    """Return all whole records; a torn last line, as a kill leaves it, is left out.

    Raises
    ------
    CheckpointError
        If another line is no JSON object.
    """
    return _parse(path)[0]


def cut_history(path: PathLike, n_records: int) -> list[dict[str, Any]]:
    """Remove everything after the first `n_records` records and return those that stay.

    Raises
    ------
    CheckpointError
        If the file holds fewer, or a damaged one among them.
    """
    kept = first_records(path, n_records)
    if Path(path).exists():
        os.truncate(path, _parse(path)[1][n_records])
    return kept


def first_records(path: PathLike, n_records: int) -> list[dict[str, Any]]:
    """Return the first `n_records` records; as `cut_history`, but the file stays as it is."""
    records = read_history(path)
    if len(records) < n_records:
        raise CheckpointError(
            f"{path} holds {len(records)} records; the checkpoint was saved after {n_records}."
        )
    return records[:n_records]


def flush_history(path: PathLike) -> None:
    """Make what was appended last through a power failure."""
    if Path(path).exists():
        with Path(path).open("ab") as file:
            os.fsync(file.fileno())


def _parse(path: PathLike) -> tuple[list[dict[str, Any]], list[int]]:
    """Return the whole records and the byte position after none, one, two, ... of them."""
    records, ends = [], [0]
    raw = Path(path).read_bytes() if Path(path).exists() else b""
    for number, line in enumerate(raw.splitlines(keepends=True), 1):
        if not line.endswith(b"\n"):
            break
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise CheckpointError(f"{path}: line {number} is no JSON object.")
        records.append(record)
        ends.append(ends[-1] + len(line))
    return records, ends


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
