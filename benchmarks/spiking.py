"""Spiking neurons beside their peers: exact simulation, learning of spike trains, capacity.

snnTorch and Norse step through time, here at 0.1 ms; they get the currents of whole blocks of steps
by one matrix product, which is part of their time, and rasters made beforehand, which are not. All
run on one thread, without gradients. Where NEST is installed, its precise neuron is compared too;
where brian2 has an environment of its own, so is its STDP (``spiking_plasticity``).
"""

import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import sidebyside
import spiking_plasticity

from septet.spiking import (
    LIF,
    SpikeBatch,
    SpikeTrainLearner,
    capacity,
    random_associations,
    simulate,
)

STEP = 0.1  # ms
BLOCK = 100  # steps whose currents are computed at once
EXACT = "exact, event-driven"


def main() -> list[dict[str, Any]]:
    """Run every comparison."""
    return [
        *layers(),
        *memorise(),
        *solvers(),
        *capacities(),
        *precise_neuron(),
        *spiking_plasticity.main(),
    ]


def layers(n_neurons: int = 100, n_inputs: int = 500) -> list[dict[str, Any]]:
    """One layer, patterns one at a time and 32 at a time, against simulators that step in time."""
    rows = []
    rng = np.random.default_rng(0)
    weights = rng.normal(0.01, 0.06, (n_neurons, n_inputs))
    for n_patterns in (1, 32):
        inputs, _ = random_associations(n_patterns, n_inputs, 0, random_state=1)
        exact = partial(simulate, LIF(), inputs, weights)
        counts = exact().counts()
        steppers = {
            sidebyside.versioned("snntorch"): snntorch_layer(inputs, weights),
            sidebyside.versioned("norse"): norse_layer(inputs, weights),
        }
        seconds = sidebyside.interleaved({EXACT: exact, **steppers}, repeats=3)
        for peer, run in steppers.items():
            name = f"{n_neurons} neurons x {n_inputs} inputs, {n_patterns} patterns of 500 ms"
            row = sidebyside.ratio(name, seconds, EXACT, peer, floor=50)
            wrong = run() - counts
            rows.append(
                row
                | {
                    "spikes a train": float(counts.mean()),
                    "trains of wrong count": float((wrong != 0).mean()),
                    "spikes too many or few": float(np.abs(wrong).sum() / counts.sum()),
                }
            )
    return rows


def raster(inputs: SpikeBatch) -> Any:
    """Input spikes counted in steps, (steps, patterns, inputs), as bytes."""
    import torch

    torch.set_num_threads(1)
    return torch.from_numpy(inputs.to_raster(dt=STEP).transpose(1, 0, 2).astype(np.uint8))


def counted(spikes: Any, weights: Any, step: Callable[[Any], Any]) -> np.ndarray:
    """Step through a raster, block by block of currents; return spike counts."""
    import torch

    with torch.no_grad():
        total: Any = 0
        for block in spikes.split(BLOCK):
            for current in block.float() @ weights:
                total = total + step(current)
    return total.numpy().astype(int)


def snntorch_layer(inputs: SpikeBatch, weights: np.ndarray) -> Callable[[], np.ndarray]:
    """The neuron of snnTorch with synaptic current; its sampled kernel is exactly ours."""
    import snntorch
    import torch

    lif, spikes = LIF(), raster(inputs)
    slow, fast = np.exp(-STEP / lif.tau_m), np.exp(-STEP / lif.tau_s)
    scaled = torch.tensor(weights.T * lif.psp_norm * (slow - fast), dtype=torch.float32)

    def run() -> np.ndarray:
        neuron = snntorch.Synaptic(
            alpha=float(fast), beta=float(slow), reset_mechanism="subtract", reset_delay=False
        )
        state = neuron.reset_mem()

        def step(current: Any) -> Any:
            nonlocal state
            fired, *state = neuron(current, *state)
            return fired

        return counted(spikes, scaled, step)

    return run


def norse_layer(inputs: SpikeBatch, weights: np.ndarray) -> Callable[[], np.ndarray]:
    """Norse's leaky neuron with synaptic current, stepped by Euler's method."""
    import torch
    from norse.torch import LIFCell, LIFParameters

    lif, spikes = LIF(), raster(inputs)
    gain = lif.psp_norm * (lif.tau_m - lif.tau_s) / lif.tau_s
    scaled = torch.tensor(weights.T * gain, dtype=torch.float32)
    constants = LIFParameters(
        tau_syn_inv=torch.tensor(1e3 / lif.tau_s), tau_mem_inv=torch.tensor(1e3 / lif.tau_m)
    )

    def run() -> np.ndarray:
        cell, state = LIFCell(constants, dt=1e-3 * STEP), None

        def step(current: Any) -> Any:
            nonlocal state
            fired, state = cell(current, state)
            return fired

        return counted(spikes, scaled, step)

    return run


def memorise() -> list[dict[str, Any]]:
    """20 patterns of 5 spikes, 500 inputs: load 0.2, solved at once."""
    inputs, targets = random_associations(20, 500, 5, random_state=0)
    learner = SpikeTrainLearner(tol_ms=1e-9)
    seconds = sidebyside.interleaved({"fit": lambda: learner.fit(inputs, targets)}, repeats=5)
    worst = max(seconds["fit"])
    return [
        {
            "what": "100 spikes by 500 synapses, batch",
            "ours": "SpikeTrainLearner",
            "ours (ms)": 1e3 * float(np.median(seconds["fit"])),
            "largest error (ms)": learner.max_timing_error_,
            "floor": "5 s, 1e-9 ms",
            "met": worst <= 5 and learner.exact_ and learner.max_timing_error_ <= 1e-9,
        }
    ]


def solvers() -> list[dict[str, Any]]:
    """The same constraints with our active-set solver and with others, batch and online."""
    rows = []
    for mode, n_patterns in (("batch", 10), ("online", 10)):
        inputs, targets = random_associations(n_patterns, 500, 5, random_state=0)
        ways = {
            name: partial(
                SpikeTrainLearner(mode=mode, solver=name, random_state=0).fit, inputs, targets
            )
            for name in ("numba", "daqp", "piqp")
        }
        seconds = sidebyside.interleaved(ways, repeats=3)
        rows += [
            sidebyside.ratio(f"learn 50 spikes, {mode}", seconds, "numba", peer)
            for peer in ("daqp", "piqp")
        ]
    return rows


def capacities() -> list[dict[str, Any]]:
    """Capacity of 200 inputs at five output rates, ten seeds, one process."""
    curves = {}

    def run() -> None:
        curves.update({n: capacity(None, 200, n, 10) for n in (1, 2, 5, 10, 20)})

    capacity(None, 20, 2, 1)  # compile
    (seconds,) = sidebyside.interleaved({"capacity": run}, repeats=1, warm_up=0)["capacity"]
    return [
        {
            "what": "capacity of 200 inputs at 1, 2, 5, 10, 20 spikes a pattern, 10 seeds",
            "ours": "capacity",
            "ours (ms)": 1e3 * seconds,
            "spikes per synapse": [round(curve.alpha_c, 3) for curve in curves.values()],
            "floor": "60 s",
            "met": seconds <= 60,
        }
    ]


def precise_neuron() -> list[dict[str, Any]]:
    """NEST's precisely timed neuron on the same input, where NEST is installed."""
    if find_spec("nest") is None:
        sys.stderr.write("NEST is not installed: its precise neuron is not compared.\n")
        return []
    import nest

    lif, weights = LIF(), np.random.default_rng(0).normal(0.01, 0.06, 500)
    inputs, _ = random_associations(1, 500, 0, random_state=1)
    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    # exponential currents in pA into 1 pF: the potential rises by current over capacity
    neuron = nest.Create(
        "iaf_psc_exp_ps",
        params={"tau_m": lif.tau_m, "tau_syn_ex": lif.tau_s, "tau_syn_in": lif.tau_s, "C_m": 1.0}
        | {"E_L": 0.0, "V_reset": 0.0, "V_th": 1.0, "V_m": 0.0, "t_ref": nest.resolution},
    )
    gain = lif.psp_norm * (1 / lif.tau_s - 1 / lif.tau_m)
    trains = inputs.trains(0)
    for train, weight in zip(trains, weights, strict=True):
        source = nest.Create(
            "spike_generator", params={"spike_times": train + 1.0, "precise_times": True}
        )
        nest.Connect(source, neuron, syn_spec={"weight": gain * weight, "delay": 1.0})
    recorder = nest.Create("spike_recorder")
    nest.Connect(neuron, recorder)
    nest.Simulate(inputs.duration + 10.0)
    theirs = np.sort(recorder.get("events")["times"]) - 2.0
    ours = simulate(LIF(t_ref=nest.resolution), inputs, weights).times
    same = theirs.size == ours.size
    return [
        {
            "what": f"{ours.size} spikes of one neuron with 500 inputs",
            "ours": EXACT,
            "peer": "NEST iaf_psc_exp_ps",
            "largest error (ms)": float(np.abs(theirs - ours).max()) if same else None,
            "met": bool(same and np.abs(theirs - ours).max() < 1e-6),
        }
    ]


if __name__ == "__main__":
    sidebyside.show(main())
