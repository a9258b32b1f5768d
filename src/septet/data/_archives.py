"""Archives read as data: wheels and zips, npm tarballs, Debian packages. Nothing is ever run.

Only regular files are taken, only under names that stay inside the archive, and never more bytes
than the caller allows.
"""

import bz2
import gzip
import lzma
import stat
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol, cast

from septet._core.errors import DataError
from septet._core.files import member_path

# Everything a package may unpack to, members that nobody asked for included.
STREAM_LIMIT = 8 * 2**30
_CHUNK = 2**20
_DAMAGE = (
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


class Readable(Protocol):
    """Anything that bytes can be read from."""

    def read(self, n: int, /) -> bytes: ...


@dataclass(frozen=True)
class Entry:
    """One regular file of an archive; `open` it before asking for the next."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def extract(archive: Path, folder: Path, keep: Callable[[str], bool], limit: int) -> list[Path]:
    """Write the files of `archive` whose names `keep` accepts below `folder`.

    Parameters
    ----------
    archive : Path
        A ``.whl`` or ``.zip``, a ``.deb``, or a tar file, plain or compressed.
    folder : Path
        Where the files go, under their names in the archive.
    keep : callable
        Takes a name such as ``"package/data/x.csv"``.
    limit : int
        Most bytes that the kept files may have together; checked before anything is unpacked.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    DataError
        If the archive is damaged, names a file outside itself, keeps a link under a wanted name or
        holds more than `limit`.
    """
    written, room = [], limit
    try:
        with _opened(archive) as entries:
            for entry in entries:
                if not keep(entry.name):
                    continue
                if entry.size > room:
                    raise DataError(
                        f"{archive.name}: member {entry.name!r} has {entry.size} bytes, more than "
                        f"the {room} still expected; nothing of it was unpacked."
                    )
                room -= entry.size
                target = folder / entry.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with entry.open() as source, target.open("xb") as file:
                    copy(source, file, entry.size)
                written.append(target)
    except DataError:
        raise
    except FileExistsError:
        raise DataError(f"{archive.name}: two members have the same name; refused.") from None
    except _DAMAGE as error:
        raise DataError(f"{archive.name} is damaged or no archive: {error}") from error
    return written


def gunzip(source: Path, target: Path, limit: int) -> None:
    """Unpack one gzip file (dictzip files are such), at most `limit` bytes of it."""
    try:
        with gzip.open(source) as packed, target.open("wb") as file:
            copy(packed, file, limit)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{source.name} is damaged or no gzip file: {error}") from error


def copy(source: Readable, target: BinaryIO, limit: int) -> None:
    """Copy a stream; stop with an error once it turns out longer than `limit` bytes."""
    while block := source.read(_CHUNK):
        limit -= len(block)
        if limit < 0:
            raise DataError("an archive member is longer than it says; refused.")
        target.write(block)


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[Entry]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            yield _zip_entries(file)
        return
    with archive.open("rb") as file:
        if file.read(8) == b"!<arch>\n":
            with _deb_data(archive, file) as stream:
                yield _tar_entries(stream)
        else:
            file.seek(0)
            yield _tar_entries(_decompressed(file))


def _zip_entries(archive: zipfile.ZipFile) -> Iterator[Entry]:
    for info in archive.infolist():
        if info.is_dir():
            continue
        name = member_path(info.filename).as_posix()
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            yield Entry(name, 0, _refuse(name))
        else:
            yield Entry(name, info.file_size, lambda info=info: archive.open(info))


def _tar_entries(stream: BinaryIO) -> Iterator[Entry]:
    capped = cast("BinaryIO", _Capped(stream, STREAM_LIMIT))
    with tarfile.open(fileobj=capped, mode="r|") as archive:
        for info in archive:
            if info.isdir():
                continue
            name = member_path(info.name).as_posix()
            if info.isreg():
                yield Entry(name, info.size, lambda info=info: _file_of(archive, info))
            else:
                yield Entry(name, 0, _refuse(name))


def _file_of(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(info)
    if file is None:
        raise DataError(f"archive member {info.name!r} is no regular file; refused.")
    return file


def _refuse(name: str) -> Callable[[], IO[bytes]]:
    def refuse() -> IO[bytes]:
        raise DataError(f"archive member {name!r} is a link or device, no regular file; refused.")

    return refuse


@contextmanager
def _deb_data(archive: Path, file: BinaryIO) -> Iterator[BinaryIO]:
    """Open the ``data.tar.*`` of a Debian package: an ar archive of three members."""
    while header := file.read(60):
        if len(header) < 60 or header[58:] != b"`\n":
            raise DataError(f"{archive.name} is damaged: no ar header where one should be.")
        name = header[:16].decode("ascii", "replace").strip().rstrip("/")
        size = int(header[48:58])
        if not name.startswith("data.tar"):
            file.seek(size + size % 2, 1)
        elif name.endswith(".zst"):
            with _unpacked_by_dpkg(archive) as stream:
                yield stream
            return
        else:
            yield _decompressed(_Slice(file, size))
            return
    raise DataError(f"{archive.name} has no data.tar: it is no Debian package.")


@contextmanager
def _unpacked_by_dpkg(archive: Path) -> Iterator[BinaryIO]:
    """Let dpkg-deb, present wherever such packages are, unpack what this Python cannot."""
    command = ["dpkg-deb", "--fsys-tarfile", str(archive.resolve())]
    with subprocess.Popen(  # noqa: S603 - a fixed program on a file of our own
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield cast("BinaryIO", process.stdout)
        finally:
            process.kill()


def _decompressed(file: Any) -> BinaryIO:
    start = file.read(6)
    file.seek(-len(start), 1)
    if start.startswith(b"\x1f\x8b"):
        return cast("BinaryIO", gzip.GzipFile(fileobj=file))
    if start.startswith(b"\xfd7zXZ"):
        return cast("BinaryIO", lzma.LZMAFile(file))
    if start.startswith(b"BZh"):
        return cast("BinaryIO", bz2.BZ2File(file))
    return file


class _Slice:
    """The next `size` bytes of a file, as a file of its own."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size

    def read(self, n: int = -1) -> bytes:
        block = self._file.read(self._left if n < 0 else min(n, self._left))
        self._left -= len(block)
        return block

    def seek(self, offset: int, whence: int = 0) -> None:
        if whence != 1:
            raise ValueError("only steps from the current place are possible.")
        self._file.seek(offset, 1)
        self._left -= offset


class _Capped:
    """A stream that fails once more than `limit` bytes have come out of it."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream, self._left = stream, limit

    def read(self, n: int) -> bytes:
        block = self._stream.read(n)
        self._left -= len(block)
        if self._left < 0:
            raise DataError("an archive unpacks to far more than any data set; refused.")
        return block
