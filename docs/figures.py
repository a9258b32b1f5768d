"""Draw the guides' figures from the library itself, each time the site is built."""

import json
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


def hebbian_residuals(path: Path) -> None:
    """Residuals against the learning rate, Hebbian rules and STDP, from the kept run."""
    from matplotlib.figure import Figure

    kept = _kept(path, "spiking.hebbian")
    figure = Figure((7, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for rule in dict.fromkeys(row["rule"] for row in kept["hebbian"]):
        rows = [row for row in kept["hebbian"] if row["rule"] == rule]
        rates = [row["learning rate"] for row in rows]
        left.loglog(rates, [row["same events"] for row in rows], marker="o", label=rule)
    for depression in dict.fromkeys(row["depression"] for row in kept["stdp"]):
        rows = [row for row in kept["stdp"] if row["depression"] == depression]
        rates = [row["learning rate"] for row in rows]
        label = f"depression {depression:g}"
        (line,) = right.loglog(rates, [row["nominal"] for row in rows], marker="o", label=label)
        right.loglog(rates, [row["applied"] for row in rows], color=line.get_color(), ls=":")
    left.set(xlabel="learning rate", ylabel="sum of absolute differences", title="Hebb")
    right.set(xlabel="learning rate", title="STDP (dotted: demotions as applied)")
    left.legend()
    right.legend()
    figure.savefig(path)


def hebbian_areas(path: Path) -> None:
    """Area under the ROC curve of every detector, three data sets, from the kept run."""
    from matplotlib.figure import Figure

    sets = _kept(path, "spiking.hebbian")["novelty"]
    figure = Figure((7, 4.6), layout="constrained")
    order = [row["detector"] for row in sets["mnist"]][::-1]
    axes = figure.add_subplot()
    for name, marker in zip(sets, "os^", strict=True):
        found = {row["detector"]: row["area"] for row in sets[name]}
        axes.plot([found[each] for each in order], range(len(order)), marker, label=name)
    axes.set(yticks=range(len(order)), xlabel="area under the ROC curve, mean of 5 splits")
    axes.set_yticklabels(order, fontsize=7)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def _kept(path: Path, name: str) -> dict:
    """What the kept full run of a recipe has left for its figures."""
    return json.loads((path.parent.parent / "results" / f"{name}.full.json").read_text())["kept"]


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


def optim_curves(path: Path) -> None:
    """Validation loss while a small LLaMA trains, from the kept run of the recipe."""
    from matplotlib.figure import Figure

    kept = json.loads((path.parent.parent / "results" / "optim.llama.full.json").read_text())
    figure = Figure((7, 4), layout="constrained")
    axes = figure.add_subplot()
    for label, curve in kept["kept"].items():
        losses = np.array(curve["losses"])
        name = f"{label} ({curve['state']:.0f} %)"
        (line,) = axes.plot(curve["seen"], losses.mean(0), label=name)
        color = line.get_color()
        axes.fill_between(curve["seen"], losses.min(0), losses.max(0), color=color, alpha=0.2)
    axes.set(xlabel="million bytes seen", ylabel="validation loss, nats per byte", ylim=(1.7, 2.6))
    axes.legend()
    figure.savefig(path)


def speech_spectrograms(path: Path) -> None:
    """A buzz with syllables in hiss, before and after the shipped model."""
    from matplotlib.figure import Figure

    from septet.speech import Denoiser, mix_at_snr

    rng = np.random.default_rng(3)
    t = np.arange(40_000) / 16_000
    phase = np.cumsum(130 + 40 * np.sin(5 * t)) * 2 * np.pi / 16_000
    voice = np.sum([np.sin(k * phase) / k for k in range(1, 25)], axis=0) * (np.sin(14 * t) > -0.2)
    noisy = mix_at_snr(0.05 * voice, rng.normal(size=t.size), 8.0)
    sounds = {"noisy": noisy, "enhanced": Denoiser.from_pretrained().enhance(noisy, 16_000)}
    figure = Figure((7, 4), layout="constrained")
    for ax, (name, samples) in zip(
        figure.subplots(2, 1, sharex=True, sharey=True), sounds.items(), strict=True
    ):
        ax.specgram(
            samples + 1e-9, NFFT=512, Fs=16_000, noverlap=384, vmin=-120, vmax=-40, rasterized=True
        )
        ax.set(title=name, ylabel="Hz")
    ax.set_xlabel("s")
    figure.savefig(path)


def draw_all(folder: Path) -> None:
    """Draw every figure into `folder`."""
    folder.mkdir(exist_ok=True)
    for draw in (
        audio_views,
        audio_weights,
        cohort_probabilities,
        cohort_stream,
        hebbian_monitor,
        hebbian_novelty,
        hebbian_residuals,
        hebbian_areas,
        optim_curves,
        robust_heads,
        spiking_memory,
        spiking_steps,
        spiking_capacity,
        speech_spectrograms,
    ):
        draw(folder / f"{draw.__name__}.svg")
