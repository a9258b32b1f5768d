"""Readers of images: idx files, rows of pixels, single pictures."""

import gzip
import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from septet._core.errors import DataError
from septet._core.extras import needs
from septet.data._containers import Images, Pictures, Split
from septet.data._store import Provenance

Paths = Mapping[str, Path]

DIGITS = tuple("0123456789")
CLOTHES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


def read_mnist(paths: Paths, provenance: Provenance) -> Split[Images]:
    """Read the four idx files of MNIST."""
    return _idx_split(paths, "", DIGITS, provenance)


def read_fashion_mnist(paths: Paths, provenance: Provenance) -> Split[Images]:
    """Read the four packed idx files of Fashion-MNIST."""
    return _idx_split(paths, ".gz", CLOTHES, provenance)


def _idx_split(
    paths: Paths, suffix: str, class_names: tuple[str, ...], provenance: Provenance
) -> Split[Images]:
    def part(name: str) -> Images:
        pixels = paths[f"{name}-images-idx3-ubyte{suffix}"]
        classes = paths[f"{name}-labels-idx1-ubyte{suffix}"]
        images, labels = _idx(pixels, 3), _idx(classes, 1)
        if len(images) != len(labels):
            raise DataError(
                f"{pixels.name} has {len(images)} images; {classes.name} {len(labels)} labels."
            )
        bad = np.flatnonzero(labels >= len(class_names))
        if bad.size:
            raise DataError(
                f"{classes.name}, item {bad[0] + 1}: {labels[bad[0]]} is no class from 0 to "
                f"{len(class_names) - 1}."
            )
        return Images(images, labels.astype(np.int64), class_names, provenance)

    return Split(train=part("train"), test=part("t10k"))


def _idx(path: Path, n_axes: int) -> NDArray[np.uint8]:
    """Read an idx file: two zeros, type 8 for bytes, number of axes, their lengths, the bytes."""
    content = _content(path)
    if content[:4] != bytes((0, 0, 8, n_axes)):
        raise DataError(
            f"{path.name}: expected an idx file of bytes with {n_axes} axes; it begins with "
            f"{content[:4].hex(' ')}."
        )
    start = 4 + 4 * n_axes
    shape = [int.from_bytes(content[4 + 4 * i : 8 + 4 * i]) for i in range(n_axes)]
    if len(content) != start + math.prod(shape):
        raise DataError(
            f"{path.name}: expected {start} + {' x '.join(map(str, shape))} bytes; got "
            f"{len(content)}."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _content(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        with gzip.open(path) as file:
            return file.read()
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path.name} is damaged: {error}") from error


def read_digits(paths: Paths, provenance: Provenance) -> Images:
    """Read digits.csv.gz: 8 by 8 pixels with values from 0 to 16, then the digit."""
    path = paths["digits.csv.gz"]
    return _pixel_rows(path, side=8, white=16, provenance=provenance)


def read_mnist_5k(paths: Paths, provenance: Provenance) -> Images:
    """Read mnist_5k.csv.gz: 28 by 28 pixels with values from 0 to 255, then the digit."""
    path = paths["mnist_5k.csv.gz"]
    return _pixel_rows(path, side=28, white=255, provenance=provenance)


def _pixel_rows(path: Path, *, side: int, white: int, provenance: Provenance) -> Images:
    lines = _content(path).decode("ascii", "replace").splitlines()
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


def read_lfw_subset(paths: Paths, provenance: Provenance) -> Images:
    """Read lfw_subset.npy: 100 faces, then 100 patches without a face, grey from 0 to 1."""
    path = paths["lfw_subset.npy"]
    try:
        images = np.load(path, allow_pickle=False)
    except (EOFError, OSError, ValueError) as error:
        raise DataError(f"{path.name} is damaged: {error}") from error
    if images.shape != (200, 25, 25) or images.dtype != np.float64:
        raise DataError(
            f"{path.name}: expected float64 of shape (200, 25, 25); got {images.dtype} of shape "
            f"{images.shape}."
        )
    labels = np.repeat(np.array([1, 0]), 100)
    return Images(images, labels, ("no face", "face"), provenance)


def read_photographs(paths: Paths, provenance: Provenance) -> Pictures:
    """Read two photographs as RGB."""
    names = {"temple": "china.jpg", "flower": "flower.jpg"}
    pictures = {name: _picture(paths[file], "RGB") for name, file in names.items()}
    return Pictures(pictures, provenance)


def read_textures(paths: Paths, provenance: Provenance) -> Pictures:
    """Read three textures as grey values."""
    pictures = {name: _picture(paths[f"{name}.png"], "L") for name in ("grass", "gravel", "brick")}
    return Pictures(pictures, provenance)


def _picture(path: Path, mode: str) -> NDArray[np.uint8]:
    image = needs("PIL.Image", extra="images", purpose=f"reading {path.name}")
    try:
        with image.open(path, formats=("PNG", "JPEG")) as picture:
            if picture.mode != mode:
                raise DataError(f"{path.name}: expected mode {mode}; got {picture.mode}.")
            return np.array(picture, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for damaged files
        raise DataError(f"{path.name} is damaged: {error}") from error
