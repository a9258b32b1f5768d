"""Compiling with numba, whether or not there is a place on disk to keep what was compiled."""

import warnings
from collections.abc import Callable
from typing import Any

from septet._core.errors import SeptetWarning
from septet._core.extras import needs


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return numba's decorator with these options, keeping compiled code on disk if it can.

    A read-only installation used by somebody without a home folder offers no place for it; every
    process then compiles anew, which a warning tells.

    Raises
    ------
    MissingExtraError
        If numba (extra ``fast``) is not installed.
    """
    numba = needs("numba", extra="fast", purpose="compiling")

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError as error:  # numba's way to say that it found no folder
            if "no locator" not in str(error):
                raise
            warnings.warn(
                "numba has no folder to keep compiled code in, so every process compiles for some "
                "seconds; set NUMBA_CACHE_DIR to a folder that can be written to.",
                SeptetWarning,
                stacklevel=2,
            )
            return numba.njit(**options)(function)

    return compiled
