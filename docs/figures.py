"""Draw the guides' figures from the library itself, each time the site is built."""

from pathlib import Path

import numpy as np

from septet import cohort, spiking


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


def spiking_memory(path: Path) -> None:
    """One of ten patterns that a neuron has memorised: inputs, potential, targets."""
    from matplotlib.figure import Figure

    inputs, targets = spiking.random_associations(10, 500, 5, random_state=0)
    learner = spiking.SpikeTrainLearner().fit(inputs, targets)
    figure = Figure((7, 6), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True)
    spiking.plot_raster(inputs, 0, ax=upper, label="input")
    spiking.plot_potential(spiking.LIF(), inputs, learner.coef_[0], targets=targets[0], ax=lower)
    upper.set(xlabel="")
    figure.savefig(path)


def spiking_steps(path: Path) -> None:
    """The same three directions, steps of three kinds: worked example of the method."""
    from matplotlib.figure import Figure

    inputs = spiking.SpikeBatch.from_lists([[[0.0], [4.0], [18.0]]], duration=40.0)
    targets = [8.0, 25.0]
    lif = spiking.LIF()
    rows = spiking.psp(lif, inputs, 0, targets)
    missing = 1 + np.array([0.0, np.exp(-(25.0 - 8.0) / lif.tau_m)])
    gram = rows @ rows.T
    steps = {
        "exact": np.linalg.solve(gram, missing),
        "diagonal": missing / np.diag(gram),
        "uniform": np.full(2, 0.5),
    }
    figure = Figure((7, 6.5), layout="constrained")
    for ax, (name, step) in zip(figure.subplots(3, sharex=True), steps.items(), strict=True):
        spiking.plot_potential(lif, inputs, step @ rows, targets=targets, ax=ax)
        ax.set(title=name, ylim=(-0.5, 1.25), xlabel="time (ms)" if name == "uniform" else "")
    figure.savefig(path)


def spiking_capacity(path: Path) -> None:
    """Seeds with a solution against the load, 100 inputs, three output rates."""
    curves = [spiking.capacity(None, 100, n, 6) for n in (1, 2, 5)]
    spiking.plot_capacity(curves).savefig(path)


def hebbian_monitor(path: Path) -> None:
    """Statistic of the monitor for a Hebbian neuron, one with STDP and one with few inputs."""
    from matplotlib.figure import Figure

    figure = Figure((7, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for n, depression in ((100, 0.0), (100, 0.3), (784, 0.0)):
        layer = spiking.HebbianLayer(
            n,
            lif=spiking.LIF(tau_s=0.0, threshold=0.35),
            rule=spiking.HebbianRule(depression=depression),
            learning_rate=0.1 / n,
        )
        monitor = spiking.ConvergenceMonitor(consecutive=10**6)
        rates = np.random.default_rng(0).uniform(2.0, 60.0, n)
        layer.learn_poisson(rates, 150_000.0, monitor=monitor, random_state=0)
        ends = np.cumsum([w.events for w in monitor.windows])
        name = f"{n} inputs, {f'STDP {depression}' if depression else 'Hebb'}"
        (line,) = axes.plot(ends, [w.statistic for w in monitor.windows], marker="o", label=name)
        axes.axhline(monitor.windows[-1].threshold, color=line.get_color(), ls="--", lw=0.8)
    axes.set(xlabel="learning events", ylabel="statistic", yscale="log")
    axes.legend()
    figure.savefig(path)


def hebbian_novelty(path: Path) -> None:
    """Weights learned from zeros; residuals of a zero and of a one."""
    from matplotlib.figure import Figure
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    detector = spiking.SpikingNoveltyDetector(n_neurons=1, random_state=0).fit(X[y == 0][:150])
    shown = np.stack([X[y == 0][160], X[y == 1][0]])
    residuals = detector.residuals(shown)
    most = float(np.abs(residuals).max())
    figure = Figure((7, 2.4), layout="constrained")
    pictures = {"weights": detector.weights_[0], "a zero": residuals[0], "a one": residuals[1]}
    for ax, (title, values) in zip(figure.subplots(1, 3), pictures.items(), strict=True):
        if title == "weights":
            ax.imshow(values.reshape(8, 8), cmap="gray_r")
        else:
            ax.imshow(values.reshape(8, 8), cmap="RdBu_r", vmin=-most, vmax=most)
        ax.set(title=title, xticks=[], yticks=[])
    figure.savefig(path)


def robust_heads(path: Path) -> None:
    """Accuracy of every group under a plain and a worst-group head, same training rows."""
    from matplotlib.figure import Figure

    from septet import robust

    rng = np.random.default_rng(0)

    def rows(n: int, agreement: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        y = rng.integers(0, 2, n)
        place = np.where(rng.random(n) < agreement, y, 1 - y)
        X = rng.normal(size=(n, 6))
        X[:, 0] += 1.6 * y
        X[:, 1] += 3.0 * place
        return X, y, place

    X, y, place = rows(1000, 0.95)
    test, truth, where = rows(600, 0.5)
    heads = {
        "plain head": robust.ERMClassifier(0.01).fit(X, y),
        "worst-group head": robust.GroupDROClassifier(0.01).fit(X, y, groups=place),
    }
    figure = Figure((7, 2.6), layout="constrained")
    axes = figure.add_subplot()
    for i, (name, head) in enumerate(heads.items()):
        report = robust.group_report(truth, head.predict(test), where)
        for j, row in enumerate(report.groups):
            at = j + 0.2 * i
            axes.plot(row.family_interval, [at, at], color=f"C{i}", alpha=0.35, linewidth=6)
            axes.plot(row.accuracy, at, "o", color=f"C{i}", label=name if j == 0 else None)
        axes.set_yticks(range(len(report.groups)), [row.name for row in report.groups])
    axes.set(xlabel="accuracy, with 95 % intervals that hold for all groups at once")
    axes.legend()
    figure.savefig(path)


def draw_all(folder: Path) -> None:
    """Draw every figure into `folder`."""
    folder.mkdir(exist_ok=True)
    for draw in (
        cohort_probabilities,
        cohort_stream,
        hebbian_monitor,
        hebbian_novelty,
        robust_heads,
        spiking_memory,
        spiking_steps,
        spiking_capacity,
    ):
        draw(folder / f"{draw.__name__}.svg")
