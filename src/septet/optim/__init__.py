"""Memory-lean optimizers: Subset-Norm, Subspace-Momentum and their relatives, as torch optimizers.

Subset-Norm lets a group of coordinates (a row or column of a weight matrix) share one adaptive
step size; Subspace-Momentum keeps momentum inside a small subspace and takes plain gradient steps
outside it. Each class is a :class:`torch.optim.Optimizer`.
"""

from septet._core.extras import needs

needs("torch", extra="torch", purpose="septet.optim")

from septet.optim._engine import LeanOptimizer  # noqa: E402 - only after the check above
from septet.optim._galore import GaLore  # noqa: E402
from septet.optim._groups import param_groups  # noqa: E402
from septet.optim._memory import (  # noqa: E402
    MemoryPlan,
    PlanRow,
    plan,
    scratch_bytes,
    state_bytes,
)
from septet.optim._named import (  # noqa: E402
    SGDSM,
    AdagradNorm,
    AdagradSN,
    AdagradSNSM,
    AdamSM,
    AdamSN,
    AdamSNSM,
    RMSpropSN,
)

__all__ = [
    "SGDSM",
    "AdagradNorm",
    "AdagradSN",
    "AdagradSNSM",
    "AdamSM",
    "AdamSN",
    "AdamSNSM",
    "GaLore",
    "LeanOptimizer",
    "MemoryPlan",
    "PlanRow",
    "RMSpropSN",
    "param_groups",
    "plan",
    "scratch_bytes",
    "state_bytes",
]
