"""Optimizer steps on the linear matrices of LLaMA-60M (25.3 M float32 weights), side by side.

All ways run in one process, in turns, with one and two threads. `AdamW(fused=True)` is torch's
fastest; the three-product form is Subspace-Momentum written as its authors do; AdamWSN, GaLore and
APOLLO come from their own packages. By default our optimizers read all gradients before they touch
anything, to refuse what is not finite; "unchecked" ones let it through as the peers do
(``nonfinite="propagate"``). Nobody refreshes a basis in the timed steps; what refreshes cost,
``optim_refresh`` measures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from sidebyside import interleaved, ratio, show, versioned

from septet.optim import AdamSN, AdamSNSM, RMSpropSN

if TYPE_CHECKING:
    from collections.abc import Callable

HIDDEN, FORWARD, LAYERS, RANK = 512, 1376, 8, 128
LAYER = [(HIDDEN, HIDDEN)] * 4 + [(FORWARD, HIDDEN)] * 2 + [(HIDDEN, FORWARD)]
NEVER = 10**9


class ThreeProducts(torch.optim.Optimizer):
    """AdamSNSM with the numerator of the reference code: project, project back, project back."""

    def __init__(self, params: Any, lr: float, rank: int) -> None:
        super().__init__(params, {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-6, "rank": rank})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Take one step."""
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                state, g = self.state[p], p.grad
                tall = g.shape[0] >= g.shape[1]
                if not state:
                    side = torch.randn(min(g.shape), group["rank"], dtype=g.dtype)
                    state["basis"] = torch.linalg.qr(side).Q
                    state["step"] = 0
                    low = g @ state["basis"] if tall else state["basis"].T @ g
                    state["momentum"] = torch.zeros_like(low)
                    dim = 1 if tall else 0
                    state["second"] = torch.zeros_like(g.sum(dim, keepdim=True))
                basis, t = state["basis"], state["step"] + 1
                state["step"] = t
                low = g @ basis if tall else basis.T @ g
                state["momentum"] = beta1 * state["momentum"] + (1 - beta1) * low
                inside = state["momentum"] @ basis.T if tall else basis @ state["momentum"]
                outside = g - (low @ basis.T if tall else basis @ low)
                sums = g.square().sum(1 if tall else 0, keepdim=True)
                state["second"].mul_(beta2).add_(sums, alpha=1 - beta2)
                bottom = state["second"].sqrt().add_(group["eps"])
                scale = (1 - beta2**t) ** 0.5 / (1 - beta1**t)
                p.add_((inside + outside) / bottom, alpha=-group["lr"] * scale)


def step_of(build: Callable[[list[Any]], torch.optim.Optimizer]) -> Callable[[], Any]:
    """Give an optimizer weights and gradients of its own and return its step."""
    generator = torch.Generator().manual_seed(0)
    params = [
        torch.nn.Parameter(torch.randn(shape, generator=generator) * 0.02)
        for shape in LAYER * LAYERS
    ]
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator) * 0.01
    return build(params).step


def peers() -> dict[str, Callable[[], Any]]:
    """Steps of the packages that publish the same or a neighbouring method."""
    from apollo_torch import APOLLOAdamW
    from galore_torch import GaLoreAdamW
    from pytorch_optimizer import AdamWSN

    low = {"rank": RANK, "update_proj_gap": NEVER, "scale": 0.25, "proj_type": "std"}
    apollo = {**low, "proj": "random", "scale_type": "channel"}
    return {
        f"{versioned('pytorch-optimizer')} AdamWSN": step_of(
            lambda p: AdamWSN([{"params": p, "sn": True}], lr=1e-3)
        ),
        f"{versioned('galore-torch')}": step_of(
            lambda p: GaLoreAdamW([{"params": p, **low}], lr=1e-3, no_deprecation_warning=True)
        ),
        f"{versioned('apollo-torch')}": step_of(
            lambda p: APOLLOAdamW([{"params": p, **apollo}], lr=1e-3)
        ),
    }


def main() -> list[dict[str, Any]]:
    """Time every way; one row for each comparison."""
    free = {"lr": 1e-3, "nonfinite": "propagate"}
    lean = {"lr": 1e-3, "rank": RANK, "update_interval": NEVER}
    ours = {
        "AdamSN": step_of(lambda p: AdamSN(p, lr=1e-3)),
        "AdamSN, unchecked": step_of(lambda p: AdamSN(p, **free)),
        "RMSpropSN": step_of(lambda p: RMSpropSN(p, lr=1e-3)),
        "RMSpropSN, unchecked": step_of(lambda p: RMSpropSN(p, **free)),
        "AdamSNSM topk": step_of(lambda p: AdamSNSM(p, projection="topk", **lean)),
        "AdamSNSM topk, unchecked": step_of(
            lambda p: AdamSNSM(p, projection="topk", **lean | free)
        ),
        "AdamSNSM gram": step_of(lambda p: AdamSNSM(p, projection="gram", **lean)),
        "AdamSNSM srht": step_of(lambda p: AdamSNSM(p, projection="srht", **lean)),
    }
    adamw, products = "torch AdamW(fused=True)", "three products"
    others = {
        adamw: step_of(lambda p: torch.optim.AdamW(p, lr=1e-3, fused=True)),
        products: step_of(lambda p: ThreeProducts(p, lr=1e-3, rank=RANK)),
        **peers(),
    }
    wsn, galore, apollo = list(others)[2:]
    wanted = [
        ("AdamSN", adamw, 1 / 0.95), ("AdamSN, unchecked", adamw, 1 / 0.95),
        ("RMSpropSN", adamw, 1 / 0.75), ("RMSpropSN, unchecked", adamw, 1 / 0.75),
        ("AdamSNSM topk", adamw, 1 / 1.1), ("AdamSNSM topk, unchecked", adamw, 1 / 1.1),
        ("AdamSNSM gram", products, 1.5),
        ("AdamSNSM srht", products, None), ("AdamSN", wsn, 2.0), ("RMSpropSN", wsn, 2.0),
        ("AdamSNSM topk", wsn, 2.0), ("AdamSNSM gram", wsn, 2.0), ("AdamSNSM gram", galore, None),
        ("AdamSNSM topk", galore, None), ("AdamSNSM gram", apollo, None),
        ("AdamSNSM topk", apollo, None),
    ]  # fmt: skip
    rows = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        light = {name: (ours | others)[name] for name in (*list(ours)[:6], adamw, wsn)}
        heavy = {k: v for k, v in (ours | others).items() if k not in light}
        seconds = interleaved(light, repeats=21, warm_up=2)
        seconds_of_all = interleaved(light | heavy, repeats=5, warm_up=1)
        for mine, peer, floor in wanted:
            measured = seconds if mine in light and peer in light else seconds_of_all
            label = f"step, {threads} thread{'s' if threads > 1 else ''}"
            rows.append(ratio(label, measured, mine, peer, floor=floor))
    torch.set_num_threads(before)
    return rows


if __name__ == "__main__":
    show(main())
