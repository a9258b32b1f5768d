"""One optimizer step: accumulate, average, clip, schedule, update."""

import math
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.optim import Optimizer

from septet._core.checks import integer, number
from septet._core.errors import SeptetError
from septet.training._sharding import whole
from septet.training._world import World


class DivergedError(SeptetError):
    """The loss or the gradient is no longer finite; the last good checkpoint was kept."""


def warmup_cosine(step: int, *, steps: int, warmup: float = 0.1, floor: float = 0.1) -> float:
    """Return the factor of the learning rate at `step`: linear warm-up, then half a cosine.

    Parameters
    ----------
    step : int
        From 0 to ``steps - 1``.
    steps : int
        Length of the run.
    warmup : float, default 0.1
        Part of the run that warms up, from 0 to 1. The last of its steps has factor 1.
    floor : float, default 0.1
        Factor of the last step of the run.

    Returns
    -------
    float
        In (0, 1].

    Examples
    --------
    >>> [round(warmup_cosine(t, steps=6, warmup=1 / 3), 3) for t in range(6)]
    [0.5, 1.0, 0.868, 0.55, 0.232, 0.1]
    """
    rise = round(number("warmup", warmup, low=0, high=1) * integer("steps", steps, low=1))
    if step < rise:
        return (step + 1) / rise
    done = min(1.0, (step + 1 - rise) / max(1, steps - rise))
    return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2


def gradient_step(
    loss: Callable[[int], Tensor],
    optimizer: Optimizer,
    *,
    accumulate: int = 1,
    clip_norm: float | None = None,
    schedule: Callable[[int], float] | None = None,
    autocast: torch.dtype | None = None,
    world: World | None = None,
) -> Callable[[int], dict[str, float]]:
    """Return the function that does one optimizer step, for `train`.

    Step ``t`` consumes the micro-batches ``t * n ... t * n + n - 1``, where ``n`` is `accumulate`
    times the number of processes; each process takes every ``world.size``-th of them. How a batch
    is split therefore does not change which samples it holds. If the loss or, with
    `clip_norm`, the gradient's norm is not finite nothing is updated.

    Parameters
    ----------
    loss : callable
        ``loss(i)`` is the mean loss of micro-batch ``i``, a scalar tensor with a graph.
    optimizer : Optimizer
        Its groups' learning rates at the first step are the base of the schedule.
    accumulate : int, default 1
        Micro-batches per step and process.
    clip_norm : float, optional
        The gradient's Euclidean norm over all parameters is brought down to this.
    schedule : callable, optional
        ``schedule(step)`` multiplies every base learning rate, such as `warmup_cosine`.
    autocast : torch.dtype, optional
        ``torch.bfloat16``: compute the loss in mixed precision on the parameters' device.
    world : World, optional
        The processes among which batches are split and gradients averaged; default this one alone.

    Returns
    -------
    callable
        ``step(t) -> {"loss": ..., "lr": ..., "gradient_norm": ...}``, the last with `clip_norm`;
        ``lr`` is that of the first group.

    Raises
    ------
    ValueError
        If an argument is out of range, or `autocast` is not bfloat16 (half precision would need a
        loss scaler: write your own step for it).

    Examples
    --------
    >>> w = torch.nn.Parameter(torch.tensor([3.0]))
    >>> step = gradient_step(lambda i: (w**2).sum(), torch.optim.SGD([w], lr=0.5))
    >>> step(0), w.item()
    ({'loss': 9.0, 'lr': 0.5}, 0.0)
    """
    integer("accumulate", accumulate, low=1)
    if clip_norm is not None:
        number("clip_norm", clip_norm, above=0)
    if autocast not in (None, torch.bfloat16):
        raise ValueError(f"autocast must be torch.bfloat16 or None; got {autocast}.")
    world = world or World()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if autocast is None:
        precision = nullcontext()
    else:
        precision = torch.autocast(parameters[0].device.type, autocast)

    def step(t: int) -> dict[str, float]:
        _set_rates(optimizer, schedule(t) if schedule else 1.0)
        optimizer.zero_grad()
        total = 0.0
        for i in range(t * accumulate, (t + 1) * accumulate):
            with precision:
                part = loss(i * world.size + world.rank) / accumulate
            part.backward()
            total += float(part.detach())
        measures = {**world.mean({"loss": total}), "lr": float(optimizer.param_groups[0]["lr"])}
        if not math.isfinite(measures["loss"]):
            raise DivergedError(f"the loss is {measures['loss']}.")
        world.mean_gradients(parameters)
        if clip_norm is not None:
            norm = float(whole(torch.nn.utils.clip_grad_norm_(parameters, clip_norm)))
            if not math.isfinite(norm):
                raise DivergedError(f"the gradient's norm is {norm}.")
            measures["gradient_norm"] = norm
        optimizer.step()
        return measures

    return step


def _set_rates(optimizer: Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        base = group.setdefault("initial_lr", _plain(group["lr"]))
        if isinstance(group["lr"], Tensor):  # in place: a compiled step holds on to the tensor
            group["lr"].fill_(base * factor)
        else:
            group["lr"] = base * factor


def _plain(lr: float | Tensor) -> float:
    return float(lr)
