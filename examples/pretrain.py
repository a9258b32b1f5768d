"""Pre-train a LLaMA-style model on any text, on one process or on many.

    python examples/pretrain.py --text book.txt --folder runs/book
    torchrun --nproc-per-node 8 examples/pretrain.py --text book.txt --folder runs/book --shard

The global batch stays the same however many processes share it, so the run does too; stopped at
any moment, it goes on where it was, on another number of processes if it is cut over them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro

from septet.optim import AdamSNSM, param_groups
from septet.recipes.optim_llama.corpus import N_SYMBOLS, cut
from septet.recipes.optim_llama.model import SHAPES, Llama
from septet.training import (
    choose_device,
    gradient_step,
    seeded,
    shard,
    train,
    warmup_cosine,
    world,
)


@dataclass(frozen=True)
class Settings:
    """What to train on what."""

    text: Path
    """Any text; a twentieth of it is held out."""
    folder: Path
    """Holds the checkpoint and the history."""
    model: Literal["tiny", "small", "llama-60m", "llama-130m", "llama-350m", "llama-1b"] = "small"
    steps: int = 1000
    batch: int = 16
    """Windows of a micro-batch."""
    micro_batches: int = 8
    """Of a step, over all processes."""
    context: int = 256
    lr: float = 0.03
    rank: int = 32
    seed: int = 0
    shard: bool = False
    """Cut the weights over the processes (FSDP2) instead of copying them to each (DDP)."""


def main(settings: Settings) -> float:
    """Train and return the last validation loss, in nats per character."""
    device = choose_device()
    text = cut(settings.text.read_bytes(), settings.context)
    order = text.order(settings.seed)
    held_out = text.held_out(64).to(device)
    with world(device) as processes:
        if settings.micro_batches % processes.size:
            raise ValueError(
                f"micro_batches must be a multiple of the {processes.size} processes; "
                f"got {settings.micro_batches}."
            )
        with seeded(settings.seed, "weights"):
            model = Llama(SHAPES[settings.model], N_SYMBOLS, settings.context).to(device)
        if settings.shard:
            shard(model, processes, blocks=model.blocks)
        optimizer = AdamSNSM(
            param_groups(model, settings.lr, rank=settings.rank), projection="random"
        )

        def loss(i: int) -> torch.Tensor:
            starts = text.training[order.take(i * settings.batch, settings.batch)]
            return model.loss(text.windows(starts).to(device))

        def evaluate(_: int) -> dict[str, float]:
            with torch.no_grad():
                return {"loss": float(model.loss(held_out))}

        history = train(
            gradient_step(
                loss,
                optimizer,
                accumulate=settings.micro_batches // processes.size,
                clip_norm=1.0,
                schedule=lambda t: warmup_cosine(t, steps=settings.steps),
                world=processes,
            ),
            {"model": model, "optimizer": optimizer},
            steps=settings.steps,
            folder=settings.folder,
            checkpoint_every=100,
            evaluate=evaluate,
            evaluate_every=100,
            log_every=10,
            world=processes,
            progress=print if processes.is_main else None,
        )
    return history[-1]["evaluation"]["loss"]


if __name__ == "__main__":
    main(tyro.cli(Settings))
