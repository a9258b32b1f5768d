import shutil
import subprocess
import sys

import pytest
from data.made_up import (
    APT,
    IN_DEB,
    IN_TGZ,
    IN_WHEEL,
    NPM,
    PIP,
    SOUNDS,
    TREE,
    TWO,
    A,
    entry,
    is_read_only,
    listing,
    make_tgz,
    make_wheel,
    make_xz_deb,
    member,
)

from septet import data
from septet._core.errors import DataError, SeptetWarning
from septet.data import Member


def test_a_missing_set_ends_with_the_command_that_fetches_it(register):
    register(TWO)
    assert not data.available("made-up")
    for look in (data.load, data.locate, data.verify, data.digests):
        with pytest.raises(DataError, match=r"a\.csv, b\.csv missing.*\n.*data fetch made-up$"):
            look("made-up")


def test_nothing_is_fetched_unless_asked(register, shop):
    register(entry(member("a.csv", A), packages=(NPM, APT)))
    shop.put("made-1.0.tgz", make_tgz(IN_TGZ))
    data.available("made-up")
    with pytest.raises(DataError):
        data.load("made-up")
    assert shop.calls() == []


def test_an_unknown_set_suggests_the_nearest():
    for call in (data.describe, data.load, data.fetch, data.locate, data.verify):
        with pytest.raises(ValueError, match="Did you mean 'german-credit'"):
            call("german_credit")


@pytest.mark.parametrize("place", ["made-up/a.csv", "a.csv"])
def test_the_users_folder_comes_before_the_cache(place, register, shop, tmp_path, monkeypatch):
    register(entry(member("a.csv", A)))
    shop.put("made-1.0.tgz", make_tgz(IN_TGZ))
    data.fetch("made-up")
    assert data.verify("made-up").sources == {"a.csv": "cache"}
    own = tmp_path / "Größe 1" / place
    own.parent.mkdir(parents=True)
    own.write_bytes(A)
    monkeypatch.setenv("SEPTET_DATA", str(tmp_path / "Größe 1"))
    assert data.locate("made-up") == {"a.csv": own}
    assert data.verify("made-up").sources == {"a.csv": "user folder"}


@pytest.mark.parametrize(
    ("content", "said"), [(A[:-1], "has 7 bytes, not 8"), (A.replace(b"1", b"7"), "has SHA-256")]
)
def test_another_file_in_the_users_folder_is_named_and_never_used(
    content, said, register, shop, tmp_path, monkeypatch
):
    register(entry(member("a.csv", A)))
    shop.put("made-1.0.tgz", make_tgz(IN_TGZ))
    data.fetch("made-up")
    (tmp_path / "a.csv").write_bytes(content)
    monkeypatch.setenv("SEPTET_DATA", str(tmp_path))
    with pytest.warns(SeptetWarning, match=f"{said}.*; looking elsewhere"):
        assert data.verify("made-up").sources == {"a.csv": "cache"}


def test_an_installed_package_serves_without_a_fetch(register, tmp_path, monkeypatch):
    register(entry(*TWO.members, packages=(PIP,)))
    for name, content in IN_WHEEL.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    assert data.verify("made-up").sources == {"a.csv": "installed", "b.csv": "installed"}
    assert "made" not in sys.modules


def test_what_comes_with_a_package_says_how_to_install_it(register, shop):
    register(entry(member("a.csv", A), packages=(PIP,), installed_only=True))
    shop.put("made-1.0-py3-none-any.whl", make_wheel(IN_WHEEL))
    for call in (data.load, data.fetch):
        with pytest.raises(DataError, match="pip install made$"):
            call("made-up")


def test_a_users_folder_that_is_not_there_is_named(register, tmp_path, monkeypatch):
    register(TWO)
    monkeypatch.setenv("SEPTET_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match=r"SEPTET_DATA=.*elsewhere is no folder"):
        data.load("made-up")


# The cache


def test_a_damaged_copy_is_noticed_by_every_reader_and_replaced_by_a_fetch(register, shop, cache):
    register(entry(member("a.csv", A)))
    shop.put("made-1.0.tgz", make_tgz(IN_TGZ))
    path = data.fetch("made-up")["a.csv"]
    path.chmod(0o644)
    path.write_bytes(A.replace(b"1", b"7"))
    with pytest.raises(DataError, match="cache: .*a.csv has SHA-256"):
        data.verify("made-up")
    assert data.fetch("made-up")["a.csv"].read_bytes() == A
    assert is_read_only(path)


def test_a_folder_member_is_verified_file_by_file(register, shop, cache):
    register(SOUNDS)
    extra = {"usr/share/made/sounds/readme.txt": b"not asked for", "usr/share/made/sound": b""}
    shop.put("made.deb", make_xz_deb({**IN_DEB, **extra}))
    folder = data.fetch("made-up")["sounds"]
    assert folder == cache / listing(TREE) / "sounds"
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}
    assert files == TREE
    assert all(is_read_only(folder / name) for name in TREE)
    assert data.digest(folder) == data.verify("made-up").sha256 == listing(TREE)
    recordings = data.load("made-up")
    assert recordings.paths == ("deep/two.wav", "one.wav", "Ä.wav")
    assert len(recordings) == 3


@pytest.mark.parametrize("harm", ["lose", "add", "change"])
def test_harm_to_a_folder_member_is_noticed_and_repaired(harm, register, shop):
    register(SOUNDS)
    shop.put("made.deb", make_xz_deb(IN_DEB))
    folder = data.fetch("made-up")["sounds"]
    victim = folder / "deep" / "two.wav"
    if harm == "lose":
        victim.unlink()
    elif harm == "add":
        (folder / "deep" / "three.wav").touch()
    else:
        victim.chmod(0o644)
        victim.write_bytes(b"RIFF23")
    with pytest.raises(DataError, match="cache: "):
        data.verify("made-up")
    data.fetch("made-up")
    assert data.verify("made-up").sha256 == listing(TREE)


def test_the_digest_of_a_folder_is_what_sha256sum_says(tmp_path):
    for name, content in TREE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    pipe = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    if shutil.which("sha256sum") is None:  # not every system has it; the listing is the same
        assert data.digest(tmp_path) == listing(TREE)
        return
    said = subprocess.run(pipe, shell=True, cwd=tmp_path, capture_output=True, text=True).stdout
    assert data.digest(tmp_path) == said.split()[0]


def test_a_changing_member_is_recorded_as_it_was(register, shop, cache):
    docs = Member(name="docs", files=0, size=20, match=("*.txt",))
    register(entry(docs, packages=(APT,)))
    shop.put("made.deb", make_xz_deb({"usr/share/made/docs/a.txt": b"first edition"}))
    data.fetch("made-up")
    first = data.digests("made-up")
    assert first == {"docs": listing({"a.txt": b"first edition"})}
    shop.put("made.deb", make_xz_deb({"usr/share/made/docs/a.txt": b"second edition"}))
    data.fetch("made-up")
    assert data.digests("made-up") == first
    shutil.rmtree(cache)
    data.fetch("made-up")
    assert data.digests("made-up") == {"docs": listing({"a.txt": b"second edition"})}


def test_harm_to_a_changing_member_is_noticed(register, shop):
    register(entry(Member(name="docs", files=0, size=20), packages=(APT,)))
    shop.put("made.deb", make_xz_deb({"usr/share/made/docs/a.txt": b"first edition"}))
    page = data.fetch("made-up")["docs"] / "a.txt"
    page.chmod(0o644)
    page.write_bytes(b"worse edition")
    with pytest.raises(DataError, match="cache: .* has SHA-256"):
        data.verify("made-up")
    data.fetch("made-up")
    assert data.digests("made-up") == {"docs": listing({"a.txt": b"first edition"})}


def test_a_changing_member_may_not_grow_without_bounds(register, shop):
    register(entry(Member(name="docs", files=0, size=20, match=("*",)), packages=(APT,)))
    shop.put("made.deb", make_xz_deb({"usr/share/made/docs/a.txt": bytes(41)}))
    with pytest.raises(DataError, match="has 41 bytes, more than the 40"):
        data.fetch("made-up")


def test_links_in_a_folder_do_not_count(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"1")
    before = data.digest(tmp_path)
    (tmp_path / "b.wav").symlink_to("/etc/passwd")
    assert data.digest(tmp_path) == before
