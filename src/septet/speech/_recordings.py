"""Enhancing files: block by block, of any length, whole or not at all."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet._core.errors import DataError, SeptetWarning
from septet._core.extras import needs
from septet._core.files import PathLike, replacing
from septet.signal import AudioInfo, audio_info
from septet.signal._files import container_of
from septet.speech._integers import to_integers
from septet.speech._stream import Stream

_BLOCK = 1 << 16
_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_LOSSLESS = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "AIFF", "AU", "CAF")


@dataclass(frozen=True)
class FileResult:
    """What was written.

    Attributes
    ----------
    source, target : str
        Paths.
    seconds : float
        Length.
    sample_rate : int
        In Hz, of both.
    n_channels, n_samples : int
        Of both.
    encoding : str
        Of the target, such as ``"PCM_16"``.
    clipped : int
        Samples that were limited to full scale.
    """

    source: str
    target: str
    seconds: float
    sample_rate: int
    n_channels: int
    n_samples: int
    encoding: str
    clipped: int


def enhance_recording(
    open_stream: Callable[[int, int], Stream], source: PathLike, target: PathLike
) -> FileResult:
    """Enhance a file into another with the stream that ``open_stream(rate, channels)`` gives."""
    soundfile = needs("soundfile", extra="audio", purpose="enhancing files")
    info = audio_info(source)
    target = Path(target)
    if info.n_samples == 0:
        raise DataError(f"{info.path} holds no samples.")
    if target.exists() and target.samefile(info.path):
        raise ValueError(f"{target} is the noisy file itself: name another file to write.")
    container, encoding = _format(soundfile, info, target)
    stream = open_stream(info.sample_rate, info.n_channels)
    taken = clipped = 0
    with soundfile.SoundFile(str(info.path)) as noisy, replacing(target) as file:
        try:
            writer = soundfile.SoundFile(
                file,
                "w",
                samplerate=info.sample_rate,
                channels=info.n_channels,
                format=container,
                subtype=encoding,
            )
        except soundfile.SoundFileError as error:
            raise ValueError(
                f"{target} cannot hold {info.n_channels} channels at {info.sample_rate} Hz as "
                f"{encoding}: {error}"
            ) from None
        with writer:
            while (block := _read(soundfile, noisy, info)).size:
                taken += block.shape[1]
                clipped += _write(writer, _processed(stream, block, info.path), encoding)
            clipped += _write(writer, stream.flush(), encoding)
        if info.container in _LOSSLESS and taken < info.n_samples:
            raise DataError(f"{info.path} ends after {taken} of {info.n_samples} samples.")
    if clipped:
        warnings.warn(
            f"{target}: {clipped} samples were limited to full scale.", SeptetWarning, stacklevel=3
        )
    return FileResult(
        str(info.path),
        str(target),
        taken / info.sample_rate,
        info.sample_rate,
        info.n_channels,
        taken,
        encoding,
        clipped,
    )


def _format(soundfile: Any, info: AudioInfo, target: Path) -> tuple[str, str]:
    """Container and encoding of the target: the source's own where the ending allows it."""
    container = container_of(target)
    if container == "WAV" and info.container in ("WAV", "WAVEX", "RF64"):
        container = info.container
    if container not in soundfile.available_formats():
        raise ValueError(f"{target} must end in a format that can be written, such as .wav.")
    if target.suffix.lower() == ".opus":
        return container, "OPUS"
    if soundfile.check_format(container, info.encoding):
        return container, info.encoding
    return container, soundfile.default_subtype(container)


def _read(soundfile: Any, file: Any, info: AudioInfo) -> NDArray[np.float64]:
    try:
        return file.read(_BLOCK, dtype="float64", always_2d=True).T
    except soundfile.SoundFileError as error:
        raise DataError(f"{info.path} cannot be decoded to its end ({error}).") from error


def _processed(stream: Stream, block: NDArray[np.float64], path: Path) -> NDArray[np.float64]:
    try:
        return stream.process(block)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def _write(writer: Any, output: NDArray[np.float64], encoding: str) -> int:
    """Write samples of shape (channels, n) and return how many were limited to full scale."""
    if encoding in ("FLOAT", "DOUBLE"):
        writer.write(output.T)
        return 0
    bits = _BITS.get(encoding)
    if bits is None:  # companded or lossy: the library converts
        clipped = int(np.count_nonzero(np.abs(output) > 1))
        writer.write(np.clip(output, -1, 1).T)
        return clipped
    steps, clipped = to_integers(output, 2.0 ** (bits - 1), 0, np.int64)
    writer.write((steps << (32 - bits)).astype(np.int32).T)
    return clipped
