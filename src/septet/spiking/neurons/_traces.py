"""Postsynaptic potentials and membrane potentials at chosen times."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core import checks
from septet.spiking.neurons._batch import SpikeBatch
from septet.spiking.neurons._lif import LIF
from septet.spiking.neurons._simulate import layer_weights, simulate


def psp(
    lif: LIF, inputs: SpikeBatch, pattern: int, times: ArrayLike, *, slope: bool = False
) -> NDArray[np.float64]:
    """Return the summed postsynaptic potential of every input line at times of one pattern.

    Row ``x(t)`` is what the weights are multiplied with: without resets the membrane potential is
    ``x(t) @ weights``. An input at exactly ``t`` does not yet count.

    Parameters
    ----------
    lif : LIF
        The neuron model.
    inputs : SpikeBatch
        Input patterns.
    pattern : int
        Which of them.
    times : array_like of shape (n_times,)
        Times in ms.
    slope : bool, default False
        Return the time derivatives in 1/ms instead.

    Returns
    -------
    ndarray of shape (n_times, n_units)

    Examples
    --------
    >>> inputs = SpikeBatch.from_lists([[[0.0], [10.0]]], duration=20.0)
    >>> psp(LIF(), inputs, 0, [12.0]).round(8)
    array([[0.96957119, 0.49636416]])
    """
    t = checks.vector("times", times)
    when, ids = inputs[pattern]
    kernel = lif.psp_slope if slope else lif.psp
    rows = np.zeros((inputs.n_units, t.size))
    np.add.at(rows, ids, kernel(t[None, :] - when[:, None]))
    return rows.T


def potential(
    lif: LIF,
    inputs: SpikeBatch,
    weights: ArrayLike,
    times: ArrayLike,
    *,
    pattern: int = 0,
    spikes: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Return the membrane potential of one neuron at the given times of one pattern.

    At a spike time this is the value just before the reset, the threshold; with delta synapses that
    just before the inputs which made it jump there.

    Parameters
    ----------
    lif : LIF
        The neuron model.
    inputs : SpikeBatch
        Input patterns.
    weights : array_like of shape (n_units,)
        Weights of the neuron.
    times : array_like of shape (n_times,)
        Times in ms, in any order.
    pattern : int, default 0
        Which of the patterns.
    spikes : array_like of shape (n,), optional
        Times in ms at which the neuron is forced to reset, whatever its potential; by default the
        spikes of its free run. An empty list gives the potential without any reset.

    Returns
    -------
    ndarray of shape (n_times,)

    Notes
    -----
    A forced reset subtracts the threshold, so that the potential stays affine in the weights. With
    a refractory period or delta synapses it sets the potential to 0, as those neurons do.

    Examples
    --------
    >>> inputs = SpikeBatch.from_lists([[[0.0]]], duration=20.0)
    >>> potential(LIF(), inputs, [0.5], [5.0, 9.241962407]).round(6)
    array([0.434865, 0.5     ])
    """
    w = layer_weights(weights, inputs.n_units)
    if len(w) != 1:
        raise ValueError(f"weights must be those of one neuron; got {len(w)} neurons.")
    t = checks.vector("times", times)
    one = inputs[[pattern]]
    if spikes is None:
        resets = simulate(lif, one, w).times
    else:
        resets = np.sort(checks.vector("spikes", spikes))
    when, ids = one[0]
    if lif.t_ref > 0 or lif.tau_s == 0:
        return _potential_set_to_zero(lif, when, w[0][ids], t, resets)
    free = psp(lif, one, 0, t) @ w[0]
    return free - lif.threshold * lif.reset(t[:, None] - resets[None, :]).sum(axis=1)


def _potential_set_to_zero(
    lif: LIF,
    when: NDArray[np.float64],
    drive: NDArray[np.float64],
    times: NDArray[np.float64],
    resets: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Potential that restarts from 0 at the end of each refractory period."""
    value = np.empty(times.size)
    for j, t in enumerate(times):
        before = resets[resets < t]
        if before.size == 0:
            value[j] = drive @ lif.psp(t - when)
            continue
        restart = before[-1] + lif.t_ref
        if t <= restart:
            value[j] = 0.0
        elif lif.tau_s == 0:
            value[j] = drive @ np.where(when > restart, lif.psp(t - when), 0.0)
        else:
            # what the currents add after the restart: the whole, less what had built up by then
            built_up = drive @ lif.psp(restart - when)
            value[j] = drive @ lif.psp(t - when) - built_up * np.exp(-(t - restart) / lif.tau_m)
    return value
