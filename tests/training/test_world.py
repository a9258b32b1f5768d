import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from septet.training import World, choose_device, load_checkpoint, read_history, world
from septet.training._world import _buckets

SCRIPT = str(Path(__file__).with_name("two_processes.py"))


def launch(*command):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, command)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def same_training(a, b):
    one, two = (load_checkpoint(folder / "checkpoint") for folder in (a, b))
    assert one["step"] == two["step"] == 8
    for name, value in one["model"].items():
        torch.testing.assert_close(two["model"][name], value, rtol=1e-10, atol=1e-12)
    first, second = (read_history(folder / "history.jsonl") for folder in (a, b))
    assert [r["loss"] for r in first] == pytest.approx([r["loss"] for r in second], rel=1e-10)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    launch(SCRIPT, folder, 1, 8, 2)
    return folder


def test_two_processes_equal_one_and_resume_what_one_began(trained):
    same_training(trained / "one-False", trained / "more-False")
    last = read_history(trained / "more-False" / "history.jsonl")[-1]
    assert last["evaluation"] == {"rank": 0.5}


def test_two_processes_that_cut_the_model_equal_one_which_can_finish_what_they_began(trained):
    same_training(trained / "one-True", trained / "more-True")


@pytest.mark.slow
def test_torchrun_starts_the_same_training(tmp_path):
    launch(SCRIPT, tmp_path / "one", 2, 8)
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    launch(*torchrun, SCRIPT, tmp_path / "two", 1, 8)
    same_training(tmp_path / "one", tmp_path / "two")


def test_without_torchrun_the_world_is_this_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with world() as alone:
        assert alone == World()
        assert alone.mean({"a": 0.1}) == {"a": 0.1}
        assert alone.any(True)
        assert not alone.any(False)
        alone.wait()
    assert not torch.distributed.is_initialized()


def test_the_world_reads_a_device_as_choose_device_does(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with world("auto") as alone:
        assert alone.device == choose_device()


def test_gradients_travel_in_buckets_of_one_dtype_in_order():
    big = [torch.empty(5 * 2**20) for _ in range(3)]  # 20 MiB each
    half = [torch.empty(3, dtype=torch.bfloat16)]
    assert [len(bucket) for bucket in _buckets([*big, *half, big[0]])] == [2, 1, 1, 1]
    assert list(_buckets([])) == []


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="device 'abacus' is not usable here"):
        choose_device("abacus")
    if not torch.cuda.is_available():
        assert choose_device() == torch.device("cpu")
        with pytest.raises(ValueError, match="device 'cuda' is not usable here"):
            choose_device("cuda")
