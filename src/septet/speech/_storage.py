"""Networks on disk: one safetensors file that knows what it holds."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from septet._core.errors import CheckpointError, DataError
from septet._core.files import PathLike, replacing
from septet._core.seals import content_digest
from septet.speech._configuration import NetworkConfig
from septet.speech._networks import SASEGANGenerator

_FORMAT = "septet.speech.generator"
_VERSION = 1
_HEADER = {"format", "version", "network", "notes", "sha256"}


def save_generator(
    path: PathLike,
    generator: SASEGANGenerator,
    network: NetworkConfig,
    *,
    half: bool = False,
    notes: dict[str, Any] | None = None,
) -> None:
    """Write a generator and its configuration to one safetensors file, whole or not at all.

    Parameters
    ----------
    path : path
        Of the file.
    generator : SASEGANGenerator
        Built from `network`.
    network : NetworkConfig
        Its configuration, which goes into the header.
    half : bool, default False
        Whether weights are rounded to half precision.
    notes : dict, optional
        JSON values to keep beside, such as how it was trained.
    """
    dtype = torch.float16 if half else torch.float32
    tensors = {
        name: value.detach().to("cpu", dtype).contiguous()
        for name, value in generator.state_dict().items()
    }
    header = {
        "format": _FORMAT,
        "version": str(_VERSION),
        "network": json.dumps(network.to_dict(), sort_keys=True),
        "notes": json.dumps(notes or {}, sort_keys=True),
    }
    header["sha256"] = _digest(header, tensors)
    with replacing(path) as file:
        file.write(save(tensors, metadata=header))


def load_generator(
    path: PathLike, *, expected: NetworkConfig | None = None
) -> tuple[SASEGANGenerator, NetworkConfig, dict[str, Any]]:
    """Read what `save_generator` wrote; nothing in the file is executed.

    Returns
    -------
    generator : SASEGANGenerator
        In evaluation mode, float32.
    network : NetworkConfig
        Its configuration.
    notes : dict
        What was kept beside.

    Raises
    ------
    DataError
        If there is no such file.
    CheckpointError
        If it is damaged or holds something else, or a network other than `expected`.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist: no network to load.")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is no sound safetensors file: {error}.") from None
    if header.get("format") != _FORMAT:
        raise CheckpointError(f"{path} holds no speech generator of this library.")
    if (version := header.get("version")) != str(_VERSION):
        raise CheckpointError(
            f"{path} has version {version}; this installation reads {_VERSION}: upgrade septet to "
            "load a newer one."
        )
    for name, value in tensors.items():
        if value.dtype not in (torch.float16, torch.float32):
            raise CheckpointError(f"{path}: {name} is {value.dtype}.")
    if set(header) != _HEADER or _digest(header, tensors) != header["sha256"]:
        raise CheckpointError(f"{path} is damaged: its digest does not fit its content.")
    network = NetworkConfig.from_dict(json.loads(header["network"]))
    if expected is not None and network != expected:
        raise CheckpointError(
            f"{path} holds another network.\n  there: {network.to_dict()}\n  "
            f"asked for: {expected.to_dict()}"
        )
    generator = network.generator(seed=0)
    wanted = {name: value.shape for name, value in generator.state_dict().items()}
    found = {name: value.shape for name, value in tensors.items()}
    if wanted != found:
        odd = min(name for name in wanted | found if wanted.get(name) != found.get(name))
        raise CheckpointError(
            f"{path} does not fit its own configuration {network.to_dict()}: {odd} is "
            f"{tuple(found[odd]) if odd in found else 'missing'}."
        )
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: {name} holds NaN or infinity.")
    generator.load_state_dict({name: value.float() for name, value in tensors.items()})
    return generator.eval(), network, json.loads(header["notes"])


def _digest(header: dict[str, str], tensors: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256 of the header's other entries and of every tensor."""
    text = json.dumps({name: header[name] for name in sorted(_HEADER - {"sha256"})})
    return content_digest(text, {name: value.numpy() for name, value in tensors.items()})
