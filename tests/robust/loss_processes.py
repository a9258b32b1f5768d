"""Computes a group loss in two forked processes, each with every other row of the batch.

Usage: loss_processes.py FOLDER. Writes one JSON file per process: value, weights and gradient.
"""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from septet.robust import GroupDROLoss

LOSSES = torch.tensor([0.3, 1.0, 0.2, 2.0, 0.7, 0.1, 0.9], dtype=torch.float64)
GROUPS = torch.tensor([0, 1, 0, 2, 0, -1, 1])  # group 2 lies in one process only


def compute(rows):
    scale = torch.tensor(1.5, requires_grad=True)
    loss = GroupDROLoss((5, 3, 2), adjustment=1.0)
    value = torch.tensor(0.0)
    for _ in range(3):
        value = loss(scale * LOSSES[rows], GROUPS[rows])
    value.backward()
    return value.item(), loss.weights.tolist(), scale.grad


def one_of_two(folder, rank):
    dist.init_process_group("gloo", f"file://{folder}/meet", world_size=2, rank=rank)
    value, weights, gradient = compute(slice(rank, None, 2))
    dist.all_reduce(gradient)
    (folder / f"{rank}.json").write_text(json.dumps([value, weights, gradient.item() / 2]))
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    child = os.fork()
    one_of_two(folder, 0 if child == 0 else 1)
    if child == 0:
        os._exit(0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
