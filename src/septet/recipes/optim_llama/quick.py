"""A quick side by side of optimizers, on one seed and any text."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from septet._core import checks
from septet._core.files import PathLike
from septet.recipes.optim_llama._methods import METHODS
from septet.recipes.optim_llama._training import Job, Setting, run_job


def quick_comparison(
    text: PathLike | None = None,
    *,
    methods: Sequence[str] = ("adam", "adam-two-rates", "adam-snsm"),
    steps: int = 100,
    seed: int = 0,
    model: str = "small",
    say: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Train the recipe's small model with each optimizer at its tuned rates.

    Parameters
    ----------
    text : path, optional
        File to learn, byte by byte, at least 10 240 bytes; the data set gcide by default.
    methods : sequence of str
        Keys of the recipe's table of optimizers. State is given in parts of the first one's.
    steps : int, default 100
        Steps of 16 windows of 64 bytes.
    seed : int, default 0
        Seed of the weights and of the order of samples, shared by all.
    model : {"small", "tiny"}, default "small"
        351 264 or 6 160 parameters.
    say : callable, optional
        Told what is being done.

    Returns
    -------
    list of dict
        For each optimizer its rates, the final loss on held-out text in nats per byte (None if it
        diverged), the bytes of its state, and the milliseconds of its own step.

    Raises
    ------
    ValueError
        If a method is unknown or the text too short.
    DataError
        If the text, or the data set, is not there.
    """
    checks.integer("steps", steps, low=1)
    checks.choice("model", model, ("small", "tiny"))
    if not methods:
        raise ValueError("methods must name at least one optimizer.")
    for method in methods:
        checks.choice("methods", method, METHODS)
    setting = Setting(
        model=model,
        corpus="gcide" if text is None else str(Path(text).absolute()),
        batch=16,
        context=64,
        accumulate=1,
        rank=24,
        update_interval=200,
        evaluate_every=steps,
        n_validation=128,
        device="cpu",
        bfloat16=False,
    )
    results = {}
    for method in methods:
        say(METHODS[method].label)
        rates = METHODS[method].tuned
        job = Job(setting=setting, method=method, rates=rates, seed=seed, steps=steps)
        with tempfile.TemporaryDirectory() as folder:
            results[method] = run_job(job, Path(folder) / "run")
    whole = results[methods[0]]["state_bytes"]
    return [
        {
            "optimizer": METHODS[method].label,
            "rate": METHODS[method].tuned[0],
            "rate of the rest": METHODS[method].tuned[1],
            "loss, nats/byte": result["loss"],
            "state, bytes": result["state_bytes"],
            "% of the first": round(100 * result["state_bytes"] / whole, 1),
            "its step, ms": None
            if result["step_seconds"] is None
            else round(1e3 * result["step_seconds"], 2),
        }
        for method, result in results.items()
    ]
