"""Finding the files that would spoil a training before it begins."""

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from septet._core import checks
from septet._core.errors import DataError
from septet._core.files import PathLike, write_text
from septet.signal import AUDIO_SUFFIXES, AudioInfo, audio_info, read_audio

KINDS = {
    "missing": "a link to nowhere, or listed but not there",
    "folder": "a folder with the name of an audio file",
    "empty": "0 bytes",
    "no samples": "a header and nothing else",
    "cut short": "fewer samples than the header promises",
    "undecodable": "of no format that can be decoded",
    "wrong ending": "of another format than its name says",
    "not finite": "NaN or infinite samples",
    "silent": "no sample differs from 0",
    "constant": "all samples equal: an offset and no sound",
    "clipped": "stays at its loudest value again and again",
    "too short": "shorter than asked for",
    "low rate": "sampled at a lower rate than asked for",
    "copy": "the same bytes as another file",
    "copy across classes": "the same bytes as a file of another class",
}
"""What :func:`scan` finds."""

_CLIPPED_RUNS = 10  # stretches of three samples or more at the largest value, both together
_CONTAINERS = {
    ".wav": {"WAV", "WAVEX", "RF64"},
    ".flac": {"FLAC"},
    ".ogg": {"OGG"},
    ".oga": {"OGG"},
    ".opus": {"OGG"},
    ".aif": {"AIFF"},
    ".aiff": {"AIFF"},
    ".aifc": {"AIFF"},
    ".mp3": {"MP3", "MPEG"},
    ".au": {"AU"},
    ".caf": {"CAF"},  # codespell:ignore caf
    ".w64": {"W64"},
}


@dataclass(frozen=True)
class Fault:
    """One thing wrong with one file.

    Attributes
    ----------
    path : str
    kind : str
        One of ``KINDS``.
    detail : str
    """

    path: str
    kind: str
    detail: str


def scan(
    source: PathLike | Sequence[PathLike],
    *,
    sample_rate: int | None = None,
    min_seconds: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Fault]:
    """Read every audio file and list what is wrong.

    Parameters
    ----------
    source : path-like or sequence of paths
        A folder, searched throughout for names with the endings of audio files, or files.
    sample_rate : int, optional
        Rate in Hz below which a file is a fault.
    min_seconds : float, default 0.0
        Length below which a file is a fault.
    progress : callable, optional
        Called with how many of how many files were read.

    Returns
    -------
    list of Fault
        In the order of the files, several for a file where several things are wrong. In a folder
        of class folders copies are told apart by whether they have the same class.

    Raises
    ------
    DataError
        If `source` is a folder that does not exist or holds nothing with such an ending.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.wav").write_bytes(b"")
    >>> [fault.kind for fault in scan(folder)]
    ['empty']
    """
    if sample_rate is not None:
        sample_rate = checks.integer("sample_rate", sample_rate, low=1)
    min_seconds = checks.number("min_seconds", min_seconds, low=0)
    paths = _paths(source)
    faults: list[Fault] = []
    seen: dict[str, Path] = {}
    for number, path in enumerate(paths, 1):
        faults += _faults(path, sample_rate, min_seconds)
        if path.is_file() and path.stat().st_size:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if digest in seen:
                other = seen[digest]
                same = _class_of(other, source) == _class_of(path, source)
                kind = "copy" if same else "copy across classes"
                faults.append(Fault(str(path), kind, f"of {other}"))
            seen.setdefault(digest, path)
        if progress is not None:
            progress(number, len(paths))
    return faults


def _paths(source: PathLike | Sequence[PathLike]) -> list[Path]:
    if not isinstance(source, str | Path) and isinstance(source, Iterable):
        return [Path(path) for path in source]
    root = Path(source)  # pyrefly: ignore[bad-argument-type]
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise DataError(f"{root} does not exist.")
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not found:
        raise DataError(f"{root} holds no file with the ending of an audio file.")
    return found


def _class_of(path: Path, source: PathLike | Sequence[PathLike]) -> Path:
    """Return the folder that names the class: the first one below a folder, as training has it."""
    if isinstance(source, str | Path) and len(inside := path.relative_to(source).parts) > 1:
        return Path(source) / inside[0]
    return path.parent


def _faults(path: Path, sample_rate: int | None, min_seconds: float) -> list[Fault]:
    name = str(path)
    if path.is_dir():
        return [Fault(name, "folder", KINDS["folder"])]
    if not path.exists():
        return [Fault(name, "missing", KINDS["missing"])]
    if path.stat().st_size == 0:
        return [Fault(name, "empty", KINDS["empty"])]
    try:
        info = audio_info(path)
    except DataError as error:
        kind = "cut short" if "cut short" in str(error) else "undecodable"
        return [Fault(name, kind, str(error))]
    faults = list(_header_faults(info, sample_rate, min_seconds))
    try:
        samples = read_audio(path, mono=False).samples
    except DataError as error:
        return [*faults, Fault(name, _kind_of(str(error)), str(error))]
    return [*faults, *(Fault(name, kind, detail) for kind, detail in _sample_faults(samples))]


def _header_faults(info: AudioInfo, sample_rate: int | None, min_seconds: float) -> Iterable[Fault]:
    name, suffix = str(info.path), info.path.suffix.lower()
    if info.container not in _CONTAINERS.get(suffix, {info.container}):
        yield Fault(name, "wrong ending", f"holds {info.container}")
    if sample_rate is not None and info.sample_rate < sample_rate:
        yield Fault(name, "low rate", f"{info.sample_rate} Hz")
    if info.n_samples > 0 and info.seconds < min_seconds:
        yield Fault(name, "too short", f"{info.seconds:.3g} s")


def _kind_of(message: str) -> str:
    for words, kind in (
        ("no samples", "no samples"),
        ("not finite", "not finite"),
        ("cut short", "cut short"),
    ):
        if words in message:
            return kind
    return "undecodable"


def _sample_faults(samples: NDArray[np.float32]) -> Iterable[tuple[str, str]]:
    peak = float(np.abs(samples).max())
    if peak == 0:
        yield "silent", "every sample is 0"
        return
    if (samples == samples[:, :1]).all():
        yield "constant", f"every sample is {samples[0, 0]:.6g}"
        return
    runs = sum(_runs_at(channel, edge) for channel in samples for edge in (peak, -peak))
    if runs >= _CLIPPED_RUNS:
        yield "clipped", f"{runs} stretches at {peak:.6g}"


def _runs_at(channel: NDArray[np.float32], level: float) -> int:
    """Return how many stretches of three samples or more lie at a level."""
    at = np.concatenate([[False], channel == level, [False]])
    edges = np.flatnonzero(np.diff(at.astype(np.int8)))
    return int(np.sum(edges[1::2] - edges[::2] >= 3))


def write_faults(faults: Sequence[Fault], path: PathLike) -> None:
    """Write faults as a CSV file with the columns path, kind and detail."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "kind", "detail"])
    writer.writerows([fault.path, fault.kind, fault.detail] for fault in faults)
    write_text(path, text.getvalue())
