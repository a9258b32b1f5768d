"""kill -9 on a study with worker processes."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc").exists(), reason="finds children in /proc"),
]

PATIENCE = 200  # seconds, for a busy machine


@contextmanager
def study(runs):
    options = ["--scale", "smoke", "--workers", "2", "--seeds", "2", "--steps", "60"]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "septet.cli",
            "reproduce",
            "optim.llama",
            "--runs",
            str(runs),
            *options,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def finish(runs):
    with study(runs) as process:
        assert process.wait(PATIENCE) == 0


def children(pid):
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


def wait_until(condition):
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.05)


def results(runs):
    read = json.loads((runs / "optim.llama" / "smoke" / "result.json").read_text("utf-8"))
    main = read["results"]["main"]
    return {method: [run["curve"] for run in done] for method, done in main.items()}


def test_a_killed_study_leaves_no_worker_behind_and_ends_the_same(tmp_path):
    finish(tmp_path / "whole")
    killed = tmp_path / "killed"
    folder = killed / "optim.llama" / "smoke" / "checkpoint"

    def begun():
        return len([*folder.glob("runs/*"), *folder.glob("*.json")])

    for n_runs in (1, 4):
        with study(killed) as process:
            wait_until(lambda n=n_runs: begun() >= n)
            workers = children(process.pid)
            assert len(workers) >= 2
            process.send_signal(signal.SIGKILL)
        wait_until(lambda ids=workers: not any(Path(f"/proc/{i}").exists() for i in ids))
    finish(killed)
    assert results(killed) == results(tmp_path / "whole")


def test_an_interrupted_study_can_be_resumed(tmp_path):
    folder = tmp_path / "optim.llama" / "smoke"
    with study(tmp_path) as process:
        wait_until(lambda: [*folder.glob("checkpoint/runs/*/checkpoint/state.json")])
        process.send_signal(signal.SIGINT)
        for child in children(process.pid):  # as Ctrl-C does for the whole group
            os.kill(child, signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    assert not (folder / "result.json").exists()
    finish(tmp_path)
    assert (folder / "result.json").exists()
