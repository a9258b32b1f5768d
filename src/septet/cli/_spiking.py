"""Commands for spiking neurons: simulate, memorize, capacity, classify, novelty, monitor."""

from pathlib import Path
from typing import Annotated, Any

import tyro

from septet._core.pictures import new_figure, save_figure
from septet.cli import _console, _spiking_hebbian

Json = Annotated[bool, tyro.conf.arg(name="json")]
Output = Annotated[Path | None, tyro.conf.arg(aliases=["-o"])]


def simulate(
    layer: tyro.conf.Positional[Path],
    inputs: tyro.conf.Positional[Path],
    *,
    output: Output = None,
    duration: float | None = None,
    plot: Path | None = None,
    pattern: int = 0,
    as_json: Json = False,
) -> int:
    """Run a LAYER of neurons on the INPUTS exactly and write its spikes.

    Parameters
    ----------
    layer
        Neuron and weights, as `septet spiking memorize -o` writes them (.json or .nir).
    inputs
        CSV file with a line a spike: pattern, time (ms), unit.
    output
        Write the spikes here as CSV; to standard output if not given.
    duration
        Length of the patterns in ms, if the file does not say.
    plot
        Draw inputs, potential of the first neuron and spikes of one pattern here (.svg or .png).
    pattern
        The pattern to draw.
    as_json
        Print counts and rates as JSON instead of the spikes.
    """
    from septet import spiking

    lif, weights = spiking.load_layer(layer)
    given = spiking.read_spikes(inputs, n_units=weights.shape[1], duration=duration)
    _check_pattern(plot, pattern, len(given))
    fired = spiking.simulate(lif, given, weights)
    if output is not None:
        spiking.write_spikes(fired, output)
    presented = len(given) * len(weights) * given.duration / 1000
    facts = {
        "patterns": len(given),
        "neurons": len(weights),
        "input spikes": given.n_spikes,
        "spikes": fired.n_spikes,
        "spikes per second and neuron": fired.n_spikes / presented if presented else None,
    }
    if as_json:
        _console.result(facts | {"counts": fired.counts()}, as_json=True)
    elif output is None:
        print(spiking.format_spikes(fired), end="")
    else:
        _console.result(facts)
    if plot is not None:
        save_figure(_picture(lif, given, weights[0], fired, pattern, None), plot)
    return 0


def memorize(
    inputs: tyro.conf.Positional[Path],
    targets: tyro.conf.Positional[Path],
    *,
    output: Output = None,
    tau_m: float = 20.0,
    tau_s: float = 5.0,
    threshold: float = 1.0,
    t_ref: float = 0.0,
    duration: float | None = None,
    margin: float = 0.1,
    min_slope: float = 0.02,
    robust: bool = False,
    plot: Path | None = None,
    pattern: int = 0,
    as_json: Json = False,
) -> int:
    """Solve for weights that answer the INPUTS with the TARGETS; exit 1 with a proof if none can.

    Parameters
    ----------
    inputs
        CSV file with a line an input spike: pattern, time (ms), unit.
    targets
        CSV file with a line a desired spike: pattern, time (ms), unit (the neuron, 0 if missing).
    output
        Write neuron and weights here (.json or .nir).
    tau_m
        Membrane time constant in ms.
    tau_s
        Synaptic time constant in ms.
    threshold
        Firing threshold.
    t_ref
        Refractory period in ms.
    duration
        Length of the patterns in ms, if the file does not say.
    margin
        Distance from the threshold, as a fraction of it, that is kept where no spike is desired.
    min_slope
        Least slope at a desired spike, in thresholds per ms.
    robust
        Look for the largest margin instead.
    plot
        Draw inputs, potential of the first neuron and targets of one pattern here.
    pattern
        The pattern to draw.
    as_json
        Print JSON.
    """
    from septet import spiking

    lif = spiking.LIF(tau_m, tau_s, threshold, t_ref)
    given = spiking.read_spikes(inputs, duration=duration)
    wanted = spiking.read_spikes(targets, n_patterns=len(given), duration=given.duration)
    _check_pattern(plot, pattern, len(given))
    learner = spiking.SpikeTrainLearner(lif, margin=margin, min_slope=min_slope)
    try:
        if robust:
            learner = spiking.maximise_margin(learner, given, wanted)
        else:
            learner.fit(given, wanted)
    except spiking.UnreachableTargetsError as error:
        _console.note(f"OUT OF REACH: {error}")
        if as_json:
            _console.result({"reachable": False, "proof": _proof(error.certificate)}, as_json=True)
        return 1
    if output is not None:
        spiking.save_layer(output, lif, learner.coef_)
    report = learner.report_
    _console.result(
        {
            "reachable": True,
            "exact": report.exact,
            "largest timing error (ms)": report.max_timing_error,
            "trains of a wrong count": report.n_wrong_count,
            "margin": report.margin,
            "norm of the weights": report.weight_norm,
            "rounds of cutting planes": report.rounds,
            "seconds": report.wall_time,
        },
        as_json=as_json,
    )
    if plot is not None:
        fired = learner.predict(given)
        desired = wanted.trains(pattern)[0]
        save_figure(_picture(lif, given, learner.coef_[0], fired, pattern, desired), plot)
    return 0 if report.exact else 1


def capacity(
    *,
    inputs: int = 200,
    spikes: tuple[int, ...] = (1, 2, 5, 10, 20),
    seeds: int = 10,
    tau_m: float = 20.0,
    tau_s: float = 5.0,
    duration: float = 500.0,
    input_rate: float = 5.0,
    jobs: int = 1,
    plot: Path | None = None,
    as_json: Json = False,
) -> int:
    """Find how many random spikes per input a neuron can learn, with proofs that no more can.

    Parameters
    ----------
    inputs
        Number of input lines.
    spikes
        Desired spikes per pattern, one curve for each number.
    seeds
        How many seeds, from 0 on.
    tau_m
        Membrane time constant in ms.
    tau_s
        Synaptic time constant in ms.
    duration
        Length of a pattern in ms.
    input_rate
        Rate of every input line in Hz.
    jobs
        Seeds that are worked on at the same time.
    plot
        Draw the curves here (.svg, .png or .pdf).
    as_json
        Print JSON.
    """
    from septet import spiking

    lif = spiking.LIF(tau_m, tau_s)
    curves = []
    with _console.progress("capacity") as say:
        for n in spikes:
            say(f"{n} spike{'s' * (n > 1)} a pattern")
            curves.append(
                spiking.capacity(
                    lif,
                    inputs,
                    n,
                    seeds,
                    duration=duration,
                    input_rate=input_rate,
                    n_jobs=jobs,
                )
            )
    rows = [
        {
            "spikes a pattern": curve.n_spikes,
            "capacity (spikes per input)": curve.alpha_c,
            "from": curve.interval[0],
            "to": curve.interval[1],
            "resolution": curve.resolution,
            "seeds undecided": curve.undecided,
            "patterns learned, by seed": curve.n_patterns.tolist(),
        }
        for curve in curves
    ]
    _console.table(rows, as_json=as_json)
    if plot is not None:
        save_figure(spiking.plot_capacity(curves), plot)
    return 0


def classify(
    data: tyro.conf.Positional[str],
    *,
    label: str = "label",
    rule: tuple[str, ...] = ("lcl",),
    hidden: bool = False,
    splits: int = 5,
    test_share: float = 0.25,
    epochs: int = 5,
    as_json: Json = False,
) -> int:
    """Classify DATA with spiking neurons, beside logistic regression on the same splits.

    Parameters
    ----------
    data
        iris, digits, mnist-5k (after `septet data fetch mnist-5k`), or a CSV file of numbers.
    label
        Column of labels of a CSV file.
    rule
        What learns: lcl, tempotron, mst, eml, resume and others.
    hidden
        Also put a hidden layer of local filters in front (images only).
    splits
        Random splits into training and test data.
    test_share
        Fraction that is tested on.
    epochs
        Most passes over the training data.
    as_json
        Print JSON.
    """
    from septet.data import read_numbers
    from septet.recipes.spiking_lcl import classification

    if splits < 1:
        raise ValueError(f"splits must be at least 1; got {splits}.")
    path = Path(data)
    if path.suffix == ".csv":
        table = read_numbers(path, label=label)
        assert table.labels is not None  # their column was named
        X, y, images = table.values, table.labels, False
    else:
        X, y, images = classification.load(data)
    if hidden and not images:
        raise ValueError("a hidden layer of local filters needs images; leave --hidden out.")
    with _console.progress("classify") as say:
        rows = []
        for seed in range(splits):
            say(f"split {seed + 1} of {splits}")
            rows += classification.evaluate(
                X,
                y,
                images=images,
                rules=rule,
                hidden=hidden,
                seed=seed,
                test_share=test_share,
                epochs=epochs,
            )
    _console.table(classification.summary(rows), as_json=as_json)
    return 0


COMMANDS = {
    "simulate": simulate,
    "memorize": memorize,
    "capacity": capacity,
    "classify": classify,
    **_spiking_hebbian.COMMANDS,
}


def _check_pattern(plot: Path | None, pattern: int, n: int) -> None:
    """Refuse to draw a pattern that is not there, before any work is done."""
    if plot is not None and not 0 <= pattern < n:
        raise ValueError(f"pattern must be from 0 to {n - 1}; got {pattern}.")


def _proof(certificate: Any) -> list[dict[str, Any]]:
    """Requirements that contradict each other, with their multipliers."""
    return [
        {"kind": kind, "pattern": int(p), "time": float(t), "multiplier": float(y)}
        for kind, p, t, y in zip(
            certificate.kinds,
            certificate.patterns,
            certificate.times,
            certificate.multipliers,
            strict=True,
        )
    ]


def _picture(lif: Any, given: Any, weights: Any, fired: Any, pattern: int, desired: Any) -> Any:
    """Inputs, potential of one neuron and spikes of the layer, one above the other."""
    from septet import spiking

    figure = new_figure((7.0, 7.5))
    upper, middle, lower = figure.subplots(3, height_ratios=(3, 3, 1), sharex=True)
    spiking.plot_raster(given, pattern, ax=upper, label="input")
    spiking.plot_potential(lif, given, weights, pattern=pattern, targets=desired, ax=middle)
    spiking.plot_raster(fired, pattern, ax=lower, label="neuron")
    upper.set(xlabel="")
    middle.set(xlabel="")
    return figure
