"""kill -9 at random moments leaves the previous checkpoint or the new one, and the same end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from septet.testing import assert_survives_kills

SCRIPT = str(Path(__file__).with_name("kill_saves.py"))
TRAINING = str(Path(__file__).parent.parent / "training" / "two_processes.py")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX signals")


def kill(what, folder, n, seed=0):
    """Return how many kills hit a child at work and how many different checkpoints they left."""
    command = [sys.executable, SCRIPT, what, str(folder), str(n), str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    hits, seen = done.stdout.split()
    return int(hits), int(seen)


def test_a_save_killed_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    hits, seen = kill("save", tmp_path, 40)
    assert hits == 40
    assert seen > 10


def test_a_training_killed_at_any_moment_ends_in_the_same_checkpoint(tmp_path):
    hits, seen = kill("train", tmp_path, 20)
    assert hits >= 10
    assert seen >= 3


@pytest.mark.slow
@pytest.mark.parametrize("what", ["save", "train"])
def test_many_kills_change_nothing(tmp_path, what):
    n = {"save": 2000, "train": 200}[what]
    hits, _ = kill(what, tmp_path, n, seed=1)
    assert hits >= n // 2


@pytest.mark.slow
def test_the_suite_for_commands_kills_a_run_and_lets_it_end(tmp_path):
    assert_survives_kills(
        lambda folder: [sys.executable, TRAINING, str(folder), "1", "3000"], tmp_path, kills=3
    )
