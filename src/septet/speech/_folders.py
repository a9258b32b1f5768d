"""Training data out of folders: pairs of recordings, or clean speech and noise to be mixed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from septet._core.errors import DataError
from septet._core.files import PathLike
from septet.signal import read_audio
from septet.speech._mixtures import Voice, levelled_int16
from septet.speech._signal import SAMPLE_RATE, active_level
from septet.speech.metrics._pairs import _twins, audio_files

_FULL_SCALE = 32767


def read_pairs(
    clean: PathLike, noisy: PathLike, *, allow_length_mismatch: bool = False
) -> list[tuple[str, NDArray[np.int16], NDArray[np.int16]]]:
    """Read pairs of recordings of the same names out of two folders, at 16 kHz.

    Fits VoiceBank-DEMAND as it is distributed: ``read_pairs("clean_trainset_28spk_wav",
    "noisy_trainset_28spk_wav")``.

    Parameters
    ----------
    clean, noisy : path
        Folders.
    allow_length_mismatch : bool, default False
        Cut the longer of a pair instead of refusing it.

    Returns
    -------
    list of (name, clean, noisy)
        Samples as int16, for `PairWindows`.

    Raises
    ------
    DataError
        If a recording has no twin, another rate or length than it, or cannot be read.
    """
    pairs = []
    for name, first, second in _twins(Path(clean), Path(noisy)):
        read = [read_audio(path, sample_rate=SAMPLE_RATE) for path in (first, second)]
        if read[0].source_rate != read[1].source_rate:
            raise DataError(
                f"{first} has {read[0].source_rate} Hz and {second} {read[1].source_rate} Hz."
            )
        c, n = (_as_int16(recording.samples) for recording in read)
        if c.size != n.size:
            if not allow_length_mismatch:
                raise DataError(
                    f"{first} has {c.size} samples and {second} {n.size}: allow_length_mismatch "
                    "(--allow-length-mismatch) cuts the longer one."
                )
            c, n = c[: min(c.size, n.size)], n[: min(c.size, n.size)]
        pairs.append((name, c, n))
    return pairs


def read_voices(folder: PathLike) -> list[Voice]:
    """Read speakers: a voice for every folder with recordings in `folder`, or one for its own.

    Raises
    ------
    DataError
        If there is no recording that is not silent.
    """
    root = Path(folder)
    named: dict[str, list[NDArray[np.float32]]] = {}
    for path, samples in _recordings(root):
        speaker = path.relative_to(root).parts[0] if path.parent != root else root.name
        named.setdefault(speaker, []).append(samples)
    return [Voice.join(name, utterances) for name, utterances in sorted(named.items())]


def read_noises(folder: PathLike) -> list[tuple[str, NDArray[np.int16]]]:
    """Read every recording of a folder as a noise, brought to one level, for `Mixtures`.

    Raises
    ------
    DataError
        If there is no recording that is not silent.
    """
    return [(path.stem, levelled_int16(samples)) for path, samples in _recordings(Path(folder))]


def _recordings(root: Path) -> Iterator[tuple[Path, NDArray[np.float32]]]:
    if not root.is_dir():
        raise DataError(f"{root} is no folder.")
    found = False
    for path in audio_files(root):
        samples = read_audio(path, sample_rate=SAMPLE_RATE).samples
        if active_level(samples) > 0:
            found = True
            yield path, samples
    if not found:
        raise DataError(f"{root} holds no recording that is not silent.")


def _as_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.clip(np.round(samples * 32768.0), -_FULL_SCALE - 1, _FULL_SCALE).astype(np.int16)
