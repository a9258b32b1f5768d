"""Readers of images: idx files and rows of pixels."""

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from septet._core.errors import DataError
from septet.data._containers import Images
from septet.data._store import Provenance

Paths = Mapping[str, Path]

DIGITS = tuple("0123456789")


def read_digits(paths: Paths, provenance: Provenance) -> Images:
    """Read digits.csv.gz: 8 by 8 pixels with values from 0 to 16, then the digit."""
    path = paths["digits.csv.gz"]
    return _pixel_rows(path, side=8, white=16, provenance=provenance)


def read_mnist_5k(paths: Paths, provenance: Provenance) -> Images:
    """Read mnist_5k.csv.gz: 28 by 28 pixels with values from 0 to 255, then the digit."""
    path = paths["mnist_5k.csv.gz"]
    return _pixel_rows(path, side=28, white=255, provenance=provenance)


def _pixel_rows(path: Path, *, side: int, white: int, provenance: Provenance) -> Images:
    try:
        with gzip.open(path) as file:
            lines = file.read().decode("ascii", "replace").splitlines()
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path.name} is damaged: {error}") from error
    if not lines:
        raise DataError(f"{path.name}: no row of data.")
    highest = [white] * side * side + [9]
    try:
        rows = np.loadtxt(lines, delimiter=",", dtype=np.uint8, comments=None, ndmin=2)
    except ValueError:
        raise _first_fault(path.name, lines, highest) from None
    if rows.shape != (len(lines), len(highest)) or (rows > highest).any():
        raise _first_fault(path.name, lines, highest)
    images = rows[:, :-1].reshape(-1, side, side)
    return Images(images, rows[:, -1].astype(np.int64), DIGITS, provenance)


def _first_fault(file: str, lines: list[str], highest: list[int]) -> DataError:
    for row, line in enumerate(lines, start=1):
        cells = line.split(",")
        if len(cells) != len(highest):
            return DataError(f"{file}, row {row}: expected {len(highest)} cells; got {len(cells)}.")
        for column, (cell, high) in enumerate(zip(cells, highest, strict=True), start=1):
            if not (cell.isascii() and cell.isdigit() and int(cell) <= high):
                return DataError(
                    f"{file}, row {row}, column {column}: expected a whole number from 0 to "
                    f"{high}; got {cell!r}."
                )
    return DataError(f"{file} is damaged.")
