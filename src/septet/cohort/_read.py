"""Tables of candidates from and to CSV and Parquet files."""

from collections.abc import Iterable
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
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as {path.suffix[1:]}: {error}") from error


def _read_csv(path: Path, text: Iterable[str]) -> Any:
    from pyarrow import csv, string

    types = {name: string() for name in text}
    convert = csv.ConvertOptions(column_types=types, strings_can_be_null=False)
    return csv.read_csv(path, convert_options=convert)


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


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise DataError(f"{path.name} must end in {' or '.join(_SUFFIXES)}.")
    return suffix
