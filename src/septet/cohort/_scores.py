"""Scores and cohort sizes at the door, and the lattice on which everything exact is computed."""

import operator
import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet._core.errors import SeptetWarning
from septet.cohort._engine import over_chunks

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

LATTICE = 1 << 32  # exact computations see every score as a multiple of 1 / LATTICE
_SLACK = 1e-12  # rounding outside [0, 1] that is forgiven, and reported


def check_size(k: object, n: int) -> int:
    """Return the cohort size as an int from 0 to n.

    Raises
    ------
    ValueError
        If `k` is no whole number or out of range; the message names k and n.
    """
    try:
        size = operator.index(k)  # pyrefly: ignore[bad-argument-type]
    except TypeError:
        size = -1
    if isinstance(k, bool | np.bool_) or not 0 <= size <= n:
        raise ValueError(
            f"k, the cohort size, must be a whole number from 0 to n = {n}, the number of "
            f"candidates; got k = {k!r}."
        )
    return size


def check_scores(scores: ArrayLike, labels: Sequence[Any] | None = None) -> Floats:
    """Return `scores` as a 1-D float64 array in [0, 1].

    Parameters
    ----------
    scores : array_like of shape (n,)
        Acceptance probability of each candidate alone.
    labels : sequence of length n, optional
        What to call the candidates in a message; their row numbers by default.

    Returns
    -------
    ndarray of shape (n,), dtype float64

    Raises
    ------
    TypeError
        If the scores are not numbers.
    ValueError
        If there are none, or some are missing or outside [0, 1]; the message counts them, names
        the first and says how percentages and logits become probabilities.

    Warns
    -----
    SeptetWarning
        If scores within 1e-12 of [0, 1] were clipped.
    """
    values = checks.floats("scores", scores)
    if values.ndim != 1:
        raise ValueError(f"scores must be 1-D, one per candidate; got shape {values.shape}.")
    if not values.size:
        raise ValueError("scores must not be empty: there is nobody to choose from.")
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1:
        return values
    if not (low >= -_SLACK and high <= 1 + _SLACK):
        raise ValueError(_what_is_wrong(values, labels))
    count = int(np.count_nonzero((values < 0) | (values > 1)))
    warnings.warn(
        f"clipped {count} score{'s' * (count > 1)} that lay outside [0, 1] by at most {_SLACK:g}.",
        SeptetWarning,
        stacklevel=3,
    )
    return np.clip(values, 0, 1)


def quantise(scores: Floats) -> Ints:
    """Return the multiples of 1 / LATTICE nearest to scores in [0, 1], halves to even.

    The product is exact in float64, so that every platform and Python's ``round`` agree.
    """
    out = np.empty(scores.size, dtype=np.int64)

    def task(rows: slice) -> None:
        out[rows] = np.rint(scores[rows] * LATTICE)

    over_chunks(task, scores.size)
    return out


def name_rows(rows: NDArray[np.intp], labels: Sequence[Any] | None, most: int = 5) -> str:
    """Return the first few rows as words, by label if there are labels."""
    shown = [repr(labels[i]) if labels is not None else f"row {i}" for i in rows[:most].tolist()]
    return ", ".join(shown) + (", ..." if rows.size > most else "")


def _what_is_wrong(values: Floats, labels: Sequence[Any] | None) -> str:
    unknown = np.flatnonzero(~np.isfinite(values))
    if unknown.size:
        return (
            f"{unknown.size} of {values.size} scores are missing or infinite "
            f"({name_rows(unknown, labels)}): a candidate without a score cannot be compared; "
            "score them or leave them out."
        )
    outside = np.flatnonzero((values < -_SLACK) | (values > 1 + _SLACK))
    where = f"{outside.size} of {values.size} scores lie outside [0, 1]"
    where += f" ({name_rows(outside, labels)}; range {values.min():g} to {values.max():g})"
    if values.max() <= 1 + _SLACK:
        return f"{where}: a score is the probability of being accepted and cannot be negative."
    if values.min() < -_SLACK:
        return f"{where}: these look like logits; convert them with scipy.special.expit(scores)."
    if values.max() <= 100:
        return f"{where}: these look like percentages; divide them by 100."
    return (
        f"{where}: a score is the probability of being accepted. Calibrate the model, or divide by "
        "the largest possible score if differences of score are meant to be differences of chance."
    )
