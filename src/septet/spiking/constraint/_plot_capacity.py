"""Picture of capacity curves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from septet._core.pictures import axes_or_new, figure_of
from septet.spiking.constraint._capacity import CapacityCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_capacity(curves: Sequence[CapacityCurve], *, ax: "Axes | None" = None) -> "Figure":
    """Draw the fraction of seeds with a solution against the load, a curve for each output rate.

    Parameters
    ----------
    curves : sequence of CapacityCurve
        As `capacity` returns them.
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
    >>> curve = CapacityCurve(20, 2, np.array([1, 3, 2, 3]), 0)
    >>> plot_capacity([curve]).axes[0].get_ylabel()
    'seeds with a solution'
    """
    ax = axes_or_new(ax, (6.0, 3.6))
    for curve in curves:
        spikes = f"{curve.n_spikes} spike{'s' * (curve.n_spikes > 1)} a pattern"
        ax.plot(
            np.append(0.0, curve.loads),
            np.append(1.0, curve.solved),
            marker=".",
            label=f"{spikes}: {curve.alpha_c:.3g}",
        )
    ax.axhline(0.5, color="grey", lw=0.8, ls=":")
    ax.set(xlabel="desired spikes per input", ylabel="seeds with a solution", ylim=(-0.03, 1.03))
    ax.legend(title="capacity")
    return figure_of(ax)
