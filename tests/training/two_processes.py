"""Trains a small model alone, with processes that it forks, or with those of torchrun.

Usage: two_processes.py FOLDER ACCUMULATE STEPS [N_FORKS]. One process imports torch and its forks
share that: importing it anew in each would take most of the test's time. With forks the model is
once copied to each process and once cut over them.
"""

import os
import socket
import sys
from pathlib import Path

import torch

from septet.optim import AdamSNSM
from septet.training import SampleOrder, gradient_step, shard, train, world


def run(folder, accumulate, steps, cut=False):
    with world() as processes:
        torch.manual_seed(processes.rank)  # the main process's weights must win
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
        model = model.double()
        if cut:
            shard(model, processes, blocks=[model[0]])
            optimizer = AdamSNSM(model.parameters(), lr=0.05, rank=2, projection="random")
        else:
            optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
        data = torch.linspace(-1, 1, 33, dtype=torch.float64).reshape(11, 3)
        order = SampleOrder(11, seed=0)

        def loss(i):
            rows = data[order.take(2 * i, 2)]
            return (model(rows) - rows.sum(1, keepdim=True)).square().mean()

        history = train(
            gradient_step(loss, optimizer, accumulate=accumulate, clip_norm=1.0, world=processes),
            {"model": model, "optimizer": optimizer},
            steps=steps,
            folder=folder,
            checkpoint_every=3,
            evaluate=lambda n: processes.mean({"rank": processes.rank}),
            world=processes,
        )
        assert [record["step"] for record in history] == list(range(1, steps + 1))
        assert processes.any(processes.rank == processes.size - 1)
        assert not processes.any(False)


def fork(n_forks, *arguments):
    """Run in so many processes with the environment that torchrun would give them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = {"WORLD_SIZE": str(n_forks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = []
    for rank in range(n_forks):
        children.append(os.fork())
        if children[-1] == 0:
            os.environ |= {**address, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            run(*arguments)
            os._exit(0)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


if __name__ == "__main__":
    torch.set_num_threads(1)
    given = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    if len(sys.argv) == 4:
        run(*given)
    else:  # the same alone first
        import torch.distributed.checkpoint.state_dict
        import torch.distributed.fsdp

        folder, accumulate, steps = given
        n_forks = int(sys.argv[4])
        for cut in (False, True):
            run(folder / f"one-{cut}", accumulate * n_forks, steps, cut)
        # half of it alone and the rest together
        run(folder / "more-False", accumulate * n_forks, steps // 2)
        exits = fork(n_forks, folder / "more-False", accumulate, steps)
        # some together, more of it together, the rest alone
        for some in (steps // 2, steps - 2):
            exits += fork(n_forks, folder / "more-True", accumulate, some, True)
        run(folder / "more-True", accumulate * n_forks, steps, True)
        sys.exit(max(exits))
