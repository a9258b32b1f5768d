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


def desired_trains(
    rng: np.random.Generator, *, n_patterns: int, n_spikes: int, duration: float
) -> list[np.ndarray]:
    """Random trains, uniform from 30 ms on, at least 10 ms apart."""
    trains = []
    while len(trains) < n_patterns:
        train = np.sort(rng.uniform(30.0, duration - 1.0, n_spikes))
        if n_spikes < 2 or np.diff(train).min() >= 10.0:
            trains.append(train)
    return trains
