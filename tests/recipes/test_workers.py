"""Jobs of a recipe in worker processes: what they give, keep and survive."""

import json
import os
import signal
from concurrent.futures.process import BrokenProcessPool

import pytest

from septet.recipes import Run
from septet.recipes._workers import run_all

SAID = []
THREADS = os.environ.get("OMP_NUM_THREADS")


@pytest.fixture
def run(tmp_path):
    SAID.clear()
    return Run(tmp_path, "smoke", SAID.append)


def divided(a, b):
    return a / b


def told():
    return {"process": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS")}


def killed():
    os.kill(os.getpid(), signal.SIGTERM)


def kept(run, name):
    return (run.checkpoint / f"{name}.json").exists()


DIVISIONS = [(f"{a}-by-{b}", divided, (a, b)) for a, b in ((1, 2), (9, 3), (5, 4))]


@pytest.mark.parametrize("n", [1, 2])
def test_results_come_in_the_order_of_the_jobs(run, n):
    found = run_all(run, DIVISIONS, n)
    assert list(found.items()) == [("1-by-2", 0.5), ("9-by-3", 3.0), ("5-by-4", 1.25)]
    assert sorted(SAID) == sorted(found)


def test_seconds_are_those_of_the_job_itself(run):
    run_all(run, DIVISIONS, 2)
    lines = [json.loads(line) for line in (run.folder / "history.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in lines} == {name for name, *_ in DIVISIONS}
    assert all(line["seconds"] < 0.1 for line in lines)  # starting a process takes longer


def test_a_job_that_was_done_is_not_done_again(run):
    run_all(run, DIVISIONS[:1], 1)
    again = [("1-by-2", divided, (1, 0)), *DIVISIONS[1:]]
    assert run_all(run, again, 2)["1-by-2"] == 0.5


def test_workers_have_one_thread_and_stay_for_the_next_call(run):
    found = [run_all(run, [(name, told, ())], 2)[name] for name in "abcd"]
    processes = {each["process"] for each in found}
    assert len(processes) <= 2
    assert os.getpid() not in processes
    assert {each["threads"] for each in found} == {"1"}
    assert os.environ.get("OMP_NUM_THREADS") == THREADS


def test_an_error_of_a_job_comes_here_and_other_results_are_kept(run):
    jobs = [*DIVISIONS, ("bad", divided, (1, 0))]
    with pytest.raises(ZeroDivisionError):
        run_all(run, jobs, 2)
    assert not kept(run, "bad")
    assert run_all(run, DIVISIONS, 2)["9-by-3"] == 3.0


def test_a_killed_worker_is_an_error_and_the_next_call_gets_new_workers(run):
    with pytest.raises(BrokenProcessPool):
        run_all(run, [("dead", killed, ())], 2)
    assert run_all(run, DIVISIONS, 2)["9-by-3"] == 3.0
