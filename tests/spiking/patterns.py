"""Random inputs that several tests share."""

import numpy as np

from septet.spiking import SpikeBatch


def poisson_batch(
    rng: np.random.Generator,
    *,
    n_patterns: int = 1,
    n_units: int = 30,
    duration: float = 200.0,
    rate: float = 10.0,
) -> SpikeBatch:
    """Independent Poisson inputs, `rate` in Hz."""
    return SpikeBatch.from_lists(
        [
            [rng.uniform(0, duration, rng.poisson(rate * duration / 1000)) for _ in range(n_units)]
            for _ in range(n_patterns)
        ],
        duration=duration,
    )
