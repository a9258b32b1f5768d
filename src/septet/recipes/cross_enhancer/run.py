"""One enhancement network, several optimizers, equal steps: what is learned and what is kept."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from septet import optim
from septet._core import checks
from septet.recipes import Exhibit, Figure, Measure, Run, Table, measured
from septet.recipes._workers import run_all
from septet.recipes.speech._material import material
from septet.speech import (
    Mixtures,
    Packaged,
    TFRMSprop,
    TrainingConfig,
    preemphasis,
    preset,
    train_enhancer,
)
from septet.training import DivergedError

Results = dict[str, Any]
OPTIMIZERS = ("RMSprop", "RMSpropSN", "Adam", "AdamSN")
_HELD_OUT = 48  # windows
_CURVE = 4  # points of a curve


@dataclass(frozen=True, kw_only=True)
class Config:
    """A speech enhancement network trained with memory-lean optimizers."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """First weights, windows and noises; the rates are tuned with another seed."""
    material: Literal["packaged", "synthetic"] = "packaged"
    """Recordings from packages, or made-up sounds that decide nothing."""
    voices: tuple[str, ...] = ("es",)
    """Packaged voices to train with."""
    optimizers: tuple[str, ...] = ("RMSprop", "AdamSN")
    """RMSprop as TensorFlow computes it, which the paper trained with, and others."""
    rates: tuple[float, ...] = (5e-4, 2e-3, 8e-3)
    """Learning rates to choose from, the same for each."""
    width: int = 32
    """Channels of every layer; the model that comes with the library has 192."""
    window: int = 4096
    """Samples."""
    batch_size: int = 4
    """Windows."""
    steps: int = 120
    """Of every training."""
    workers: int = 0
    """Trainings at a time, one thread each; zero takes one per core."""

    def __post_init__(self) -> None:
        for name in self.optimizers:
            checks.choice("optimizers", name, OPTIMIZERS)
        if not {"RMSprop", "AdamSN"} <= set(self.optimizers):
            raise ValueError("optimizers must hold RMSprop and AdamSN.")
        if not self.seeds or not self.rates:
            raise ValueError("seeds and rates must not be empty.")


def optimizer(name: str, lr: float, module: nn.Module) -> Optimizer:
    """Build an optimizer by its name in `OPTIMIZERS`, without weight decay."""
    if name == "RMSprop":
        return TFRMSprop(module.parameters(), lr)
    if name == "Adam":
        return torch.optim.Adam(module.parameters(), lr)
    return getattr(optim, name)(optim.param_groups(module, lr, which="matrices"))


def run(config: Config, run: Run) -> Results:
    """Tune every optimizer's rate, then train with every seed; resumable after each training."""
    other = max(config.seeds) + 1
    trials = [
        (f"{name}-rate-{rate:g}", _tried, (config, name, rate, other))
        for name in config.optimizers
        for rate in config.rates
    ]
    tried = run_all(run, trials, config.workers)
    losses = {
        name: [tried[f"{name}-rate-{rate:g}"] for rate in config.rates]
        for name in config.optimizers
    }
    best = {name: _best(config.rates, row) for name, row in losses.items()}
    trainings = [
        (f"{name}-seed-{seed}", _trained, (config, name, best[name], seed))
        for seed in config.seeds
        for name in config.optimizers
    ]
    found = run_all(run, trainings, config.workers)
    runs = {
        name: [found[f"{name}-seed-{seed}"] for seed in config.seeds] for name in config.optimizers
    }
    return {"rates": list(config.rates), "tried": losses, "best": best, "runs": runs}


def _best(rates: tuple[float, ...], losses: list[float | None]) -> float:
    """Return the rate with the least loss; a training that diverged has none."""
    return min(zip(rates, losses, strict=True), key=lambda x: math.inf if x[1] is None else x[1])[0]


def _tried(config: Config, name: str, rate: float, seed: int) -> float | None:
    try:
        return _trained(config, name, rate, seed)["loss"]
    except DivergedError:
        return None


def _trained(config: Config, name: str, rate: float, seed: int) -> dict[str, Any]:
    """Train with a seed; return the loss on speech and noises held out, and bytes."""
    torch.set_num_threads(1)
    train, held_out = _batches(config, seed)
    trainer, history = train_enhancer(
        replace(preset("small").network, channels=3 * (config.width,), window=config.window),
        TrainingConfig(steps=config.steps, seed=seed, adversarial=0.0, relative=True),
        train,
        optimizer=partial(optimizer, name, rate),
        evaluate=partial(_loss, held_out),
        evaluate_every=max(1, config.steps // _CURVE),
        log_every=config.steps,
    )
    curve = [[r["step"], r["evaluation"]["loss"]] for r in history]
    return {
        "loss": curve[-1][1],
        "curve": curve,
        "noisy": _loss(held_out, nn.Identity(), 0)["loss"],
        "state": optim.state_bytes(trainer.optimizer),
        "weights": sum(weight.nbytes for weight in trainer.generator.parameters()),
    }


@cache
def _material(kind: str, voices: tuple[str, ...]) -> Packaged:
    return material(kind, 0, voices)


def _batches(config: Config, seed: int) -> tuple[Mixtures, tuple[Tensor, Tensor]]:
    """Windows to train with, and others from the ends of the voices with other noises."""
    found = _material(config.material, config.voices)
    first, last = zip(*(voice.split(0.9) for voice in found.voices), strict=True)
    train = Mixtures(
        first,
        [noise for i, noise in enumerate(found.noises) if i % 4 != 3],
        window=config.window,
        batch_size=config.batch_size,
        seed=seed,
    )
    other = Mixtures(
        last,
        found.noises[3::4] or found.noises,
        window=config.window,
        batch_size=_HELD_OUT,
        seed=1000 + seed,
    )
    clean, noisy = (preemphasis(x) for x in other.batch(0))
    return train, (clean, noisy)


def _loss(held_out: tuple[Tensor, Tensor], network: nn.Module, _: int) -> dict[str, float]:
    """Mean absolute error with every noisy window at unit level: the loss that is trained."""
    clean, noisy = held_out
    level = noisy.square().mean(dim=-1, keepdim=True).sqrt()
    with torch.inference_mode():
        return {"loss": float(((network(noisy) - clean) / level).abs().mean())}


def _losses(results: Results, name: str) -> np.ndarray:
    return np.array([found["loss"] for found in results["runs"][name]])


def loss_change(results: Results) -> Measure:
    """Held-out loss of AdamSN over that of RMSprop, in per cent of the latter."""
    ours, peer = _losses(results, "AdamSN"), _losses(results, "RMSprop")
    words = f"RMSprop {peer.mean():.4f}, AdamSN {ours.mean():.4f}"
    return measured(list(100 * (ours / peer - 1)), unit="%", peer=words)


def _state(results: Results, peer: str) -> Measure | None:
    if peer not in results["runs"]:
        return None
    ours, theirs = (results["runs"][name][0]["state"] for name in ("AdamSN", peer))
    return measured(ours / theirs, peer=f"{peer} {theirs} bytes, AdamSN {ours}")


def state_to_rmsprop(results: Results) -> Measure | None:
    """Bytes that AdamSN keeps over those of RMSprop."""
    return _state(results, "RMSprop")


def state_to_adam(results: Results) -> Measure | None:
    """Bytes that AdamSN keeps over those of Adam."""
    return _state(results, "Adam")


def exhibits(results: Results) -> Iterator[Exhibit]:
    """Yield what every optimizer reaches and keeps, the rates that were tried, and curves."""
    runs = results["runs"]
    noisy = float(np.mean([found["noisy"] for found in runs["RMSprop"]]))
    yield Table(
        "Equal steps",
        "Loss: mean absolute error on held-out windows, every noisy window brought to unit level; "
        f"mean over seeds (of the noisy windows themselves: {noisy:.4f}). State: bytes that the "
        "optimizer keeps, and in bytes of the weights.",
        ["optimizer", "rate", "loss", "state", "state / weights"],
        [
            [
                name,
                results["best"][name],
                round(float(_losses(results, name).mean()), 4),
                found[0]["state"],
                round(found[0]["state"] / found[0]["weights"], 3),
            ]
            for name, found in runs.items()
        ],
    )
    yield Table(
        "Rates",
        "Held-out loss with the seed that tuned; – where the training diverged.",
        ["optimizer", *(f"{rate:g}" for rate in results["rates"])],
        [
            [name, *("–" if loss is None else round(loss, 4) for loss in losses)]
            for name, losses in results["tried"].items()
        ],
    )
    yield Figure(
        "While training",
        "Held-out loss, one line a seed.",
        lambda figure: _draw(figure, runs, noisy),
    )


def _draw(figure: Any, runs: dict[str, list[dict[str, Any]]], noisy: float) -> None:
    axes = figure.add_subplot()
    for number, (name, found) in enumerate(runs.items()):
        for i, one in enumerate(found):
            label = name if i == 0 else None
            axes.plot(*np.transpose(one["curve"]), color=f"C{number}", alpha=0.7, label=label)
    axes.axhline(noisy, color="grey", lw=0.8, ls=":", label="noisy")
    axes.set(xlabel="step", ylabel="held-out loss")
    axes.legend()
