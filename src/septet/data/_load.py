"""One reader for each data set, by name."""

from collections.abc import Callable, Mapping
from typing import Any

from septet.data import _images, _tables
from septet.data._registry import describe
from septet.data._store import find, provenance

READERS: Mapping[str, Callable[..., Any]] = {
    "admissions": _tables.read_admissions,
    "adult": _tables.read_adult,
    "digits": _images.read_digits,
    "fico": _tables.read_fico,
    "german-credit": _tables.read_german_credit,
    "law-school": _tables.read_law_school,
    "loan-decisions": _tables.read_loan_decisions,
    "mnist-5k": _images.read_mnist_5k,
}


def load(name: str, **options: Any) -> Any:
    """Read a data set into arrays, after comparing every digest.

    Parameters
    ----------
    name : str
        One of `names()`.
    **options
        Passed to the data set's reader.

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
    paths = {member: place.path for member, place in found.items()}
    return READERS[name](paths, provenance(name, found), **options)
