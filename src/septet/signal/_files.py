"""Reading and writing audio files, with errors that name the file and the fault."""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet._core.errors import DataError
from septet._core.extras import needs
from septet._core.files import PathLike, replacing
from septet.signal._resample import resample

_ENDINGS = "aif aifc aiff au caf flac mp3 oga ogg opus w64 wav wv"  # codespell:ignore caf
AUDIO_SUFFIXES = frozenset(f".{ending}" for ending in _ENDINGS.split())
"""File name endings, in lower case, that a folder is searched for."""

# What writers that cannot seek back leave in a RIFF header, rounded down to whole blocks: sox
# 0x7FFFF000, arecord 0x80000000, ffmpeg 0xFFFFFFFF.
_UNKNOWN_SIZES = (range(0x7FFF_0000, 0x8000_0001), range(0xFFFF_0000, 0x1_0000_0000))
_CONTAINERS = {".aif": "AIFF", ".aifc": "AIFF", ".oga": "OGG", ".opus": "OGG"}
_FULL_SCALE = 32767  # a float of 1.0 as a 16-bit sample


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says.

    Attributes
    ----------
    path : Path
    sample_rate : int
        In Hz.
    n_channels : int
    n_samples : int
        Per channel. For compressed formats this is what the header promises.
    container, encoding : str
        As the sound library names them, such as ``"WAV"`` and ``"PCM_16"``.
    """

    path: Path
    sample_rate: int
    n_channels: int
    n_samples: int
    container: str
    encoding: str

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate


@dataclass(frozen=True)
class Recording:
    """Samples read from a file.

    Attributes
    ----------
    samples : ndarray of float32
        Of shape (n_samples,) if mixed down to mono, else (n_channels, n_samples).
    sample_rate : int
        Of `samples`, in Hz.
    source_rate : int
        Of the file, in Hz; content above half of it does not exist in `samples`.
    path : Path
    """

    samples: NDArray[np.float32]
    sample_rate: int
    source_rate: int
    path: Path

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples.shape[-1] / self.sample_rate


def audio_info(path: PathLike) -> AudioInfo:
    """Read the header of an audio file.

    Raises
    ------
    DataError
        If the file is missing, empty, a folder, cut short or of no format that can be decoded; the
        message names the file and the fault.
    MissingExtraError
        If soundfile is not installed.
    """
    soundfile = _soundfile()
    path = _existing(path)
    try:
        found = soundfile.info(str(path))
    except soundfile.SoundFileError as error:
        raise _undecodable(path, error) from error
    _refuse_cut_wav(path)
    if found.channels < 1 or found.samplerate < 1:
        raise DataError(f"{path} has {found.channels} channels at {found.samplerate} Hz.")
    return AudioInfo(
        path, found.samplerate, found.channels, found.frames, found.format, found.subtype
    )


def read_audio(
    path: PathLike,
    *,
    sample_rate: int | None = None,
    mono: bool = True,
    start: float = 0.0,
    seconds: float | None = None,
) -> Recording:
    """Read an audio file (WAV, FLAC, OGG, MP3, AIFF and what else libsndfile decodes).

    Parameters
    ----------
    path : path-like
    sample_rate : int, optional
        Rate in Hz to convert to; the file's own by default.
    mono : bool, default True
        Whether to return the mean of the channels.
    start : float, default 0.0
        Where to begin, in seconds.
    seconds : float, optional
        How much to read at most; to the end by default.

    Returns
    -------
    Recording

    Raises
    ------
    DataError
        If the file cannot be decoded, ends before its header says, holds no sample in the part
        asked for, or holds a sample that is not finite; the message names the file.
    ValueError
        If a number is out of range.
    MissingExtraError
        If soundfile, or soxr for another rate, is not installed.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "tone.wav"
    >>> write_audio(path, np.sin(np.arange(800) / 5), 8000)
    >>> read_audio(path, sample_rate=16000).samples.shape
    (1600,)
    """
    start = checks.number("start", start, low=0)
    if seconds is not None:
        seconds = checks.number("seconds", seconds, above=0)
    info = audio_info(path)
    samples = _decode(info, round(start * info.sample_rate), seconds)
    if mono:
        samples = samples.mean(axis=0)
    target = info.sample_rate
    if sample_rate is not None:
        target = checks.integer("sample_rate", sample_rate, low=1)
    if target != info.sample_rate:
        samples = resample(samples, info.sample_rate, target)
    return Recording(samples, target, info.sample_rate, info.path)


def write_audio(
    path: PathLike, samples: ArrayLike, sample_rate: int, *, encoding: str | None = None
) -> None:
    """Write samples to an audio file, whole or not at all; the ending chooses the format.

    Parameters
    ----------
    path : path-like
        Ending in ``.wav``, ``.flac``, ``.ogg`` or another that libsndfile writes.
    samples : array_like of shape (n_samples,) or (n_channels, n_samples)
        Finite, within [-1, 1]: whoever writes decides how to tame louder samples.
    sample_rate : int
        In Hz.
    encoding : str, optional
        Such as ``"PCM_16"``, ``"PCM_24"`` or ``"FLOAT"``; the format's usual one by default.

    Raises
    ------
    ValueError
        If the samples are not finite or exceed full scale (except in a float encoding), or the
        ending or encoding is unknown.
    MissingExtraError
        If soundfile is not installed.
    """
    soundfile = _soundfile()
    path = Path(path)
    sample_rate = checks.integer("sample_rate", sample_rate, low=1)
    array = np.asarray(samples, dtype=np.float64)
    if array.ndim not in (1, 2):
        raise ValueError(f"samples must be (n,) or (channels, n); got shape {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError("samples must be finite.")
    floating = encoding in ("FLOAT", "DOUBLE")
    peak = float(np.abs(array).max(initial=0))
    if not floating and peak > 1 + 1 / _FULL_SCALE:
        raise ValueError(f"samples reach {peak:.4g}, but full scale is 1: scale them down first.")
    container = container_of(path)
    if container not in soundfile.available_formats():
        known = ", ".join(sorted(soundfile.available_formats()))
        raise ValueError(f"{path} must end in a format that can be written: {known}.")
    if encoding is None and path.suffix.lower() == ".opus":
        encoding = "OPUS"
    if encoding is not None and not soundfile.check_format(container, encoding):
        raise ValueError(f"{container} cannot hold {encoding}.")
    with replacing(path) as file:
        soundfile.write(file, array.T, sample_rate, subtype=encoding, format=container)


def container_of(path: Path) -> str:
    """Return the sound library's name of the format that a file's ending stands for."""
    return _CONTAINERS.get(path.suffix.lower(), path.suffix.lstrip(".").upper())


def _decode(info: AudioInfo, first: int, seconds: float | None) -> NDArray[np.float32]:
    soundfile = _soundfile()
    path = info.path
    count = -1 if seconds is None else max(1, round(seconds * info.sample_rate))
    try:
        with soundfile.SoundFile(str(path)) as file:
            if first:
                file.seek(min(first, file.frames))
            samples = file.read(count, dtype="float32", always_2d=True).T
    except soundfile.SoundFileError as error:
        raise _undecodable(path, error) from error
    if samples.shape[1] == 0:
        where = f"after {first / info.sample_rate:g} s" if first else "at all"
        raise DataError(f"{path} holds no samples {where}.")
    expected = info.n_samples - first if count < 0 else min(count, info.n_samples - first)
    # a lossy stream's header is an estimate, a lossless one's a promise
    if info.container in ("FLAC", "WAV", "AIFF") and samples.shape[1] < expected:
        raise DataError(f"{path} ends after {samples.shape[1]} of {expected} samples: cut short?")
    bad = np.argwhere(~np.isfinite(samples))
    if len(bad):
        raise DataError(
            f"{path} holds {len(bad)} samples that are not finite, the first at index {bad[0][1]}."
        )
    return samples


def _existing(path: PathLike) -> Path:
    path = Path(path)
    if path.is_symlink() and not path.exists():
        raise DataError(f"{path} is a link to nowhere.")
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    if not path.is_file():
        raise DataError(f"{path} is no file.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty: 0 bytes.")
    return path


def _undecodable(path: Path, error: Exception) -> DataError:
    reason = str(error).rpartition(": ")[2].strip() or "unknown reason"
    with path.open("rb") as file:
        head = file.read(12)
    return DataError(f"{path} cannot be decoded ({reason}); it begins with {head!r}.")


def _refuse_cut_wav(path: Path) -> None:
    """Raise if a RIFF file's data chunk is longer than the file: decoders shorten it silently."""
    with path.open("rb") as file:
        if file.read(4) != b"RIFF":
            return
        total = path.stat().st_size
        file.seek(12)
        while len(header := file.read(8)) == 8:
            size = int.from_bytes(header[4:], "little")
            left = total - file.tell()
            if header[:4] == b"data":
                if left < size and not any(size in some for some in _UNKNOWN_SIZES):
                    raise DataError(f"{path} is cut short: {left} of {size} bytes of samples.")
                return
            file.seek(size + size % 2, 1)


def _soundfile() -> ModuleType:
    return needs("soundfile", extra="audio", purpose="reading and writing audio files")
