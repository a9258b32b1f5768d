"""What the readers return: small frozen records of arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from septet._core import checks
from septet._core.random import RandomState, generator
from septet.data._store import Provenance

T = TypeVar("T", "Table", "Images")


@dataclass(frozen=True)
class Split(Generic[T]):
    """The official parts of a data set, kept apart.

    Attributes
    ----------
    train, test : Table or Images
        The parts that the data set's authors laid down.
    validation : Table or Images, optional
        Where they laid down a third.
    """

    train: T
    test: T
    validation: T | None = None

    @property
    def provenance(self) -> Provenance:
        """Exactly which bytes all parts were read from."""
        return self.train.provenance


@dataclass(frozen=True)
class Table:
    """A table with one target and one or more group attributes.

    Attributes
    ----------
    columns : mapping of str to ndarray of shape (n,)
        Features in the order of the file, group attributes included, target excluded. Numbers are
        float64 (NaN where the file has none), categories are strings, written as in the file.
    categories : mapping of str to tuple of str
        For each column of strings all that occur, sorted; the same in every part of a split.
    target : ndarray of shape (n,), int64
        What is to be predicted, 0 or 1.
    target_names : tuple of str
        What 0 and 1 stand for.
    groups : mapping of str to ndarray of shape (n,), int64
        For each group attribute the code of each row's group.
    group_names : mapping of str to tuple of str
        For each group attribute the name of each code.
    provenance : Provenance
        Exactly which bytes this was read from.
    """

    columns: Mapping[str, NDArray]
    categories: Mapping[str, tuple[str, ...]]
    target: NDArray[np.int64]
    target_names: tuple[str, ...]
    groups: Mapping[str, NDArray[np.int64]]
    group_names: Mapping[str, tuple[str, ...]]
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.target)

    def matrix(self, *, exclude: tuple[str, ...] = ()) -> tuple[NDArray[np.float64], list[str]]:
        """Features as numbers: one column of 0 and 1 for each category; numbers as they are.

        Parameters
        ----------
        exclude : tuple of str
            Columns to leave out, for example the group attributes.

        Returns
        -------
        matrix : ndarray of shape (n, p), float64
            NaN where the file has no number.
        names : list of str
            Name of each column; ``"column=category"`` for categories.

        Raises
        ------
        ValueError
            If a name in `exclude` is no column, or a column has more than 200 categories, as dates
            and free text do.
        """
        for name in exclude:
            checks.choice("exclude", name, self.columns)
        parts, names = [], []
        for name, values in self.columns.items():
            if name in exclude:
                continue
            if name in self.categories:
                kinds = self.categories[name]
                if len(kinds) > 200:
                    raise ValueError(
                        f"column {name!r} has {len(kinds)} categories, too many for one number "
                        "each; put it into exclude."
                    )
                parts.append((values[:, None] == np.array(kinds)).astype(np.float64))
                names += [f"{name}={kind}" for kind in kinds]
            else:
                parts.append(values.astype(np.float64)[:, None])
                names.append(name)
        return np.hstack(parts) if parts else np.empty((len(self), 0)), names


@dataclass(frozen=True)
class Images:
    """Labelled images.

    Attributes
    ----------
    images : ndarray of shape (n, height, width)
        Grey values; uint8 from 0 to 255 unless the reader says otherwise.
    labels : ndarray of shape (n,), int64
        Class codes.
    class_names : tuple of str
        What each code stands for.
    provenance : Provenance
        Exactly which bytes this was read from.
    """

    images: NDArray
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Pictures:
    """A few single pictures by name.

    Attributes
    ----------
    images : mapping of str to ndarray of shape (height, width) or (height, width, 3), uint8
        Grey or RGB values from 0 to 255.
    provenance : Provenance
        Exactly which bytes this was read from.
    """

    images: Mapping[str, NDArray[np.uint8]]
    provenance: Provenance


@dataclass(frozen=True)
class Text:
    """A text as bytes.

    Attributes
    ----------
    data : bytes
        The whole text.
    provenance : Provenance
        Exactly which bytes this was read from.
    """

    data: bytes
    provenance: Provenance

    def split(self, held_out: float = 0.05) -> tuple[bytes, bytes]:
        """Cut off the last part as held-out text.

        Parameters
        ----------
        held_out : float, default 0.05
            Its share of the bytes, greater than 0 and less than 1.

        Returns
        -------
        train, held_out : bytes
            Two pieces that together are the whole text.
        """
        share = checks.number("held_out", held_out, above=0, below=1)
        cut = len(self.data) - round(share * len(self.data))
        return self.data[:cut], self.data[cut:]


@dataclass(frozen=True)
class Files:
    """A folder of files that the caller reads, such as recordings.

    Attributes
    ----------
    folder : Path
        Where they lie; read-only.
    paths : tuple of str
        Path of each file relative to `folder`, sorted, with forward slashes.
    provenance : Provenance
        Exactly which bytes these are.
    """

    folder: Path
    paths: tuple[str, ...]
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Candidates:
    """People drawn from score tables.

    Attributes
    ----------
    scores : ndarray of shape (n,), float64
        Score of each person.
    repayment_probability : ndarray of shape (n,), float64
        Probability that someone of that group with that score repays.
    repays : ndarray of shape (n,), bool
        One draw from it.
    groups : ndarray of shape (n,), int64
        Group code of each person.
    group_names : tuple of str
        Name of each code.
    provenance : Provenance
        Exactly which bytes the tables were read from.
    """

    scores: NDArray[np.float64]
    repayment_probability: NDArray[np.float64]
    repays: NDArray[np.bool_]
    groups: NDArray[np.int64]
    group_names: tuple[str, ...]
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class ScoreTables:
    """Score distribution and default rate of each group.

    Attributes
    ----------
    scores : ndarray of shape (s,), float64
        Score points, ascending, on a scale from 0 to 100.
    cdf : ndarray of shape (s, g), float64
        Share of each group with at most that score; the last row is 1.
    default_rate : ndarray of shape (s, g), float64
        Share of people with that score who defaulted (90 days late or worse).
    totals : ndarray of shape (g,), int64
        Number of people in each group.
    group_names : tuple of str
        The groups.
    provenance : Provenance
        Exactly which bytes this was read from.
    """

    scores: NDArray[np.float64]
    cdf: NDArray[np.float64]
    default_rate: NDArray[np.float64]
    totals: NDArray[np.int64]
    group_names: tuple[str, ...]
    provenance: Provenance

    def sample(self, n: int, random_state: RandomState = None) -> Candidates:
        """Draw people: a group in proportion to the totals, a score from its distribution.

        Parameters
        ----------
        n : int
            How many people, at least 1.
        random_state : int, Generator or None
            Seed or source of the draws.

        Returns
        -------
        Candidates
            Scores, groups, probability of repayment and one outcome drawn from it.

        Notes
        -----
        A score is the first score point whose cumulative share exceeds a uniform draw.
        """
        n = checks.integer("n", n, low=1)
        rng = generator(random_state)
        groups = rng.choice(len(self.totals), size=n, p=self.totals / self.totals.sum())
        place, uniform = np.empty(n, dtype=np.int64), rng.uniform(size=n)
        for code in range(len(self.totals)):
            here = groups == code
            place[here] = np.searchsorted(self.cdf[:, code], uniform[here], side="right")
        probability = 1 - self.default_rate[place, groups]
        return Candidates(
            scores=self.scores[place],
            repayment_probability=probability,
            repays=rng.uniform(size=n) < probability,
            groups=groups.astype(np.int64),
            group_names=self.group_names,
            provenance=self.provenance,
        )
