"""Exact event-driven simulation of layers of neurons."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet._core.errors import SeptetError
from septet.spiking.neurons._backend import Constants, kernels
from septet.spiking.neurons._batch import SpikeBatch
from septet.spiking.neurons._lif import LIF


class SpikeStorm(SeptetError):  # noqa: N818 - the field's word for it
    """A neuron fired more often than `max_spikes` in one pattern: its weights are far too large.

    Attributes
    ----------
    pattern, neuron : int
        Where it happened.
    """

    def __init__(self, pattern: int, neuron: int, max_spikes: int) -> None:
        super().__init__(
            f"neuron {neuron} fires more than {max_spikes} times in pattern {pattern}; its weights "
            "are far above the threshold. Scale them down, or raise max_spikes if that is meant."
        )
        self.pattern, self.neuron, self.max_spikes = pattern, neuron, max_spikes

    def __reduce__(self) -> tuple[type["SpikeStorm"], tuple[int, int, int]]:
        return type(self), (self.pattern, self.neuron, self.max_spikes)


def simulate(
    lif: LIF,
    inputs: SpikeBatch,
    weights: ArrayLike,
    *,
    max_spikes: int = 10_000,
    n_threads: int = 1,
    backend: str = "auto",
) -> SpikeBatch:
    r"""Run a layer of neurons freely on every pattern and return its spikes, exact to rounding.

    There is no time step. Between two inputs the potential is a difference of two exponentials with
    at most one maximum, so whether and when it reaches the threshold is decided in closed form and
    located to machine precision; several spikes between two inputs are found one after another.
    The cost is proportional to inputs and spikes, not to the duration. Every pattern starts at
    rest.

    Parameters
    ----------
    lif : LIF
        The neuron model, one for the whole layer.
    inputs : SpikeBatch
        Input patterns.
    weights : array_like of shape (n_units,) or (n_neurons, n_units)
        Weights of one neuron or of each neuron of the layer; positive excite.
    max_spikes : int, default 10000
        Most spikes that one neuron may fire in one pattern.
    n_threads : int, default 1
        Threads over the patterns (compiled kernels only); the result does not depend on it.
    backend : {"auto", "numba", "numpy"}, default "auto"
        Compiled kernels or their plain twins; "auto" takes numba where it is installed.

    Returns
    -------
    SpikeBatch
        The neurons' spikes: as many patterns, ``n_units = n_neurons``, ordered by time.

    Raises
    ------
    ValueError
        If the weights are not finite or do not fit the inputs.
    SpikeStorm
        If a neuron fires more than `max_spikes` times in a pattern; nothing is cut short.

    Examples
    --------
    One input at 0 ms that is three times as strong as needed makes the neuron fire four times:

    >>> inputs = SpikeBatch.from_lists([[[0.0]]], duration=50.0)
    >>> times, neurons = simulate(LIF(), inputs, [3.0])[0]
    >>> times.round(6)
    array([ 1.221409,  2.863036,  5.405339, 12.914565])
    """
    w = layer_weights(weights, inputs.n_units)
    times, ids, indptr, storm = kernels(backend).simulate(
        inputs.times,
        inputs.ids,
        inputs.indptr,
        inputs.duration,
        w,
        Constants.of(lif),
        checks.integer("max_spikes", max_spikes, low=0),
        checks.integer("n_threads", n_threads, low=1),
    )
    if storm[0] >= 0:
        raise SpikeStorm(int(storm[0]), int(storm[1]), max_spikes)
    return SpikeBatch(times, ids, indptr, n_units=len(w), duration=inputs.duration)


def layer_weights(weights: ArrayLike, n_units: int) -> NDArray[np.float64]:
    """Return `weights` as a float64 array (n_neurons, n_units), or say what does not fit."""
    array = np.asarray(weights)
    w = checks.matrix("weights", array[None] if array.ndim == 1 else array)
    if w.shape[1] != n_units or len(w) == 0:
        raise ValueError(
            f"weights must be (n_units,) or (n_neurons, n_units) with n_units = {n_units}; "
            f"got {array.shape}."
        )
    return w
