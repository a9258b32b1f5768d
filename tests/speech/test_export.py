"""ONNX: the graph computes what the network computes; weights from TensorFlow's layouts."""

import json

import numpy as np
import onnx
import pytest
import torch

from septet._core.errors import CheckpointError
from septet.speech import (
    Denoiser,
    NetworkConfig,
    SelfAttention1d,
    export_onnx,
    from_tensorflow,
    tensorflow_names,
    to_tensorflow,
)


def opened(network):
    net = network.generator(seed=0)
    for module in net.modules():
        if isinstance(module, SelfAttention1d):
            module.beta.data.fill_(0.7)
    return net


@pytest.mark.parametrize("output", ["tanh", "residual", "mask"])
def test_the_graph_computes_what_the_network_computes(output, tmp_path):
    network = NetworkConfig(
        attention=(2,), channels=(8, 8), output=output, kernel=5, initialisation="kaiming",
        window=2048,
    )  # fmt: skip
    path = tmp_path / "net.onnx"
    facts = export_onnx(Denoiser(opened(network), network), path)
    assert facts["largest_difference"] < 1e-4
    model = onnx.load(path)
    about = {p.key: p.value for p in model.metadata_props}
    assert json.loads(about["septet"])["network"]["output"] == output
    assert facts["bytes"] == path.stat().st_size


def layouts(network, seed=0):
    """Random arrays in TensorFlow's layouts, made from nothing but the published shapes."""
    rng = np.random.default_rng(seed)
    widths = network.channels
    arrays = {}
    for layer, (a, b) in enumerate(zip((1, *widths), widths, strict=False)):
        arrays[f"enc_{layer}/w"] = rng.normal(size=(31, 1, a, b))
        arrays[f"enc_{layer}/b"] = rng.normal(size=b)
        arrays[f"enc_{layer}/alpha"] = rng.uniform(size=b)
    up = (*widths[-2::-1], 1)
    taken = (2 * widths[-1], *(2 * c for c in widths[-2::-1]))
    for layer, (a, b) in enumerate(zip(taken, up, strict=True)):
        arrays[f"dec_{layer}/w"] = rng.normal(size=(31, 1, b, a))
        arrays[f"dec_{layer}/b"] = rng.normal(size=b)
        if b != 1 or layer < len(up) - 1:
            arrays[f"dec_{layer}/alpha"] = rng.uniform(size=b)
    return {k: v.astype(np.float32) for k, v in arrays.items()}


PLAIN = NetworkConfig(attention=(), channels=(4, 8), spectral_norm=False, window=64)


def test_arrays_in_tensorflow_layouts_compute_what_tensorflow_defines():
    """One layer by its definition: y[n, o] = sum_k,i x[2 n + k - 14, i] w[k, i, o] + b[o]."""
    arrays = layouts(PLAIN)
    net = from_tensorflow(arrays, PLAIN)
    x = np.random.default_rng(1).normal(size=64)
    padded = np.pad(x, (14, 15))
    w = arrays["enc_0/w"][:, 0, 0]
    wanted = np.stack([padded[2 * n : 2 * n + 31] @ w for n in range(32)]) + arrays["enc_0/b"]
    found = net.nets[0].down[0](torch.tensor(x, dtype=torch.float32)[None, None])[0].T
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-4, atol=1e-4)
    # the transposed one is the adjoint of a convolution with the same kernel, (k, out, in)
    h = np.random.default_rng(2).normal(size=(16, 16))
    v = arrays["dec_0/w"][:, 0]
    full = np.zeros((2 * 16 + 31, 4))
    for n in range(16):
        full[2 * n : 2 * n + 31] += v @ h[n]
    wanted = full[14 : 14 + 32] + arrays["dec_0/b"]
    found = net.nets[0].up[0](torch.tensor(h.T, dtype=torch.float32)[None])[0].T
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-4, atol=1e-3)


def test_spectral_norm_keeps_the_vector_of_the_saved_power_iteration():
    network = NetworkConfig(attention=(1, 2), channels=(8, 8), window=64)
    net = opened(network)
    with torch.no_grad():
        net(torch.randn(2, 1, 64))  # in training mode: moves the power iteration
    net.eval()
    again = from_tensorflow(to_tensorflow(net, network), network)
    x = torch.randn(2, 1, 64)
    torch.testing.assert_close(again(x), net(x), rtol=1e-4, atol=1e-6)
    u = to_tensorflow(net, network)["dec_0/u"]
    assert u.shape == (1, 16)  # in channels of the transposed convolution: its last dimension


def test_what_does_not_fit_is_named():
    arrays = layouts(PLAIN)
    assert set(arrays) == set(tensorflow_names(PLAIN))
    with pytest.raises(CheckpointError, match="enc_0/b is missing"):
        from_tensorflow({k: v for k, v in arrays.items() if k != "enc_0/b"}, PLAIN)
    with pytest.raises(CheckpointError, match="global_step is not expected"):
        from_tensorflow({**arrays, "global_step": np.zeros(())}, PLAIN)
    with pytest.raises(CheckpointError, match=r"enc_0/w has shape \(31, 1, 1, 5\)"):
        from_tensorflow({**arrays, "enc_0/w": np.zeros((31, 1, 1, 5))}, PLAIN)
    with pytest.raises(CheckpointError, match="dec_1/b holds NaN"):
        from_tensorflow({**arrays, "dec_1/b": np.array([np.nan])}, PLAIN)
