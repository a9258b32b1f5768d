"""Data sets by name."""

from pathlib import Path

import platformdirs

from septet._core.errors import DataError


def names() -> list[str]:
    """Names of all data sets."""
    return []


def available(name: str) -> bool:
    """Whether every member of the set is here, in the user's folder or in the cache."""
    return name in names()


def digests(name: str) -> dict[str, str]:
    """SHA-256 of every member, for the record of a run."""
    raise DataError(f"no data set {name!r}.")


def fetch(name: str) -> None:
    """Fetch a set into the cache."""
    raise DataError(f"no data set {name!r}.")


def cache_folder() -> Path:
    """Folder that keeps fetched members."""
    return Path(platformdirs.user_cache_dir("septet"))
