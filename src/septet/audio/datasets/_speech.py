"""Keywords: Speech Commands, versions 1 and 2."""

from pathlib import Path

from septet._core import checks
from septet._core.errors import DataError
from septet._core.files import PathLike
from septet.audio._clips import Piece
from septet.audio.datasets._common import (
    TEST,
    TRAIN,
    VALIDATION,
    Manifest,
    assemble,
    existing,
    first_of,
    lines_of,
)
from septet.signal import audio_info

TEN_WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
_NOISE = "_background_noise_"
_SILENCE, _UNKNOWN = "silence", "unknown"


def read_speech_commands(folder: PathLike, *, variant: int = 35) -> Manifest:
    """Read Speech Commands (1 s, 16 kHz) with its official lists.

    Parameters
    ----------
    folder : path-like
        Holds a folder for every word, ``validation_list.txt`` and ``testing_list.txt``.
    variant : {35, 12, 10}, default 35
        All words (30 in version 1); ten words with ``"unknown"`` for the others and ``"silence"``
        cut from ``_background_noise_``; or the ten words alone.

    Returns
    -------
    Manifest
        Grouped by speaker.

    Raises
    ------
    DataError
        If lists or words are missing.

    Notes
    -----
    Silence comes in consecutive pieces of one second: of every noise file the first 80 % train, the
    next 10 % validate, the rest test. The lists leave that open. The classes of variant 12 are as
    frequent as they come (``"unknown"`` is much the largest); losses are balanced by default.

    References
    ----------
    P. Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition",
    arXiv 1804.03209, 2018.
    """
    checks.choice("variant", str(variant), ("35", "12", "10"))
    root = existing(folder)
    part_of: dict[str, str] = {}
    for part, name in ((VALIDATION, "validation_list.txt"), (TEST, "testing_list.txt")):
        listing = first_of(root, name, what="list of the official split")
        part_of |= dict.fromkeys(lines_of(listing), part)
    words = sorted(
        p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(("_", "."))
    )
    if lacking := sorted(set(TEN_WORDS) - set(words)):
        raise DataError(f"{root} has no folder for the word {lacking[0]!r}.")
    entries = []
    for word in words:
        label = word if variant == 35 or word in TEN_WORDS else _UNKNOWN
        if variant == 10 and label == _UNKNOWN:
            continue
        for path in sorted((root / word).glob("*.wav")):
            key = f"{word}/{path.name}"
            speaker = path.name.partition("_nohash_")[0]
            entries.append((path, label, speaker, part_of.get(key, TRAIN)))
    listed = {f"{path.parent.name}/{path.name}" for path, *_ in entries}
    expected = {key for key in part_of if variant != 10 or key.partition("/")[0] in TEN_WORDS}
    faults = [(key, "is listed but missing") for key in sorted(expected - listed)]
    manifest = assemble(
        f"Speech Commands ({variant} classes)",
        entries,
        sample_rate=16000,
        seconds=1.0,
        faults=faults,
    )
    return manifest if variant != 12 else _with_silence(manifest, root)


def _with_silence(manifest: Manifest, root: Path) -> Manifest:
    noises = sorted((root / _NOISE).glob("*.wav"))
    if not noises:
        raise DataError(f"{root / _NOISE} holds no noise to cut silence from.")
    clips, groups, folds = list(manifest.clips), list(manifest.groups), list(manifest.folds)
    for path in noises:
        count = int(audio_info(path).seconds)
        for second in range(count):
            part = TRAIN if second < 0.8 * count else VALIDATION if second < 0.9 * count else TEST
            clips.append(Piece(path, float(second), 1.0))
            groups.append(f"{path.stem} {part}")
            folds.append(part)
    labels = (*manifest.labels, *[_SILENCE] * (len(clips) - len(manifest)))
    return Manifest(
        manifest.name,
        tuple(clips),
        labels,
        tuple(groups),
        tuple(folds),
        16000,
        1.0,
        manifest.faults,
    )
