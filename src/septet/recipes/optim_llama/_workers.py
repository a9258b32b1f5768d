"""Independent runs side by side: one thread each, as many at a time as there are cores."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from septet.recipes import Run
from septet.recipes.optim_llama._training import Job, run_job


class Workers:
    """Runs jobs as stages of a recipe; see `workers`."""

    def __init__(self, run: Run, executor: ProcessPoolExecutor | None) -> None:
        self._run = run
        self._executor = executor

    def results(self, jobs: Mapping[str, Job]) -> dict[str, Any]:
        """Run every job that has not been run yet and return the result of each by its name."""
        waiting: dict[str, Future[Any]] = {}
        if self._executor is not None:
            for name, job in jobs.items():
                if not (self._run.checkpoint / f"{name}.json").exists():
                    waiting[name] = self._executor.submit(run_job, job, self.folder(name))

        def finish(name: str, job: Job) -> Any:
            return waiting[name].result() if name in waiting else run_job(job, self.folder(name))

        return {name: self._run.stage(name, finish, name, job) for name, job in jobs.items()}

    def folder(self, name: str) -> Path:
        """Return where the run called `name` keeps its checkpoint and history."""
        return self._run.checkpoint / "runs" / name


@contextmanager
def workers(run: Run, n: int) -> Iterator[Workers]:
    """Offer `n` worker processes (0: one per core); with one, runs happen in this process.

    A small model gains little from several threads, and one thread for each run makes its result
    independent of the number of cores.
    """
    n = n or _n_cores()
    if n == 1:
        yield Workers(run, None)
        return
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(n, mp_context=context, initializer=_begin)
    try:
        yield Workers(run, executor)
    finally:
        executor.shutdown(cancel_futures=True)


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _begin() -> None:
    """Use one thread, and end with the parent: a worker left over would write into its folder."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # outside of training, which saves first
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
