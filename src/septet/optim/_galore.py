"""GaLore: Adam on a low-rank projection of the gradient, as a baseline."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from septet.optim._base import (
    FOREIGN_KEYS,
    ExactOptimizer,
    Layout,
    gathered,
    parameter_name,
    state_dtype,
)
from septet.optim._options import DENSE, Projection, checked_group
from septet.optim._projection import new_basis, private_generator
from septet.optim._rule import matrix_view

# A recipe's groups fit here too; partitions mean nothing to GaLore.
_FOREIGN = FOREIGN_KEYS | {"subset"}


class GaLore(ExactOptimizer):
    r"""Adam whose moments live in a low-rank projection of the gradient (Zhao et al.).

    With an orthonormal basis `B` of the smaller side of an ``m x n`` matrix (``m >= n``):

    .. math:: R = G B,\qquad W \leftarrow (1-\eta\lambda) W - \eta\,\alpha\,\mathrm{Adam}(R)\,B^\top

    What lies outside the subspace is dropped, unlike in Subspace-Momentum. Tensors that are no
    matrices, and groups with ``rank=None``, get ordinary Adam.

    Parameters
    ----------
    params : iterable
        Parameters, named parameters or group dicts.
    lr : float or Tensor, default 1e-2
    betas : (float, float), default (0.9, 0.999)
    eps : float, default 1e-6
    weight_decay : float, default 0.0
        Decoupled, times `lr`, before the step.
    rank : int or None, default 128
    update_interval : int, default 200
        Steps between two refreshes of the basis; moments keep their coordinates, as in the
        authors' code.
    scale : float, default 0.25
        The factor `alpha`.
    projection : {"svd", "gram", "randomized", "random", "srht"}, default "svd"
    seed : int, default 0
        Seed of random projections.

    Raises
    ------
    ValueError
        If an option is bad; the message names it.

    References
    ----------
    Zhao, J. et al. (2024). GaLore: Memory-efficient LLM training by gradient low-rank projection.
    ICML.

    Examples
    --------
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.zeros(8, 4))
    >>> optimizer = GaLore([weight], rank=2)
    >>> weight.sum().backward()
    >>> optimizer.step()
    >>> optimizer.state[weight]["second_moment"].shape
    torch.Size([8, 2])
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        rank: int | None = 128,
        update_interval: int = 200,
        scale: float = 0.25,
        projection: Projection = "svd",
        seed: int = 0,
    ) -> None:
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "rank": rank,
            "update_interval": update_interval, "scale": scale, "projection": projection,
            "seed": seed,
        }  # fmt: skip
        checked_group(defaults, defaults, (), projections=DENSE)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, with any option that differs from the defaults.

        Raises
        ------
        ValueError
            If an option is unknown or bad; nothing is added then.
        """
        options = {**self.defaults, **param_group}
        checked_group(options, self.defaults, _FOREIGN, projections=DENSE)
        super().add_param_group(param_group)

    @torch._disable_dynamo  # the refresh depends on the step count
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Parameters
        ----------
        closure : callable, optional
            Evaluates the model anew and returns the loss; run with gradients enabled.

        Returns
        -------
        object
            What `closure` returned, or None.

        Raises
        ------
        FloatingPointError
            If a gradient is not finite; nothing has been changed then.
        RuntimeError
            If a gradient is sparse or complex.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        jobs, names = [], []
        for number, group in enumerate(self.param_groups):
            for place, param in enumerate(group["params"]):
                grad = param.grad
                if grad is None or param.numel() == 0:
                    continue
                name = parameter_name(group, number, place)
                if grad.layout != torch.strided or grad.is_complex():
                    kind = "complex" if grad.is_complex() else "sparse"
                    raise RuntimeError(
                        f"the gradient of parameter {name} is {kind}: GaLore does not support that."
                    )
                names.append(name)
                jobs.append((group, place, param, grad.to(state_dtype(grad.dtype))))
        peaks = gathered([grad.abs().amax() for *_, grad in jobs]) if jobs else torch.empty(0)
        for name, peak in zip(names, peaks.tolist(), strict=True):
            if not math.isfinite(peak):
                raise FloatingPointError(
                    f"the gradient of parameter {name} is not finite; nothing was changed."
                )
        for job in jobs:
            self._advance(*job)
        return loss

    def _expected_layout(self, param: Tensor, group: dict[str, Any]) -> Layout:
        shapes = galore_shapes(tuple(param.shape), group["rank"])
        return {name: (shape, state_dtype(param.dtype)) for name, shape in shapes.items()}

    def _advance(self, group: dict[str, Any], place: int, param: Tensor, grad: Tensor) -> None:
        state = self.state[param]
        shapes = galore_shapes(tuple(param.shape), group["rank"])
        if not state:
            state["step"] = 0
            for name in ("momentum", "second_moment"):
                state[name] = grad.new_zeros(shapes[name])
        state["step"] += 1
        lr = float(group["lr"])
        if "basis" in shapes:
            g = grad.reshape(matrix_view(tuple(param.shape)))
            basis = self._basis(group, place, state, g, shapes["basis"][-1])
            tall = g.shape[-2] >= g.shape[-1]
            step = _adam_step(g @ basis if tall else basis.mT @ g, state, group)
            step = group["scale"] * (step @ basis.mT if tall else basis @ step)
        else:
            step = _adam_step(grad, state, group)
        weight = param.to(step.dtype) * (1 - lr * group["weight_decay"])
        param.copy_(weight - lr * step.reshape(param.shape))

    @staticmethod
    def _basis(
        group: dict[str, Any], place: int, state: dict[str, Any], matrix: Tensor, rank: int
    ) -> Tensor:
        t = state["step"]
        if t == 1 or t % group["update_interval"] == 0:
            generator = private_generator(group["seed"], place, t)
            state["basis"] = new_basis(group["projection"], matrix, rank, generator)
        return state["basis"]


def _adam_step(grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    (beta1, beta2), t = group["betas"], state["step"]
    m = state["momentum"].lerp_(grad, 1 - beta1)
    v = state["second_moment"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    return (m / (1 - beta1**t)) / ((v / (1 - beta2**t)).sqrt() + group["eps"])


def galore_shapes(shape: tuple[int, ...], rank: int | None) -> dict[str, tuple[int, ...]]:
    """Shapes of GaLore's state for one tensor; both moments have the statistics' dtype."""
    view = matrix_view(shape)
    if not view or rank is None or rank >= min(view[-2:]):
        return {"momentum": shape, "second_moment": shape}
    *batch, m, n = view
    moments = (*batch, m, rank) if m >= n else (*batch, rank, n)
    return {
        "momentum": moments,
        "second_moment": moments,
        "basis": (*batch, min(m, n), rank),
    }
