"""Made-up data sets, and archives of every kind, built byte by byte."""

import gzip
import hashlib
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from septet.data import DataSet, Member, Package


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def listing(files: Mapping[str, bytes]) -> str:
    """What `sha256sum` prints for these files, hashed once more."""
    return sha256("".join(f"{sha256(files[name])}  {name}\n" for name in sorted(files)).encode())


def make_zip(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def make_wheel(files: Mapping[str, bytes]) -> bytes:
    """A wheel of "made" 1.0 that pip accepts."""
    info = "made-1.0.dist-info"
    needed = {
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: made\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    return make_zip({**files, **needed})


def make_tar(files: Mapping[str, bytes], *special: tarfile.TarInfo) -> bytes:
    """A tar file with a folder entry, the files, and whatever else is given."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        folder = tarfile.TarInfo("./")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in special:
            archive.addfile(info)
    return out.getvalue()


def make_deb(data: bytes, name: str = "data.tar.xz") -> bytes:
    """A Debian package: an ar archive of three members, padded to even lengths."""
    out = b"!<arch>\n"
    for member, content in (
        ("debian-binary", b"2.0\n"),
        ("control.tar.xz", lzma.compress(make_tar({"./control": b"odd"})) + b"?"),
        (name, data),
    ):
        header = f"{member:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
        out += header.encode() + content + b"\n" * (len(content) % 2)
    return out


def make_tgz(files: Mapping[str, bytes]) -> bytes:
    return gzip.compress(make_tar(files))


def make_xz_deb(files: Mapping[str, bytes]) -> bytes:
    """As Debian makes them: names begin with a dot."""
    dotted = {f"./{name}": content for name, content in files.items()}
    return make_deb(lzma.compress(make_tar(dotted)))


ARCHIVES = {
    "made-1.0-py3-none-any.whl": make_zip,
    "made-1.0.tgz": make_tgz,
    "made.tar": make_tar,
    "made_1.0_all.deb": make_xz_deb,
    "gzip_1.0_all.deb": lambda files: make_deb(make_tgz(files), "data.tar.gz"),
    "plain_1.0_all.deb": lambda files: make_deb(make_tar(files), "data.tar"),
}


def is_read_only(path: Path) -> bool:
    return not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)


A, B = b"a,b\n1,2\n", b"label\n1\n"
TREE = {"one.wav": b"RIFF1", "deep/two.wav": b"RIFF22", "Ä.wav": b""}
PIP = Package(client="pip", name="made", version="1.0", path="made/data/{name}")
NPM = Package(client="npm", name="made", version="1.0", path="package/{name}")
APT = Package(client="apt", name="made", path="usr/share/made/{name}")


def member(name, content, **more):
    return Member(name=name, size=len(content), sha256=sha256(content), **more)


def entry(*members, name="made-up", packages=(NPM,), **more):
    about = {"title": "made up", "licence": "none", "citation": "nobody"}
    return DataSet(name=name, members=members, packages=packages, **about, **more)


def tree_member(files, **more):
    size = sum(map(len, files.values()))
    return Member(name="sounds", files=len(files), size=size, sha256=listing(files), **more)


TWO = entry(member("a.csv", A), member("b.csv", B), packages=(NPM,))
SOUNDS = entry(tree_member(TREE, match=("*.wav",)), packages=(APT,))
IN_TGZ = {"package/a.csv": A, "package/b.csv": B}
IN_WHEEL = {"made/data/a.csv": A, "made/data/b.csv": B, "made/__init__.py": b"raise SystemError"}
IN_DEB = {f"usr/share/made/sounds/{name}": content for name, content in TREE.items()}
