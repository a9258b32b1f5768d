"""Two gloo processes do what one does: data-parallel, sharded, saved and resumed."""

import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest
import torch
from optim import two_processes
from optim.two_processes import CASES

from septet.optim import LeanOptimizer, state_bytes

# two interpreters have to start, on a machine that may be busy
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = [sys.executable, two_processes.__file__]
    with ExitStack() as stack:
        logs = [stack.enter_context((folder / f"{rank}.log").open("w")) for rank in range(2)]
        processes = [
            subprocess.Popen([*script, str(rank), str(port), str(folder)], stderr=log)
            for rank, log in enumerate(logs)
        ]
        for process in processes:
            stack.callback(process.wait)
            stack.callback(process.kill)
        codes = [process.wait() for process in processes]
    assert codes == [0, 0], (folder / "0.log").read_text() + (folder / "1.log").read_text()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def alone():
    weights, sizes = {}, {}
    for name, options in CASES.items():
        model = two_processes.build()
        optimizer = LeanOptimizer(model.parameters(), 0.05, **options)
        two_processes.train(model, optimizer, two_processes.batches(8)[:5])
        weights[name] = two_processes.weights(model)
        sizes[name] = state_bytes(optimizer)
    return weights, sizes


def assert_equal(actual, expected, tolerance):
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", ["fsdp", "ddp"])
@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_to_the_weights_of_one(results, alone, kind, case):
    for rank in range(2):
        assert_equal(results[rank][kind][case], alone[0][case], 1e-11)
    assert_equal(results[0][kind][case], results[1][kind][case], 0)


@pytest.mark.parametrize("case", ["ema-amsgrad", "topk-rotate", "srht-rotate"])
def test_a_process_of_a_sharded_run_holds_about_half_of_the_momentum(results, alone, case):
    held = max(results[rank]["bytes"][case] for rank in range(2))
    assert held < 0.75 * alone[1][case]


def test_a_sharded_checkpoint_resumes_bit_for_bit(results):
    for rank in range(2):
        run = results[rank]["resume"]
        assert_equal(run["resumed"], run["straight"], 0)


def test_a_sharded_state_can_be_gathered_whole(results):
    assert results[0]["resume"]["full"] == {
        "momentum": (11, 2), "basis": (7, 2), "second_moment": (11, 1),
    }  # fmt: skip


def test_every_process_refuses_a_step_when_one_shard_is_not_finite(results):
    for rank in range(2):
        run = results[rank]["poisoned"]
        assert "the gradient of parameter '0.weight'" in run["said"]
        assert_equal(run["after"], run["before"], 0)


def test_integer_subsets_are_refused_for_sharded_parameters(results):
    assert "is sharded: an integer subset needs whole tensors" in results[0]["refused"]


def test_accumulated_gradients_give_the_step_of_the_whole_batch():
    whole, parts = two_processes.build(), two_processes.build()
    optimizers = [
        LeanOptimizer(m.parameters(), 0.05, rank=2, projection="gram", update_interval=2)
        for m in (whole, parts)
    ]
    for x in two_processes.batches():
        two_processes.train(whole, optimizers[0], [x])
        optimizers[1].zero_grad()
        for row in x:
            (parts(row[None]).square().mean() / len(x)).backward()
        optimizers[1].step()
    assert_equal(two_processes.weights(parts), two_processes.weights(whole), 1e-12)
