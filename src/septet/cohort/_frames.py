"""Candidates in whatever table they come: pandas, polars, pyarrow and others through narwhals."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet.cohort._roster import Ids, check_ids, row_ids


@dataclass(frozen=True)
class Table:
    """The columns of interest of a frame, or a plain vector of scores.

    Attributes
    ----------
    scores : Any
        One per candidate, unchecked.
    ids : Ids
    labels : list or ndarray or None
        What to call candidates in messages.
    groups : list or None
    frame : Any
        The narwhals frame, or None for a plain vector.
    """

    scores: Any
    ids: Ids
    labels: Any
    groups: list[Any] | None
    frame: Any

    def rows(self, chosen: NDArray[np.intp]) -> Any:
        """Return some rows of the frame in its own library, or None for a plain vector."""
        return None if self.frame is None else self.frame[chosen.tolist()].to_native()


def read_table(candidates: Any, *, id: Any = None, score: Any = None, group: Any = None) -> Table:  # noqa: A002 - the field's word
    """Take scores, ids and groups from a frame by column name, or from vectors.

    Raises
    ------
    TypeError
        If column names are given without a frame, or vectors with one.
    ValueError
        If a column is missing (the message lists those there are), or a vector has another length.
    """
    import narwhals.stable.v2 as nw

    frame = nw.from_native(candidates, eager_only=True, pass_through=True)
    if not isinstance(frame, nw.DataFrame):
        return _vectors(candidates, id, score, group)
    if score is None:
        raise ValueError(f"score= must name the column of scores, one of {_names(frame)}.")
    scores = column(frame, "score", score)
    if len(frame) and not scores.dtype.is_numeric():
        raise TypeError(f"column {score!r} must hold numbers; its type is {scores.dtype}.")
    ids = (
        row_ids(len(frame))
        if id is None
        else check_ids(_exact(column(frame, "id", id)), len(frame))
    )
    groups = None if group is None else column(frame, "group", group).to_list()
    values = scores.cast(nw.Float64).to_numpy()
    return Table(values, ids, None if id is None else ids.values, groups, frame)


def _vectors(candidates: Any, ids: Any, score: Any, group: Any) -> Table:
    if isinstance(ids, str) or isinstance(group, str) or score is not None:
        raise TypeError(
            "column names need a frame (pandas, polars, pyarrow); got "
            f"{type(candidates).__name__}. With plain scores, id= and group= are vectors."
        )
    scores = np.asarray(candidates)
    n = scores.shape[0] if scores.ndim else 0
    checked = row_ids(n) if ids is None else check_ids(ids, n)
    groups = None if group is None else list(group)
    if groups is not None and len(groups) != n:
        raise ValueError(f"group must have {n} entries, one per candidate; got {len(groups)}.")
    return Table(scores, checked, None if ids is None else checked.values, groups, None)


def column(frame: Any, what: str, name: Any) -> Any:
    """Return a column of a narwhals frame, asked for by the argument `what`.

    Raises
    ------
    TypeError
        If there is no frame, or `name` is a vector.
    ValueError
        If it has no such column; the message lists those there are.
    """
    if frame is None:
        raise TypeError(f"{what}={name!r} names a column, but the candidates are no frame.")
    if np.ndim(name):
        raise TypeError(f"{what} must name a column of the frame; got {type(name).__name__}.")
    if name not in frame.columns:
        raise ValueError(f"{what}={name!r} is no column; there are {_names(frame)}.")
    return frame[name]


def _exact(ids: Any) -> Any:
    """Return a column of ids without any conversion between kinds."""
    if ids.dtype.is_integer() and not ids.null_count():
        return ids.to_numpy()
    return ids.to_list()


def _names(frame: Any) -> str:
    return ", ".join(map(repr, frame.columns))
