"""Randomness that comes from one seed and touches nobody else's."""

from typing import TypeAlias

import numpy as np

RandomState: TypeAlias = int | np.random.Generator | None


def generator(random_state: RandomState) -> np.random.Generator:
    """Return the generator given, or one built from a seed; ``None`` takes fresh entropy.

    Raises
    ------
    TypeError
        If `random_state` is neither ``None``, an integer nor a generator.
    ValueError
        If the seed is negative.
    """
    if random_state is None or isinstance(random_state, np.random.Generator):
        return np.random.default_rng(random_state)
    if isinstance(random_state, bool) or not isinstance(random_state, int | np.integer):
        raise TypeError(
            "random_state must be an int, a numpy.random.Generator or None; "
            f"got {type(random_state).__name__}."
        )
    if random_state < 0:
        raise ValueError(f"random_state must not be negative; got {random_state}.")
    return np.random.default_rng(int(random_state))
