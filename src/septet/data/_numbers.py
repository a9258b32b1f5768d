"""Numbers from a user's CSV file."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet._core.errors import DataError
from septet._core.files import PathLike


@dataclass(frozen=True, eq=False)
class Numbers:
    """What a CSV file of numbers holds.

    Attributes
    ----------
    values : ndarray of float64, shape (n_rows, n_columns)
    columns : tuple of str
        Their names.
    labels : ndarray of str, shape (n_rows,), or None
        The column of labels, if one was asked for.
    """

    values: NDArray[np.float64]
    columns: tuple[str, ...]
    labels: NDArray[np.str_] | None


def read_numbers(path: PathLike, *, label: str | None = None) -> Numbers:
    r"""Read a CSV file of numbers in UTF-8 with a header line; a row a sample.

    Parameters
    ----------
    path : path
    label : str, optional
        Column to keep as text, apart from the numbers.

    Returns
    -------
    Numbers

    Raises
    ------
    DataError
        If the file is missing, is no such table, or a cell is no number; the message names file,
        line and column.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "flowers.csv"
    >>> _ = path.write_text("length,width,kind\n5.1,3.5,setosa\n")
    >>> read_numbers(path, label="kind").values
    array([[5.1, 3.5]])
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _read(path, csv.reader(file, strict=True), label)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}.") from error


def _read(path: Path, reader: Any, label: str | None) -> Numbers:
    names = next(reader, [])
    if label is not None and label not in names:
        raise DataError(f"{path} has no column {label!r}; its columns are {names}.")
    at = None if label is None else names.index(label)
    rows, labels = [], []
    for row in reader:
        if len(row) != len(names):
            raise DataError(
                f"{path}, line {reader.line_num}: {len(row)} cells; the header has {len(names)}."
            )
        values = []
        for i, (name, cell) in enumerate(zip(names, row, strict=True)):
            if i == at:
                labels.append(cell)
                continue
            try:
                values.append(float(cell))
            except ValueError:
                raise DataError(
                    f"{path}, line {reader.line_num}: {name} is no number: {cell!r}."
                ) from None
        rows.append(values)
    columns = tuple(name for i, name in enumerate(names) if i != at)
    array = np.array(rows, dtype=np.float64).reshape(len(rows), len(columns))
    return Numbers(array, columns, None if at is None else np.array(labels, dtype=np.str_))
