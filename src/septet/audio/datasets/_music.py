"""Music genres: GTZAN and FMA-small."""

import csv
from pathlib import Path

from septet._core import checks
from septet._core.errors import DataError
from septet._core.files import PathLike
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

GENRES = (
    "blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock",
)  # fmt: skip
_UNDECODABLE = "jazz.00054"
_LISTS = {TRAIN: "train_filtered.txt", VALIDATION: "valid_filtered.txt", TEST: "test_filtered.txt"}
_BROKEN_TRACKS = {98565, 98567, 98569, 99134, 108925, 133297}
_FMA_PARTS = {"training": TRAIN, "validation": VALIDATION, "test": TEST}


def read_gtzan(folder: PathLike, *, split: str = "filtered") -> Manifest:
    """Read GTZAN (1 000 clips of 30 s, 10 genres, 22.05 kHz).

    Parameters
    ----------
    folder : path-like
        Holds a folder for every genre, itself or in ``genres`` or ``genres_original``, and the
        lists of the split.
    split : {"filtered", "none"}, default "filtered"
        The fault-filtered split of 443, 197 and 290 clips, without repetitions, mislabelings and
        artists on two sides, from ``train_filtered.txt``, ``valid_filtered.txt`` and
        ``test_filtered.txt`` in `folder`; or all clips without a split.

    Returns
    -------
    Manifest
        A clip that common copies of the data set hold in a form that cannot be decoded,
        ``jazz.00054``, is a fault.

    Raises
    ------
    DataError
        If genres or lists are missing.

    References
    ----------
    G. Tzanetakis, P. Cook, "Musical Genre Classification of Audio Signals", IEEE TSAP 10(5), 2002;
    B. L. Sturm, "The GTZAN dataset", arXiv 1306.1461, 2013 (its faults); C. Kereliuk, B. L. Sturm,
    J. Larsen, "Deep Learning and Music Adversaries", IEEE TMM 17(11), 2015 (the filtered split).
    """
    checks.choice("split", split, ("filtered", "none"))
    root = existing(folder)
    audio = first_of(root, "genres/blues", "genres_original/blues", "blues", what="genres").parent
    faults = []
    entries = []
    if split == "filtered":
        for part, name in _LISTS.items():
            listing = first_of(
                root, name, f"{audio.name}/{name}", what="list of the filtered split"
            )
            for line in lines_of(listing):
                genre, _, file = line.rpartition("/")
                entries.append((_track(audio, genre, Path(file).stem), genre, line, part))
    else:
        for genre in GENRES:
            paths = sorted(p for p in (audio / genre).iterdir() if p.suffix in (".wav", ".au"))
            entries += [(path, genre, f"{genre}/{path.name}", "") for path in paths]
    sound = [entry for entry in entries if entry[0].stem != _UNDECODABLE]
    if len(sound) < len(entries):
        faults.append((_UNDECODABLE, "cannot be decoded in common copies of the data set"))
    return assemble("GTZAN", sound, sample_rate=22050, seconds=30.0, faults=faults)


def _track(audio: Path, genre: str, stem: str) -> Path:
    """Return the file of a track, which copies hold as WAV or AU."""
    for ending in (".wav", ".au"):
        if (path := audio / genre / f"{stem}{ending}").exists():
            return path
    return audio / genre / f"{stem}.wav"


def read_fma_small(folder: PathLike, metadata: PathLike | None = None) -> Manifest:
    """Read FMA-small (8 000 tracks of 30 s as MP3, 8 genres) with its official split.

    Parameters
    ----------
    folder : path-like
        Holds ``000`` to ``155``, itself or in ``fma_small``.
    metadata : path-like, optional
        Holds ``tracks.csv``; by default ``fma_metadata`` in `folder` or beside it.

    Returns
    -------
    Manifest
        Grouped by artist. Six tracks that are known to be cut short or empty are faults.

    Raises
    ------
    DataError
        If files or columns are missing.

    References
    ----------
    M. Defferrard, K. Benzi, P. Vandergheynst, X. Bresson, "FMA: A Dataset for Music Analysis",
    ISMIR 2017.
    """
    root = existing(folder)
    audio = root / "fma_small" if (root / "fma_small").is_dir() else root
    if metadata is None:
        table = first_of(
            root,
            "fma_metadata/tracks.csv",
            "../fma_metadata/tracks.csv",
            "tracks.csv",
            what="FMA metadata",
        )
    else:
        table = first_of(existing(metadata), "tracks.csv", what="FMA metadata")
    entries, faults = [], []
    for number, fields in _fma_rows(table):
        if fields["set", "subset"] != "small":
            continue
        if number in _BROKEN_TRACKS:
            faults.append((f"{number:06d}.mp3", "is known to be cut short or empty"))
            continue
        path = audio / f"{number // 1000:03d}" / f"{number:06d}.mp3"
        part = _FMA_PARTS.get(fields["set", "split"], "")
        entries.append((path, fields["track", "genre_top"], fields["artist", "id"], part))
    if not entries:
        raise DataError(f"{table} lists no track of the small subset.")
    return assemble("FMA-small", entries, sample_rate=44100, seconds=30.0, faults=faults)


def _fma_rows(path: Path) -> list[tuple[int, dict[tuple[str, str], str]]]:
    """Return the number and the fields of every track; two header lines name a field."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        keys = list(zip(next(reader), next(reader), strict=True))
        wanted = {("set", "split"), ("set", "subset"), ("track", "genre_top"), ("artist", "id")}
        if lacking := wanted - set(keys):
            raise DataError(f"{path} lacks the column {' / '.join(min(lacking))}.")
        rows = [row for row in reader if row and row[0].isdigit()]
    return [
        (int(row[0]), {key: value for key, value in zip(keys, row, strict=True) if key in wanted})
        for row in rows
    ]
