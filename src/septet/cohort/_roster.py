"""The canonical roster: who takes part, in an order and in bytes on which everybody agrees.

Rows are sorted by id: integers by value, strings by code point. The bytes that are hashed are a
header line and then, for each row,

* the id: 8 bytes (signed) for integers; for strings 4 bytes with the length, then UTF-8;
* the score in units of 2**-32, rounded half to even: 8 bytes;
* with groups, the group label: 4 bytes with the length, then UTF-8.

All integers are little-endian. The header is ``septet roster 1``, a space, ``int`` or ``str`` for
the kind of ids, for groups a space and ``group``, and a line feed.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet.cohort._scores import Ints, name_rows

_CHUNK = 1 << 20
_SHOWN = 5


@dataclass(frozen=True)
class Ids:
    """Checked ids of candidates, and the order that sorts them.

    Attributes
    ----------
    kind : {"int", "str"}
    values : ndarray of int64 or list of str
        The ids in row order.
    order : ndarray of shape (n,), dtype int64, or None
        Row numbers in canonical order; None if the rows are in that order already.
    """

    kind: str
    values: Ints | list[str]
    order: Ints | None

    def pick(self, rows: NDArray[np.integer]) -> list[int] | list[str]:
        """Return the ids of some rows as Python integers or strings."""
        if isinstance(self.values, list):
            return [self.values[i] for i in rows.tolist()]
        return self.values[rows].tolist()


def row_ids(n: int) -> Ids:
    """Return the row numbers as ids."""
    return Ids("int", np.arange(n, dtype=np.int64), None)


def check_ids(ids: ArrayLike | Sequence[Any], n: int) -> Ids:
    """Return ids as exact strings or integers, none missing, none twice.

    Raises
    ------
    TypeError
        If they are not all strings or all integers: 7 and "7" and 7.0 are different things.
    ValueError
        If their number is wrong, one is missing or empty, or one occurs twice.
    """
    if isinstance(ids, np.ndarray) and ids.ndim == 1 and np.issubdtype(ids.dtype, np.integer):
        return _integers(ids, n)
    listed = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)  # pyrefly: ignore
    _length(len(listed), n)
    missing = np.array([i for i, value in enumerate(listed) if _is_missing(value)], dtype=np.int64)
    if missing.size:
        raise ValueError(
            f"{missing.size} of {n} ids are missing or empty ({name_rows(missing, None)}): nobody "
            "can be told the outcome without one."
        )
    kinds = {type(value) for value in listed}
    if kinds <= {str}:
        return _strings(listed)
    if all(issubclass(kind, int | np.integer) and kind is not bool for kind in kinds):
        return _integers(np.array(listed, dtype=object), n)
    found = sorted(kind.__name__ for kind in kinds)
    raise TypeError(
        "ids must be all strings or all integers, so that no two are confused by conversion; got "
        f"{', '.join(found)}. Columns of whole numbers with gaps become floats in some tables: "
        "read them as strings."
    )


def roster_digest(ids: Ids, z: Ints, groups: Sequence[str] | None = None) -> bytes:
    """Return the SHA-256 of the canonical roster, 32 bytes."""
    digest = hashlib.sha256(roster_header(ids.kind, groups=groups is not None))
    for start in range(0, z.size, _CHUNK):
        places = np.arange(start, min(start + _CHUNK, z.size))
        rows = places if ids.order is None else ids.order[places]
        names = ids.values
        some = [names[i] for i in rows.tolist()] if isinstance(names, list) else names[rows]
        labels = None if groups is None else [groups[i] for i in rows.tolist()]
        digest.update(record_bytes(some, z[rows], labels))
    return digest.digest()


def roster_header(kind: str, *, groups: bool) -> bytes:
    """Return the first line of the canonical roster."""
    return f"septet roster 1 {kind}{' group' if groups else ''}\n".encode()


def record_bytes(ids: Ints | list[str], z: Ints, groups: list[str] | None = None) -> bytes:
    """Return the canonical bytes of consecutive rows."""
    if groups is None and isinstance(ids, np.ndarray):
        return np.column_stack([ids, z]).astype("<i8", copy=False).tobytes()
    named = ids.tolist() if isinstance(ids, np.ndarray) else ids
    out = []
    for i, (name, score) in enumerate(zip(named, z.tolist(), strict=True)):
        out.append(_text(name) if isinstance(name, str) else struct.pack("<q", name))
        out.append(struct.pack("<q", score))
        if groups is not None:
            out.append(_text(groups[i]))
    return b"".join(out)


def _text(text: str) -> bytes:
    raw = text.encode("utf-8")
    return struct.pack("<I", len(raw)) + raw


def _integers(ids: NDArray[Any], n: int) -> Ids:
    _length(ids.size, n)
    if ids.size and not (int(ids.min()) >= -(2**63) and int(ids.max()) < 2**63):
        raise ValueError("integer ids must fit 64 bits with a sign; give larger ones as strings.")
    values = ids.astype(np.int64, copy=False)
    if (values[1:] > values[:-1]).all():
        return Ids("int", values, None)
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    twice = ranked[1:][ranked[1:] == ranked[:-1]]
    _no_duplicates(np.unique(twice).tolist(), values.tolist() if twice.size else [])
    return Ids("int", values, order)


def _strings(ids: list[str]) -> Ids:
    for i, name in enumerate(ids):
        try:
            name.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(f"ids[{i}] cannot be encoded as UTF-8: {error}.") from None
    order = sorted(range(len(ids)), key=ids.__getitem__)
    twice = {ids[i] for i, j in pairwise(order) if ids[i] == ids[j]}
    _no_duplicates(sorted(twice), ids)
    ranked = np.array(order, dtype=np.int64)
    return Ids("str", ids, None if np.array_equal(ranked, np.arange(len(ids))) else ranked)


def _no_duplicates(twice: list[Any], ids: list[Any]) -> None:
    if twice:
        first = [i for i, name in enumerate(ids) if name == twice[0]]
        raise ValueError(
            f"{len(twice)} ids occur more than once ({', '.join(map(repr, twice[:_SHOWN]))}"
            f"{', ...' if len(twice) > _SHOWN else ''}; the first in rows "
            f"{', '.join(map(str, first[:_SHOWN]))}): every candidate needs an id of their own."
        )


def _length(found: int, n: int) -> None:
    if found != n:
        raise ValueError(f"ids must have {n} entries, one per candidate; got {found}.")


def _is_missing(value: object) -> bool:
    return value is None or value == "" or value != value
