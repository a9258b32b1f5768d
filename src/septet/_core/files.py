"""Files that are whole or absent, and paths that stay where they belong."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeAlias

from septet._core.errors import DataError

PathLike: TypeAlias = str | os.PathLike[str]


@contextmanager
def replacing(path: PathLike) -> Iterator[BinaryIO]:
    """Write `path` through a neighbour that takes its place only once complete and on disk.

    Whatever interrupts the writing, `path` is afterwards either the old file or the new one.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "a.txt") as file:
    ...     _ = file.write(b"whole")
    >>> (folder / "a.txt").read_bytes()
    b'whole'
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: PathLike, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def write_json(path: PathLike, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, whole or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def member_path(name: str) -> PurePosixPath:
    """Return an archive member's name as a relative path, or raise if it points elsewhere.

    Raises
    ------
    DataError
        If the name is empty or absolute, or climbs out with ``..``.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise DataError(f"archive member {name!r} points outside the archive; refused.")
    return path
