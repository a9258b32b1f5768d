"""What each of two gloo processes does for `test_distributed`; results go to a file."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint import load, save
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from septet.optim import LeanOptimizer, state_bytes

CASES = {
    **{
        f"{projection}-{refresh}": {
            "projection": projection, "refresh": refresh, "rank": 2, "update_interval": 2,
        }
        for projection, refresh in [
            ("svd", "reset"), ("gram", "rotate"), ("randomized", "keep"), ("random", "rotate"),
            ("srht", "rotate"), ("uniform", "rotate"), ("topk", "rotate"), ("topk", "reset"),
        ]
    },
    "ema-amsgrad": {"momentum": "ema", "amsgrad": True, "weight_decay": 0.1},
    "sum": {"momentum": None, "second_moment": "sum", "nonfinite": "skip"},
    "one-subset": {"momentum": "ema", "subset": "tensor"},
    "reference": {"rank": 2, "projection": "topk", "compat": "reference", "maximize": True},
    "each": {"rank": 2, "projection": "random", "subset": None},
}  # fmt: skip


def build():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 11), nn.Tanh(), nn.Linear(11, 5), nn.LayerNorm(5)).double()
    for p in model.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=torch.float64)
    return model


def batches(count=5):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 4, 7, generator=generator, dtype=torch.float64)


def train(model, optimizer, data):
    for x in data:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()


def weights(model):
    return [p.full_tensor() if hasattr(p, "full_tensor") else p.detach().clone()
            for p in model.parameters()]  # fmt: skip


def resumed(mesh, mine, folder):
    """Weights after a sharded checkpoint halfway, and after no interruption."""
    options = {"rank": 2, "projection": "random", "update_interval": 3, "refresh": "rotate"}
    straight = fully_shard(build(), mesh=mesh)
    one = LeanOptimizer(straight.parameters(), 0.05, **options)
    train(straight, one, mine[:4])
    state = {"model": straight.state_dict(), "optim": get_optimizer_state_dict(straight, one)}
    save(state, checkpoint_id=folder)
    again = fully_shard(build(), mesh=mesh)
    two = LeanOptimizer(again.parameters(), 0.05, **options)
    state = {"model": again.state_dict(), "optim": get_optimizer_state_dict(again, two)}
    load(state, checkpoint_id=folder)
    again.load_state_dict(state["model"])
    set_optimizer_state_dict(again, two, state["optim"])
    train(straight, one, mine[4:])
    train(again, two, mine[4:])
    full = get_optimizer_state_dict(
        straight, one, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
    )
    shapes = {
        name: tuple(value.shape)
        for name, value in full.get("state", {}).get("0.weight", {}).items()
        if torch.is_tensor(value)
    }
    return {"straight": weights(straight), "resumed": weights(again), "full": shapes}


def poisoned(mesh, mine, rank):
    """What every process says when one shard of a gradient is not finite."""
    model = fully_shard(build(), mesh=mesh)
    optimizer = LeanOptimizer(model.named_parameters(), 0.05, rank=2)
    before = weights(model)
    model(mine[0]).square().mean().backward()
    if rank == 1:
        model[0].weight.grad.to_local()[0, 0] = float("nan")
    try:
        optimizer.step()
    except FloatingPointError as error:
        said = str(error)
    return {"said": said, "before": before, "after": weights(model)}


def refused(mesh):
    model = fully_shard(build(), mesh=mesh)
    try:
        LeanOptimizer(model.parameters(), subset=3)
    except ValueError as error:
        return str(error)
    return ""


def run(rank, folder):
    mesh = init_device_mesh("cpu", (2,))
    mine = batches(8)[:, 2 * rank : 2 * rank + 2]
    results = {"fsdp": {}, "ddp": {}, "bytes": {}}
    for name, options in CASES.items():
        sharded = fully_shard(build(), mesh=mesh)
        optimizer = LeanOptimizer(sharded.parameters(), 0.05, **options)
        train(sharded, optimizer, mine[:5])
        results["fsdp"][name] = weights(sharded)
        results["bytes"][name] = state_bytes(optimizer)
        copied = DistributedDataParallel(build())
        train(copied, LeanOptimizer(copied.parameters(), 0.05, **options), mine[:5])
        results["ddp"][name] = weights(copied)
    results["resume"] = resumed(mesh, mine, str(folder / "checkpoint"))
    results["poisoned"] = poisoned(mesh, mine, rank)
    results["refused"] = refused(mesh)
    torch.save(results, folder / f"{rank}.pt")


if __name__ == "__main__":
    rank, port, target = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, GLOO_SOCKET_IFNAME="lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    run(rank, target)
    dist.destroy_process_group()
