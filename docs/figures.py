"""Draw the guides' figures from the library itself, each time the site is built."""

from pathlib import Path

import numpy as np

from septet import cohort


def cohort_probabilities(path: Path) -> None:
    """200 skewed scores, 20 seats: chances under every mechanism."""
    scores = np.random.default_rng(7).beta(2, 5, 200)
    cohort.plot_probabilities(scores, 20).savefig(path)


def cohort_stream(path: Path) -> None:
    """People who wait while 2 000 candidates arrive for 50 seats, for several numbers of cells."""
    from matplotlib.figure import Figure

    scores = np.random.default_rng(7).beta(2, 5, 2000)
    figure = Figure((6, 4), layout="constrained")
    axes = figure.add_subplot()
    for knots in (1, 10, 50):
        stream = cohort.FairStream(50, knots=knots, slack=10, seed="figure")
        waiting = []
        for i, score in enumerate(scores):
            stream.push(i, score)
            waiting.append(len(stream.pending))
        axes.plot(waiting, label=f"{knots} cell{'s' * (knots > 1)}")
    axes.axhline(50, color="grey", lw=0.8, ls=":")
    axes.set(xlabel="arrivals", ylabel="people waiting (50 seats)", ylim=(0, None))
    axes.legend()
    figure.savefig(path)


def draw_all(folder: Path) -> None:
    """Draw every figure into `folder`."""
    folder.mkdir(exist_ok=True)
    for draw in (cohort_probabilities, cohort_stream):
        draw(folder / f"{draw.__name__}.svg")
