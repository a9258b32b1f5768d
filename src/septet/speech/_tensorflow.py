"""Weights of the authors' TensorFlow 1 code, by the layouts of its layers.

The published checkpoints were out of reach when this was written; what is tested is that arrays in
the layouts of that code, made up at random, give a network that computes what TensorFlow's
definitions of those layers say.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from septet._core.errors import CheckpointError
from septet.speech._configuration import NetworkConfig
from septet.speech._networks import SASEGANGenerator

_ATTENTION = ("query", "key", "value", "output")


def from_tensorflow(arrays: Mapping[str, ArrayLike], network: NetworkConfig) -> SASEGANGenerator:
    r"""Build a generator from arrays in the layouts of the authors' TensorFlow 1 code.

    Parameters
    ----------
    arrays : mapping from name to array
        What a checkpoint holds, under these names, layers counted from 0, in the order in which
        they compute:

        ==============================  ==================================================
        ``enc_{l}/w``, ``dec_{l}/w``    ``(31, 1, in, out)`` for convolutions; for transposed
                                        convolutions ``(31, 1, out, in)``
        ``enc_{l}/b``, ``dec_{l}/b``    ``(out,)``
        ``enc_{l}/u``, ``dec_{l}/u``    ``(1, last dimension of w)``: the vector of the power
                                        iteration, with spectral norm only
        ``enc_{l}/alpha``, ...          ``(out,)``: slopes of PReLU; none for the last layer
        ``enc_{l}/attention/{p}/w``     ``(1, 1, in, out)`` with p one of query, key, value,
                                        output, and ``.../u`` likewise
        ``enc_{l}/attention/beta``      ``()``; decoder layer l attends under ``dec_{l}``
        ==============================  ==================================================
    network : NetworkConfig
        Of the network that was saved, one stage.

    Returns
    -------
    SASEGANGenerator
        In evaluation mode.

    Raises
    ------
    CheckpointError
        If an array is missing, left over, or of another shape.

    Notes
    -----
    `tensorflow_names` gives the names in the order of the generator's own parameters. Checkpoints
    are read with ``tf.train.load_checkpoint``, which this library does not need otherwise; their
    variables' scopes must be mapped to the names above.
    """
    if network.stages != 1:
        raise CheckpointError("a chain must be converted stage by stage.")
    generator = network.generator(seed=0)
    wanted = tensorflow_names(network)
    if odd := wanted.keys() ^ arrays.keys():
        name = min(odd)
        raise CheckpointError(f"{name} is {'missing' if name in wanted else 'not expected'}.")
    state = generator.state_dict()
    for name, key in wanted.items():
        value = _to_torch(np.asarray(arrays[name]))
        if value.shape != tuple(state[key].shape):
            raise CheckpointError(
                f"{name} has shape {np.shape(arrays[name])}, which does not fit {key} of shape "
                f"{tuple(state[key].shape)}."
            )
        if not np.isfinite(value).all():
            raise CheckpointError(f"{name} holds NaN or infinity.")
        state[key] = torch.from_numpy(value)
    for key in [key for key in state if key.endswith("._v")]:
        matrix = state[key.replace("0._v", "original")].flatten(1)
        state[key] = torch.nn.functional.normalize(matrix.T @ state[key[:-1] + "u"], dim=0)
    generator.load_state_dict(state)
    return generator.eval()


def to_tensorflow(generator: SASEGANGenerator, network: NetworkConfig) -> dict[str, NDArray[Any]]:
    """Return a generator's weights in the layouts that `from_tensorflow` reads."""
    state = generator.state_dict()
    return {name: _to_tensorflow(state[key].numpy(), name) for name, key in _names(network, state)}


def tensorflow_names(network: NetworkConfig) -> dict[str, str]:
    """Names of the arrays that `from_tensorflow` wants, each with the parameter that it fills.

    Examples
    --------
    >>> names = tensorflow_names(NetworkConfig(attention=(), channels=(8, 16), window=64))
    >>> names["enc_0/w"], names["dec_1/b"]
    ('nets.0.down.0.parametrizations.weight.original', 'nets.0.up.1.bias')
    """
    return dict(_names(network, network.generator(seed=0).state_dict()))


def _names(network: NetworkConfig, keys: Mapping[str, Any]) -> list[tuple[str, str]]:
    depth = len(network.channels)
    names: list[tuple[str, str]] = []
    for side, ours in (("enc", "down"), ("dec", "up")):
        for layer in range(depth):
            names += _layer(f"{side}_{layer}", f"nets.0.{ours}.{layer}", keys)
            names.append((f"{side}_{layer}/b", f"nets.0.{ours}.{layer}.bias"))
            if side == "enc" or layer < depth - 1:
                names.append((f"{side}_{layer}/alpha", f"nets.0.{ours}_slope.{layer}.weight"))
    for index in network.attention:
        names += _attention(f"enc_{index - 1}", f"nets.0.encoder_attention.{index}", keys)
        if index < depth:
            partner = depth - 1 - index  # the decoder layer whose output has that length
            names += _attention(f"dec_{partner}", f"nets.0.decoder_attention.{index}", keys)
    return names


def _attention(name: str, key: str, keys: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = [(f"{name}/attention/beta", f"{key}.beta")]
    for projection in _ATTENTION:
        found += _layer(f"{name}/attention/{projection}", f"{key}.{projection}", keys)
    return found


def _layer(name: str, key: str, keys: Mapping[str, Any]) -> list[tuple[str, str]]:
    if f"{key}.weight" in keys:
        return [(f"{name}/w", f"{key}.weight")]
    normed = f"{key}.parametrizations.weight"
    return [(f"{name}/w", f"{normed}.original"), (f"{name}/u", f"{normed}.0._u")]


def _to_torch(array: NDArray[Any]) -> NDArray[np.float32]:
    """Turn weights (k, 1, a, b) into (b, a, k), be b outputs or inputs; u loses an axis."""
    if array.ndim == 4:
        array = array[:, 0].transpose(2, 1, 0)
    elif array.ndim == 2:
        array = array[0]
    return np.array(array, dtype=np.float32, order="C")


def _to_tensorflow(array: NDArray[Any], name: str) -> NDArray[Any]:
    if array.ndim == 3:
        return np.ascontiguousarray(array.transpose(2, 1, 0)[:, None])
    return array[None] if name.endswith("/u") else array
