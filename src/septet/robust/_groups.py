"""Groups of rows: from labels of any kind, several attributes or a membership matrix."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import narwhals as nw
import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

GroupKey: TypeAlias = Hashable
# the type stubs of scipy know neither slices nor products of sparse arrays
SparseArray: TypeAlias = Any

_MISSING_TYPES = {"NAType", "NaTType"}


@dataclass(frozen=True, eq=False)
class GroupTable:
    """Which rows belong to which groups.

    Attributes
    ----------
    keys : tuple of hashable
        One key per group: the label itself, or a tuple of the class and the attribute values.
    parts : tuple of str
        What the entries of a tuple key are; a single name for a plain label.
    membership : scipy.sparse.csr_array of shape (n, G), float64
        Membership of each row, zero or more; a row of zeros has no known group.
    absent : tuple of hashable
        Combinations of observed values that no row has: not groups, but worth listing.
    """

    keys: tuple[GroupKey, ...]
    parts: tuple[str, ...]
    membership: SparseArray
    absent: tuple[GroupKey, ...] = ()

    @property
    def known(self) -> NDArray[np.bool_]:
        """Rows with at least one group."""
        return np.asarray(self.membership.sum(axis=1)).ravel() > 0

    @property
    def counts(self) -> NDArray[np.float64]:
        """Number of rows (sum of memberships) of each group."""
        return np.asarray(self.membership.sum(axis=0), dtype=np.float64).ravel()

    @property
    def codes(self) -> NDArray[np.intp]:
        """Index of each row's group, -1 where unknown.

        Raises
        ------
        ValueError
            If a row belongs to more than one group.
        """
        per_row = np.diff(self.membership.indptr)
        if per_row.max(initial=0) > 1:
            raise ValueError(
                f"groups overlap: {int((per_row > 1).sum())} rows belong to more than one; "
                "this needs one group per row."
            )
        codes = np.full(self.membership.shape[0], -1, dtype=np.intp)
        codes[per_row == 1] = self.membership.indices
        return codes

    @property
    def names(self) -> tuple[str, ...]:
        """One readable name per group, such as ``"y=1, place=water"``."""
        return tuple(self.name(key) for key in self.keys)

    def name(self, key: GroupKey) -> str:
        if isinstance(key, tuple):
            return ", ".join(f"{part}={value}" for part, value in zip(self.parts, key, strict=True))
        return f"{self.parts[0]}={key}"

    @property
    def labels(self) -> dict[str, Any]:
        """Say the same as arguments of `fit`: one key per row, or memberships if groups overlap."""
        per_row = np.diff(self.membership.indptr)
        if per_row.max(initial=0) > 1 or (self.membership.data != 1).any():
            return {"group_membership": self.membership.toarray()}
        keys = np.empty(len(self.keys) + 1, dtype=object)
        keys[:] = [*self.keys, None]
        return {"groups": keys[self.codes]}

    def stack(self, other: "GroupTable") -> "GroupTable":
        """Return the table of the rows of both."""
        keys = list(dict.fromkeys([*self.keys, *other.keys]))
        parts = []
        for table in (self, other):
            entries = table.membership.tocoo()
            column = np.array([keys.index(key) for key in table.keys], dtype=np.intp)
            shape = (entries.shape[0], len(keys))
            place = entries.row, column[entries.col]
            parts.append(scipy.sparse.csr_array((entries.data, place), shape=shape))
        both: SparseArray = scipy.sparse.vstack(parts, format="csr")
        return GroupTable(tuple(keys), self.parts, both, self.absent)

    def rows(self, index: NDArray[Any]) -> "GroupTable":
        """Return the table of some of the rows, with the same groups."""
        return GroupTable(self.keys, self.parts, self.membership[index], self.absent)


def read_groups(
    groups: ArrayLike | None,
    y: ArrayLike | None = None,
    *,
    membership: ArrayLike | None = None,
    cross_with_label: bool = True,
    unknown_group: object = -1,
) -> GroupTable:
    """Read group labels of any accepted kind.

    Parameters
    ----------
    groups : array_like of shape (n,) or (n, n_attributes), DataFrame, Series or None
        Labels: integers, strings, booleans or categories. ``None``, NaN and ``NA`` are unknown, as
        is a row with any unknown attribute. Several columns form their cross product. ``None``
        instead of an array makes the classes the groups.
    y : array_like of shape (n,), optional
        Class of each row; needed to cross with and when `groups` is None.
    membership : array_like of shape (n, G), DataFrame or sparse array, optional
        Non-negative memberships instead of labels: multi-hot or soft, rows may be in many groups.
    cross_with_label : bool, default True
        Whether groups are combinations of the class and the labels.
    unknown_group : object, default -1
        A further value that means unknown.

    Raises
    ------
    ValueError
        If both or neither kind is given, lengths differ, or a membership is negative or not finite.
    """
    if membership is not None:
        if groups is not None:
            raise ValueError("give groups or group_membership, not both.")
        return _from_membership(membership, None if y is None else len(np.asarray(y)))
    attributes = [] if groups is None else _columns(groups)
    factors = [_factorise(name, values, unknown_group) for name, values in attributes]
    if groups is None or cross_with_label:
        if y is None:
            raise ValueError("y is needed to form the groups.")
        classes, codes = np.unique(np.asarray(y), return_inverse=True)
        factors = [_Factor("y", codes, tuple(classes.tolist())), *factors]
    for factor in factors:
        if len(factor.codes) != len(factors[0].codes):
            raise ValueError(
                "groups must have one entry per row: "
                f"got {len(factor.codes)} for {len(factors[0].codes)} rows."
            )
    return _cross(factors)


@dataclass(frozen=True, eq=False)
class _Factor:
    """One attribute: its name, a code per row (-1 unknown) and the value of each code."""

    name: str
    codes: NDArray[np.intp]
    values: tuple[Hashable, ...]


def _columns(groups: ArrayLike) -> list[tuple[str, NDArray[Any]]]:
    """Split labels into named columns."""
    native = nw.from_native(groups, pass_through=True, eager_only=True, allow_series=True)
    if isinstance(native, nw.DataFrame):
        return [(str(name), native[name].to_numpy()) for name in native.columns]
    if isinstance(native, nw.Series):
        return [(str(native.name or "group"), native.to_numpy())]
    array = _as_array(groups)
    if array.ndim == 1:
        return [("group", array)]
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"groups must be 1-D or 2-D (rows, attributes); got shape {array.shape}.")
    return [(f"group{j}", array[:, j]) for j in range(array.shape[1])]


def _as_array(groups: ArrayLike) -> NDArray[Any]:
    array = np.asarray(groups)
    # a list of strings with None or NaN must not turn these into the words 'None' and 'nan'
    if array.dtype.kind in "US" and not isinstance(groups, np.ndarray):
        return np.asarray(groups, dtype=object)
    return array


def _factorise(name: str, values: NDArray[Any], unknown: object) -> _Factor:
    """Give every distinct value a code in sorted order."""
    if values.dtype.kind == "f":
        missing = np.isnan(values)
        whole = values[~missing]
        if np.array_equal(whole, np.trunc(whole)):  # integers that a missing entry made floats
            values = np.where(missing, 0, values).astype(np.int64)
    elif values.dtype.kind == "O":
        missing = np.fromiter((_is_missing(v) for v in values), dtype=bool, count=len(values))
    else:
        missing = np.zeros(len(values), dtype=bool)
    missing |= _equals(values, unknown)
    codes = np.full(len(values), -1, dtype=np.intp)
    if values.dtype.kind == "O":
        found = in_order({_plain(v) for v in values[~missing]})
        index = {value: i for i, value in enumerate(found)}
        codes[~missing] = [index[_plain(v)] for v in values[~missing]]
        return _Factor(name, codes, tuple(found))
    distinct, codes[~missing] = np.unique(values[~missing], return_inverse=True)
    return _Factor(name, codes, tuple(distinct.tolist()))


def _is_missing(value: object) -> bool:
    if value is None or type(value).__name__ in _MISSING_TYPES:
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def _plain(value: Any) -> Hashable:
    """Return a NumPy scalar as the Python value it holds; whole floats as integers."""
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _equals(values: NDArray[Any], unknown: object) -> NDArray[np.bool_]:
    if unknown is None:
        return np.zeros(len(values), dtype=bool)
    number = isinstance(unknown, int | float | np.number) and not isinstance(unknown, bool)
    if values.dtype.kind == "O":
        return np.fromiter(
            (type(v) is not bool and isinstance(v, type(unknown)) and v == unknown for v in values)
            if number
            else (isinstance(v, type(unknown)) and v == unknown for v in values),
            dtype=bool,
            count=len(values),
        )
    if number != (values.dtype.kind in "iuf"):
        return np.zeros(len(values), dtype=bool)
    return np.asarray(values == unknown)


def in_order(values: Iterable[Any]) -> list[Any]:
    """Sort values; of several types by type, then as words."""
    try:
        return sorted(values)
    except TypeError:  # labels of several types
        return sorted(values, key=lambda v: (type(v).__name__, str(v)))


def _cross(factors: Sequence[_Factor]) -> GroupTable:
    """Form the groups: combinations of codes that occur."""
    codes = np.column_stack([factor.codes for factor in factors])
    known = (codes >= 0).all(axis=1)
    cells, column = np.unique(codes[known], axis=0, return_inverse=True)
    keys = [tuple(f.values[c] for f, c in zip(factors, cell, strict=True)) for cell in cells]
    n = len(codes)
    membership = scipy.sparse.csr_array(
        (np.ones(len(column)), (np.flatnonzero(known), column.ravel())), shape=(n, len(keys))
    )
    absent: list[GroupKey] = []
    if np.prod([len(f.values) for f in factors], dtype=float) <= 10_000:
        seen = set(keys)
        absent = [key for key in product(*(f.values for f in factors)) if key not in seen]
    if len(factors) == 1:
        keys, absent = [key[0] for key in keys], []
    return GroupTable(tuple(keys), tuple(f.name for f in factors), membership, tuple(absent))


def _from_membership(membership: ArrayLike, n_rows: int | None) -> GroupTable:
    native = nw.from_native(membership, pass_through=True, eager_only=True)
    if isinstance(native, nw.DataFrame):
        keys, matrix = tuple(native.columns), native.to_numpy()
    else:
        sparse: SparseArray = membership
        matrix = sparse.toarray() if scipy.sparse.issparse(membership) else membership
        keys = None
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.ndim != 2 or (n_rows is not None and len(matrix) != n_rows):
        expected = "(rows, groups)" if n_rows is None else f"({n_rows}, groups)"
        raise ValueError(f"group_membership must have shape {expected}; got {matrix.shape}.")
    bad = ~(np.isfinite(matrix) & (matrix >= 0))
    if bad.any():
        raise ValueError(
            "group_membership must be finite and not negative; "
            f"{int(bad.sum())} entries are not, the first at {tuple(np.argwhere(bad)[0].tolist())}."
        )
    keys = keys or tuple(range(matrix.shape[1]))
    return GroupTable(keys, ("group",), scipy.sparse.csr_array(matrix))
