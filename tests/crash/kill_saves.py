"""Kills a saving or training child at random moments and looks at what it left; prints counts.

Usage: kill_saves.py {save|train} FOLDER N SEED. One process imports torch; its forked children do
the work, so that a kill costs milliseconds. One thread: a fork must not happen among several.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from septet._core.errors import CheckpointError
from septet.training import (
    checkpoint_digest,
    gradient_step,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
    train,
)

torch.set_num_threads(1)


def save_forever(folder):
    number = load_checkpoint(folder)["number"] if has_checkpoint(folder) else 0
    while True:
        number += 1
        save_number(folder, number)


def save_number(folder, number):
    weights = {f"w{i}": torch.full((50, i + 1), float(number)) for i in range(8)}
    save_checkpoint(folder, {"number": number, "weights": weights})


def train_to_the_end(folder):
    torch.manual_seed(0)
    model = torch.nn.Linear(6, 6)
    optimizer = torch.optim.Adam(model.parameters())
    data = torch.linspace(-1, 1, 60).reshape(10, 6)
    step = gradient_step(lambda i: (model(data[i % 10]) - i).square().mean(), optimizer)
    state = {"model": model, "optimizer": optimizer}
    train(step, state, steps=150, folder=folder, checkpoint_every=7)


def killed(work, folder, seconds):
    """Return whether a child doing `work` was still at it when killed after so many seconds."""
    child = os.fork()
    if child == 0:
        work(folder)
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def main(what, folder, n, seed):
    rng = random.Random(seed)
    hits, seen = 0, set()
    for name in ("first", "whole"):  # the first one also imports what is still missing
        start = time.monotonic()
        save_number(folder / name, 0) if what == "save" else train_to_the_end(folder / name)
        longest = (time.monotonic() - start) * (8 if what == "save" else 0.3)
    for i in range(n):
        # a save goes on with the one before; a training is killed several times over, then anew
        run = folder / ("saves" if what == "save" else f"run{i // 5}")
        work = save_forever if what == "save" else train_to_the_end
        hits += killed(work, run, rng.uniform(0, longest))
        checkpoint = run if what == "save" else run / "checkpoint"
        if not has_checkpoint(checkpoint):
            continue
        state = load_checkpoint(checkpoint)
        seen.add(checkpoint_digest(checkpoint))
        if what == "save":
            values = {float(x) for w in state["weights"].values() for x in w.unique()}
            if values != {float(state["number"])}:
                raise CheckpointError(f"a mix: {state['number']} with {values}")
        elif i % 5 == 4 or i == n - 1:
            train_to_the_end(run)
            if checkpoint_digest(checkpoint) != checkpoint_digest(folder / "whole" / "checkpoint"):
                raise CheckpointError(f"run{i // 5} ended in another checkpoint")
    sys.stdout.write(f"{hits} {len(seen)}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
