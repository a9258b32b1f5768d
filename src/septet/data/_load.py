"""One reader for each data set, by name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from septet.data import _images, _tables
from septet.data._containers import Files, Text
from septet.data._registry import describe
from septet.data._store import Provenance, files_of, find, provenance


def _read_gcide(paths: Mapping[str, Path], provenance: Provenance) -> Text:
    return Text(paths["gcide.txt"].read_bytes(), provenance)


READERS: Mapping[str, Callable[..., Any]] = {
    "admissions": _tables.read_admissions,
    "adult": _tables.read_adult,
    "celeba-attributes": _tables.read_celeba_attributes,
    "compas": _tables.read_compas,
    "digits": _images.read_digits,
    "fashion-mnist": _images.read_fashion_mnist,
    "fico": _tables.read_fico,
    "gcide": _read_gcide,
    "german-credit": _tables.read_german_credit,
    "law-school": _tables.read_law_school,
    "lfw-subset": _images.read_lfw_subset,
    "loan-decisions": _tables.read_loan_decisions,
    "mnist": _images.read_mnist,
    "mnist-5k": _images.read_mnist_5k,
    "photographs": _images.read_photographs,
    "textures": _images.read_textures,
}
# Folders of text that are read as one text; all other folders are handed out as files.
JOINED = ("python-docs", "torch-source")


def load(name: str, **options: Any) -> Any:
    """Read a data set into arrays, after comparing every digest.

    Parameters
    ----------
    name : str
        One of `names()`.
    **options
        Passed to the data set's reader: ``filtered`` for compas, ``target`` and ``groups`` for
        celeba-attributes.

    Returns
    -------
    Table, Images, Split, ScoreTables, Pictures, Text or Files
        The data guide lists which set gives which. All carry their `provenance`.

    Raises
    ------
    DataError
        If the set is not here (the message ends with the command that fetches it), or damaged.
    ValueError
        If there is no such data set.

    Examples
    --------
    >>> digits = load("digits")
    >>> digits.images.shape, digits.images.dtype
    ((1797, 8, 8), dtype('uint8'))
    """
    entry = describe(name)
    found = find(entry, hashed=True)
    record = provenance(name, found)
    if name in READERS:
        paths = {member: place.path for member, place in found.items()}
        return READERS[name](paths, record, **options)
    if options:
        raise TypeError(f"{name} has no options; got {', '.join(options)}.")
    (member,) = [member for member in entry.members if member.is_folder]
    folder = found[member.name].path
    files = files_of(folder, member.match)
    if name in JOINED:
        return Text(b"".join(file.read_bytes() for file in files), record)
    return Files(folder, tuple(file.relative_to(folder).as_posix() for file in files), record)
