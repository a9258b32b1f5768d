"""Pictures of views and of how branches learned, on a matplotlib figure that is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from septet.audio._curves import BranchCurves
    from septet.audio._stack import ViewStack


@torch.no_grad()
def draw_views(
    figure: Figure, stack: ViewStack, samples: NDArray[np.float32], sample_rate: int
) -> None:
    """Draw the views of one clip, before normalisation, below one another.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Empty.
    stack : ViewStack
    samples : ndarray of shape (n_samples,)
    sample_rate : int
        In Hz.
    """
    clip = torch.as_tensor(np.asarray(samples, np.float32))[None]
    device = next((buffer.device for buffer in stack.buffers()), clip.device)
    seconds = len(samples) / sample_rate
    axes = figure.subplots(len(stack.views), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (name, view) in zip(axes, stack.raw(clip.to(device)).items(), strict=True):
        values = view[0, 0].cpu().numpy()
        if values.ndim == 1:
            times = np.linspace(0, seconds, values.size)
            axis.plot(times, values, linewidth=0.4)
            axis.set_ylabel(name)
            continue
        axis.imshow(
            values,
            aspect="auto",
            origin="lower",
            extent=(0, seconds, 0, len(values)),
            interpolation="nearest",
        )
        centres = np.asarray(getattr(stack.views[name], "centres", np.arange(len(values))))
        marks = np.linspace(0, len(values) - 1, 4).round().astype(int)
        axis.set_yticks(marks + 0.5, [f"{centres[mark]:.0f}" for mark in marks])
        axis.set_ylabel(f"{name} (Hz)")
    axes[-1].set_xlabel("time (s)")


def draw_curves(figure: Figure, curves: BranchCurves) -> None:
    """Draw the losses of every branch and, below, the weights that followed from them.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Empty.
    curves : BranchCurves
    """
    upper, lower = figure.subplots(2, 1, sharex=True)
    for number, name in enumerate(curves.branches):
        colour = f"C{number}"
        upper.plot(curves.steps, curves.validation[:, number], color=colour, label=name)
        upper.plot(curves.steps, curves.train[:, number], color=colour, linestyle=":")
    upper.set_ylabel("loss (dotted: training)")
    upper.legend(ncols=len(curves.branches), fontsize="small")
    colours = [f"C{number}" for number in range(len(curves.branches))]
    lower.stackplot(curves.steps, curves.weights.T, colors=colours)
    lower.set(xlabel="step", ylabel="weight", ylim=(0, 1))
