"""Parameters cut over the processes (FSDP2), saved whole so that any number of them can go on."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from septet._core.errors import CheckpointError
from septet.training._world import World


def shard(model: nn.Module, world: World, blocks: Iterable[nn.Module] = ()) -> nn.Module:
    """Cut a model's parameters, gradients and optimizer state over the processes, in place.

    The main process's weights win. Make the optimizer afterwards. Each block is gathered when it
    is used and forgotten again, so a process holds its part of the whole and one block.

    Parameters
    ----------
    model : torch.nn.Module
    world : World
        With one process the model is left as it is.
    blocks : iterable of torch.nn.Module, optional
        Parts to gather one at a time, such as a transformer's layers.

    Returns
    -------
    torch.nn.Module
        `model`.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    >>> shard(model, World(), blocks=model) is model
    True
    """
    if world.size == 1:
        return model
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    world.share([model])
    mesh = init_device_mesh(world.device.type, (world.size,))
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def is_sharded(tensor: Any) -> bool:
    """Whether this process holds only its part of the tensor."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Any) -> Tensor:
    """Return all of a tensor; a collective call if it is cut."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def outlines(module: nn.Module) -> dict[str, Any]:
    """Return a module's state with something of the same dtype and shape for each cut tensor."""
    return {
        name: torch.empty((), dtype=value.dtype).expand(value.shape) if is_sharded(value) else value
        for name, value in module.state_dict().items()
    }


def whole_states(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of every part, whole on the main process; a collective call if cut.

    A cut optimizer's state goes by the names of its parameters, as that of
    ``torch.distributed.checkpoint.state_dict`` does.
    """
    states = {}
    for name, part in state.items():
        if isinstance(part, nn.Module) and _cut(part.parameters()):
            states[name] = _distributed().get_model_state_dict(part, options=_options())
        elif (owner := _owner_if_cut(part, state)) is not None:
            states[name] = _distributed().get_optimizer_state_dict(owner, part, options=_options())
        else:
            states[name] = part.state_dict()
    return states


def load_states(state: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Give every part its state back, cut or not, however it was when it was saved.

    Raises
    ------
    CheckpointError
        If the run was saved with a cut optimizer and goes on with parameters that no module of
        `state` owns, or the other way round.
    """
    for name, part in state.items():
        if isinstance(part, nn.Module) and _cut(part.parameters()):
            _distributed().set_model_state_dict(part, saved[name], options=_options())
        elif isinstance(part, Optimizer) and _by_name(saved[name]):
            owner = _owner(part, state)
            if owner is None:
                raise CheckpointError(f"{name} was saved by names of parameters it no longer has.")
            for group, old in zip(part.param_groups, saved[name]["param_groups"], strict=False):
                for option in old.keys() - group.keys():  # torch wants to find what it restores
                    group[option] = old[option]
            _distributed().set_optimizer_state_dict(owner, part, saved[name], options=_options())
        elif _owner_if_cut(part, state) is not None:
            raise CheckpointError(
                f"{name} was saved by one process; go on with one, or start over with several."
            )
        else:
            part.load_state_dict(saved[name])


def _cut(parameters: Iterable[Tensor]) -> bool:
    return any(is_sharded(p) for p in parameters)


def _owner(optimizer: Optimizer, state: Mapping[str, Any]) -> nn.Module | None:
    """Return the module that has all of an optimizer's parameters."""
    wanted = {id(p) for group in optimizer.param_groups for p in group["params"]}
    modules = [item for item in state.values() if isinstance(item, nn.Module)]
    return next((m for m in modules if wanted <= {id(p) for p in m.parameters()}), None)


def _owner_if_cut(part: Any, state: Mapping[str, Any]) -> nn.Module | None:
    if not isinstance(part, Optimizer):
        return None
    if not _cut(p for group in part.param_groups for p in group["params"]):
        return None
    owner = _owner(part, state)
    if owner is None:
        raise ValueError("state must hold the module whose parameters the optimizer trains.")
    return owner


def _by_name(saved: Any) -> bool:
    groups = saved.get("param_groups", [])
    return any(isinstance(name, str) for group in groups for name in group["params"])


def _distributed() -> Any:
    from torch.distributed.checkpoint import state_dict

    return state_dict


def _options() -> Any:
    return _distributed().StateDictOptions(full_state_dict=True, cpu_offload=True)
