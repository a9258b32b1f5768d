"""Tables as text: cells by column, and messages that name file, row and column."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from septet._core.errors import DataError


@dataclass(frozen=True)
class Sheet:
    """The cells of a table, column by column.

    Attributes
    ----------
    file : str
        Name for messages.
    rows : sequence of int
        Line number of each row in the file.
    cells : dict
        Text of each column's cells.
    """

    file: str
    rows: Sequence[int]
    cells: dict[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.rows)

    def words(self, column: str) -> NDArray[np.str_]:
        """Cells of a column as they are."""
        return np.array(self.cells[column], dtype=np.str_)

    def numbers(self, column: str, *, missing: str | None = None) -> NDArray[np.float64]:
        """Cells of a column as finite numbers; cells equal to `missing` become NaN."""
        cells = self.cells[column]
        if missing is not None:
            cells = ["nan" if cell == missing else cell for cell in cells]
        try:
            values = np.array(cells, dtype=np.float64)
        except ValueError:
            values = np.array([_float(cell) for cell in cells])
        bad = ~np.isfinite(values)
        if missing is not None:
            bad &= self.words(column) != missing
        if bad.any():
            raise self.wrong(int(np.argmax(bad)), column, "a finite number")
        return values

    def codes(self, column: str, values: Sequence[str]) -> NDArray[np.int64]:
        """Position in `values` of each cell."""
        place = {value: i for i, value in enumerate(values)}
        codes = np.array([place.get(cell, -1) for cell in self.cells[column]], dtype=np.int64)
        if (codes < 0).any():
            row = int(np.argmax(codes < 0))
            raise self.wrong(row, column, f"one of {', '.join(map(repr, values))}")
        return codes

    def one_hot(self, columns: Sequence[str]) -> NDArray[np.int64]:
        """Which of `columns` holds the single 1 of each row."""
        marks = np.stack([self.codes(column, ("0", "1")) for column in columns])
        if (marks.sum(axis=0) != 1).any():
            row = int(np.argmax(marks.sum(axis=0) != 1))
            raise self.wrong(row, columns[0], f"a single 1 among {', '.join(columns)}")
        return marks.argmax(axis=0)

    def wrong(self, row: int, column: str, expected: str) -> DataError:
        """Return the error that says what stands in a cell instead of what was expected."""
        return DataError(
            f"{self.file}, row {self.rows[row]}, column {column!r}: expected {expected}; "
            f"got {self.cells[column][row]!r}."
        )


def read(
    file: str,
    lines: Iterable[str],
    columns: Sequence[str],
    *,
    header: bool = True,
    delimiter: str = ",",
    first_row: int = 1,
) -> Sheet:
    """Read delimited text; blank lines are passed over.

    Parameters
    ----------
    file : str
        Name for messages.
    lines : iterable of str
        The text.
    columns : sequence of str
        Without a header the names of all columns, else those that must be among its names. A
        column that the header names twice must hold the same twice.
    header : bool, default True
        Whether the first line holds the columns' names.
    delimiter : str, default ","
        What stands between cells; blanks after it do not count.
    first_row : int, default 1
        Line number in the file of the first line.

    Raises
    ------
    DataError
        If a column is missing, a row has too few or too many cells, or there is no row at all.
    """
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    rows, cells = [], []
    try:
        names = next(reader, []) if header else list(columns)
        for row in reader:
            if len(row) == len(names):
                rows.append(first_row + reader.line_num - 1)
                cells.append(row)
            elif row:
                raise DataError(
                    f"{file}, row {first_row + reader.line_num - 1}: expected {len(names)} cells; "
                    f"got {len(row)}."
                )
    except csv.Error as error:
        raise DataError(f"{file}, row {first_row + reader.line_num - 1}: {error}.") from None
    missing = [name for name in columns if name not in names]
    if missing:
        raise DataError(f"{file}, row 1: no column {missing[0]!r}; got {', '.join(names)[:200]!r}.")
    if not rows:
        raise DataError(f"{file}: no row of data.")
    by_name: dict[str, tuple[str, ...]] = {}
    for name, values in zip(names, zip(*cells, strict=True), strict=True):
        if by_name.setdefault(name, values) != values:
            raise DataError(f"{file}, row 1: two different columns are both named {name!r}.")
    return Sheet(file, rows, by_name)


def _float(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan
