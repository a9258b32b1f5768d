"""One tensor's share of a step: its state, its numbers and the refresh of its subspace."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from septet.optim._base import parameter_name
from septet.optim._distributed import is_sharded, local, replicated, whole
from septet.optim._projection import new_basis, new_index, private_generator, rotated
from septet.optim._rule import Rule


class Hyper(NamedTuple):
    """The numbers of one step: they change, so they are no part of the rule."""

    lr: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    correction1: float
    correction2: float


@dataclass(slots=True)
class Job:
    """One tensor's share of a step.

    Attributes
    ----------
    param, grad : Tensor
    state, group : dict
        The optimizer's own.
    rule : Rule
    place : int
        Where the parameter stands in its group.
    ordinal, of : int
        Where it stands among the matrices of its group that have a subspace, and how many there
        are.
    number : int
        Of its group.
    """

    param: Tensor
    grad: Tensor
    state: dict[str, Any]
    group: dict[str, Any]
    rule: Rule
    place: int
    ordinal: int
    of: int
    number: int

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return parameter_name(self.group, self.number, self.place)

    def hyper(self) -> Hyper:
        """Return this step's numbers; call it after :meth:`begin`."""
        group, state, rule = self.group, self.state, self.rule
        beta1, beta2 = group["betas"]
        since = state["step"]
        restarts = rule.momentum in ("dense", "select") and group["refresh"] == "reset"
        if group["debias"] == "since_refresh" and restarts:
            since = since - state["refreshed"] + 1
        averaged = rule.second_moment == "ema"
        return Hyper(
            lr=float(group["lr"]),
            beta1=beta1,
            beta2=beta2,
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            correction1=1 - beta1**since if group["debias"] and rule.momentum else 1.0,
            correction2=1 - beta2 ** state["step"] if group["debias"] and averaged else 1.0,
        )

    def begin(self) -> None:
        """Count the step, build the state at the first one and refresh the subspace when due."""
        state = self.state
        if not state:
            state["step"] = 0
            # The statistics of a sharded parameter take their placement from the gradient's.
            for name, (shape, dtype) in self.rule.state_layout(self.param.dtype).items():
                if name not in ("basis", "index") and not is_sharded(self.param):
                    state[name] = torch.zeros(shape, dtype=dtype, device=self.param.device)
        state["step"] += 1
        if self.rule.momentum in ("dense", "select") and self._refresh_is_due():
            self._refresh()

    def basis(self) -> Tensor:
        """Return the basis in use: the stored one, or drawn again from its seed."""
        stored = self.state.get("basis")
        return self._drawn() if stored is None else stored

    def _refresh_is_due(self) -> bool:
        if "refreshed" not in self.state:
            return True
        interval = self.group["update_interval"]
        offset = self.ordinal * interval // self.of if self.group["stagger"] else 0
        return (self.state["step"] + offset) % interval == 0

    def _refresh(self) -> None:
        """Choose a new subspace from the current gradient; see to the momentum in the old one."""
        state, rule = self.state, self.rule
        key = "index" if rule.momentum == "select" else "basis"
        seeded = rule.projection == "srht"
        rotating = self.group["refresh"] == "rotate" and "refreshed" in state
        old = self.basis() if rotating and key == "basis" else state.get(key)
        state["refreshed"] = state["step"]
        new = self._drawn() if rotating or not seeded else None
        if not seeded:
            state[key] = new
        if "momentum" not in state:
            return
        momentum = local(state["momentum"])
        if rotating and old is not None and new is not None:
            coordinates = raised(momentum)
            momentum.copy_(rotated(coordinates, local(old), local(new), tall=rule.tall))
        elif self.group["refresh"] == "reset":
            momentum.zero_()

    def _drawn(self) -> Tensor:
        """Return the subspace of the last refresh; what is random comes from its own generator."""
        rule = self.rule
        if rule.projection in ("random", "srht", "uniform"):
            kind = {"dtype": raised_dtype(self.grad.dtype), "device": self.grad.device}
            matrix = torch.empty((), **kind).expand(rule.view)  # its shape is all that counts
        else:
            matrix = raised(whole(self.grad)).reshape(rule.view)
        generator = private_generator(self.group["seed"], self.ordinal, self.state["refreshed"])
        make = new_index if rule.momentum == "select" else new_basis
        subspace = make(rule.projection, matrix, rule.rank, generator)
        return replicated(subspace, self.grad) if is_sharded(self.grad) else subspace


def raised(values: Tensor) -> Tensor:
    """Return `values` in the dtype of the arithmetic: float32 for half precision."""
    return values.to(raised_dtype(values.dtype))


def raised_dtype(dtype: torch.dtype) -> torch.dtype:
    """Dtype of the arithmetic: float32 for half precision, else the dtype itself."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
