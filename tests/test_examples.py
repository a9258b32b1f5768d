"""The scripts in `examples` do what the guides say, alone and under torchrun."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from septet.training import read_history

PRETRAIN = Path(__file__).parent.parent / "examples" / "pretrain.py"
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
@pytest.mark.timeout(900)
@pytest.mark.parametrize("option", [[], ["--shard"]], ids=["copied", "cut"])
def test_two_processes_train_the_language_model_that_one_trains(text, tmp_path, option):
    one = pretrain(text, tmp_path / "one")
    two = pretrain(text, tmp_path / "two", *option, processes=2)
    assert one == pytest.approx(two, rel=1e-5)
