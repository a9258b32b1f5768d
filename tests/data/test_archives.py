import contextlib
import gzip
import io
import lzma
import re
import tarfile
import zipfile

import pytest
from data.made_up import ARCHIVES, make_deb, make_tar, make_tgz, make_zip
from hypothesis import given
from hypothesis import strategies as st

from septet._core.errors import DataError
from septet.data import _archives
from septet.data._archives import extract, gunzip

FILES = {"made/a.csv": b"1,2\n" * 500, "made/b/c.bin": bytes(range(256)), "made/readme": b"hello"}


def everything(name):
    return True


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_every_kind_of_archive_gives_the_same_files(kind, tmp_path):
    archive = tmp_path / kind
    archive.write_bytes(ARCHIVES[kind](FILES))
    wanted = {"made/a.csv", "made/b/c.bin"}
    written = extract(archive, tmp_path / "out", wanted.__contains__, limit=2256)
    assert contents(tmp_path / "out") == {name: FILES[name] for name in wanted}
    assert {path.relative_to(tmp_path / "out").as_posix() for path in written} == wanted


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("name", ["/etc/motd", "../motd", "made/../../motd", "C:/motd"])
def test_a_name_that_points_outside_condemns_the_archive(kind, name, tmp_path):
    archive = tmp_path / kind
    # a tar or zip keeps the name as given; the packer of Debian packages puts a dot before it
    make = (lambda f: make_deb(lzma.compress(make_tar(f)))) if "_all" in kind else ARCHIVES[kind]
    archive.write_bytes(make({name: b"evil", "made/a.csv": b"1"}))
    with pytest.raises(DataError, match="points outside"):
        extract(archive, tmp_path / "out", everything, limit=100)
    assert not (tmp_path / "motd").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ARCHIVES)
def test_nothing_is_unpacked_beyond_the_limit(kind, tmp_path):
    archive = tmp_path / kind
    archive.write_bytes(ARCHIVES[kind]({"made/zeros": bytes(10_000_000)}))
    assert archive.stat().st_size < 20_000 or "made.tar" in kind or "plain" in kind
    with pytest.raises(DataError, match="has 10000000 bytes, more than the 9999999"):
        extract(archive, tmp_path / "out", everything, limit=9_999_999)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ARCHIVES)
def test_the_limit_holds_for_all_files_together(kind, tmp_path):
    archive = tmp_path / kind
    archive.write_bytes(ARCHIVES[kind]({"made/1.bin": bytes(600), "made/2.bin": bytes(600)}))
    with pytest.raises(DataError, match="has 600 bytes, more than the 400"):
        extract(archive, tmp_path / "out", everything, limit=1000)
    assert list(contents(tmp_path / "out")) == ["made/1.bin"]


def test_a_stream_that_unpacks_without_end_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(_archives, "STREAM_LIMIT", 1_000_000)
    archive = tmp_path / "made.tgz"
    archive.write_bytes(make_tgz({"unwanted": bytes(50_000_000), "made/a.csv": b"1"}))
    with pytest.raises(DataError, match="far more than any data set"):
        extract(archive, tmp_path / "out", "made/a.csv".__eq__, limit=100)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_devices_are_refused_where_a_file_was_wanted(kind, tmp_path):
    link = tarfile.TarInfo("made/a.csv")
    link.type, link.linkname = kind, "/etc/passwd"
    archive = tmp_path / "made.tar"
    archive.write_bytes(make_tar({"made/b.csv": b"1"}, link))
    with pytest.raises(DataError, match="link or device"):
        extract(archive, tmp_path / "out", "made/a.csv".__eq__, limit=100)
    extract(archive, tmp_path / "out", "made/b.csv".__eq__, limit=100)
    assert contents(tmp_path / "out") == {"made/b.csv": b"1"}


def test_a_symbolic_link_in_a_zip_file_is_refused(tmp_path):
    info = zipfile.ZipInfo("made/a.csv")
    info.external_attr = 0o120777 << 16
    archive = tmp_path / "made.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="link or device"):
        extract(archive, tmp_path / "out", everything, limit=100)


def test_two_members_of_one_name_are_refused(tmp_path):
    archive = tmp_path / "made.tar"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for content in (b"first", b"other"):
            info = tarfile.TarInfo("made/a.csv")
            info.size = 5
            file.addfile(info, io.BytesIO(content))
    archive.write_bytes(out.getvalue())
    with pytest.raises(DataError, match="same name"):
        extract(archive, tmp_path / "out", everything, limit=100)


def test_a_zip_member_that_lies_about_its_size_is_refused(tmp_path):
    content = make_zip({"made/a.csv": b"x" * 1000})
    lie = content.replace((1000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    archive = tmp_path / "made.zip"
    archive.write_bytes(lie)
    with pytest.raises(DataError):
        extract(archive, tmp_path / "out", everything, limit=100)


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
def test_a_truncated_archive_is_refused_by_name(kind, share, tmp_path):
    whole = ARCHIVES[kind]({"made/a.bin": bytes(range(256)) * 40})
    archive = tmp_path / kind
    archive.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=re.escape(kind)):
        extract(archive, tmp_path / "out", everything, limit=20_000)


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("share", [0.7, 0.9, 0.99])
def test_an_archive_that_lost_its_end_gives_whole_files_or_none(kind, share, tmp_path):
    files = {"made/a.bin": bytes(range(256)) * 40}
    whole = ARCHIVES[kind](files)
    archive = tmp_path / kind
    archive.write_bytes(whole[: int(share * len(whole))])
    written = []
    with contextlib.suppress(DataError):
        written = extract(archive, tmp_path / "out", everything, limit=20_000)
    assert [path.read_bytes() for path in written] in ([], list(files.values()))


@given(choice=st.data())
def test_any_changed_byte_gives_an_error_or_files_within_bounds(choice, tmp_path_factory):
    folder = tmp_path_factory.mktemp("changed")
    kind = choice.draw(st.sampled_from(sorted(ARCHIVES)))
    content = bytearray(ARCHIVES[kind](FILES))
    place = choice.draw(st.integers(0, len(content) - 1))
    content[place] ^= choice.draw(st.integers(1, 255))
    archive = folder / kind
    archive.write_bytes(content)
    try:
        written = extract(archive, folder / "out", everything, limit=4000)
    except DataError:
        return
    assert all((folder / "out") in path.resolve().parents for path in written)
    assert sum(path.stat().st_size for path in written) <= 4000


@pytest.mark.parametrize("content", [b"", b"no archive at all" * 100, b"!<arch>\n" + b"x" * 200])
def test_what_is_no_archive_is_refused_by_name(content, tmp_path):
    archive = tmp_path / "made.bin"
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"made\.bin is damaged"):
        extract(archive, tmp_path / "out", everything, limit=100)


def test_a_debian_package_without_data_is_refused(tmp_path):
    archive = tmp_path / "made.deb"
    archive.write_bytes(make_deb(b"", "strange.tar"))
    with pytest.raises(DataError, match=r"no data\.tar"):
        extract(archive, tmp_path / "out", everything, limit=100)


def test_zstandard_packages_are_unpacked_by_dpkg(tmp_path, shop):
    """dpkg-deb is stood in for by a script that writes the tar file it would have unpacked."""
    plain = tmp_path / "plain.tar"
    plain.write_bytes(make_tar({"./made/a.csv": b"1,2"}))
    program = shop.programs / "dpkg-deb"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\ncat {plain}\n')
    program.chmod(0o755)
    archive = tmp_path / "made.deb"
    archive.write_bytes(make_deb(b"\x28\xb5\x2f\xfd", "data.tar.zst"))
    extract(archive, tmp_path / "out", everything, limit=100)
    assert contents(tmp_path / "out") == {"made/a.csv": b"1,2"}
    assert (tmp_path / "called").read_text().split() == ["--fsys-tarfile", str(archive)]


def test_dictzip_and_gzip_files_unpack_within_a_limit(tmp_path):
    packed = tmp_path / "a.gz"
    packed.write_bytes(gzip.compress(b"word " * 1000))
    gunzip(packed, tmp_path / "a.txt", limit=5000)
    assert (tmp_path / "a.txt").read_bytes() == b"word " * 1000
    with pytest.raises(DataError, match="longer than"):
        gunzip(packed, tmp_path / "b.txt", limit=4999)
    packed.write_bytes(packed.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"a\.gz is damaged"):
        gunzip(packed, tmp_path / "c.txt", limit=5000)
