"""The network as an ONNX graph: one pre-emphasised window in, the enhanced window out."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from septet._core.errors import SeptetError
from septet._core.extras import needs
from septet._core.files import PathLike, replacing
from septet.speech._denoiser import Denoiser

_TOLERANCE = 1e-4


def export_onnx(denoiser: Denoiser, path: PathLike, *, check: bool = True) -> dict[str, Any]:
    """Write the folded network as an ONNX graph from ``noisy`` to ``enhanced``, shape (B, 1, T).

    Both are pre-emphasised windows (`preemphasis`); what surrounds the network, overlap and
    emphasis, is described in the graph's metadata under ``septet``.

    Parameters
    ----------
    denoiser : Denoiser
        With the network.
    path : path
        Of the file, whole or absent afterwards.
    check : bool, default True
        Run the graph on noise and compare it with the network.

    Returns
    -------
    dict
        ``bytes``, ``window``, and ``largest_difference`` where it was checked.

    Raises
    ------
    MissingExtraError
        If onnx and onnxscript (or, for the check, onnxruntime) are not installed.
    SeptetError
        If the graph computes something else.
    """
    onnx = needs("onnx", extra="onnx", purpose="exporting to ONNX")
    needs("onnxscript", extra="onnx", purpose="exporting to ONNX")
    window = denoiser.network.window
    example = torch.zeros(2, 1, window)
    with warnings.catch_warnings():  # the exporter warns about itself
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            denoiser.generator,
            (example,),
            input_names=["noisy"],
            output_names=["enhanced"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    about = {
        "network": denoiser.network.to_dict(),
        "sample_rate": 16000,
        "overlap": denoiser.overlap,
        "emphasis": 0.95,
    }
    onnx.helper.set_model_props(model, {"septet": json.dumps(about)})
    content = model.SerializeToString()
    facts: dict[str, Any] = {"bytes": len(content), "window": window}
    if check:
        facts["largest_difference"] = _difference(denoiser, content)
    with replacing(Path(path)) as file:
        file.write(content)
    return facts


def _difference(denoiser: Denoiser, content: bytes) -> float:
    """Largest difference between graph and network on one and on three windows of noise."""
    runtime = needs("onnxruntime", extra="onnx", purpose="checking the exported graph")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch in (1, 3):
        noise = np.random.default_rng(0).normal(size=(batch, 1, denoiser.network.window))
        noisy = (0.1 * noise).astype(np.float32)
        (found,) = session.run(None, {"noisy": noisy})
        with torch.inference_mode():
            wanted = denoiser.generator(torch.from_numpy(noisy).to(denoiser.device)).cpu().numpy()
        worst = max(worst, float(np.abs(found - wanted).max()))
    if not worst < _TOLERANCE:
        raise SeptetError(f"the exported graph differs from the network by up to {worst:g}.")
    return worst
