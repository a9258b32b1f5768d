"""Commands for Hebbian neurons: novelty fit and score, monitor events."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from septet import cli
from septet._core import checks
from septet._core.errors import DataError
from septet._core.pictures import save_figure
from septet.cli import _console

Json = Annotated[bool, tyro.conf.arg(name="json")]
Output = Annotated[Path | None, tyro.conf.arg(aliases=["-o"])]


def novelty_fit(
    data: tyro.conf.Positional[Path],
    model: tyro.conf.Positional[Path],
    *,
    neurons: int = 30,
    measure: str = "chi2",
    epochs: int = 3,
    contamination: float = 0.1,
    signed: bool = False,
    seed: int = 0,
    more: bool = False,
    as_json: Json = False,
) -> int:
    """Learn from DATA what is normal and write the detector to MODEL.

    Parameters
    ----------
    data
        CSV file with a header, numbers only; a row a sample.
    model
        Where the detector goes (.safetensors).
    neurons
        Number of competing neurons.
    measure
        chi2, kl, tv, l2 or cosine.
    epochs
        Passes over the data.
    contamination
        Share of the training samples that is to be called novel.
    signed
        Take numbers below 0 too: every feature gets an ON and an OFF input.
    seed
        Seed of all randomness.
    more
        Go on learning with the detector that MODEL holds already, one pass.
    as_json
        Print JSON.
    """
    from septet.data import read_numbers
    from septet.spiking import SpikingNoveltyDetector

    table = read_numbers(data)
    columns = table.columns
    if more:
        detector = SpikingNoveltyDetector.load(model)
        columns, X = _in_order(detector, table, data)
        detector.partial_fit(X)
    else:
        detector = SpikingNoveltyDetector(
            neurons,
            measure=measure,
            epochs=epochs,
            contamination=contamination,
            signed=signed,
            random_state=seed,
        ).fit(table.values)
    detector.feature_names_in_ = np.array(columns, dtype=object)  # pyrefly: ignore[missing-attribute]
    detector.save(model)
    _console.result(
        {
            "samples seen": detector.n_samples_seen_,
            "features": len(columns),
            "neurons": detector.n_neurons_,
            "silent samples": detector.n_silent_,
            "offset": detector.offset_,
        },
        as_json=as_json,
    )
    return 0


def novelty_score(
    model: tyro.conf.Positional[Path],
    data: tyro.conf.Positional[Path],
    *,
    features: int = 3,
    jobs: int = 1,
    as_json: Json = False,
) -> int:
    """Score the samples of DATA by the detector of MODEL: negative is novel.

    Parameters
    ----------
    model
        A detector that `novelty fit` wrote.
    data
        CSV file as for `novelty fit`.
    features
        How many of the features that violate the constraint most are named for each sample.
    jobs
        Threads.
    as_json
        Print JSON.
    """
    from septet.data import read_numbers
    from septet.spiking import SpikingNoveltyDetector

    detector = SpikingNoveltyDetector.load(model)
    detector.set_params(n_jobs=jobs)
    table = read_numbers(data)
    columns, X = _in_order(detector, table, data)
    decision, residuals = detector.decision_function(X), detector.residuals(X)
    rows = []
    for i, value in enumerate(decision):
        worst = abs(residuals[i]).argsort()[::-1][:features]
        rows.append(
            {
                "row": i,
                "decision": float(value),
                "novel": bool(value < 0),
                "features": [f"{columns[j]} {residuals[i, j]:+.3g}" for j in worst],
            }
        )
    _console.table(rows, as_json=as_json)
    return 0


def monitor_events(
    events: tyro.conf.Positional[Path],
    *,
    rule: str = "trace",
    depression: float = 0.3,
    learning_rate: float = 1e-3,
    threshold: float = 0.35,
    tau_m: float = 20.0,
    neurons: int = 1,
    memories: float = 20.0,
    passes: int = 1,
    duration: float | None = None,
    plot: Path | None = None,
    as_json: Json = False,
) -> int:
    """Learn from EVENTS and say when the weights have converged; exit 1 if they have not.

    Parameters
    ----------
    events
        CSV file with a line a spike: pattern, time (ms), unit.
    rule
        trace, binary, count, nearest or trigger (Hebbian), or stdp.
    depression
        Of stdp, relative to potentiation.
    learning_rate
        Weight per promotion.
    threshold
        Firing threshold, in units of weights that sum to 1.
    tau_m
        Membrane time constant in ms.
    neurons
        Number of neurons; more than one compete.
    memories
        Length of a window of the monitor in memories of the weights.
    passes
        How often the events are presented at most.
    duration
        Length of the patterns in ms, if the file does not say.
    plot
        Draw the statistic of every window here (.svg or .png).
    as_json
        Print JSON.
    """
    from septet import spiking

    checks.integer("passes", passes, low=1)
    given = spiking.read_spikes(events, duration=duration)
    described = (
        spiking.HebbianRule(depression=depression)
        if rule == "stdp"
        else spiking.HebbianRule(promotion=rule)
    )
    layer = spiking.HebbianLayer(
        given.n_units,
        neurons,
        lif=spiking.LIF(tau_m, 0.0, threshold),
        rule=described,
        learning_rate=learning_rate,
        competition="winner" if neurons > 1 else "none",
    )
    monitor = spiking.ConvergenceMonitor(memories)
    for _ in range(passes):
        if layer.learn(given, carry=True, monitor=monitor).converged:
            break
    rows = [
        {
            "neuron": w.neuron,
            "events": w.events,
            "memories": w.memories,
            "statistic": w.statistic,
            "threshold": w.threshold,
            "passed": w.passed,
        }
        for w in monitor.windows
    ]
    if as_json:
        report = {"converged": monitor.converged, "windows": rows, "weights": layer.weights}
        _console.result(report, as_json=True)
    else:
        _console.table(rows)
        _console.result({"converged": "yes" if monitor.converged else "no"})
    if plot is not None:
        save_figure(monitor.plot(), plot)
    return 0 if monitor.converged else 1


def novelty(words: list[str]) -> int:
    """Learn from a table what is normal and score samples: novelty fit, novelty score."""
    return _nested("novelty", {"fit": novelty_fit, "score": novelty_score}, words)


def monitor(words: list[str]) -> int:
    """Say when weights that learn from spikes have converged: monitor events."""
    return _nested("monitor", {"events": monitor_events}, words)


COMMANDS = {"novelty": novelty, "monitor": monitor}


def _in_order(detector: Any, table: Any, path: Path) -> tuple[tuple[str, ...], Any]:
    """Return columns and values of a table in the order in which the detector learned them.

    The names are taken off the detector: scikit-learn would want them with the values.
    """
    learned = vars(detector).pop("feature_names_in_", None)
    if learned is None or table.columns == tuple(learned):
        return table.columns, table.values
    if sorted(table.columns) != sorted(learned):
        raise DataError(
            f"{path} must have the columns that the detector learned, {', '.join(learned)}; it has "
            f"{', '.join(table.columns)}."
        )
    return tuple(learned), table.values[:, [table.columns.index(name) for name in learned]]


def _nested(group: str, verbs: dict[str, cli.Command], words: list[str]) -> int:
    """Call the verb that the first word names."""
    prog = f"septet spiking {group}"
    if not words or words[0] in {"-h", "--help"}:
        print(f"usage: {prog} VERB\n\n{cli._listing(verbs)}")
        return cli.OK
    if words[0] not in verbs:
        return cli._unknown(prog, words[0], list(verbs))
    return cli._call(f"{prog} {words[0]}", verbs[words[0]], words[1:])
