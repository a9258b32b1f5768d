"""The command line under bad conditions: hostile settings and folders, no reader, no network."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from septet import cli

PEOPLE = "id,score\nÅsa,0.9\nBjörn,0.5\nÇelik,0.25\n"


@pytest.fixture
def at(tmp_path, monkeypatch):
    folder = tmp_path / "Önskad katalog ✓"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "människor.csv").write_text(PEOPLE, "utf-8")
    return folder


def refused(capsys, words, code):
    """What is said on standard error by a command that ends with `code` and no traceback."""
    assert cli.main(words) == code
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.strip()
    return said


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("kitchen", "at")
@pytest.mark.parametrize(
    "words",
    [
        ["--brownness", "very"],
        ["--brownness", "0.5", "--brownness"],
        ["--butter.grams", "1e400e"],
        ["--butter", "{'grams': 3}"],
        ["--__class__", "x"],
        ["--seeds", "many"],
        ["--seeds", "0"],
        ["--seeds", "-3"],
        ["--seeds", "99999999999999999999"],
        ["--scale", "huge"],
        ["\x00"],
        ["-" * 10_000],
        ["--brownness", "9" * 5_000],
        ["--brownness", "nan"],
        ["--brownness", "inf"],
    ],
    ids=lambda words: " ".join(words)[:30].replace("\x00", "NUL"),
)
def test_hostile_settings_are_refused_in_words(capsys, words):
    refused(capsys, ["reproduce", "toast", *words], cli.USAGE)


@pytest.mark.parametrize("name", ["../toast", "/etc/passwd", "", "toast\x00", "a" * 5_000, "."])
@pytest.mark.usefixtures("kitchen", "at")
def test_a_recipe_is_named_by_its_name_only(capsys, name):
    refused(capsys, ["reproduce", name], cli.USAGE)


@pytest.mark.usefixtures("at")
@pytest.mark.parametrize("k", ["-1", "4", "nan", "1e3", "9" * 5_000, "two"])
def test_hostile_numbers_are_refused_in_words(capsys, k):
    refused(capsys, ["cohort", "pick", "människor.csv", "-k", k], cli.USAGE)


# -- run folders ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("kitchen")
@pytest.mark.parametrize("name", ["config.toml", "environment.json", "result.json"])
@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[]", b"{", b"{}", b"null", b"[" * 100_000, b"a = " + b"[" * 100_000],
    ids=["empty", "binary", "list", "torn", "object", "null", "deep", "deep-toml"],
)
def test_a_damaged_run_folder_is_told_and_can_be_replaced(at, capsys, name, content):
    assert cli.main(["reproduce", "toast"]) == cli.OK
    capsys.readouterr()
    (at / "runs" / "toast" / "laptop" / name).write_bytes(content)
    said = refused(capsys, ["reproduce", "toast"], cli.DATA)
    assert name in said
    assert "--fresh" in said
    assert cli.main(["reproduce", "toast", "--fresh"]) == cli.OK


@pytest.mark.usefixtures("kitchen")
def test_a_damaged_stage_is_told_and_can_be_removed(at, capsys):
    assert cli.main(["reproduce", "toast", "--interrupt-at", "1"]) == cli.INTERRUPTED
    capsys.readouterr()
    stage, *_ = (at / "runs" / "toast" / "laptop" / "checkpoint").glob("*.json")
    whole = stage.read_text("utf-8")
    stage.write_text(whole.replace("1", "2").replace("0", "1"), "utf-8")
    assert "remove it" in refused(capsys, ["reproduce", "toast", "--interrupt-at", "1"], cli.DATA)
    stage.unlink()
    assert cli.main(["reproduce", "toast", "--interrupt-at", "1"]) == cli.OK


# -- files and folders ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["cohort", "pick", "människor.csv", "-k", "1", "-o", "människor.csv/x.csv"],
        ["cohort", "pick", "människor.csv", "-k", "1", "--certificate", "saknas/c.json"],
        ["cohort", "pick", ".", "-k", "1"],
        ["cohort", "pick", "saknas.csv", "-k", "1"],
        ["spiking", "novelty", "fit", "människor.csv/tabell.csv", "d.safetensors"],
        ["spiking", "novelty", "score", "saknas.safetensors", "människor.csv"],
        ["spiking", "simulate", "saknas.json", "människor.csv"],
        ["robust", "audit", "människor.csv", "människor.csv"],
        ["speech", "enhance", "saknas.wav", "-o", "ut.wav"],
        ["report", "saknas"],
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("at")
def test_files_that_cannot_be_read_or_written_are_named(capsys, words):
    said = refused(capsys, words, cli.DATA)
    assert any(name in said for name in ("människor", "saknas", "'.'", ". ")), said


@pytest.mark.usefixtures("at")
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a folder that nobody can write to")
def test_a_folder_that_cannot_be_written_to_is_a_clear_error(capsys):
    words = ["cohort", "pick", "människor.csv", "-k", "1", "--certificate", "/proc/self/c.json"]
    assert "/proc/self" in refused(capsys, words, cli.DATA)


def test_names_that_are_not_ascii_go_in_and_out(at, capsys):
    words = ["-k", "2", "-o", "urval.csv", "--certificate", "bevis ✓.json", "--seed", "frö"]
    assert cli.main(["cohort", "pick", "människor.csv", *words]) == cli.OK
    chosen = capsys.readouterr().out.split()
    assert len(chosen) == 2
    assert set(chosen) <= {"Åsa", "Björn", "Çelik"}
    assert cli.main(["cohort", "verify", "bevis ✓.json", "människor.csv"]) == cli.OK


# -- the other end --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["list"],
        ["doctor", "--json"],
        ["data", "ls"],
        ["cohort", "pick", "människor.csv", "-k", "3", "--json"],
    ],
    ids=" ".join,
)
def test_a_reader_that_goes_away_ends_every_command_quietly(at, words):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "septet.cli", *words]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=at)
    os.close(write)
    assert done.returncode == cli.OK
    assert "Error" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.usefixtures("at", "kitchen")
def test_nothing_asks_the_network_unless_told_to(monkeypatch, capsys):
    def refuse(self, address):
        raise AssertionError(f"{address} was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for words in (
        ["list"],
        ["doctor"],
        ["data", "ls"],
        ["reproduce", "toast"],
        ["cohort", "audit", "människor.csv", "-k", "1", "--json"],
    ):
        assert cli.main(words) == cli.OK, words
        capsys.readouterr()
