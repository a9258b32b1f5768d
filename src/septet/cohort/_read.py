"""Tables of candidates from and to CSV and Parquet files."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from septet._core.errors import DataError
from septet._core.extras import needs
from septet._core.files import PathLike, replacing

_SUFFIXES = (".csv", ".parquet")


def read_frame(path: PathLike, *, text: Iterable[str] = ()) -> Any:
    r"""Read a CSV or Parquet file as a pyarrow table.

    Parameters
    ----------
    path : path
        A ``.csv`` file in UTF-8 with a header line, or a ``.parquet`` file.
    text : iterable of str
        Columns of a CSV file to keep exactly as written, such as ids: ``"007"`` stays ``"007"``.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    DataError
        If the file is missing, damaged or of another kind.
    MissingExtraError
        If pyarrow is not installed.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "people.csv"
    >>> _ = path.write_text("id,score\n007,0.5\n")
    >>> read_frame(path, text=["id"]).to_pylist()
    [{'id': '007', 'score': 0.5}]
    """
    path = Path(path)
    arrow = needs("pyarrow", extra="frames", purpose="reading tables")
    read = _read_csv if _suffix(path) == ".csv" else _read_parquet
    try:
        return read(path, text)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.") from None
    except (arrow.ArrowException, OSError, UnicodeError) as error:  # of header or file name
        raise DataError(f"{path} cannot be read as {path.suffix[1:]}: {error}") from error


def _read_csv(path: Path, text: Iterable[str]) -> Any:
    from pyarrow import csv, string

    types = {name: string() for name in text}
    convert = csv.ConvertOptions(column_types=types, strings_can_be_null=False)
    table = csv.read_csv(path, parse_options=_quoted(), convert_options=convert)
    _ = table.column_names  # a header that is no UTF-8 fails here, not at its first use
    return table


def _read_parquet(path: Path, _: Iterable[str]) -> Any:
    from pyarrow import parquet

    return parquet.read_table(path)


def write_frame(frame: Any, path: PathLike) -> None:
    """Write a pyarrow table to a ``.csv`` or ``.parquet`` file, whole or not at all.

    Raises
    ------
    DataError
        If the file is of another kind.
    """
    path = Path(path)
    if _suffix(path) == ".csv":
        csv = needs("pyarrow.csv", extra="frames", purpose="writing tables")
        with replacing(path) as file:
            csv.write_csv(frame, file)
    else:
        parquet = needs("pyarrow.parquet", extra="frames", purpose="writing tables")
        with replacing(path) as file:
            parquet.write_table(frame, file)


def open_rows(
    path: Path, columns: list[str] | None, *, text: Iterable[str] = (), rows: int
) -> Iterator[tuple[int, Any]]:
    """Yield (number of the first row, table) for consecutive pieces of a file.

    Of a CSV file, columns in `text` are taken as written and others as float64; all are taken as
    written if `columns` is None.
    """
    arrow = needs("pyarrow", extra="frames", purpose="reading tables")
    pieces = _csv_pieces if _suffix(path) == ".csv" else _parquet_pieces
    start = 0
    try:
        for batch in pieces(path, columns, set(text), rows):
            if batch.num_rows:
                yield start, arrow.Table.from_batches([batch])
                start += batch.num_rows
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.") from None
    except (arrow.ArrowException, OSError, UnicodeError) as error:  # of header or file name
        raise DataError(f"{path} cannot be read as {path.suffix[1:]}: {error}") from error


def write_pieces(pieces: Iterable[Any], path: PathLike) -> None:
    """Write pyarrow tables of one schema to one CSV or Parquet file, whole or not at all."""
    path = Path(path)
    name = "csv" if _suffix(path) == ".csv" else "parquet"
    module = needs(f"pyarrow.{name}", extra="frames", purpose="writing tables")
    make = module.CSVWriter if name == "csv" else module.ParquetWriter
    with replacing(path) as file:
        writer = None
        for piece in pieces:
            writer = make(file, piece.schema) if writer is None else writer
            if piece.num_rows:
                writer.write_table(piece)
        if writer is not None:
            writer.close()


def _quoted() -> Any:
    from pyarrow import csv

    # else a quoted cell of several lines is torn wherever a block of the file ends in it
    return csv.ParseOptions(newlines_in_values=True)


def _csv_pieces(path: Path, columns: list[str] | None, text: set[str], rows: int) -> Iterator[Any]:
    from pyarrow import csv, float64, string

    read, parse = csv.ReadOptions(block_size=1 << 23), _quoted()
    with csv.open_csv(path, read_options=read, parse_options=parse) as reader:
        names = reader.schema.names
    _known(path, columns, names)
    types = {name: string() if columns is None or name in text else float64() for name in names}
    convert = csv.ConvertOptions(
        column_types=types, include_columns=columns or [], strings_can_be_null=False
    )
    with csv.open_csv(
        path, read_options=read, parse_options=parse, convert_options=convert
    ) as reader:
        yield from reader


def _parquet_pieces(
    path: Path, columns: list[str] | None, text: set[str], rows: int
) -> Iterator[Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
        _known(path, columns, file.schema_arrow.names)
        yield from file.iter_batches(batch_size=rows, columns=columns, use_threads=False)


def _known(path: Path, columns: list[str] | None, names: list[str]) -> None:
    missing = [name for name in columns or [] if name not in names]
    if missing:
        raise ValueError(
            f"{path.name} has no column {missing[0]!r}; there are {', '.join(map(repr, names))}."
        )


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise DataError(f"{path} must end in {' or '.join(_SUFFIXES)}.")
    return suffix
