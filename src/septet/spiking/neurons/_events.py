"""Exchange with event cameras and event files: structured event arrays and AER words."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from septet._core import checks
from septet.spiking.neurons._batch import SpikeBatch

_EVENT = np.dtype([("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "<i2")])
_WORD = np.dtype([("address", ">u4"), ("timestamp", ">u4")])


def from_events(
    recordings: Sequence[NDArray[np.void]],
    *,
    sensor_size: tuple[int, int, int],
    duration: float | None = None,
    tick_us: float = 1.0,
) -> SpikeBatch:
    """Build a batch from structured event arrays with the fields ``x, y, t, p``, as tonic has them.

    Parameters
    ----------
    recordings : sequence of structured ndarray
        One array per pattern. ``y`` and ``p`` may be missing (they count as 0), so that audio
        recordings with ``x, t, p`` are read as well.
    sensor_size : tuple of int
        ``(width, height, polarities)``. Unit ``(p * height + y) * width + x`` receives the event.
    duration : float, optional
        Length of the patterns in ms; by default that of the last event of all.
    tick_us : float, default 1.0
        Unit of ``t`` in microseconds. Times are kept as they are: subtract an offset first.

    Raises
    ------
    ValueError
        If a field or coordinate is out of range; pattern and event are named.

    Examples
    --------
    >>> import numpy as np
    >>> event = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
    >>> recording = np.array([(1, 0, 1500, 0), (0, 1, 2500, 1)], dtype=event)
    >>> times, ids = from_events([recording], sensor_size=(2, 2, 2))[0]
    >>> times.tolist(), ids.tolist()
    ([1.5, 2.5], [1, 6])
    """
    width, height, polarities = (checks.integer("sensor_size", n, low=1) for n in sensor_size)
    tick_us = checks.number("tick_us", tick_us, above=0.0)
    pairs = []
    for p, events in enumerate(recordings):
        names = events.dtype.names or ()
        if not {"x", "t"} <= set(names):
            raise ValueError(f"recording {p} must have at least the fields x and t; got {names}.")
        unit = np.zeros(events.size, dtype=np.int64)
        for name, size in (("p", polarities), ("y", height), ("x", width)):
            value = events[name].astype(np.int64) if name in names else np.zeros_like(unit)
            bad = np.flatnonzero((value < 0) | (value >= size))
            if bad.size:
                raise ValueError(
                    f"pattern {p}, event {bad[0]}: {name} = {value[bad[0]]} is outside the sensor "
                    f"(0 to {size - 1})."
                )
            unit = unit * size + value
        pairs.append((events["t"].astype(np.float64) * (tick_us / 1000), unit))
    if duration is None:
        duration = max((float(t.max()) for t, _ in pairs if t.size), default=1.0)
    return SpikeBatch.from_pairs(pairs, n_units=width * height * polarities, duration=duration)


def to_events(
    batch: SpikeBatch, *, sensor_size: tuple[int, int, int], tick_us: float = 1.0
) -> list[NDArray[np.void]]:
    """Return one structured event array (``x, y, t, p``) per pattern; times round to a tick.

    Coordinates are 16-bit numbers, as in event files, so that no side may exceed 32 768.

    Examples
    --------
    >>> batch = SpikeBatch.from_pairs([([1.5], [6])], n_units=8, duration=5.0)
    >>> to_events(batch, sensor_size=(2, 2, 2))[0].tolist()
    [(0, 1, 1500, 1)]
    """
    width, height, polarities = (
        checks.integer("sensor_size", n, low=1, high=2**15) for n in sensor_size
    )
    if width * height * polarities != batch.n_units:
        raise ValueError(
            f"sensor_size {tuple(sensor_size)} has {width * height * polarities} pixels; the batch "
            f"has {batch.n_units} units."
        )
    tick_us = checks.number("tick_us", tick_us, above=0.0)
    recordings = []
    for times, ids in batch:
        events = np.zeros(times.size, dtype=_EVENT)
        events["t"] = np.rint(times * (1000 / tick_us))
        events["x"] = ids % width
        events["y"] = ids // width % height
        events["p"] = ids // (width * height)
        recordings.append(events)
    return recordings


def from_aer(
    recordings: Sequence[bytes], *, n_units: int, duration: float, tick_us: float = 1.0
) -> SpikeBatch:
    """Build a batch from AER words: per event a 32-bit address, then a 32-bit time, big-endian.

    This is the body of an AEDAT 2.0 file. The address is the unit.

    Raises
    ------
    ValueError
        If the bytes are no whole number of events, an address is no unit, or times descend or
        exceed `duration`.

    Examples
    --------
    >>> batch = SpikeBatch.from_pairs([([1.5, 2.0], [6, 0])], n_units=8, duration=5.0)
    >>> from_aer(to_aer(batch), n_units=8, duration=5.0) == batch
    True
    """
    tick_us = checks.number("tick_us", tick_us, above=0.0)
    pairs = []
    for p, data in enumerate(recordings):
        if len(data) % _WORD.itemsize:
            raise ValueError(
                f"pattern {p}: {len(data)} bytes are no whole number of 8-byte events."
            )
        words = np.frombuffer(data, dtype=_WORD)
        pairs.append((words["timestamp"] * (tick_us / 1000), words["address"].astype(np.int64)))
    return SpikeBatch.from_pairs(pairs, n_units=n_units, duration=duration)


def to_aer(batch: SpikeBatch, *, tick_us: float = 1.0) -> list[bytes]:
    """Return the AER words of each pattern, as `from_aer` reads them; times round to a tick.

    Raises
    ------
    ValueError
        If a time does not fit into 32 bits.
    """
    tick_us = checks.number("tick_us", tick_us, above=0.0)
    if round(batch.duration * 1000 / tick_us) > np.iinfo(np.uint32).max:
        raise ValueError(
            f"{batch.duration:g} ms exceed 32 bits at {tick_us:g} us; use larger ticks."
        )
    recordings = []
    for times, ids in batch:
        words = np.empty(times.size, dtype=_WORD)
        words["address"] = ids
        words["timestamp"] = np.rint(times * (1000 / tick_us))
        recordings.append(words.tobytes())
    return recordings
