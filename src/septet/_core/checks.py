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
    except OverflowError:  # an integer beyond all doubles
        x = np.inf
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
    raise ValueError(
        f"{name} must be one of {', '.join(map(repr, known))}; got {value!r}."
        f"{did_you_mean(value, known)}"
    )


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return a sentence, after a space, that suggests the nearest known word; '' if none is near.

    Examples
    --------
    >>> did_you_mean("hebs", ["hebb", "stdp"])
    " Did you mean 'hebb'?"
    """
    near = get_close_matches(str(word), list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def vector(name: str, values: ArrayLike, *, size: int | None = None) -> NDArray[np.float64]:
    """Return `values` as a 1-D float64 array of finite numbers; name the first bad one."""
    array = floats(name, values)
    if array.ndim != 1:
        raise ValueError(f"{name} must be 1-D; got shape {array.shape}.")
    if size is not None and array.size != size:
        raise ValueError(f"{name} must have {size} entries; got {array.size}.")
    _finite(name, array)
    return array


def matrix(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return `values` as a 2-D float64 array of finite numbers; name the first bad one."""
    array = floats(name, values)
    if array.ndim != 2:
        raise ValueError(f"{name} must be 2-D (samples, features); got shape {array.shape}.")
    _finite(name, array)
    return array


def probabilities(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return `values` as a 1-D float64 array of numbers in [0, 1]; name the first bad one."""
    array = floats(name, values)
    if array.ndim != 1:
        raise ValueError(f"{name} must be 1-D, one number per candidate; got shape {array.shape}.")
    bad = np.flatnonzero(~((array >= 0) & (array <= 1)))  # also catches NaN
    if bad.size:
        raise ValueError(
            f"{name}[{bad[0]}] = {float(array[bad[0]])!r} is no probability "
            f"({bad.size} such {'entry' if bad.size == 1 else 'entries'})."
        )
    return array


def floats(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return `values` of any shape as float64; text, dates and complex numbers are refused."""
    try:
        array = np.asarray(values)
        kind = array.dtype.kind
        if kind in "USMmc" or (kind == "O" and _some_text(array)):  # NumPy would convert, or cut
            raise TypeError(f"got {'text' if kind in 'USO' else array.dtype}")
        # objects such as missing values of a frame know best themselves how they become floats
        return np.asarray(values if kind == "O" else array, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold numbers only: {error}.") from None
    except OverflowError:
        raise ValueError(f"{name} holds a number beyond all doubles.") from None


def _some_text(array: NDArray[np.object_]) -> bool:
    return any(isinstance(value, str | bytes) for value in array.flat)


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
