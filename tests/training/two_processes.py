"""Trains a small model alone, with processes that it forks, or with those of torchrun.

Usage: two_processes.py FOLDER ACCUMULATE STEPS [N_FORKS]. One process imports torch and its forks
share that: importing it anew in each would take most of the test's time.
"""

import os
import socket
import sys
from pathlib import Path

import torch

from septet.training import SampleOrder, gradient_step, train, world


def run(folder, accumulate, steps):
    with world() as processes:
        torch.manual_seed(processes.rank)  # the main process's weights must win
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
        model = model.double()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
        data = torch.linspace(-1, 1, 33, dtype=torch.float64).reshape(11, 3)
        order = SampleOrder(11, seed=0)

        def loss(i):
            rows = data[order.take(2 * i, 2)]
            return (model(rows) - rows.sum(1, keepdim=True)).square().mean()

        train(
            gradient_step(loss, optimizer, accumulate=accumulate, clip_norm=1.0, world=processes),
            {"model": model, "optimizer": optimizer},
            steps=steps,
            folder=folder,
            checkpoint_every=3,
            evaluate=lambda n: processes.mean({"rank": processes.rank}),
            world=processes,
        )
        assert processes.any(processes.rank == processes.size - 1)
        assert not processes.any(False)


def fork(n_forks, *arguments):
    """Run in so many processes with the environment that torchrun would give them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"WORLD_SIZE": str(n_forks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = []
    for rank in range(n_forks):
        children.append(os.fork())
        if children[-1] == 0:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            run(*arguments)
            os._exit(0)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


if __name__ == "__main__":
    torch.set_num_threads(1)
    given = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    if len(sys.argv) == 4:
        run(*given)
    else:  # first the same alone, then half of it alone and the rest together
        folder, accumulate, steps = given
        n_forks = int(sys.argv[4])
        run(folder / "one", accumulate * n_forks, steps)
        run(folder / "more", accumulate * n_forks, steps // 2)
        sys.exit(max(fork(n_forks, folder / "more", accumulate, steps)))
