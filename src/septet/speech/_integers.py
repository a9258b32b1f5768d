"""Samples as integers: full scale is that of the type, rounding is to the nearest."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_integers(
    output: NDArray[np.float64], scale: float, middle: int, dtype: Any
) -> tuple[NDArray[Any], int]:
    """Round half away from zero and limit to full scale; return also how many were limited.

    Examples
    --------
    >>> to_integers(np.array([0.5, 1.5, -1.5]), 128.0, 0, np.int16)
    (array([  64,  127, -128], dtype=int16), 2)
    """
    steps = np.trunc(output * scale + np.copysign(0.5, output))
    low, high = -scale, scale - 1
    clipped = int(np.count_nonzero((steps < low) | (steps > high + 1)))
    return (np.clip(steps, low, high) + middle).astype(dtype), clipped
