"""Distributed tensors on a mesh of one process: the arithmetic, without the exchange."""

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from septet.optim import LeanOptimizer


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    store = tmp_path_factory.mktemp("mesh") / "store"
    dist.init_process_group("gloo", init_method=store.as_uri(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@pytest.mark.parametrize("placement", [Shard(0), Shard(1), Replicate()], ids=str)
@pytest.mark.parametrize("projection", ["svd", "random", "srht", "uniform", "topk"])
@pytest.mark.parametrize("shape", [(7, 4), (4, 7)])
def test_sharded_weights_move_like_whole_ones(mesh, shape, projection, placement):
    generator = torch.Generator().manual_seed(0)
    options = {
        "rank": 2, "projection": projection, "update_interval": 2, "refresh": "rotate",
        "maximize": True, "weight_decay": 0.1,
    }  # fmt: skip
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    whole = torch.nn.Parameter(values.clone())
    sharded = torch.nn.Parameter(distribute_tensor(values, mesh, [placement]))
    optimizers = [LeanOptimizer([p], 0.1, **options) for p in (whole, sharded)]
    for _ in range(4):
        whole.grad = torch.randn(shape, generator=generator, dtype=torch.float64)
        sharded.grad = distribute_tensor(whole.grad, mesh, [placement])
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(sharded.detach().full_tensor(), whole.detach())
    assert {k: tuple(v.shape) for k, v in optimizers[1].state[sharded].items() if k != "step"
            and k != "refreshed"} == {
        k: tuple(v.shape) for k, v in optimizers[0].state[whole].items() if k != "step"
        and k != "refreshed"}  # fmt: skip


def test_stochastic_rounding_of_a_sharded_weight_is_refused(mesh):
    values = torch.ones(4, 3, dtype=torch.bfloat16)
    weight = torch.nn.Parameter(distribute_tensor(values, mesh, [Shard(0)]))
    with pytest.raises(ValueError, match="is sharded: stochastic_rounding=True needs whole"):
        LeanOptimizer([weight], stochastic_rounding=True)


def test_stacks_must_be_sharded_along_their_first_dimension(mesh):
    weight = torch.nn.Parameter(distribute_tensor(torch.ones(2, 4, 3), mesh, [Shard(1)]))
    with pytest.raises(ValueError, match="is sharded: a stack of matrices must be sharded along"):
        LeanOptimizer([weight])
