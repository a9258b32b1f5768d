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
        If column names are given without a frame.
    ValueError
        If a column is missing; the message lists those there are.
    """
    import narwhals.stable.v2 as nw

    frame = nw.from_native(candidates, eager_only=True, pass_through=True)
    if not isinstance(frame, nw.DataFrame):
        return _vectors(candidates, id, score, group)
    if score is None:
        raise ValueError(f"score= must name the column of scores, one of {_names(frame)}.")
    scores = _column(frame, "score", score)
    if not scores.dtype.is_numeric():
        raise TypeError(f"column {score!r} must hold numbers; its type is {scores.dtype}.")
    ids = (
        row_ids(len(frame))
        if id is None
        else check_ids(_exact(_column(frame, "id", id)), len(frame))
    )
    groups = None if group is None else _column(frame, "group", group).to_list()
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
    return Table(scores, checked, None if ids is None else checked.values, groups, None)


def _column(frame: Any, what: str, name: str) -> Any:
    if name not in frame.columns:
        raise ValueError(f"{what}={name!r} is no column; there are {_names(frame)}.")
    return frame[name]


def _exact(column: Any) -> Any:
    """Return a column of ids without any conversion between kinds."""
    if column.dtype.is_integer() and not column.null_count():
        return column.to_numpy()
    return column.to_list()


def _names(frame: Any) -> str:
    return ", ".join(map(repr, frame.columns))
