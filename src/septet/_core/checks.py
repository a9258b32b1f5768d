"""Checks at the door: each returns the checked value or names what was wrong and what to do."""

import operator
from collections.abc import Iterable
from difflib import get_close_matches

import numpy as np
from numpy.typing import ArrayLike, NDArray


def integer(name: str, value: object, *, low: int | None = None, high: int | None = None) -> int:
    """Return `value` as an int within the bounds given; floats and booleans are refused."""
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be an integer; got {value!r}.")
    try:
        number = operator.index(value)  # pyrefly: ignore[bad-argument-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer; got {value!r}.") from None
    if (low is not None and number < low) or (high is not None and number > high):
        raise ValueError(f"{name} must be {_range(low, high)}; got {number}.")
    return number


def number(
    name: str,
    value: object,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """Return `value` as a finite float; `low`/`high` include the bound, `above`/`below` do not."""
    if isinstance(value, bool | np.bool_ | str | bytes):
        raise TypeError(f"{name} must be a number; got {value!r}.")
    try:
        x = float(value)  # pyrefly: ignore[bad-argument-type]
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number; got {value!r}.") from None
    if not np.isfinite(x):
        raise ValueError(f"{name} must be finite; got {x!r}.")
    for bound, fits, words in (
        (low, low is None or x >= low, "at least"),
        (high, high is None or x <= high, "at most"),
        (above, above is None or x > above, "greater than"),
        (below, below is None or x < below, "less than"),
    ):
        if not fits:
            raise ValueError(f"{name} must be {words} {bound:g}; got {x!r}.")
    return x


def choice(name: str, value: object, options: Iterable[str]) -> str:
    """Return `value` if it is one of `options`; suggest the nearest one if it is not."""
    known = list(options)
    if isinstance(value, str) and value in known:
        return value
    near = get_close_matches(str(value), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}; got {value!r}.{hint}")


def vector(name: str, values: ArrayLike, *, size: int | None = None) -> NDArray[np.float64]:
    """Return `values` as a 1-D float64 array of finite numbers; name the first bad one."""
    array = _floats(name, values)
    if array.ndim != 1:
        raise ValueError(f"{name} must be 1-D; got shape {array.shape}.")
    if size is not None and array.size != size:
        raise ValueError(f"{name} must have {size} entries; got {array.size}.")
    _finite(name, array)
    return array


def matrix(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return `values` as a 2-D float64 array of finite numbers; name the first bad one."""
    array = _floats(name, values)
    if array.ndim != 2:
        raise ValueError(f"{name} must be 2-D (samples, features); got shape {array.shape}.")
    _finite(name, array)
    return array


def probabilities(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return `values` as a 1-D float64 array of numbers in [0, 1]; name the first bad one."""
    array = _floats(name, values)
    if array.ndim != 1:
        raise ValueError(f"{name} must be 1-D, one number per candidate; got shape {array.shape}.")
    bad = np.flatnonzero(~((array >= 0) & (array <= 1)))  # also catches NaN
    if bad.size:
        raise ValueError(
            f"{name}[{bad[0]}] = {float(array[bad[0]])!r} is no probability "
            f"({bad.size} such {'entry' if bad.size == 1 else 'entries'})."
        )
    return array


def _floats(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold numbers only: {error}.") from None


def _finite(name: str, array: NDArray[np.float64]) -> None:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = ", ".join(str(i) for i in bad[0])
        raise ValueError(
            f"{name}[{where}] = {float(array[tuple(bad[0])])!r} is not finite "
            f"({len(bad)} such {'entry' if len(bad) == 1 else 'entries'})."
        )


def _range(low: int | None, high: int | None) -> str:
    if low is not None and high is not None:
        return f"from {low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}"
