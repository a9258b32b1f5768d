"""A layer of neurons as a file: documented JSON, and NIR for other simulators and chips."""

import hashlib
import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from septet._core.errors import CheckpointError, DataError
from septet._core.extras import needs
from septet._core.files import PathLike, replacing, write_json
from septet._core.seals import is_sealed, sealed
from septet.spiking.neurons._lif import LIF
from septet.spiking.neurons._simulate import layer_weights

_FORMAT, _VERSION = "septet.lif-layer", 1
_ENTRIES = {"format", "version", "lif", "weights"}
# HDF5 has no digest of a whole file and ignores what follows its end: ours stands there.
_TRAILER = re.compile(rb"\nseptet sha256 ([0-9a-f]{64})\n", re.ASCII)


def save_layer(path: PathLike, lif: LIF, weights: ArrayLike) -> None:
    """Write a layer to a file: NIR where the name ends in ``.nir``, JSON otherwise.

    The JSON object has the entries ``format`` ("septet.lif-layer"), ``version`` (1), ``lif`` (an
    object with `tau_m`, `tau_s`, `t_ref` in ms and `threshold`) and ``weights`` (one list of
    weights per neuron, of the kernel whose peak is 1). Numbers are written such that reading gives
    the same float64 values. A digest, ``sha256`` in JSON and a last line in NIR, tells damage;
    files without one, such as those of other programs, are read as they are. The file is written
    whole or not at all.

    Parameters
    ----------
    path : str or os.PathLike
        Where to.
    lif : LIF
        The neuron model.
    weights : array_like of shape (n_units,) or (n_neurons, n_units)
        Weights.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "layer.json"
    >>> save_layer(path, LIF(tau_m=15.0), [[0.5, -0.25]])
    >>> load_layer(path)
    (LIF(tau_m=15.0, tau_s=5.0, threshold=1.0, t_ref=0.0), array([[ 0.5 , -0.25]]))
    """
    w = _matrix(weights)
    if Path(path).suffix == ".nir":
        whole = BytesIO()  # HDF5 also reads while it writes
        _nir().write(whole, to_nir(lif, w))
        digest = hashlib.sha256(whole.getvalue()).hexdigest()
        with replacing(path) as file:
            file.write(whole.getvalue() + f"\nseptet sha256 {digest}\n".encode())
        return
    constants = {name: getattr(lif, name) for name in ("tau_m", "tau_s", "threshold", "t_ref")}
    write_json(
        path,
        sealed({"format": _FORMAT, "version": _VERSION, "lif": constants, "weights": w.tolist()}),
    )


def load_layer(path: PathLike) -> tuple[LIF, NDArray[np.float64]]:
    """Read a layer that `save_layer` wrote: its neuron model and weights (n_neurons, n_units).

    Raises
    ------
    CheckpointError
        If the file is no such layer, of a newer version, or damaged.
    DataError
        If it does not exist, or is a NIR graph of another kind.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: no layer to load.") from None
    if path.suffix == ".nir":
        return from_nir(_read_graph(path, content))
    try:
        read = json.loads(content)
        if not isinstance(read, dict) or read.get("format") != _FORMAT:
            raise CheckpointError(f'{path} is no layer: it lacks "format": "{_FORMAT}".')
        if read.get("version") != _VERSION:
            raise CheckpointError(
                f"{path} is of version {read.get('version')!r}; this release reads {_VERSION}."
            )
        if odd := sorted((read.keys() ^ _ENTRIES) - {"sha256"}):
            raise ValueError(f"entry {odd[0]!r} is missing or unknown.")
        lif, weights = LIF(**read["lif"]), _matrix(read["weights"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    if "sha256" in read and not is_sealed(read):
        raise CheckpointError(f"{path} is damaged: its digest does not fit its content.")
    return lif, weights


def _read_graph(path: Path, content: bytes) -> Any:
    """Return the NIR graph in a file, having compared the digest in its last line, if any."""
    nir = _nir()
    if (found := _TRAILER.search(content)) and found.end() == len(content):
        if hashlib.sha256(content[: found.start()]).hexdigest().encode() != found[1]:
            raise CheckpointError(f"{path} is damaged: its digest does not fit its content.")
        content = content[: found.start()]
    try:
        return nir.read(BytesIO(content))
    except Exception as error:  # whatever HDF5 and the package find wrong with it
        raise CheckpointError(f"{path} cannot be read as NIR: {error}") from None


def to_nir(lif: LIF, weights: ArrayLike) -> Any:
    r"""Return a layer as a graph of the Neuromorphic Intermediate Representation.

    The graph is ``input -> weights (Linear) -> neurons (CubaLIF) -> output``, times in seconds. The
    resistance carries the normalisation of our kernel,
    :math:`R = c\,(\tau_m - \tau_s)` (:math:`e\,\tau` if they are equal), so that the potential of
    the graph's own equations is ours. Needs the extra ``nir``.

    Raises
    ------
    ValueError
        For delta synapses or a refractory period, which the graph's neuron does not have.

    References
    ----------
    J. E. Pedersen et al., "Neuromorphic intermediate representation: A unified instruction set for
    interoperable brain-inspired computing", Nature Communications 15 (2024) 8122.

    Examples
    --------
    >>> graph = to_nir(LIF(), [[0.5, -0.25]])
    >>> from_nir(graph)
    (LIF(tau_m=20.0, tau_s=5.0, threshold=1.0, t_ref=0.0), array([[ 0.5 , -0.25]]))
    """
    nir = _nir()
    if lif.synapse == "delta" or lif.t_ref > 0:
        raise ValueError(
            "NIR's CubaLIF has synaptic currents and no refractory period; "
            f"got tau_s = {lif.tau_s:g}, t_ref = {lif.t_ref:g}. Save the layer as JSON instead."
        )
    w = _matrix(weights)
    ones = np.ones(len(w))
    neurons = nir.CubaLIF(
        tau_syn=1e-3 * lif.tau_s * ones,
        tau_mem=1e-3 * lif.tau_m * ones,
        r=_resistance(lif) * ones,
        v_leak=0.0 * ones,
        v_threshold=lif.threshold * ones,
        v_reset=0.0 * ones,
        w_in=ones,
    )
    nodes = {
        "input": nir.Input({"input": np.array([w.shape[1]])}),
        "weights": nir.Linear(w),
        "neurons": neurons,
        "output": nir.Output({"output": np.array([len(w)])}),
    }
    edges = [("input", "weights"), ("weights", "neurons"), ("neurons", "output")]
    return nir.NIRGraph(nodes, edges)


def from_nir(graph: Any) -> tuple[LIF, NDArray[np.float64]]:
    """Read a layer off a NIR graph with one Linear node and one CubaLIF whose neurons are alike.

    Raises
    ------
    DataError
        If the graph is of another kind.
    """
    nir = _nir()
    linear = [node for node in graph.nodes.values() if isinstance(node, nir.Linear)]
    cells = [node for node in graph.nodes.values() if isinstance(node, nir.CubaLIF)]
    if len(linear) != 1 or len(cells) != 1 or len(graph.nodes) != 4:
        kinds = sorted(type(node).__name__ for node in graph.nodes.values())
        raise DataError(f"the graph must be Input, Linear, CubaLIF, Output; it is {kinds}.")
    cell = cells[0]
    if np.any(cell.v_leak != 0) or np.any(cell.v_reset != 0):
        raise DataError("the neurons must rest at 0 and reset to 0.")
    constants = [np.unique(value) for value in (cell.tau_mem, cell.tau_syn, cell.v_threshold)]
    if any(value.size != 1 for value in constants):
        raise DataError("the neurons must share their time constants and threshold.")
    tau_m, tau_s, threshold = (float(value[0]) for value in constants)
    # milliseconds as they were written, not with the rounding of seconds
    lif = LIF(round(1e3 * tau_m, 12), round(1e3 * tau_s, 12), threshold)
    gain = np.asarray(cell.r * cell.w_in, dtype=np.float64) / _resistance(lif)
    return lif, np.asarray(linear[0].weight, dtype=np.float64) * gain[:, None]


def _resistance(lif: LIF) -> float:
    """Factor between the potential of NIR's equations, in seconds, and ours."""
    if lif.synapse == "alpha":
        return 1e-3 * lif.psp_norm * lif.tau_m
    return 1e-3 * lif.psp_norm * (lif.tau_m - lif.tau_s)


def _matrix(weights: ArrayLike) -> NDArray[np.float64]:
    array = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    return layer_weights(array, array.shape[-1])


def _nir() -> Any:
    return needs("nir", extra="nir", purpose="exchange with other simulators")
