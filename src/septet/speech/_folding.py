"""The network as it is used: every constant of training folded into plain weights."""

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from septet.speech._configuration import NetworkConfig
from septet.speech._layers import SelfAttention1d
from septet.speech._networks import SASEGANGenerator


def folded(
    generator: SASEGANGenerator, network: NetworkConfig
) -> tuple[SASEGANGenerator, NetworkConfig]:
    """Return a generator that computes the same without spectral norm, gates and latent.

    Spectrally normalised weights become plain ones, β goes into the output projection of its
    attention, and the half of the first transposed convolution that sees the latent (zero from now
    on) is cut away: a fifth of SASEGAN's weights.

    Parameters
    ----------
    generator : SASEGANGenerator
        Trained; left as it is.
    network : NetworkConfig
        What it was built from.

    Returns
    -------
    generator : SASEGANGenerator
        In evaluation mode, without gradients.
    network : NetworkConfig
        What it can be built from.
    """
    values: dict[str, Any] = {**network.to_dict(), "spectral_norm": False, "latent": "none"}
    plain_network = NetworkConfig.from_dict(values)
    plain = plain_network.generator(seed=0)
    plain.load_state_dict(_plain_state(generator))
    for module in plain.modules():
        if isinstance(module, SelfAttention1d):
            with torch.no_grad():
                module.output.weight.mul_(module.beta)
                module.beta.fill_(1.0)
    return plain.eval().requires_grad_(False), plain_network


def _plain_state(generator: SASEGANGenerator) -> dict[str, torch.Tensor]:
    """Weights by their plain names, normalised, without the latent's."""
    was_training = generator.training
    generator.eval()  # so that looking at a normalised weight does not move its power iteration
    state: dict[str, torch.Tensor] = {}
    for prefix, module in generator.named_modules():
        if "parametrizations" in prefix.split("."):
            continue
        for name, value in module.named_parameters(recurse=False):
            state[f"{prefix}.{name}"] = value.detach().clone()
        if parametrize.is_parametrized(module, "weight"):
            state[f"{prefix}.weight"] = _tensor(module, "weight").detach().clone()
    generator.train(was_training)
    if generator.latent == "normal":
        width = generator.channels[-1]
        for n in range(len(generator.nets)):
            key = f"nets.{n}.up.0.weight"
            state[key] = state[key][width:].clone()
    return state


def _tensor(module: nn.Module, name: str) -> torch.Tensor:
    value = getattr(module, name)
    assert isinstance(value, torch.Tensor)
    return value
