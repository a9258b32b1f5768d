"""Jobs side by side: one thread each, as many at a time as there are cores."""

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from septet.recipes import Run

Job = tuple[str, Callable[..., Any], tuple[Any, ...]]


@contextmanager
def _pool(n: int) -> Iterator[ProcessPoolExecutor | None]:
    if n == 1:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(n, mp_context=context, initializer=_end_with_parent)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def run_all(run: Run, jobs: Sequence[Job], n: int) -> dict[str, Any]:
    """Do every job that was not done yet, `n` at a time (0: one per core), each as a stage."""
    waiting = [job for job in jobs if not (run.checkpoint / f"{job[0]}.json").exists()]
    with _pool(min(n or os.cpu_count() or 1, max(1, len(waiting)))) as executor:
        if executor is None:
            return {name: run.stage(name, function, *args) for name, function, args in jobs}
        futures = {name: executor.submit(function, *args) for name, function, args in waiting}
        return {
            name: run.stage(name, futures[name].result)
            if name in futures
            else run.stage(name, function, *args)
            for name, function, args in jobs
        }


def _end_with_parent() -> None:
    """End when the parent does: a worker left over would write into its folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel
        threading.Thread(target=_wait_and_end, args=(sentinel,), daemon=True).start()


def _wait_and_end(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
