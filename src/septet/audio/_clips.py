"""Clips of equal length for a network, from files or arrays, with every problem told."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet._core import checks
from septet._core.errors import DataError, SeptetWarning
from septet.signal import Recording, read_audio, resample

_SHOWN = 5  # problems that a message spells out


@dataclass(frozen=True)
class Piece:
    """A part of a file, as a clip.

    Attributes
    ----------
    path : Path
    start, seconds : float
        Where it begins and how long it lasts, in seconds.
    """

    path: Path
    start: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.path} from {self.start:g} s"


@dataclass(frozen=True)
class Clips:
    """Segments of equal length and which clip each belongs to.

    Attributes
    ----------
    samples : ndarray of shape (n_segments, n_samples), float32
    owner : ndarray of shape (n_segments,)
        Number of the clip that a segment was cut from, ascending.
    valid : ndarray of shape (n_segments,)
        Part of each segment, from its start, that is no padding.
    kept : ndarray of shape (n_clips,)
        Position of every clip in the input; shorter than it if bad files were skipped.
    skipped : tuple of (str, str)
        Name and fault of every clip that was left out.
    notes : tuple of str
        What was done to clips that did not fit: padding, resampling upwards.
    """

    samples: NDArray[np.float32]
    owner: NDArray[np.int64]
    valid: NDArray[np.float64]
    kept: NDArray[np.int64]
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.kept)

    def segments_of(self, clips: NDArray[Any]) -> NDArray[np.int64]:
        """Return the numbers of the segments that belong to the given clips."""
        return np.flatnonzero(np.isin(self.owner, clips))


def load_clips(
    source: Sequence[Any] | NDArray[Any],
    sample_rate: int,
    *,
    seconds: float | None = None,
    longest: float = 10.0,
    min_seconds: float = 0.0,
    on_error: str = "raise",
    progress: Callable[[int, int], None] | None = None,
) -> Clips:
    """Read clips and cut or pad them to one length.

    Longer clips are cut into consecutive segments; a rest shorter than half a segment is dropped
    unless it is all there is. Shorter ones are filled with zeros at the end.

    Parameters
    ----------
    source : sequence of paths, pieces or arrays, or ndarray of shape (n_clips, n_samples)
        Files of any rate, or floats at `sample_rate`, 1.0 being full scale.
    sample_rate : int
        In Hz.
    seconds : float, optional
        Length of a segment; by default that of the longest clip, at most `longest`.
    longest : float, default 10.0
        See `seconds`.
    min_seconds : float, default 0.0
        A shorter clip counts as bad.
    on_error : {"raise", "skip"}, default "raise"
        What to do about a bad file: raise, or leave it out and warn with the list.
    progress : callable, optional
        Called with how many of how many clips were read.

    Returns
    -------
    Clips

    Raises
    ------
    DataError
        If a clip is bad and `on_error` is ``"raise"``, or none is left.
    TypeError
        If an array holds anything but floats: integers have another full scale.
    ValueError
        If a number is out of range or there is no clip.
    """
    sample_rate = checks.integer("sample_rate", sample_rate, low=1)
    checks.choice("on_error", on_error, ("raise", "skip"))
    if len(source) == 0:
        raise ValueError("there is no clip.")
    pieces: list[NDArray[np.float32]] = []
    kept: list[int] = []
    skipped: list[tuple[str, str]] = []
    upsampled = 0
    for index, item in enumerate(source):
        try:
            samples, rate = _read(item, index, sample_rate)
            if samples.size < min_seconds * sample_rate:
                raise DataError(
                    f"{_name(item, index)} lasts {samples.size / sample_rate:.3g} s; at least "
                    f"{min_seconds:g} s are needed."
                )
        except DataError as error:
            if on_error == "raise":
                raise
            skipped.append((_name(item, index), str(error)))
            continue
        upsampled += rate < sample_rate
        pieces.append(samples)
        kept.append(index)
        if progress is not None:
            progress(index + 1, len(source))
    _warn_about(skipped, upsampled, sample_rate)
    if not pieces:
        raise DataError(f"none of the {len(source)} clips could be read: {skipped[0][1]}")
    if seconds is None:
        seconds = min(longest, max(piece.size for piece in pieces) / sample_rate)
    length = max(1, round(checks.number("seconds", seconds, above=0) * sample_rate))
    return _cut(pieces, length, np.array(kept), tuple(skipped), upsampled)


def segments(n_samples: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of every segment of a clip."""
    yield 0, min(n_samples, length)
    for start in range(length, n_samples, length):
        if n_samples - start >= length / 2:
            yield start, min(n_samples, start + length)


def _cut(
    pieces: list[NDArray[np.float32]],
    length: int,
    kept: NDArray[np.int64],
    skipped: tuple[tuple[str, str], ...],
    upsampled: int,
) -> Clips:
    spans = [list(segments(piece.size, length)) for piece in pieces]
    owner = np.repeat(np.arange(len(pieces)), [len(part) for part in spans])
    samples = np.zeros((owner.size, length), np.float32)
    valid = np.empty(owner.size)
    row = 0
    for piece, part in zip(pieces, spans, strict=True):
        for start, stop in part:
            samples[row, : stop - start] = piece[start:stop]
            valid[row] = (stop - start) / length
            row += 1
    notes = []
    if padded := int((valid < 1).sum()):
        notes.append(f"{padded} of {owner.size} segments were padded with silence")
    if owner.size > len(pieces):
        notes.append(f"{len(pieces)} clips were cut into {owner.size} segments")
    if upsampled:
        notes.append(f"{upsampled} clips have a lower sample rate than the model")
    return Clips(samples, owner, valid, kept, skipped, tuple(notes))


def _read(item: Any, index: int, sample_rate: int) -> tuple[NDArray[np.float32], int]:
    """Return the samples of a file or array, and the rate that they came in."""
    if isinstance(item, str | Path | Piece):
        recording = _recording(item)
        if recording.sample_rate == sample_rate:
            return recording.samples, sample_rate
        converted = resample(recording.samples, recording.sample_rate, sample_rate)
        return converted, recording.sample_rate
    name = _name(item, index)
    given = np.asarray(item)
    if given.dtype.kind != "f":
        raise TypeError(f"{name} must be floats, 1.0 being full scale; got {given.dtype}.")
    samples = given.astype(np.float32, copy=False)
    if samples.ndim != 1:
        raise ValueError(f"{name} must be samples (n,); got shape {samples.shape}.")
    if samples.size == 0:
        raise DataError(f"{name} is empty.")
    if not np.isfinite(samples).all():
        raise DataError(f"{name} holds samples that are not finite.")
    return samples, sample_rate


def _name(item: Any, index: int) -> str:
    return str(item) if isinstance(item, str | Path | Piece) else f"clip {index}"


def _warn_about(skipped: list[tuple[str, str]], upsampled: int, sample_rate: int) -> None:
    if skipped:
        listed = "; ".join(fault for _, fault in skipped[:_SHOWN])
        more = f"; and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else ""
        warnings.warn(
            f"{len(skipped)} bad clips are left out: {listed}{more}", SeptetWarning, stacklevel=3
        )
    if upsampled:
        warnings.warn(
            f"{upsampled} clips have a lower sample rate than {sample_rate} Hz: their bands above "
            "half of it are empty.",
            SeptetWarning,
            stacklevel=3,
        )


def _recording(item: str | Path | Piece) -> Recording:
    if isinstance(item, Piece):
        return read_audio(item.path, start=item.start, seconds=item.seconds)
    return read_audio(item)
