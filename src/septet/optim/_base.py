"""The base of every optimizer here: state that comes back from a checkpoint bit for bit."""

from collections.abc import Iterator
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer

from septet._core.errors import CheckpointError
from septet.optim._distributed import is_sharded
from septet.optim._projection import as_drawn

# What torch's own helpers may put into a parameter group beside the optimizer's options.
FOREIGN_KEYS = frozenset(
    {"params", "param_names", "name", "initial_lr", "max_lr", "min_lr", "swa_lr"}
)


Layout: TypeAlias = dict[str, tuple[tuple[int, ...], torch.dtype]]
"""Name of each state tensor -> its shape and dtype."""


class ExactOptimizer(Optimizer):
    """A torch optimizer whose state survives saving and loading unchanged.

    :meth:`torch.optim.Optimizer.load_state_dict` casts floating-point state to the dtype of its
    parameter, which would round a float32 statistic of a bfloat16 weight. This class checks every
    shape first and then keeps the saved bits.
    """

    def _expected_layout(self, param: Tensor, group: dict[str, Any]) -> Layout:
        """Shapes and dtypes of the state tensors of `param` under the options of `group`."""
        raise NotImplementedError

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a saved state bit for bit.

        Parameters
        ----------
        state_dict : dict
            What :meth:`state_dict` of an optimizer over parameters of the same shapes returned. If
            they had another dtype, the state is converted to what belongs to the present one.

        Raises
        ------
        CheckpointError
            If a tensor is missing, unknown or of the wrong shape; nothing has been changed then.
        ValueError
            If the parameter groups do not match (from torch).
        """
        found: dict[str, Any] = {}

        def remember(_: Optimizer, saved: dict[str, Any]) -> None:
            self._check_fits(saved)
            found.update(saved)

        def restore(_: Optimizer) -> None:
            for param, group, saved in self._matched(found):
                if not saved:
                    continue
                options = {**self.defaults, **group}
                for key, (_shape, dtype) in self._expected_layout(param, options).items():
                    value = saved[key].to(param.device, dtype, copy=True).contiguous()
                    if key == "basis" and not is_sharded(value):
                        value = as_drawn(options["projection"], value)
                    self.state[param][key] = value

        # As hooks, so that what the user's own hooks put in is what is checked and restored.
        before = self.register_load_state_dict_pre_hook(remember)
        after = self.register_load_state_dict_post_hook(restore, prepend=True)
        try:
            super().load_state_dict(state_dict)
        finally:
            before.remove()
            after.remove()

    def _matched(
        self, state_dict: dict[str, Any]
    ) -> Iterator[tuple[Tensor, dict[str, Any], dict[str, Any]]]:
        """Pair each parameter with its saved group and its saved state."""
        groups = state_dict["param_groups"]
        params = chain.from_iterable(group["params"] for group in self.param_groups)
        saved = ((name, group) for group in groups for name in group["params"])
        for param, (name, group) in zip(params, saved, strict=True):
            yield param, group, state_dict["state"].get(name, {})

    def _check_fits(self, state_dict: dict[str, Any]) -> None:
        here = [len(group["params"]) for group in self.param_groups]
        if here != [len(group["params"]) for group in state_dict["param_groups"]]:
            return  # torch names this mismatch itself
        for number, (param, saved_group, saved) in enumerate(self._matched(state_dict)):
            if not saved:
                continue
            options = {**self.defaults, **saved_group}
            expected = {k: shape for k, (shape, _) in self._expected_layout(param, options).items()}
            shapes = tensor_shapes(saved)
            if shapes != expected:
                raise CheckpointError(
                    f"the saved state of parameter {number} (shape {tuple(param.shape)}) holds "
                    f"{_listed(shapes)}; this optimizer needs {_listed(expected)}. "
                    "Was it saved by another optimizer, model or set of options?"
                )


def parameter_name(group: dict[str, Any], number: int, place: int) -> str:
    """Return what to call a parameter in a message: its name, or where it stands."""
    names = group.get("param_names")
    return repr(names[place]) if names else f"{place} of group {number}"


def gathered(numbers: list[Tensor]) -> Tensor:
    """Stack 0-d tensors, which may lie on several devices: one look at each of these."""
    devices = {number.device for number in numbers}
    if len(devices) == 1:
        return torch.stack(numbers).double()
    result = torch.empty(len(numbers), dtype=torch.float64)
    for device in devices:
        places = [i for i, number in enumerate(numbers) if number.device == device]
        result[places] = torch.stack([numbers[i] for i in places]).double().cpu()
    return result


def tensor_shapes(state: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors in one parameter's state."""
    return {name: tuple(x.shape) for name, x in state.items() if isinstance(x, Tensor)}


def _listed(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{k} {list(s)}" for k, s in sorted(shapes.items())) or "no tensors"


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """Dtype of statistics and bases: float32 for half precision, else the real dtype itself."""
    if dtype in (torch.float16, torch.bfloat16):
        return torch.float32
    return dtype.to_real()
