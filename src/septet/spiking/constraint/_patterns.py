"""Random associations: Poisson inputs and desired trains that have nothing to do with them."""

import numpy as np
from numpy.typing import NDArray

from septet._core import checks
from septet._core.random import RandomState, generator
from septet.spiking.neurons import SpikeBatch

# Desired spikes keep so many ms from the start, where there is no potential yet, and from the end.
_FROM_START, _FROM_END = 30.0, 1.0


def random_associations(
    n_patterns: int,
    n_inputs: int,
    n_spikes: int,
    *,
    duration: float = 500.0,
    input_rate: float = 5.0,
    min_spacing: float = 10.0,
    random_state: RandomState = None,
) -> tuple[SpikeBatch, list[NDArray[np.float64]]]:
    """Draw random input patterns and, for each, a random train that a neuron is to answer with.

    The standard test of a neuron's memory: inputs are independent Poisson processes, desired spikes
    are uniform from 30 ms to 1 ms before the end, at least `min_spacing` apart.

    Parameters
    ----------
    n_patterns, n_inputs : int
        Number of patterns and of input lines.
    n_spikes : int
        Desired spikes per pattern; 0 asks for silence.
    duration : float, default 500.0
        Length of a pattern in ms.
    input_rate : float, default 5.0
        Rate of every input line in Hz.
    min_spacing : float, default 10.0
        Least distance of two desired spikes in ms.
    random_state : int, numpy.random.Generator or None, default None
        Source of the randomness. The first patterns of a larger batch from the same seed are those
        of a smaller one.

    Returns
    -------
    inputs : SpikeBatch
    targets : list of ndarray of shape (n_spikes,)
        Desired times in ms, ascending.

    Raises
    ------
    ValueError
        If that many spikes at that distance do not fit.

    Examples
    --------
    >>> inputs, targets = random_associations(3, 100, 5, random_state=0)
    >>> inputs.shape, [len(train) for train in targets]
    ((3, 100), [5, 5, 5])
    """
    n_patterns = checks.integer("n_patterns", n_patterns, low=1)
    n_inputs = checks.integer("n_inputs", n_inputs, low=1)
    n_spikes = checks.integer("n_spikes", n_spikes, low=0)
    duration = checks.number("duration", duration, above=0.0)
    input_rate = checks.number("input_rate", input_rate, low=0.0)
    min_spacing = checks.number("min_spacing", min_spacing, low=0.0)
    free = duration - _FROM_END - _FROM_START - max(n_spikes - 1, 0) * min_spacing
    if free < 0 and n_spikes:
        raise ValueError(
            f"{n_spikes} desired spikes {min_spacing:g} ms apart do not fit between "
            f"{_FROM_START:g} ms and {duration - _FROM_END:g} ms."
        )
    rng = generator(random_state)
    patterns, targets = [], []
    for _ in range(n_patterns):
        count = rng.poisson(input_rate * duration / 1000, n_inputs)
        times = rng.uniform(0.0, duration, count.sum())
        patterns.append((times, np.repeat(np.arange(n_inputs), count)))
        # uniform over all trains that keep the distance: taken out here, put back below
        squeezed = np.sort(rng.uniform(0.0, max(free, 0.0), n_spikes))
        targets.append(_FROM_START + squeezed + min_spacing * np.arange(n_spikes))
    inputs = SpikeBatch.from_pairs(patterns, n_units=n_inputs, duration=duration, sort=True)
    return inputs, targets
