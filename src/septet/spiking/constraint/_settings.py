"""Settings that several learners share, checked and turned into arrays."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks


def penalties(soft_C: float | tuple[float, float] | None) -> tuple[float, float] | None:
    """Return the penalties of a miss at desired spikes and elsewhere; None if misses are barred."""
    if soft_C is None:
        return None
    pair = soft_C if isinstance(soft_C, tuple | list) else (soft_C, soft_C)
    if len(pair) != 2:
        raise ValueError(f"soft_C must be one number or two; got {soft_C!r}.")
    return (
        checks.number("soft_C", pair[0], above=0.0),
        checks.number("soft_C", pair[1], above=0.0),
    )


def weight_ranges(
    n_inputs: int, bounds: tuple[ArrayLike, ArrayLike] | None, signs: ArrayLike | None
) -> NDArray[np.float64]:
    """Return least and largest weights, shape (2, n_inputs), or (2, 0) if weights are free."""
    if bounds is None and signs is None:
        return np.empty((2, 0))
    lowest, highest = (-np.inf, np.inf) if bounds is None else bounds
    ranges = np.empty((2, n_inputs))
    for row, name, value in ((0, "lower", lowest), (1, "upper", highest)):
        array = np.asarray(value, dtype=np.float64)
        if array.shape not in {(), (n_inputs,)} or np.isnan(array).any():
            raise ValueError(
                f"the {name} bounds must be one number or {n_inputs}, none of them NaN; "
                f"got shape {array.shape}."
            )
        ranges[row] = array
    if signs is not None:
        sign = checks.vector("signs", signs, size=n_inputs)
        if not np.isin(sign, (-1, 0, 1)).all():
            raise ValueError("signs must be -1, 0 or 1.")
        ranges[0, sign > 0] = np.maximum(ranges[0, sign > 0], 0.0)
        ranges[1, sign < 0] = np.minimum(ranges[1, sign < 0], 0.0)
    crossed = np.flatnonzero(ranges[0] > ranges[1])
    if crossed.size:
        i = crossed[0]
        raise ValueError(
            f"weight {i} cannot be at least {ranges[0, i]:g} and at most {ranges[1, i]:g}."
        )
    return ranges
