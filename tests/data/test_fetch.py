import gzip
import os
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from data.made_up import (
    APT,
    IN_DEB,
    IN_TGZ,
    IN_WHEEL,
    NPM,
    PIP,
    SOUNDS,
    TWO,
    A,
    B,
    entry,
    is_read_only,
    make_tar,
    make_tgz,
    make_wheel,
    make_xz_deb,
    member,
    sha256,
)

from septet import data
from septet._core.errors import DataError
from septet.data import Package, _clients, _fetch


@pytest.mark.parametrize(
    ("package", "archive", "make"),
    [
        (PIP, "made-1.0-py3-none-any.whl", lambda: make_wheel(IN_WHEEL)),
        (NPM, "made-1.0.tgz", lambda: make_tgz(IN_TGZ)),
        (
            APT,
            "made_1.0_all.deb",
            lambda: make_xz_deb({"usr/share/made/a.csv": A, "usr/share/made/b.csv": B}),
        ),
    ],
)
def test_a_set_is_fetched_from_each_kind_of_package(package, archive, make, register, shop, cache):
    register(entry(*TWO.members, packages=(package,)))
    shop.put(archive, make())
    said = []
    paths = data.fetch("made-up", progress=said.append)
    assert paths == {"a.csv": cache / sha256(A) / "a.csv", "b.csv": cache / sha256(B) / "b.csv"}
    assert [paths["a.csv"].read_bytes(), paths["b.csv"].read_bytes()] == [A, B]
    assert all(is_read_only(path) for path in paths.values())
    assert said == [f"made-up: a.csv, b.csv from {package}"]
    assert sorted(path.name for path in cache.iterdir()) == sorted([sha256(A), sha256(B)])


def test_a_set_that_is_here_is_not_fetched_again(register, shop):
    register(entry(member("a.csv", A)))
    shop.put("made-1.0.tgz", make_tgz(IN_TGZ))
    first = data.fetch("made-up")
    shop.clear()
    assert data.fetch("made-up") == first
    assert len(shop.calls()) == 1


def test_only_what_is_missing_is_unpacked(register, shop, cache):
    register(TWO)
    shop.put("made-1.0.tgz", make_tgz(IN_TGZ))
    data.fetch("made-up")
    before = (cache / sha256(A) / "a.csv").stat()
    (cache / sha256(B) / "b.csv").unlink()
    data.fetch("made-up")
    assert (cache / sha256(A) / "a.csv").stat().st_mtime_ns == before.st_mtime_ns
    assert (cache / sha256(B) / "b.csv").read_bytes() == B


def test_other_bytes_are_refused_and_leave_no_trace(register, shop, cache):
    register(TWO)
    shop.put("made-1.0.tgz", make_tgz({**IN_TGZ, "package/b.csv": b"label\n2\n"}))
    with pytest.raises(DataError, match=r"b\.csv has SHA-256 .*; not accepted"):
        data.fetch("made-up")
    assert [path.name for path in cache.iterdir()] == [sha256(A)]
    assert not data.available("made-up")


def test_every_source_says_why_it_failed(register, shop):
    last = Package(client="apt", name="made", path="usr/share/elsewhere/{name}")
    register(entry(member("a.csv", A), packages=(PIP, NPM, APT, last)))
    shop.put("made_1.0_all.deb", make_xz_deb({"usr/share/made/a.csv": A + b"more"}))
    with pytest.raises(DataError) as caught:
        data.fetch("made-up")
    text = str(caught.value)
    assert "pip package made 1.0: " in text
    assert "No matching distribution found for made==1.0" in text
    assert "npm package made 1.0: npm failed (1): another line; no such package" in text
    assert "has 12 bytes, more than the 8 still expected" in text
    assert "apt package made: no usr/share/elsewhere/a.csv in it" in text


def test_a_later_source_helps_out(register, shop):
    register(entry(member("a.csv", A), packages=(PIP, NPM)))
    shop.put("made-1.0.tgz", make_tgz(IN_TGZ))
    data.fetch("made-up")
    assert data.available("made-up")


def test_a_licence_has_to_be_accepted_before_anything_is_asked_for(register, shop):
    register(entry(member("a.csv", A), needs_acceptance=True))
    shop.put("made-1.0.tgz", make_tgz(IN_TGZ))
    with pytest.raises(DataError, match=r"data fetch made-up --accept-licence$"):
        data.load("made-up")
    with pytest.raises(DataError, match="terms that you have to accept: none"):
        data.fetch("made-up")
    assert shop.calls() == []
    assert data.fetch("made-up", accept_licence=True) == data.fetch("made-up")


def test_a_packed_member_is_unpacked_before_it_is_compared(register, shop):
    packed = Package(client="apt", name="made", path="usr/share/dictd/made.dz", unpack="gzip")
    register(entry(member("made.txt", b"word " * 99), packages=(packed,)))
    shop.put("made.deb", make_xz_deb({"usr/share/dictd/made.dz": gzip.compress(b"word " * 99)}))
    assert data.fetch("made-up")["made.txt"].read_bytes() == b"word " * 99


def test_members_may_lie_at_odd_places(register, shop):
    odd = Package(client="npm", name="made", path="package/{name}", paths={"b.csv": "package/x/y"})
    register(entry(*TWO.members, packages=(odd,)))
    shop.put("made.tgz", make_tgz({"package/a.csv": A, "package/x/y": B, "package/b.csv": A}))
    assert data.fetch("made-up")["b.csv"].read_bytes() == B


# The home of a data set


@pytest.fixture
def home(tmp_path):
    """A web server on this machine."""
    (tmp_path / "web").mkdir()
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *args: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(tmp_path / "web")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield tmp_path / "web", f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_home_of_a_data_set_is_asked_first(register, shop, home):
    folder, address = home
    (folder / "a.csv").write_bytes(A)
    register(entry(member("a.csv", A, address=f"{address}/a.csv")))
    path = data.fetch("made-up")["a.csv"]
    assert path.read_bytes() == A
    assert is_read_only(path)
    assert shop.calls() == []


@pytest.mark.parametrize("served", [None, b"<html>moved</html>"])
def test_a_home_that_fails_or_lies_is_passed_over(served, register, shop, home):
    folder, address = home
    if served:
        (folder / "a.csv").write_bytes(served)
    register(entry(member("a.csv", A, address=f"{address}/a.csv")))
    with pytest.raises(DataError, match=rf"(?s){address}/a\.csv: .*npm package made"):
        data.fetch("made-up")
    shop.put("made-1.0.tgz", make_tgz(IN_TGZ))
    assert data.fetch("made-up")["a.csv"].read_bytes() == A


# At the same time, and interrupted


FETCH = """
import sys
from data.made_up import SOUNDS, TWO
from septet import data
from septet.data import _registry
chosen = {"TWO": TWO, "SOUNDS": SOUNDS}[sys.argv[1]]
_registry.registry = lambda: {"made-up": chosen}
data.fetch("made-up")
print(data.verify("made-up").sha256)
"""


@pytest.mark.parametrize("which", ["TWO", "SOUNDS"])
def test_processes_that_fetch_at_the_same_time_do_no_harm(which, register, shop, cache):
    register({"TWO": TWO, "SOUNDS": SOUNDS}[which])
    shop.put("made-1.0.tgz", make_tgz(IN_TGZ))
    shop.put("made.deb", make_xz_deb(IN_DEB))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", FETCH, which]
    started = [
        subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    results = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0, 0], results
    assert {out.strip() for out, _ in results} == {data.verify("made-up").sha256}
    assert not [path for path in cache.rglob("*") if path.name.startswith(".")]


def test_a_folder_that_another_process_brought_first_stays(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
        (folder / "a.wav").write_bytes(b"the same bytes")
    before = (theirs / "a.wav").stat().st_ino
    _fetch._move_folder(ours, theirs)
    assert (theirs / "a.wav").stat().st_ino == before
    with pytest.raises(OSError, match="nowhere"):
        _fetch._move_folder(ours, tmp_path / "nowhere" / "theirs")


def test_threads_that_fetch_at_the_same_time_do_no_harm(register, shop):
    register(entry(member("a.csv", A)))
    shop.put("made-1.0.tgz", make_tgz(IN_TGZ))
    found = []
    threads = [threading.Thread(target=lambda: found.append(data.fetch("made-up"))) for _ in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(shop.calls()) == 1


def test_a_fetch_that_was_killed_leaves_nothing_that_counts(register, shop, cache, monkeypatch):
    register(entry(member("a.csv", A)))
    shop.put("made-1.0.tgz", make_tgz(IN_TGZ))
    child = os.fork()
    if child == 0:  # the child dies when the file is written and not yet in its place
        monkeypatch.setattr(os, "fsync", lambda file: os._exit(9))
        data.fetch("made-up")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not data.available("made-up")
    assert data.fetch("made-up")["a.csv"].read_bytes() == A


def test_the_next_fetch_sweeps_up_after_one_that_was_killed_long_ago(register, shop, cache):
    register(TWO)
    shop.put("made-1.0.tgz", make_tgz(IN_TGZ))
    for name, hours in ((".fetch-old", 25), (".fetch-new", 1)):
        (cache / name).mkdir(parents=True)
        (cache / name / "half.tgz").touch()
        os.utime(cache / name, (time.time(), time.time() - 3600 * hours))
    data.fetch("made-up")
    assert [path.name for path in cache.glob(".fetch-*")] == [".fetch-new"]


def test_a_cache_that_cannot_be_written_says_so(register, shop, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEPTET_CACHE", str(tmp_path / "file"))
    register(entry(member("a.csv", A)))
    with pytest.raises(OSError, match="file"):
        data.fetch("made-up")


# The clients


def test_a_missing_client_is_named(register, monkeypatch, tmp_path):
    register(entry(member("a.csv", A), packages=(NPM, APT)))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError) as caught:
        data.fetch("made-up")
    assert "npm package made 1.0: npm is not on this machine." in str(caught.value)
    assert "apt package made: apt-get is not on this machine." in str(caught.value)


def test_old_package_lists_are_got_round_without_touching_the_system(register, shop):
    register(entry(member("a.csv", A), packages=(APT,)))
    shop.put("made_1.0_all.deb", make_xz_deb({"usr/share/made/a.csv": A}))
    shop.forget_package_lists()
    data.fetch("made-up")
    first, update, second = shop.calls()
    assert first.endswith(" download made")
    assert "Dir::State::lists=" in update
    assert update.endswith(" update")
    assert "Dir::State::lists=" in second


def test_nothing_but_an_archive_is_asked_of_the_clients(register, shop):
    register(entry(member("a.csv", A), packages=(NPM, APT)))
    with pytest.raises(DataError):
        data.fetch("made-up")
    npm, *apt = shop.calls()
    assert npm == "npm pack --ignore-scripts --silent made@1.0"
    assert all(call.endswith((" download made", " update")) for call in apt)


def test_a_client_that_leaves_two_files_is_not_guessed_about(register, shop):
    register(entry(member("a.csv", A)))
    shop.put("made-1.0.tgz", make_tgz(IN_TGZ))
    shop.put("made-2.0.tgz", make_tgz({"package/a.csv": A}))
    with pytest.raises(DataError, match="left 2 files where one was expected"):
        data.fetch("made-up")


def test_a_client_that_hangs_is_given_up(register, shop, monkeypatch):
    (shop.programs / "npm").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(_clients, "_MINUTES", 0.005)
    register(entry(member("a.csv", A)))
    with pytest.raises(DataError, match="no answer within"):
        data.fetch("made-up")


def test_hostile_archives_are_reported_like_any_failure(register, shop, tmp_path):
    register(entry(member("a.csv", A)))
    shop.put("made.tgz", gzip.compress(make_tar({"../../a.csv": A, "package/a.csv": A})))
    with pytest.raises(DataError, match="points outside the archive"):
        data.fetch("made-up")
    assert not list(tmp_path.rglob("a.csv"))
