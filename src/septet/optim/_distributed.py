"""Sharded parameters (DTensor, FSDP2): the few places where a shard is not a tensor."""

from typing import Any

import torch
from torch import Tensor


def is_sharded(tensor: Tensor) -> bool:
    """Whether this is a distributed tensor, of which the process holds a part."""
    return hasattr(tensor, "device_mesh") and hasattr(tensor, "placements")


def local(tensor: Any) -> Tensor:
    """Return this process's part of a tensor."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def whole(tensor: Any) -> Tensor:
    """Return all of a tensor, gathered from its processes."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def replicated(tensor: Tensor, like: Any) -> Tensor:
    """Return a tensor that every process of `like`'s mesh holds in full, the first one's values.

    The broadcast keeps processes alike even where their linear algebra differs in the last bit.
    """
    from torch.distributed.tensor import Replicate, distribute_tensor

    mesh = like.device_mesh
    return distribute_tensor(tensor.contiguous(), mesh, [Replicate()] * mesh.ndim)


def settled(tensor: Any, *, spread: bool) -> Tensor:
    """Add up what is still partial sums on each process.

    Parameters
    ----------
    tensor : DTensor
    spread : bool
        Leave each process its part of the result, cut along the last dimension, or give all of it
        to each.
    """
    from torch.distributed.tensor import Replicate, Shard

    done = Shard(tensor.ndim - 1) if spread else Replicate()
    wanted = [done if p.is_partial() else p for p in tensor.placements]
    return tensor.redistribute(placements=wanted)


def any_nan(values: list[Any]) -> Tensor:
    """Return, for each of the tensors, NaN if any process's part is not finite, else zero.

    One exchange for all tensors on a mesh; processes agree on the result.
    """
    from torch.distributed.tensor import DTensor, Partial

    result = torch.zeros(len(values), dtype=torch.float64)
    by_mesh: dict[Any, list[int]] = {}
    for i, value in enumerate(values):
        by_mesh.setdefault(value.device_mesh, []).append(i)
    for mesh, numbers in by_mesh.items():
        poisons = torch.stack([(values[i].to_local() * 0).sum().double() for i in numbers])
        total = DTensor.from_local(poisons, mesh, [Partial()] * mesh.ndim, run_check=False)
        result[numbers] = total.full_tensor().cpu()
    return result
