"""Which tensor takes which path through a step."""

import warnings
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from septet._core.errors import SeptetWarning
from septet._core.extras import needs
from septet.optim import _cpu, _sharded, _triton
from septet.optim._distributed import is_sharded
from septet.optim._jobs import Job
from septet.optim._paths import Path, PlainPath
from septet.optim._rule import Rule
from septet.optim._stacked import StackedPath, stackable


class Paths:
    """The paths of one optimizer, and which tensor takes which."""

    def __init__(self) -> None:
        self._plain = PlainPath()
        self._stacked = StackedPath()
        self._sharded = _sharded.ShardedPath()
        self._triton = _triton.TritonPath()
        self._cpu: dict[torch.dtype, _cpu.CpuPath] = {}

    @property
    def scratch_bytes(self) -> int:
        """Bytes of all buffers that are kept between steps."""
        return sum(path.scratch_bytes for path in self._cpu.values())

    def choose(self, job: Job) -> Path:
        """Return the fastest path that takes this tensor."""
        param, group = job.param, job.group
        if is_sharded(param):
            return self._sharded
        on_cpu = param.device.type == "cpu"
        if group["fused"] and not on_cpu:
            return self._triton
        stacking = not on_cpu if group["foreach"] is None else group["foreach"]
        together = stacking or group["compiled"]
        if together and stackable(job, compiled=group["compiled"]):
            return self._stacked
        if together or group["fused"] is False or not on_cpu:
            return self._plain
        if job.grad.dtype != param.dtype or type(job.grad) is not Tensor:
            return self._plain
        if _cpu.refusal(job.rule, param, group) is not None or not _compiler_is_there():
            return self._plain
        if param.dtype not in self._cpu:
            self._cpu[param.dtype] = _cpu.CpuPath(param.dtype)
        return self._cpu[param.dtype]


def check_path(name: str, rule: Rule, param: Tensor, group: dict[str, Any]) -> None:
    """Raise if a parameter cannot have what its group asks for.

    Raises
    ------
    ValueError
        Says why.
    MissingExtraError
        If ``fused=True`` and there is no compiler.
    """
    if param.numel() == 0:
        return
    reason = _sharded.refusal(rule, param, group)
    if reason:
        raise ValueError(f"{name} is sharded: {reason}.")
    if group["fused"]:
        on_cpu = param.device.type == "cpu"
        reason = (_cpu if on_cpu else _triton).refusal(rule, param, group)
        if reason:
            raise ValueError(f"fused=True does not take {name}: {reason}. Leave fused unset.")
        if on_cpu:
            needs("numba", extra="fast", purpose="fused=True")


@cache
def _compiler_is_there() -> bool:
    if find_spec("numba") is not None:
        return True
    warnings.warn(
        "numba is not installed, so steps on the CPU take about twice as long: "
        'pip install "septet[fast]", or pass fused=False to be content without it.',
        SeptetWarning,
        stacklevel=5,
    )
    return False
