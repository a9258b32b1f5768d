"""Which kernels run: the compiled ones where numba is installed, their NumPy twins elsewhere."""

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from septet._core.errors import SeptetWarning

T = TypeVar("T")

CHUNK = 1 << 20  # rows that a kernel sees at a time
_THREADS = 8


@cache
def kernels() -> Any:
    """Return the module of compiled kernels, or of their plain twins with one warning."""
    try:
        return import_module("septet.cohort._kernels")
    except ImportError as error:
        warnings.warn(
            "septet.cohort runs without its compiled kernels, correct but slower "
            f'({error}); to speed it up: pip install "septet[fast]"',
            SeptetWarning,
            stacklevel=3,
        )
        return import_module("septet.cohort._twins")


def over_chunks(task: Callable[[slice], T], n: int) -> list[T]:
    """Return ``task(rows)`` for consecutive slices of range(n), in order, on all cores.

    Kernels and NumPy both let go of the interpreter lock, so threads are enough. Small inputs stay
    on the calling thread.
    """
    slices = [slice(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]
    workers = min(_THREADS, _cores(), len(slices))
    if workers < 2:
        return [task(rows) for rows in slices]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(task, slices))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
