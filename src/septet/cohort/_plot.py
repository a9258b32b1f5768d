"""Pictures of a selection: probability against score, beside what other mechanisms would give."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from septet._core.pictures import axes_or_new, figure_of
from septet.cohort import _baselines
from septet.cohort._scores import check_scores, check_size
from septet.cohort._selection import selection_probabilities

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST = 4000  # candidates that get a marker each; more are thinned out evenly by score


def plot_probabilities(
    scores: ArrayLike, k: int, *, baselines: bool = True, ax: "Axes | None" = None
) -> "Figure":
    """Plot selection probabilities against scores.

    Parameters
    ----------
    scores : array_like of shape (n,)
        Acceptance probability of each candidate alone.
    k : int
        Cohort size.
    baselines : bool, default True
        Also show permute-then-classify (up to 20,000 candidates: it takes n squared steps),
        weighted sampling, uniform choice and top k.
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
    >>> figure = plot_probabilities([0.9, 0.5, 0.3, 0.1], 2)
    >>> figure.axes[0].get_xlabel()
    'score'
    """
    s = check_scores(scores)
    k = check_size(k, s.size)
    ax = axes_or_new(ax, (6, 4))
    curves = {
        "best total score": np.asarray(selection_probabilities(s, k, allow_zero_score=True)),
        "best ratio": np.asarray(
            selection_probabilities(s, k, objective="ratio", allow_zero_score=True)
        ),
    }
    if baselines:
        if s.size <= _baselines.MOST_SQUARED:
            curves["permute then classify"] = _baselines.permute_then_classify_probabilities(s, k)
        if s.any():
            curves["weighted sampling"] = _baselines.weighted_sampling_probabilities(s, k)
        curves["uniform"] = _baselines.uniform_probabilities(s, k)
        curves["top k (unfair)"] = _baselines.top_k_probabilities(s, k)
    order = np.argsort(s, kind="stable")
    shown = order[np.unique(np.linspace(0, s.size - 1, min(s.size, _MOST)).astype(int))]
    for name, p in curves.items():
        dashes = "--" if name.startswith("top") else "-"
        width = 2.0 if name.startswith("best") else 1.0
        ax.plot(s[shown], p[shown], dashes, lw=width, marker=".", ms=3, label=name)
    ax.set(xlabel="score", ylabel=f"probability of one of {k} seats", ylim=(-0.03, 1.03))
    ax.legend()
    return figure_of(ax)
