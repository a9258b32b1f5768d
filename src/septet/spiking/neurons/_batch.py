"""Ragged batches of spike trains."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks

_MOST_UNITS = 2**31 - 1  # that the ids can tell apart


class SpikeBatch:
    """A batch of spike patterns: for every pattern, times in ms and the unit each spike is of.

    The layout is that of a compressed sparse row matrix: pattern ``p`` owns the entries
    ``indptr[p]:indptr[p + 1]`` of `times` and `ids`. A batch never changes after it was made; its
    arrays are read-only. It serves as the input of a layer and as its output, and can be indexed
    and split like a scikit-learn input; as a NumPy array it is its `counts`.

    Parameters
    ----------
    times : array_like of shape (n_spikes,)
        Times in ms from 0 to `duration`, ascending within each pattern.
    ids : array_like of int, shape (n_spikes,)
        Unit of each spike, from 0 to ``n_units - 1``. Equal (time, unit) pairs are legal and add.
    indptr : array_like of int, shape (n_patterns + 1,)
        Where each pattern begins; the last entry is ``n_spikes``.
    n_units : int
        Number of input lines or neurons.
    duration : float
        Length of every pattern in ms.
    sort : bool, default False
        Sort each pattern by time (stably) instead of refusing times that descend.

    Attributes
    ----------
    shape : tuple of int
        ``(n_patterns, n_units)``.

    Raises
    ------
    ValueError
        If a time is not finite, negative, later than `duration` or out of order, or a unit does not
        exist; the message names pattern and position.

    See Also
    --------
    SpikeBatch.from_lists : One list of times per unit and pattern.
    SpikeBatch.from_pairs : One (times, ids) pair per pattern.
    SpikeBatch.from_raster : Binned counts.

    Examples
    --------
    >>> batch = SpikeBatch.from_lists([[[1.0, 7.5], [3.0]], [[], [2.0]]], duration=10.0)
    >>> batch
    SpikeBatch(n_patterns=2, n_units=2, n_spikes=4, duration=10.0 ms)
    >>> times, ids = batch[0]
    >>> times.tolist(), ids.tolist()
    ([1.0, 3.0, 7.5], [0, 1, 0])
    """

    __slots__ = ("duration", "ids", "indptr", "n_units", "times")

    def __init__(
        self,
        times: ArrayLike,
        ids: ArrayLike,
        indptr: ArrayLike,
        *,
        n_units: int,
        duration: float,
        sort: bool = False,
    ) -> None:
        self.n_units = checks.integer("n_units", n_units, low=1, high=_MOST_UNITS)
        self.duration = checks.number("duration", duration, above=0.0)
        start = _integers("indptr", indptr)
        t = np.array(times, dtype=np.float64)
        unit = _integers("ids", ids)
        if t.ndim != 1 or unit.shape != t.shape:
            raise ValueError(
                f"times and ids must be 1-D of one length; got {t.shape} and {unit.shape}."
            )
        if start.ndim != 1 or start.size < 1 or start[0] != 0 or start[-1] != t.size:
            raise ValueError(f"indptr must run from 0 to the number of spikes, {t.size}.")
        if np.any(np.diff(start) < 0):
            raise ValueError("indptr must not descend.")
        owner = np.repeat(np.arange(start.size - 1), np.diff(start))
        self._refuse(~np.isfinite(t), owner, start, lambda i: f"time {float(t[i])!r} is not finite")
        if sort:
            order = np.lexsort((t, owner))
            t, unit = t[order], unit[order]
        self._refuse(t < 0, owner, start, lambda i: f"time {t[i]:g} ms is negative")
        self._refuse(
            t > self.duration,
            owner,
            start,
            lambda i: f"time {t[i]:g} ms is later than the duration, {self.duration:g} ms",
        )
        self._refuse(
            (unit < 0) | (unit >= self.n_units),
            owner,
            start,
            lambda i: f"unit {unit[i]} does not exist (n_units = {self.n_units})",
        )
        descends = np.zeros(t.size, dtype=bool)
        descends[1:] = (t[1:] < t[:-1]) & (owner[1:] == owner[:-1])
        self._refuse(
            descends,
            owner,
            start,
            lambda i: f"time {t[i]:g} ms follows {t[i - 1]:g} ms; sort them, or pass sort=True",
        )
        self.times = _frozen(t)
        self.ids = _frozen(unit.astype(np.int32))
        self.indptr = _frozen(start)

    @staticmethod
    def _refuse(bad: NDArray[np.bool_], owner: NDArray[Any], start: NDArray[Any], why: Any) -> None:
        where = np.flatnonzero(bad)
        if where.size:
            i = int(where[0])
            raise ValueError(f"pattern {owner[i]}, event {i - start[owner[i]]}: {why(i)}.")

    # -- construction ------------------------------------------------------------------------

    @classmethod
    def from_pairs(
        cls,
        patterns: Iterable[tuple[ArrayLike, ArrayLike]],
        *,
        n_units: int,
        duration: float,
        sort: bool = False,
    ) -> "SpikeBatch":
        """Build a batch from one ``(times, ids)`` pair per pattern."""
        pairs = [(np.asarray(t, dtype=np.float64), _integers("ids", i)) for t, i in patterns]
        for p, (t, unit) in enumerate(pairs):
            if t.ndim != 1 or t.shape != unit.shape:
                raise ValueError(
                    f"pattern {p}: times and ids must be 1-D of one length; "
                    f"got {t.shape} and {unit.shape}."
                )
        return cls(
            np.concatenate([np.empty(0), *(t for t, _ in pairs)]),
            np.concatenate([np.empty(0, dtype=np.int64), *(unit for _, unit in pairs)]),
            np.cumsum([0, *(t.size for t, _ in pairs)]),
            n_units=n_units,
            duration=duration,
            sort=sort,
        )

    @classmethod
    def from_lists(
        cls,
        patterns: Iterable[Sequence[ArrayLike]],
        *,
        duration: float,
        n_units: int | None = None,
    ) -> "SpikeBatch":
        """Build a batch from nested lists: ``patterns[p][i]`` holds the times of unit ``i``.

        The times of one unit may come in any order; those of all units are merged and sorted.
        `n_units` defaults to the number of lists, which must be the same in every pattern.
        """
        rows = [[np.asarray(train, dtype=np.float64).ravel() for train in p] for p in patterns]
        if n_units is None:
            lengths = {len(row) for row in rows}
            if len(lengths) != 1:
                raise ValueError(
                    "patterns must all list the same number of units, or pass n_units; "
                    f"got {sorted(lengths)}."
                )
            (n_units,) = lengths
        pairs = []
        for p, row in enumerate(rows):
            if len(row) > n_units:
                raise ValueError(f"pattern {p} lists {len(row)} units; n_units = {n_units}.")
            ids = np.repeat(np.arange(len(row)), [train.size for train in row])
            pairs.append((np.concatenate([np.empty(0), *row]), ids))
        return cls.from_pairs(pairs, n_units=n_units, duration=duration, sort=True)

    @classmethod
    def from_raster(cls, raster: ArrayLike, *, dt: float) -> "SpikeBatch":
        """Build a batch from binned counts, shape (patterns, steps, units) or (steps, units).

        A count ``c`` in step ``n`` becomes ``c`` spikes at ``n * dt`` ms.
        """
        dt = checks.number("dt", dt, above=0.0)
        counts = np.asarray(raster)
        if counts.ndim == 2:
            counts = counts[None]
        if counts.ndim != 3:
            raise ValueError(f"raster must be (patterns, steps, units); got {counts.shape}.")
        if counts.dtype.kind not in "biuf" or np.any(counts < 0) or np.any(counts != counts // 1):
            raise ValueError("raster must hold whole counts of at least 0.")
        p, step, unit = np.nonzero(counts)
        repeat = counts[p, step, unit].astype(np.int64)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(p, repeat, len(counts)))])
        return cls(
            np.repeat(step, repeat) * dt,
            np.repeat(unit, repeat),
            indptr.astype(np.int64),
            n_units=counts.shape[2],
            duration=counts.shape[1] * dt,
        )

    @classmethod
    def concatenate(cls, batches: Iterable["SpikeBatch"]) -> "SpikeBatch":
        """Join batches of the same units and duration, pattern after pattern."""
        parts = list(batches)
        if len({(b.n_units, b.duration) for b in parts}) != 1:
            raise ValueError("batches must be of one number of units and one duration.")
        sizes = np.concatenate([np.diff(b.indptr) for b in parts])
        return cls(
            np.concatenate([b.times for b in parts]),
            np.concatenate([b.ids for b in parts]),
            np.concatenate([[0], np.cumsum(sizes)]),
            n_units=parts[0].n_units,
            duration=parts[0].duration,
        )

    # -- reading -----------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_patterns, n_units)``."""
        return len(self), self.n_units

    @property
    def n_spikes(self) -> int:
        """Number of spikes of all patterns together."""
        return self.times.size

    def __len__(self) -> int:
        return self.indptr.size - 1

    def __repr__(self) -> str:
        return (
            f"SpikeBatch(n_patterns={len(self)}, n_units={self.n_units}, "
            f"n_spikes={self.n_spikes}, duration={self.duration} ms)"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SpikeBatch):
            return NotImplemented
        return (
            (self.shape, self.duration) == (other.shape, other.duration)
            and np.array_equal(self.indptr, other.indptr)
            and np.array_equal(self.times, other.times)
            and np.array_equal(self.ids, other.ids)
        )

    __hash__ = None  # pyrefly: ignore[bad-override]

    @overload
    def __getitem__(self, key: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]: ...
    @overload
    def __getitem__(self, key: slice | Sequence[int] | NDArray[Any]) -> "SpikeBatch": ...

    def __getitem__(self, key: Any) -> Any:
        """Return ``(times, ids)`` of one pattern, or the batch of those a slice or array picks."""
        if isinstance(key, int | np.integer):
            p = range(len(self))[key]
            piece = slice(self.indptr[p], self.indptr[p + 1])
            return self.times[piece], self.ids[piece]
        chosen = np.arange(len(self))[key]
        sizes = np.diff(self.indptr)[chosen]
        indptr = np.concatenate([[0], np.cumsum(sizes)])
        entries = np.arange(indptr[-1]) + np.repeat(self.indptr[chosen] - indptr[:-1], sizes)
        return SpikeBatch(
            self.times[entries],
            self.ids[entries],
            indptr,
            n_units=self.n_units,
            duration=self.duration,
        )

    def __iter__(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int32]]]:
        return (self[p] for p in range(len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.times, self.ids, self.indptr, self.n_units, self.duration)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return `counts`: what the batch is to those who want a matrix of its shape."""
        if copy is False:
            raise ValueError("the counts of a SpikeBatch are computed: they cannot be a view.")
        return self.counts().astype(np.int64 if dtype is None else dtype)

    def trains(self, pattern: int) -> list[NDArray[np.float64]]:
        """Return the times in ms of each unit's spikes in one pattern, as `n_units` arrays."""
        times, ids = self[pattern]
        order = np.argsort(ids, kind="stable")
        ends = np.cumsum(np.bincount(ids, minlength=self.n_units))[:-1]
        return np.split(times[order], ends)

    def counts(self) -> NDArray[np.int64]:
        """Count the spikes of every unit in every pattern, shape (n_patterns, n_units)."""
        owner = np.repeat(np.arange(len(self)), np.diff(self.indptr))
        flat = np.bincount(owner * self.n_units + self.ids, minlength=len(self) * self.n_units)
        return flat.reshape(self.shape)

    def to_raster(self, *, dt: float) -> NDArray[np.int64]:
        """Count the spikes in steps of `dt` ms, shape (n_patterns, steps, n_units).

        A spike at ``t`` falls into step ``floor(t / dt)``; one at the very end into the last.
        """
        dt = checks.number("dt", dt, above=0.0)
        steps = max(1, round(np.ceil(self.duration / dt - 1e-9)))
        # a time that was made as n * dt must fall into step n whatever the rounding
        step = np.minimum(np.floor(self.times / dt + 1e-9).astype(np.int64), steps - 1)
        owner = np.repeat(np.arange(len(self)), np.diff(self.indptr))
        raster = np.zeros((len(self), steps, self.n_units), dtype=np.int64)
        np.add.at(raster, (owner, step, self.ids), 1)
        return raster


def _rebuild(times: Any, ids: Any, indptr: Any, n_units: int, duration: float) -> SpikeBatch:
    return SpikeBatch(times, ids, indptr, n_units=n_units, duration=duration)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def _integers(name: str, values: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers; got {array.dtype}.")
    return array.astype(np.int64)
