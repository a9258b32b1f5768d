"""Jobs side by side, one thread each, in worker processes that stay for the recipes to come."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from typing import Any

from septet.recipes import Run
from septet.recipes._run import timed

Job = tuple[str, Callable[..., Any], tuple[Any, ...]]


def run_all(run: Run, jobs: Sequence[Job], n: int) -> dict[str, Any]:
    """Do every job that was not done yet, `n` at a time (0: one per core), each as a stage."""
    waiting = [job for job in jobs if not (run.checkpoint / f"{job[0]}.json").exists()]
    n = n or _n_cores()
    if n > 1 and waiting:
        _side_by_side(run, waiting, n)
    return {name: run.stage(name, function, *args) for name, function, args in jobs}


def _side_by_side(run: Run, jobs: Sequence[Job], n: int) -> None:
    executor = _executor(n)
    names = {}
    try:
        with _one_thread_each():
            for name, function, args in jobs:
                names[executor.submit(timed, function, *args)] = name
        for future in as_completed(names):
            run.say(names[future])
            run.keep(names[future], *future.result())
    except BrokenProcessPool:
        _executor.cache_clear()
        raise
    finally:
        for future in names:
            future.cancel()


@cache
def _executor(n: int) -> ProcessPoolExecutor:
    """Workers for all recipes of this process: to start one and import everything takes seconds."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(n, mp_context=context, initializer=_begin)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Tell processes that start here to use one thread: runs side by side gain more than threads.

    A result is then the same on any number of cores.
    """
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _begin() -> None:
    """End with the parent: a worker left over would write into its folder."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # outside of training, which saves first
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
