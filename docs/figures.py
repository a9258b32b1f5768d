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


def audio_views(path: Path) -> None:
    """A chirp with clicks, by the four standard views."""
    from matplotlib.figure import Figure

    from septet.audio import ViewStack, draw_views

    times = np.arange(32000) / 16000
    samples = 0.3 * np.sin(2 * np.pi * (200 + 900 * times) * times)
    samples[::4000] += 0.8
    samples += 0.01 * np.random.default_rng(0).normal(size=samples.size)
    figure = Figure((7, 7), layout="constrained")
    draw_views(figure, ViewStack.standard(16000), samples, 16000)
    figure.savefig(path)


def audio_weights(path: Path) -> None:
    """Three branches: one healthy, one that overfits, one slow."""
    from matplotlib.figure import Figure

    from septet.audio import OGRPolicy, draw_curves

    policy = OGRPolicy(["healthy", "overfits", "slow"], warmup=5)
    for i in range(41):
        fade = 2 * np.exp(-0.05 * i)
        rise = 1 + np.exp(-0.3 * i) + 0.02 * max(0, i - 10)
        train = [fade + 0.1, 2 * np.exp(-0.15 * i), 2 - 0.01 * i]
        policy.update(train, [fade + 0.15, rise, 2 - 0.009 * i])
    figure = Figure((7, 5), layout="constrained")
    draw_curves(figure, policy.curves)
    figure.savefig(path)


def draw_all(folder: Path) -> None:
    """Draw every figure into `folder`."""
    folder.mkdir(exist_ok=True)
    for draw in (audio_views, audio_weights, cohort_probabilities, cohort_stream):
        draw(folder / f"{draw.__name__}.svg")
