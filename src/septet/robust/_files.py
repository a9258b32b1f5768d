"""Rows from files, and heads as files: safetensors for the weights, JSON for everything else."""

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from septet._core import checks
from septet._core.errors import CheckpointError, DataError
from septet._core.extras import needs
from septet._core.files import PathLike, replacing, write_json
from septet._core.seals import is_sealed, sealed
from septet.robust._fixed_head import LinearHead, full_rows
from septet.robust._linear_head import LinearHeadBase

_SCHEMA, _VERSION = "septet.robust.head", 1
_WEIGHTS, _FACTS = "head.safetensors", "model.json"
_PARTS = {"0": "train", "1": "validation", "2": "test", "val": "validation"}


@dataclass(frozen=True, eq=False)
class Rows:
    """What a file holds; made by `read_rows`.

    Attributes
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Features.
    features : tuple of str
        Their names; empty for an ``.npz`` file.
    y : ndarray of shape (n,) or None
        Classes.
    groups : ndarray of shape (n,) or (n, n_attributes), or None
        Group labels; None entries, empty strings and -1 are unknown.
    split : ndarray of shape (n,) of str, or None
        ``"train"``, ``"validation"`` or ``"test"`` for each row.
    sha256 : str
        Digest of the file.
    """

    X: NDArray[np.floating]
    features: tuple[str, ...]
    y: NDArray[Any] | None
    groups: NDArray[Any] | None
    split: NDArray[np.str_] | None
    sha256: str


def read_rows(
    path: PathLike,
    *,
    label: str = "y",
    groups: Sequence[str] = (),
    split: str = "split",
    drop: Sequence[str] = (),
) -> Rows:
    """Read features, classes and groups from an ``.npz``, ``.csv`` or ``.parquet`` file.

    Parameters
    ----------
    path : path
        An ``.npz`` file with the array ``X`` (n, d) and those named by the other arguments; or a
        table whose other columns are all features.
    label : str, default "y"
        Classes; they may be missing.
    groups : sequence of str, optional
        Group labels, crossed if there are several; ``groups`` or ``group`` if there is one.
    split : str, default "split"
        Part of each row, if there is such a column: train, validation (or val) and test, or 0, 1
        and 2.
    drop : sequence of str
        Columns of a table to leave out.

    Returns
    -------
    Rows
        As read.

    Raises
    ------
    DataError
        If the file is missing, damaged or lacks what was named, or a feature is no number.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "rows.npz"
    >>> np.savez(path, X=np.zeros((3, 2)), y=[0, 1, 1], groups=["a", "b", "a"])
    >>> read_rows(path).groups.tolist()
    ['a', 'b', 'a']
    """
    path = Path(path)
    readers = {".npz": _read_npz, ".csv": _read_table, ".parquet": _read_table}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: expected .npz, .csv or .parquet.")
    if not path.is_file():
        raise DataError(f"{path} does not exist.")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    found = readers[path.suffix.lower()](path)
    known = list(found)
    names = [*groups] or [name for name in ("groups", "group") if name in found][:1]
    for name in (*groups, *drop, *([label] if label != "y" else [])):
        if name not in found:
            raise DataError(f"{path} has no {name!r}; it has {', '.join(known)}.")
    columns = [_labels(found.pop(name)) for name in names]
    y = found.pop(label, None)
    parts = found.pop(split, None)
    for name in drop:
        found.pop(name, None)
    X, features = _features(path, found)
    for name, values in ((label, y), (split, parts), *zip(names, columns, strict=True)):
        if values is not None and len(values) != len(X):
            raise DataError(f"{path}: {name!r} has {len(values)} entries for {len(X)} rows.")
    return Rows(
        X,
        features,
        None if y is None else _plain(y),
        None if not columns else columns[0] if len(columns) == 1 else np.column_stack(columns),
        None if parts is None else _parts(path, parts),
        digest,
    )


def save_head(
    head: LinearHeadBase, folder: PathLike, facts: Mapping[str, Any] | None = None
) -> None:
    """Save a fitted head: ``head.safetensors`` and ``model.json``, nothing executable.

    Parameters
    ----------
    head : linear head of this package
        Fitted; its classes must be numbers, strings or booleans.
    folder : path
        Made if absent.
    facts : mapping, optional
        Anything JSON can hold, to be found again by `load_head`.

    Raises
    ------
    TypeError, ValueError
        If a fact cannot be JSON.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> save_head(LinearHead([[-1.0], [1.0]], classes=["cat", "dog"]).fit(), folder)
    >>> load_head(folder)[0].predict([[2.0]]).tolist()
    ['dog']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows, bias = full_rows(head)
    content = save({"coef": np.ascontiguousarray(rows), "intercept": np.ascontiguousarray(bias)})
    facts = dict(facts or {}) | {
        "schema": _SCHEMA,
        "version": _VERSION,
        "classes": np.asarray(head.classes_).tolist(),
        "weights_sha256": hashlib.sha256(content).hexdigest(),
    }
    whole = sealed(facts)
    with replacing(folder / _WEIGHTS) as file:
        file.write(content)
    write_json(folder / _FACTS, whole)


def load_head(folder: PathLike) -> tuple[LinearHead, dict[str, Any]]:
    """Load what `save_head` saved.

    Returns
    -------
    head : LinearHead
        Fitted.
    facts : dict
        The facts saved with it.

    Raises
    ------
    CheckpointError
        If the folder holds no head, or a damaged or newer one.
    """
    folder = Path(folder)
    try:
        facts = json.loads((folder / _FACTS).read_text("utf-8"))
        content = (folder / _WEIGHTS).read_bytes()
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder} holds no model: {error}.") from None
    if not isinstance(facts, dict) or facts.get("schema") != _SCHEMA:
        raise CheckpointError(f"{folder / _FACTS} describes no head.")
    if not is_sealed(facts):
        raise CheckpointError(f"{folder / _FACTS} is damaged: its digest does not fit its content.")
    if facts["version"] != _VERSION:
        raise CheckpointError(
            f"{folder} was saved by version {facts['version']}; this knows {_VERSION}."
        )
    if hashlib.sha256(content).hexdigest() != facts["weights_sha256"]:
        raise CheckpointError(
            f"{folder / _WEIGHTS} is damaged: its digest is not the one of model.json."
        )
    arrays = load(content)
    head = LinearHead(arrays["coef"], arrays["intercept"], np.asarray(facts["classes"])).fit()
    return head, {key: value for key, value in facts.items() if key != "sha256"}


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    if not zipfile.is_zipfile(path):  # numpy would take it for a pickle and advise to trust it
        raise DataError(f"{path} is no .npz file, or one that was cut short.")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    except Exception as error:  # zipfile and zlib raise their own kinds for damaged files
        raise DataError(f"{path} is damaged: {error}") from error


def _read_table(path: Path) -> dict[str, NDArray[Any]]:
    arrow = needs("pyarrow", extra="frames", purpose="reading tables")
    try:
        if path.suffix.lower() == ".csv":
            table = needs("pyarrow.csv", extra="frames", purpose="reading tables").read_csv(path)
        else:
            module = needs("pyarrow.parquet", extra="frames", purpose="reading tables")
            table = module.read_table(path)
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as {path.suffix[1:]}: {error}") from None
    names = table.column_names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path} has {names.count(twice[0])} columns {twice[0]!r}; rename them.")
    return {name: column.to_numpy() for name, column in zip(names, table.columns, strict=True)}


def _features(
    path: Path, found: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[np.floating], tuple[str, ...]]:
    if path.suffix.lower() == ".npz":
        if "X" not in found:
            raise DataError(f"{path} has no array 'X'; it has {', '.join(found) or 'none'}.")
        X, names = found["X"], ()
        if X.ndim != 2 or X.dtype.kind not in "fiub":
            raise DataError(
                f"{path}: X must be numbers of shape (n, d); it is {X.dtype} {X.shape}."
            )
    else:
        for name, values in found.items():
            if values.dtype.kind not in "fiub":
                raise DataError(
                    f"{path}: column {name!r} holds no numbers; name it as label or group, or drop "
                    "it."
                )
        if not found:
            raise DataError(f"{path} has no column of features.")
        X, names = np.column_stack(list(found.values())), tuple(found)
    X = X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)
    return cast("NDArray[np.floating]", X), names


def _labels(values: NDArray[Any]) -> NDArray[Any]:
    """Return labels with None where a string is empty or -1, or an entry is null."""
    values = _text(values)
    if values.dtype.kind not in "OU":
        return values
    return np.array(
        [value if value not in ("", "-1", None) else None for value in values.tolist()], object
    )


def _text(values: NDArray[Any]) -> NDArray[Any]:
    """Return words that numpy holds as bytes as such."""
    return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values


def _plain(y: NDArray[Any]) -> NDArray[Any]:
    """Return classes with strings as such instead of objects or bytes."""
    y = _text(y)
    if y.dtype.kind != "O":
        return y
    if any(value is None for value in y.tolist()):
        raise DataError(f"{sum(v is None for v in y.tolist())} rows have no class.")
    return np.array(y.tolist())


def _parts(path: Path, values: NDArray[Any]) -> NDArray[np.str_]:
    words = [_PARTS.get(str(value), str(value)) for value in _text(values).tolist()]
    for word in sorted(set(words)):
        try:
            checks.choice("split", word, ["train", "validation", "test"])
        except ValueError as error:
            raise DataError(f"{path}: {error}") from None
    return np.array(words)
