"""One training run: a job in, its validation curve and its costs out."""

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from septet.optim import LeanOptimizer, scratch_bytes, state_bytes
from septet.recipes.optim_llama._methods import Rates, build
from septet.recipes.optim_llama.corpus import N_SYMBOLS, corpus
from septet.recipes.optim_llama.model import SHAPES, Llama
from septet.training import (
    DivergedError,
    choose_device,
    gradient_step,
    load_checkpoint,
    read_history,
    seeded,
    train,
    warmup_cosine,
)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all runs of a study share."""

    model: str
    corpus: str
    batch: int
    context: int
    accumulate: int
    rank: int
    update_interval: int
    evaluate_every: int
    n_validation: int
    """Windows."""
    device: str
    bfloat16: bool


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run."""

    setting: Setting
    method: str
    rates: Rates
    seed: int
    steps: int
    changes: dict[str, Any] = field(default_factory=dict)
    """Options of the optimizer that differ from the method's."""
    start: str = ""
    """Folder of the run whose final weights are the first ones here; random weights if empty."""
    keep: bool = False
    """Keep the run's folder, for others to start from."""


def run_job(job: Job, folder: Path) -> dict[str, Any]:
    """Train, going on from what an interrupted call left in `folder`.

    Returns
    -------
    dict
        ``curve``: pairs of symbols seen and validation loss in nats per symbol; ``loss``: the last
        of them, None if the run diverged; ``state_bytes``; ``scratch_bytes``: buffers that a lean
        optimizer keeps beside its state; ``step_seconds``: mean time of the
        optimizer's own step, refreshes included; ``seconds``.
    """
    setting = job.setting
    device = choose_device(setting.device)
    text = corpus(setting.corpus, setting.context)
    with seeded(job.seed, "weights"):
        model = Llama(SHAPES[setting.model], N_SYMBOLS, setting.context).to(device)
    if job.start:
        start = load_checkpoint(Path(job.start) / "checkpoint", like={"model": model.state_dict()})
        model.load_state_dict(start["model"])
    subspace = {"rank": setting.rank, "update_interval": setting.update_interval}
    optimizer = build(job.method, model, job.rates, subspace, job.changes)
    clock = _StepClock(optimizer)
    order = text.order(job.seed)
    held_out = text.held_out(setting.n_validation).to(device)

    def loss(i: int) -> torch.Tensor:
        starts = text.training[order.take(i * setting.batch, setting.batch)]
        return model.loss(text.windows(starts).to(device))

    def evaluate(_: int) -> dict[str, float]:
        with torch.no_grad():
            parts = held_out.split(setting.batch)
            return {"loss": sum(len(p) * float(model.loss(p)) for p in parts) / len(held_out)}

    step = gradient_step(
        loss,
        optimizer,
        accumulate=setting.accumulate,
        clip_norm=1.0,
        schedule=lambda t: warmup_cosine(t, steps=job.steps),
        autocast=torch.bfloat16 if setting.bfloat16 else None,
    )
    every = setting.evaluate_every
    try:
        train(
            step,
            {"model": model, "optimizer": optimizer},
            steps=job.steps,
            folder=folder,
            checkpoint_every=max(every, job.steps // 10),
            evaluate=evaluate,
            evaluate_every=every,
            log_every=every,
        )
        diverged = False
    except DivergedError:
        diverged = True
    history = [r for r in read_history(folder / "history.jsonl") if "evaluation" in r]
    if not job.keep:
        shutil.rmtree(folder)
    symbols = setting.batch * setting.accumulate * setting.context
    curve = [[r["step"] * symbols, r["evaluation"]["loss"]] for r in history]
    return {
        "curve": curve,
        "loss": None if diverged else curve[-1][1],
        "state_bytes": state_bytes(optimizer),
        "scratch_bytes": scratch_bytes(optimizer) if isinstance(optimizer, LeanOptimizer) else 0,
        "step_seconds": clock.mean,
        "seconds": history[-1]["seconds"] if history else None,
    }


class _StepClock:
    """Times the optimizer's own steps."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._spent = 0.0
        self._steps = 0
        self._began = 0.0
        optimizer.register_step_pre_hook(self._begin)
        optimizer.register_step_post_hook(self._end)

    @property
    def mean(self) -> float | None:
        """Mean over all steps of this process but the first, which also allocates the state."""
        return round(self._spent / (self._steps - 1), 6) if self._steps > 1 else None

    def _begin(self, *_: Any) -> None:
        self._began = time.perf_counter()

    def _end(self, *_: Any) -> None:
        self._steps += 1
        if self._steps > 1:
            self._spent += time.perf_counter() - self._began
