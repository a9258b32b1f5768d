"""RMSprop as TensorFlow computes it."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from septet._core import checks


class TFRMSprop(Optimizer):
    r"""RMSprop with TensorFlow's semantics, which the published figures were trained with.

    :math:`s \leftarrow \rho s + (1-\rho) g^2,\ p \leftarrow p - \eta\,g/\sqrt{s+\epsilon}` with
    :math:`s_0 = 1`: a built-in warm-up of some two hundred steps. `torch.optim.RMSprop` starts at 0
    and adds :math:`\epsilon` outside the root, which makes its first steps hundreds of times
    larger.

    Parameters
    ----------
    params : iterable
        Parameters or groups of them.
    lr : float, default 2e-4
        Learning rate.
    decay : float, default 0.9
        The decay ρ.
    eps : float, default 1e-10
        Added inside the root.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> p = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    >>> optimizer = TFRMSprop([p])
    >>> for _ in range(2):
    ...     p.grad = torch.tensor(0.01, dtype=torch.float64)
    ...     _ = optimizer.step()
    >>> f"{p.item():.8e}"
    '-4.33036955e-06'
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 2e-4,
        *,
        decay: float = 0.9,
        eps: float = 1e-10,
    ) -> None:
        defaults = {
            "lr": checks.number("lr", lr, low=0),
            "decay": checks.number("decay", decay, low=0, below=1),
            "eps": checks.number("eps", eps, low=0),
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            decay = group["decay"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["mean_square"] = torch.ones_like(p)
                square = state["mean_square"]
                square.mul_(decay).addcmul_(p.grad, p.grad, value=1 - decay)
                p.addcdiv_(p.grad, (square + group["eps"]).sqrt(), value=-group["lr"])
        return loss
