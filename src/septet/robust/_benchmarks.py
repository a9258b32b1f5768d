"""The four usual benchmarks, read from folders as their projects publish them."""

import csv
import json
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from septet._core import checks
from septet._core.errors import DataError
from septet._core.files import PathLike

_NLI_CLASSES = ("contradiction", "entailment", "neutral")
_NLI_FILES = {
    "train": "multinli_1.0_train.jsonl",
    "validation": "multinli_1.0_dev_matched.jsonl",
    "test": "multinli_1.0_dev_mismatched.jsonl",
}
_NEGATION = frozenset({"nobody", "no", "never", "nothing"})
_IDENTITIES = (
    "male",
    "female",
    "LGBTQ",
    "christian",
    "muslim",
    "other_religions",
    "black",
    "white",
)


@dataclass(frozen=True, eq=False)
class GroupedExamples:
    """One part of a benchmark: inputs, classes and attributes.

    Attributes
    ----------
    inputs : tuple of str, or of (str, str)
        Paths of images below `folder`, texts, or pairs of sentences.
    y : ndarray of shape (n,), int64
        Classes.
    attributes : mapping of str to ndarray of shape (n,), int64
        Attributes by name; to be passed as `groups`.
    class_names : tuple of str
        What each class stands for.
    attribute_names : mapping of str to tuple of str
        What each value of each attribute stands for.
    folder : Path
        Where images lie.
    """

    inputs: tuple[str, ...] | tuple[tuple[str, str], ...]
    y: NDArray[np.int64]
    attributes: Mapping[str, NDArray[np.int64]]
    class_names: tuple[str, ...]
    attribute_names: Mapping[str, tuple[str, ...]]
    folder: Path

    def __len__(self) -> int:
        return len(self.y)

    @property
    def groups(self) -> NDArray[np.int64]:
        """Attributes as columns (n, n_attributes)."""
        return np.column_stack(list(self.attributes.values()))

    def overlapping(self) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        """Memberships (n, K * n_attributes) of class and attribute present, and their names.

        The groups of CivilComments-WILDS: a comment may name several identities or none.
        """
        columns, names = [], []
        for name, values in self.attributes.items():
            for k, word in enumerate(self.class_names):
                columns.append((values > 0) & (self.y == k))
                names.append(f"{word}, {name}")
        return np.column_stack(columns).astype(np.float64), tuple(names)


@dataclass(frozen=True, eq=False)
class Benchmark:
    """The official parts of a benchmark.

    Attributes
    ----------
    train, validation, test : GroupedExamples
        As its project split it.
    """

    train: GroupedExamples
    validation: GroupedExamples
    test: GroupedExamples


def load_waterbirds(folder: PathLike) -> Benchmark:
    """Read Waterbirds: ``metadata.csv`` and the pictures that it names.

    Parameters
    ----------
    folder : path
        Such as ``waterbird_complete95_forest2water2``.

    Returns
    -------
    Benchmark
        Class: land or water bird. Attribute ``place``: land or water.

    Raises
    ------
    DataError
        If a file is missing or a cell is not what it must be.

    References
    ----------
    S. Sagawa et al., "Distributionally Robust Neural Networks", ICLR 2020, section 3.
    """
    folder = Path(folder)
    file = folder / "metadata.csv"
    rows = list(_table(file, ("img_filename", "y", "split", "place")))
    parts = _codes(file, rows, "split", ("0", "1", "2"))
    y, place = (_codes(file, rows, name, ("0", "1")) for name in ("y", "place"))
    kinds = ("land", "water")
    return _benchmark(
        parts,
        [row["img_filename"] for row in rows],
        y,
        {"place": place},
        ("land bird", "water bird"),
        {"place": kinds},
        folder,
    )


def load_celeba(
    folder: PathLike, *, target: str = "Blond_Hair", attributes: tuple[str, ...] = ("Male",)
) -> Benchmark:
    """Read CelebA: its lists of attributes and of parts, as text or as CSV.

    Parameters
    ----------
    folder : path
        With ``list_attr_celeba`` and ``list_eval_partition`` (.txt or .csv) in it or in its folders
        ``Anno`` and ``Eval``, and the pictures in ``img_align_celeba``.
    target : str, default "Blond_Hair"
        Attribute to predict.
    attributes : tuple of str, default ("Male",)
        Attributes that form the groups.

    Returns
    -------
    Benchmark
        Inputs are paths below the folder.

    Raises
    ------
    DataError
        If a file is missing or a cell is not what it must be.

    References
    ----------
    Z. Liu, P. Luo, X. Wang, X. Tang, "Deep Learning Face Attributes in the Wild", ICCV 2015.
    """
    folder = Path(folder)
    file, rows = _celeba_list(folder, "list_attr_celeba", "Anno")
    for name in (target, *attributes):
        checks.choice("attribute", name, [key for key in rows[0] if key != "image_id"])
    of, listed = _celeba_list(folder, "list_eval_partition", "Eval")
    places = {row["image_id"]: row["partition"] for row in listed}
    missing = [row["image_id"] for row in rows if row["image_id"] not in places]
    if missing:
        raise DataError(f"{of}: {len(missing)} pictures have no part, the first is {missing[0]}.")
    for row in rows:
        row["partition"] = places[row["image_id"]]
    parts = _codes(of, rows, "partition", ("0", "1", "2"))
    kinds = ("-1", "1")
    return _benchmark(
        parts,
        [f"img_align_celeba/{row['image_id']}" for row in rows],
        _codes(file, rows, target, kinds),
        {name: _codes(file, rows, name, kinds) for name in attributes},
        _with_and_without(target),
        {name: _with_and_without(name) for name in attributes},
        folder,
    )


def load_multinli(folder: PathLike, *, split: str = "preset") -> Benchmark:
    """Read MultiNLI: pairs of sentences; attribute: whether the second one has a negation.

    Parameters
    ----------
    folder : path
        With ``multinli_1.0_train.jsonl``, ``..._dev_matched.jsonl``, ``..._dev_mismatched.jsonl``.
    split : {"preset", "random"}, default "preset"
        The parts are the three files; or those of ``metadata_random.csv`` in the same folder, as
        group DRO's authors publish it (its rows count those of the three files in turn).

    Returns
    -------
    Benchmark
        Classes contradiction, entailment and neutral; pairs without a label are left out.

    Raises
    ------
    DataError
        If a file is missing, or the two do not fit together.

    Notes
    -----
    Negation words are nobody, no, never and nothing. Words are split at blanks after punctuation
    was removed.

    References
    ----------
    A. Williams, N. Nangia, S. Bowman, "A Broad-Coverage Challenge Corpus for Sentence
    Understanding through Inference", NAACL 2018.
    """
    folder = Path(folder)
    checks.choice("split", split, ["preset", "random"])
    pairs: list[tuple[str, str]] = []
    y: list[int] = []
    parts: list[int] = []
    number: list[int] = []
    seen = 0
    for part, name in enumerate(_NLI_FILES.values()):
        for entry in _json_lines(folder / name, ("gold_label", "sentence1", "sentence2")):
            if entry["gold_label"] in _NLI_CLASSES:
                pairs.append((entry["sentence1"], entry["sentence2"]))
                y.append(_NLI_CLASSES.index(entry["gold_label"]))
                parts.append(part)
                number.append(seen)
            seen += 1
    negated = np.array([_has_negation(second) for _, second in pairs], dtype=np.int64)
    place = np.array(parts)
    if split == "random":
        place = _random_parts(folder / "metadata_random.csv", number, np.array(y), negated)
    words = ("no negation", "negation")
    return _benchmark(
        place,
        pairs,
        np.array(y, dtype=np.int64),
        {"negation": negated},
        _NLI_CLASSES,
        {"negation": words},
        folder,
    )


def load_civilcomments(folder: PathLike) -> Benchmark:
    """Read CivilComments-WILDS: ``all_data_with_identities.csv``.

    Parameters
    ----------
    folder : path
        Such as ``civilcomments_v1.0``.

    Returns
    -------
    Benchmark
        Class: toxic or not. Attributes: the eight identities, then ``any_identity``, by which the
        four training groups are formed; `GroupedExamples.overlapping` of the eight are the sixteen
        groups of evaluation.

    Raises
    ------
    DataError
        If the file is missing or a cell is no number.

    References
    ----------
    P. W. Koh et al., "WILDS: A Benchmark of in-the-Wild Distribution Shifts", ICML 2021.
    """
    folder = Path(folder)
    file = folder / "all_data_with_identities.csv"
    rows = list(_table(file, ("comment_text", "split", "toxicity", "identity_any", *_IDENTITIES)))
    parts = _codes(file, rows, "split", ("train", "val", "test"))
    y = _at_least_half(file, rows, "toxicity")
    attributes = {name: _at_least_half(file, rows, name) for name in _IDENTITIES}
    attributes["any_identity"] = _at_least_half(file, rows, "identity_any")
    return _benchmark(
        parts,
        [row["comment_text"] for row in rows],
        y,
        attributes,
        ("not toxic", "toxic"),
        dict.fromkeys(attributes, ("not named", "named")),
        folder,
    )


def _benchmark(
    parts: NDArray[np.int64],
    inputs: list[str] | list[tuple[str, str]],
    y: NDArray[np.int64],
    attributes: Mapping[str, NDArray[np.int64]],
    class_names: tuple[str, ...],
    attribute_names: Mapping[str, tuple[str, ...]],
    folder: Path,
) -> Benchmark:
    def take(part: int) -> GroupedExamples:
        index = np.flatnonzero(parts == part)
        return GroupedExamples(
            tuple(inputs[i] for i in index),  # pyrefly: ignore[bad-argument-type] - of one kind
            y[index],
            {name: values[index] for name, values in attributes.items()},
            class_names,
            attribute_names,
            folder,
        )

    return Benchmark(take(0), take(1), take(2))


def _table(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Rows of a CSV file that has at least some columns."""
    with _open(path) as file:
        reader = csv.DictReader(file)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise DataError(f"{path} has no column {missing[0]!r}.")
        yield from reader


def _open(path: Path):  # noqa: ANN202 - a text file
    try:
        return path.open(encoding="utf-8", newline="")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None


def _codes(
    path: Path, rows: list[dict[str, str]], name: str, values: tuple[str, ...]
) -> NDArray[np.int64]:
    """Return the place of each cell among the values a column may have."""
    codes = {value: i for i, value in enumerate(values)}
    return _column(path, rows, name, lambda cell: codes[cell], f"one of {', '.join(values)}")


def _at_least_half(path: Path, rows: list[dict[str, str]], name: str) -> NDArray[np.int64]:
    return _column(path, rows, name, lambda cell: int(float(cell or 0) >= 0.5), "a number")


def _column(
    path: Path,
    rows: list[dict[str, str]],
    name: str,
    read: Callable[[str], int],
    expected: str,
) -> NDArray[np.int64]:
    out = np.empty(len(rows), dtype=np.int64)
    for i, row in enumerate(rows):
        try:
            out[i] = read(row[name])
        except (KeyError, ValueError, TypeError):
            raise DataError(
                f"{path}, row {i + 2}, column {name!r}: expected {expected}; got {row.get(name)!r}."
            ) from None
    return out


def _celeba_list(folder: Path, name: str, below: str) -> tuple[Path, list[dict[str, str]]]:
    """Read a list of CelebA, in the project's own form or with commas."""
    tried = [
        where / f"{name}{end}" for where in (folder, folder / below) for end in (".txt", ".csv")
    ]
    file = next((path for path in tried if path.is_file()), None)
    if file is None:
        raise DataError(f"{folder} has no {name}.txt or {name}.csv, nor has its folder {below}.")
    if file.suffix == ".csv":
        return file, list(_table(file, ("image_id",)))
    with _open(file) as lines:
        rows = [line.split() for line in lines if line.strip()]
    if name == "list_eval_partition":
        header = ["partition"]
    else:
        header, rows = rows[1], rows[2:]  # the first line is the number of pictures
    odd = next((i for i, row in enumerate(rows) if len(row) != len(header) + 1), None)
    if odd is not None or not rows:
        raise DataError(f"{file}: row {odd} should have {len(header) + 1} entries.")
    return file, [dict(zip(["image_id", *header], row, strict=True)) for row in rows]


def _with_and_without(name: str) -> tuple[str, str]:
    words = name.replace("_", " ").lower()
    return f"not {words}", words


def _json_lines(path: Path, keys: tuple[str, ...]) -> Iterator[dict[str, str]]:
    with _open(path) as file:
        for i, line in enumerate(file, start=1):
            try:
                entry = json.loads(line)
                yield {key: entry[key] for key in keys}
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{path}, line {i}: {error!r}.") from None


def _has_negation(sentence: str) -> bool:
    words = sentence.translate(str.maketrans("", "", string.punctuation)).lower().split(" ")
    return not _NEGATION.isdisjoint(words)


def _random_parts(
    path: Path, number: list[int], y: NDArray[np.int64], negated: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Parts by the published table, after checking that it is about these very pairs."""
    rows = list(_table(path, ("", "gold_label", "sentence2_has_negation", "split")))
    if [row[""] for row in rows] != [str(i) for i in number]:
        raise DataError(f"{path} does not count the labelled pairs of the three files.")
    for name, values, ours in (
        ("gold_label", ("0", "1", "2"), y),
        ("sentence2_has_negation", ("0", "1"), negated),
    ):
        differ = np.flatnonzero(_codes(path, rows, name, values) != ours)
        if differ.size:
            raise DataError(f"{path}, row {differ[0] + 2}: {name} is not that of the sentences.")
    return _codes(path, rows, "split", ("0", "1", "2"))
