"""STDP beside brian2: our layer normalises its weights at every output spike, brian2's does not.

All get the same input spikes on a grid of 0.1 ms. brian2 lives in an environment of its own, made
as ``peers/brian2_stdp.py`` says and named by SEPTET_BRIAN2; without that nothing is compared. The
rows are part of ``septet bench spiking``.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sidebyside
from peers.other_python import python_of, started

from septet.spiking import LIF, HebbianLayer, HebbianRule, SpikeBatch

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = "SEPTET_BRIAN2"
SCRIPT = Path(__file__).parent / "peers" / "brian2_stdp.py"
STEP = 0.1  # ms
OURS = "HebbianLayer, normalised at every output spike"
FLOORS = {"standalone": 5, "runtime": 50}
TARGETS = {"standalone": "C++ standalone", "runtime": "default target"}


def main() -> list[dict[str, Any]]:
    """Agreement, then time, if brian2's environment is there."""
    python = python_of(VARIABLE)
    if python is None:
        sys.stderr.write(
            f"{VARIABLE} does not name the Python of brian2's environment: STDP is not compared "
            f"with brian2. {SCRIPT.name} says how to make it.\n"
        )
        return []
    return [agreement(python), *timings(python)]


def problem(
    n_inputs: int, n_neurons: int, *, duration: float, rates: tuple[float, float], **settings: float
) -> dict[str, Any]:
    """Poisson spikes on the grid, at most one a step, and random normalised weights."""
    rng = np.random.default_rng(0)
    chance = rng.uniform(*rates, n_inputs) * STEP / 1000.0
    steps, ids = np.nonzero(rng.random((round(duration / STEP), n_inputs)) < chance)
    weights = rng.uniform(0.5, 1.5, (n_neurons, n_inputs))
    return {
        "steps": steps,
        "ids": ids,
        "weights": weights / weights.sum(axis=1, keepdims=True),
        "settings": {
            "dt": STEP,
            "duration": duration,
            "tau_m": 20.0,
            "tau_plus": 20.0,
            "tau_minus": 20.0,
            **settings,
        },
    }


def write(path: Path, given: dict[str, Any]) -> Path:
    """Write a problem for the script of the other environment."""
    np.savez(path, **(given | {"settings": json.dumps(given["settings"])}))
    return path


def layer_of(given: dict[str, Any]) -> tuple[HebbianLayer, SpikeBatch]:
    """Our layer and its input."""
    settings, weights = given["settings"], given["weights"]
    layer = HebbianLayer(
        weights.shape[1],
        weights.shape[0],
        lif=LIF(tau_m=settings["tau_m"], tau_s=0.0, threshold=settings["threshold"]),
        rule=HebbianRule(depression=settings["depression"]),
        learning_rate=settings["learning_rate"],
        weights=weights,
    )
    ids = given["ids"]
    inputs = SpikeBatch(
        given["steps"] * STEP,
        ids,
        [0, ids.size],
        n_units=weights.shape[1],
        duration=settings["duration"],
    )
    return layer, inputs


def agreement(python: Path, duration: float = 5000.0) -> dict[str, Any]:
    """Spikes and weights of both after learning with normalisation, three neurons, 100 inputs."""
    given = problem(
        100,
        3,
        duration=duration,
        rates=(2.0, 40.0),
        threshold=0.35,
        learning_rate=1e-3,
        depression=0.5,
    )
    layer, inputs = layer_of(given)
    spikes = layer.learn(inputs).spikes
    # brian2 delivers the spikes of one step in the next
    ours = sorted(zip(np.rint(spikes.times / STEP).astype(int) + 1, spikes.ids, strict=True))
    with (
        tempfile.TemporaryDirectory() as folder,
        started(python, SCRIPT, "agree", write(Path(folder) / "problem.npz", given)) as peer,
    ):
        theirs = peer.ready
    same = ours == sorted(zip(theirs["steps"], theirs["ids"], strict=True))
    gap = float(np.abs(layer.weights - np.array(theirs["weights"])).max())
    return {
        "what": f"{len(ours)} output spikes and 300 weights after {duration / 1000:g} s of STDP",
        "ours": OURS,
        "peer": f"brian2 {theirs['version']}, normalising too",
        "same spikes": same,
        "largest difference of a weight": gap,
        "floor": "same spikes, 1e-15",
        "met": same and gap < 1e-15,
    }


def timings(python: Path, repeats: int = 5) -> list[dict[str, Any]]:
    """784 inputs, 100 neurons, 5 s: CPU seconds of learning in turns, without any compilation.

    CPU seconds, as brian2's C++ measures its own run in those; all use one thread.
    The learning rate is small, so that weights which nobody normalises stay what they were and all
    ways emit as many spikes.
    """
    given = problem(
        784,
        100,
        duration=5000.0,
        rates=(0.0, 20.0),
        threshold=0.12,
        learning_rate=1e-6,
        depression=0.3,
    )

    def ours() -> dict[str, float]:
        layer, inputs = layer_of(given)
        start = time.process_time()
        spikes = layer.learn(inputs).spikes
        return {"seconds": time.process_time() - start, "spikes": spikes.n_spikes}

    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "problem.npz", given)
        with (
            started(python, SCRIPT, "standalone", path) as standalone,
            started(python, SCRIPT, "runtime", path) as runtime,
        ):
            version = standalone.ready["version"]
            ways: dict[str, Callable[[], dict[str, float]]] = {
                OURS: ours,
                "standalone": standalone.ask,
                "runtime": runtime.ask,
            }
            ours()  # compile
            answers = [{name: way() for name, way in ways.items()} for _ in range(repeats)]
            compiled = {"standalone": standalone.ready, "runtime": runtime.ready}
    seconds = {name: [answer[name]["seconds"] for answer in answers] for name in ways}
    rows = []
    for name, floor in FLOORS.items():
        peer = f"brian2 {version}, {TARGETS[name]}"
        name_of = f"STDP, 784 inputs x 100 neurons, {given['ids'].size} input spikes in 5 s (CPU)"
        row = sidebyside.ratio(
            name_of, {OURS: seconds[OURS], peer: seconds[name]}, OURS, peer, floor=floor
        )
        rows.append(
            row
            | {
                "output spikes": answers[0][OURS]["spikes"],
                "peer's output spikes": answers[0][name]["spikes"],
                "peer's compilation (s)": compiled[name]["compiled"],
            }
        )
    return rows


if __name__ == "__main__":
    sidebyside.show(main())
