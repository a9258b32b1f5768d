"""What every reader returns, and the readers for folders and tables of one's own."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from septet._core.errors import DataError
from septet._core.files import PathLike
from septet.audio._clips import Piece
from septet.audio._splits import check_groups
from septet.signal import AUDIO_SUFFIXES

TRAIN, VALIDATION, TEST = "train", "validation", "test"


@dataclass(frozen=True)
class Part:
    """One way to split a data set: numbers of the clips of each side.

    Attributes
    ----------
    name : str
        Such as ``"fold 1"`` or ``"official"``.
    train, validation, test : ndarray of int64
    """

    name: str
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


@dataclass(frozen=True)
class Manifest:
    """Clips of a data set with what is known of each.

    Attributes
    ----------
    name : str
    clips : tuple of Path or Piece
        Files, or pieces of files.
    labels : tuple of str
    groups : tuple of str
        What must stay on one side of a split: recording, speaker, artist, kit.
    folds : tuple of str
        Official fold or part of each clip; empty strings where there is none.
    sample_rate : int
        Usual rate in Hz.
    seconds : float
        Usual length of a clip.
    faults : tuple of (str, str)
        Files that are listed but missing or known to be broken, and why; they are not in `clips`.
    """

    name: str
    clips: tuple[Path | Piece, ...]
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    folds: tuple[str, ...]
    sample_rate: int
    seconds: float
    faults: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def classes(self) -> tuple[str, ...]:
        """All labels, sorted."""
        return tuple(sorted(set(self.labels)))

    def splits(self, *, group_check: bool = True) -> list[Part]:
        """Return the official splits, after checking that no group is on two sides.

        With folds every one is the test part once, the next one (in order, around) the validation
        part and the others the training part. With named parts there is one split.

        Parameters
        ----------
        group_check : bool, default True
            Whether a group on two sides is an error.

        Raises
        ------
        DataError
            If the data set has no official split, or a group is on two sides.
        """
        names = sorted(set(self.folds), key=lambda fold: (len(fold), fold))
        folds = np.array(self.folds)
        parts: list[Part] = []
        if set(names) == {TRAIN, VALIDATION, TEST}:
            sides = [np.flatnonzero(folds == side) for side in (TRAIN, VALIDATION, TEST)]
            parts.append(Part("official", *sides))
        elif len(names) >= 3 and "" not in names:
            for number, test in enumerate(names):
                validation = names[(number + 1) % len(names)]
                parts.append(
                    Part(
                        f"fold {test}",
                        np.flatnonzero((folds != test) & (folds != validation)),
                        np.flatnonzero(folds == validation),
                        np.flatnonzero(folds == test),
                    )
                )
        else:
            raise DataError(f"{self.name} has no official split; its folds are {names}.")
        groups = np.array(self.groups)
        for part in parts if group_check else ():
            sides = {TRAIN: part.train, VALIDATION: part.validation, TEST: part.test}
            check_groups({side: groups[index] for side, index in sides.items()})
        return parts


def read_folder(folder: PathLike) -> Manifest:
    """Read ``folder/<class>/.../*.wav`` (or other endings): the first folder names the class.

    Files directly in `folder` have no class and are faults. Every file is a group of its own.

    Raises
    ------
    DataError
        If there is no audio file in a class folder.
    """
    root = existing(folder)
    clips, labels, faults = [], [], []
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in AUDIO_SUFFIXES or path.is_dir():
            continue
        parts = path.relative_to(root).parts
        if len(parts) == 1:
            faults.append((parts[0], "lies in no class folder"))
            continue
        clips.append(path)
        labels.append(parts[0])
    if not clips:
        raise DataError(f"{root} has no audio files in folders named after classes.")
    groups = tuple(path.relative_to(root).as_posix() for path in clips)
    return Manifest(
        root.name,
        tuple(clips),
        tuple(labels),
        groups,
        ("",) * len(clips),
        16000,
        0.0,
        tuple(faults),
    )


def read_csv(path: PathLike, *, folder: PathLike | None = None) -> Manifest:
    """Read a table with the columns ``path`` and ``label`` and, optionally, ``group`` and ``fold``.

    Parameters
    ----------
    path : path-like
        UTF-8, comma-separated, with a header line.
    folder : path-like, optional
        What relative paths in the table are relative to; the table's own folder by default.

    Raises
    ------
    DataError
        If a column is missing, a field is empty, or no listed file exists.
    """
    table = existing(path, folder=False)
    root = table.parent if folder is None else Path(folder)
    rows = table_rows(table, required=("path", "label"))
    entries, faults = [], []
    for number, row in enumerate(rows, 2):
        if not row["path"] or not row["label"]:
            raise DataError(f"{table}, line {number}: path and label must not be empty.")
        file = root / row["path"]
        group = row.get("group") or row["path"]
        entries.append((file, row["label"], group, row.get("fold") or ""))
    return assemble(table.stem, entries, sample_rate=16000, seconds=0.0, faults=faults)


def assemble(
    name: str,
    entries: Sequence[tuple[Path, str, str, str]],
    *,
    sample_rate: int,
    seconds: float,
    faults: Sequence[tuple[str, str]] = (),
) -> Manifest:
    """Return a manifest of (path, label, group, fold) entries; missing files become faults.

    Raises
    ------
    DataError
        If no file exists.
    """
    found = [entry for entry in entries if entry[0].is_file()]
    missing = [(str(entry[0]), "is missing") for entry in entries if not entry[0].is_file()]
    if not found:
        raise DataError(
            f"{name}: none of {len(entries)} listed files exists, such as {entries[0][0]}."
        )
    paths, labels, groups, folds = zip(*found, strict=True)
    return Manifest(name, paths, labels, groups, folds, sample_rate, seconds, (*faults, *missing))


def table_rows(path: Path, *, required: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV file.

    Raises
    ------
    DataError
        If a required column is missing or there is no row.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if lacking := [name for name in required if name not in (reader.fieldnames or ())]:
            raise DataError(f"{path} lacks the column {lacking[0]!r}; it has {reader.fieldnames}.")
        rows = list(reader)
    if not rows:
        raise DataError(f"{path} has no rows.")
    return rows


def lines_of(path: Path) -> Iterator[str]:
    """Yield the lines of a list that are not empty."""
    for line in path.read_text("utf-8").splitlines():
        if line.strip():
            yield line.strip()


def existing(path: PathLike, *, folder: bool = True) -> Path:
    """Return the path if it exists as a folder (or file), else raise DataError."""
    path = Path(path)
    if not (path.is_dir() if folder else path.is_file()):
        raise DataError(f"{path} is no {'folder' if folder else 'file'}.")
    return path


def first_of(root: Path, *candidates: str, what: str) -> Path:
    """Return the first candidate below `root` that exists.

    Raises
    ------
    DataError
        If none does; the message lists them.
    """
    for candidate in candidates:
        if (root / candidate).exists():
            return root / candidate
    raise DataError(f"{root} holds no {what}: none of {', '.join(candidates)} is there.")
