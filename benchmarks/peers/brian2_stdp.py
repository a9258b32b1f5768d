"""Pair STDP in brian2, run by the Python of an environment of its own.

brian2 2.9 does not import with NumPy 2.4 or newer, so it cannot share Septet's environment. Make it
one, with a C++ compiler at hand::

    python3 -m venv ENV
    ENV/bin/pip install -r benchmarks/peers/brian2.txt
    SEPTET_BRIAN2=ENV/bin/python septet bench spiking

Used as ``brian2_stdp.py standalone|runtime|agree PROBLEM.npz``. The first two build the network
once, without any normalisation, then simulate it once for every line that they read and answer each
with a line of JSON. The third simulates once with normalisation at every output spike and answers
with spikes and weights.
"""

import json
import shutil
import sys
import tempfile
import time
from typing import Any

import brian2 as b2
import numpy as np


def network(problem: dict[str, Any], *, normalised: bool) -> tuple[Any, ...]:
    """Neurons, plastic synapses and the given input spikes."""
    settings = json.loads(str(problem["settings"]))
    b2.defaultclock.dt = settings["dt"] * b2.ms
    names = {
        "tau_m": settings["tau_m"] * b2.ms,
        "tau_plus": settings["tau_plus"] * b2.ms,
        "tau_minus": settings["tau_minus"] * b2.ms,
        "theta": settings["threshold"],
        "rate": settings["learning_rate"],
        "depression": settings["depression"],
    }
    weights = problem["weights"]
    n_neurons, n_inputs = weights.shape
    times = problem["steps"] * settings["dt"] * b2.ms
    inputs = b2.SpikeGeneratorGroup(n_inputs, problem["ids"], times, sorted=True)
    neurons = b2.NeuronGroup(
        n_neurons,
        "dv/dt = -v / tau_m : 1",
        threshold="v >= theta",
        reset="v = 0",
        method="exact",
        namespace=names,
    )
    synapses = b2.Synapses(
        inputs,
        neurons,
        """w : 1
        dx/dt = -x / tau_plus : 1 (event-driven)
        dy/dt = -y / tau_minus : 1 (event-driven)""",
        on_pre="""v_post += w
        x += 1
        w = clip(w - rate * depression * y, 0, inf)""",
        on_post="""w += rate * x
        y += 1""",
        namespace=names,
    )
    synapses.connect()
    synapses.w = weights.T.ravel()  # brian2 lists all targets of the first input first
    monitor = b2.SpikeMonitor(neurons)
    net = b2.Network(inputs, neurons, synapses, monitor)
    if normalised:
        net.add(normalisation(net, neurons, synapses, weights.shape))
    return net, synapses, monitor, settings["duration"] * b2.ms


def normalisation(net: Any, neurons: Any, synapses: Any, shape: tuple[int, int]) -> Any:
    """Divide by their sum the weights of every neuron that fires, right after its promotion."""
    net.schedule = ["start", "groups", "synapses", "thresholds", "resets", "end"]
    synapses.post.when, synapses.post.order = "thresholds", 1

    @b2.network_operation(when="thresholds", order=2)
    def normalise() -> None:
        fired = neurons.spikes
        if len(fired):
            w = synapses.w[:].reshape(shape[::-1])
            w[:, fired] /= w[:, fired].sum(axis=0)
            synapses.w = w.ravel()

    return normalise


def answer(**value: Any) -> None:
    """Send one line of JSON."""
    print(json.dumps(value), flush=True)


def standalone(problem: dict[str, Any]) -> None:
    """C++ that brian2 writes and compiles; seconds are those of the CPU in its run alone."""
    folder = tempfile.mkdtemp()
    try:
        b2.set_device("cpp_standalone", directory=folder, build_on_run=False)
        net, _, monitor, duration = network(problem, normalised=False)
        net.run(duration)
        start = time.perf_counter()
        b2.device.build(directory=folder, compile=True, run=False, with_output=False)
        answer(compiled=time.perf_counter() - start, version=b2.__version__)
        for _ in sys.stdin:
            b2.device.run(directory=folder, with_output=False)
            answer(seconds=b2.device._last_run_time, spikes=int(monitor.num_spikes))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def runtime(problem: dict[str, Any]) -> None:
    """The default target: compiled blocks, called from Python step by step."""
    net, _, monitor, duration = network(problem, normalised=False)
    net.store()
    start = time.perf_counter()
    net.run(b2.defaultclock.dt)
    answer(compiled=time.perf_counter() - start, version=b2.__version__)
    for _ in sys.stdin:
        net.restore()
        start = time.process_time()
        net.run(duration)
        answer(seconds=time.process_time() - start, spikes=int(monitor.num_spikes))


def agree(problem: dict[str, Any]) -> None:
    """Spikes, in steps, and final weights with normalisation."""
    net, synapses, monitor, duration = network(problem, normalised=True)
    net.run(duration)
    shape = problem["weights"].shape
    steps = np.rint(np.asarray(monitor.t / b2.defaultclock.dt)).astype(int)
    weights = synapses.w[:].reshape(shape[::-1]).T
    spikes = {"steps": steps.tolist(), "ids": np.asarray(monitor.i).tolist()}
    answer(**spikes, weights=weights.tolist(), version=b2.__version__)


if __name__ == "__main__":
    with np.load(sys.argv[2]) as file:
        given = dict(file)
    {"standalone": standalone, "runtime": runtime, "agree": agree}[sys.argv[1]](given)
