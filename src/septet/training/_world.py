"""The device and the processes that a run has."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn

_BUCKET = 32 * 2**20  # bytes of gradients that travel together


def choose_device(name: str = "auto") -> torch.device:
    """Return the device called `name`, or the first CUDA device, else the CPU, for ``"auto"``.

    Under ``torchrun`` ``"auto"`` and ``"cuda"`` mean the device of this process's local rank.

    Raises
    ------
    ValueError
        If there is no such device on this machine.

    Examples
    --------
    >>> choose_device("cpu")
    device(type='cpu')
    """
    local = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    if name == "auto":
        return torch.device(local if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(local if name == "cuda" else name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {name!r} is not usable here: {error}") from None
    return device


@dataclass(frozen=True)
class World:
    """The processes of a run; by default one. All methods with several are collective calls.

    Parameters
    ----------
    rank : int
        Number of this process, from 0.
    size : int
        How many there are.
    device : torch.device
        Where tensors that are exchanged lie.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and reports."""
        return self.rank == 0

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the mean of each value over the processes."""
        if self.size == 1:
            return dict(values)
        total = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return dict(zip(values, (total / self.size).tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in some process."""
        return self.mean({"flag": float(flag)})["flag"] > 0

    def mean_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes.

        Every process must have gradients for the same parameters. Those of a model that is cut over
        the processes are averaged already and left alone.
        """
        if self.size == 1:
            return
        grads = [p.grad for p in parameters if p.grad is not None]
        for bucket in _buckets([g for g in grads if not hasattr(g, "full_tensor")]):
            flat = torch.cat([grad.reshape(-1) for grad in bucket])
            dist.all_reduce(flat)
            flat /= self.size
            for grad, part in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
                grad.copy_(part.view_as(grad))

    def share(self, modules: Iterable[nn.Module]) -> None:
        """Give every process the parameters and buffers of the main one."""
        if self.size == 1:
            return
        for module in modules:
            for tensor in [*module.parameters(), *module.buffers()]:
                if not hasattr(tensor, "full_tensor"):  # what is cut was shared before
                    dist.broadcast(tensor.data, src=0)

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def world(device: torch.device | str = "cpu") -> Iterator[World]:
    """Join the processes that ``torchrun`` started, for the duration of the block.

    Without ``torchrun`` (no ``WORLD_SIZE`` in the environment) the world is this process alone and
    nothing is opened.

    Parameters
    ----------
    device : torch.device or str, default "cpu"
        As `choose_device` reads it. The CPU exchanges through gloo, CUDA through NCCL.

    Examples
    --------
    >>> with world() as alone:
    ...     alone.size, alone.is_main
    (1, True)
    """
    device = choose_device(str(device))
    if "WORLD_SIZE" not in os.environ:
        yield World(device=device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    """Group gradients of one dtype, in order, until a bucket is full."""
    bucket: list[Tensor] = []
    size = 0
    for grad in gradients:
        if bucket and (grad.dtype != bucket[0].dtype or size >= _BUCKET):
            yield bucket
            bucket, size = [], 0
        bucket.append(grad)
        size += grad.numel() * grad.element_size()
    if bucket:
        yield bucket
