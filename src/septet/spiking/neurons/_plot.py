"""Pictures of spike trains and of the membrane potential behind them."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from septet._core import checks
from septet._core.pictures import axes_or_new, figure_of
from septet.spiking.neurons._batch import SpikeBatch
from septet.spiking.neurons._lif import LIF
from septet.spiking.neurons._simulate import simulate
from septet.spiking.neurons._traces import potential

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TARGET = "#c44e52"


def plot_raster(
    spikes: SpikeBatch, pattern: int = 0, *, ax: "Axes | None" = None, label: str = "unit"
) -> "Figure":
    """Draw every spike of one pattern as a tick, a row a unit.

    Parameters
    ----------
    spikes : SpikeBatch
        Inputs or outputs.
    pattern : int, default 0
        Which of the patterns.
    ax : matplotlib.axes.Axes, optional
        Draw here instead of into a new figure.
    label : str, default "unit"
        What the rows are.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> batch = SpikeBatch.from_lists([[[1.0, 7.5], [3.0]]], duration=10.0)
    >>> plot_raster(batch).axes[0].get_xlabel()
    'time (ms)'
    """
    ax = axes_or_new(ax, (7.0, 3.6))
    times, ids = spikes[pattern]
    rows = 0.8 * min(1.0, 40 / spikes.n_units) + 0.2  # dense rasters need ticks that touch
    ax.vlines(times, ids - rows / 2, ids + rows / 2, lw=0.8, color="black")
    ax.set(
        xlim=(0, spikes.duration),
        ylim=(-0.6, spikes.n_units - 0.4),
        xlabel="time (ms)",
        ylabel=label,
    )
    return figure_of(ax)


def plot_potential(
    lif: LIF,
    inputs: SpikeBatch,
    weights: ArrayLike,
    *,
    pattern: int = 0,
    targets: ArrayLike | None = None,
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw the membrane potential of one neuron's free run, its spikes, threshold and targets.

    Parameters
    ----------
    lif : LIF
        The neuron model.
    inputs : SpikeBatch
        Input patterns.
    weights : array_like of shape (n_units,)
        Weights of the neuron.
    pattern : int, default 0
        Which of the patterns.
    targets : array_like of shape (n,), optional
        Desired spike times in ms, drawn as dashed lines.
    ax : matplotlib.axes.Axes, optional
        Draw here instead of into a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> batch = SpikeBatch.from_lists([[[0.0], [10.0]]], duration=40.0)
    >>> figure = plot_potential(LIF(), batch, [0.8172, 0.4184], targets=[12.0])
    >>> figure.axes[0].get_ylabel()
    'potential (thresholds)'
    """
    desired = None if targets is None else checks.vector("targets", targets)
    ax = axes_or_new(ax, (7.0, 3.0))
    spikes = simulate(lif, inputs[[pattern]], weights).times
    # at a spike the line goes up to the threshold and on from just after the reset
    after = np.minimum(spikes + 1e-9 * inputs.duration, inputs.duration)
    grid = np.linspace(0.0, inputs.duration, 2001)
    times = np.sort(np.concatenate([grid, spikes, after]))
    values = potential(lif, inputs, weights, times, pattern=pattern, spikes=spikes)
    ax.plot(times, values / lif.threshold, lw=0.9, label="potential")
    ax.axhline(1.0, color="grey", lw=0.8, label="threshold")
    ax.plot(spikes, np.full(spikes.size, 1.12), "v", ms=5, color="black", label="spike")
    if desired is not None:
        for i, t in enumerate(desired):
            ax.axvline(t, color=_TARGET, lw=0.9, ls="--", label="target" if i == 0 else None)
    ax.set(xlim=(0, inputs.duration), xlabel="time (ms)", ylabel="potential (thresholds)")
    ax.legend(ncols=4, loc="lower right", fontsize="small")
    return figure_of(ax)
