"""How this package compiles: cached on disk, without the interpreter's lock, C's division."""

from collections.abc import Callable
from typing import Any, TypeVar

from septet._core.compiled import njit

F = TypeVar("F", bound=Callable[..., Any])

_COMMON = {"nogil": True, "error_model": "numpy"}
# What only compiled code calls needs no way in from the interpreter and is built faster without.
_WITHIN = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def compiled(function: F) -> F:
    """Compile a function that Python calls."""
    return njit(**_COMMON)(function)


def inner(function: F) -> F:
    """Compile a function that only compiled functions call."""
    return njit(**_COMMON, **_WITHIN)(function)


def summing(function: F) -> F:
    """Compile an inner function whose sums may be reordered to use vector registers."""
    return njit(**_COMMON, **_WITHIN, fastmath={"reassoc", "contract"})(function)
