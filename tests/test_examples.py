"""The scripts in `examples` do what the guides say, alone and under torchrun."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from septet.training import read_history

EXAMPLES = Path(__file__).parent.parent / "examples"
PRETRAIN = EXAMPLES / "pretrain.py"
SETTINGS = ["--model", "tiny", "--steps", "4", "--batch", "2", "--micro-batches", "2"]
SETTINGS += ["--context", "32", "--rank", "4"]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes(b"".join(b"%d times %d is %d.\n" % (i, i, i * i) for i in range(70_000)))
    return path


def pretrain(text, folder, *options, processes=1):
    torchrun = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
    command = [sys.executable, *(torchrun if processes > 1 else []), PRETRAIN, *SETTINGS]
    done = subprocess.run(
        [*map(str, command), "--text", text, "--folder", folder, *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [record["loss"] for record in read_history(folder / "history.jsonl")]


@pytest.mark.slow
@pytest.mark.parametrize("option", [[], ["--shard"]], ids=["copied", "cut"])
def test_two_processes_train_the_language_model_that_one_trains(text, tmp_path, option):
    one = pretrain(text, tmp_path / "one")
    two = pretrain(text, tmp_path / "two", *option, processes=2)
    assert one == pytest.approx(two, rel=1e-5)


def run(script, folder, *options):
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, "--folder", folder, *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_robust_loss_raises_the_worst_group_in_any_loop(tmp_path):
    def worst(*options):
        run("worst_group.py", tmp_path, *options)
        return min(json.loads((tmp_path / "accuracies.json").read_text("utf-8")))

    plain = worst("--loss", "worst-group")
    assert plain > worst("--loss", "mean") + 0.3
    # Lightning draws its batches from the same loader, in the same order
    assert worst("--loss", "worst-group", "--loop", "lightning") == pytest.approx(plain, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["plain", "lightning"])
def test_the_branch_that_learns_noise_by_heart_loses_its_weight(loop, tmp_path):
    run("blend_branches.py", tmp_path, "--loop", loop)
    signal, noise, joint = json.loads((tmp_path / "weights.json").read_text("utf-8"))[-1]
    assert noise < 0.1 * signal
    assert joint < signal
