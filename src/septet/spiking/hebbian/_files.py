"""A detector in one safetensors file: arrays as tensors, the rest as JSON in its header."""

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from septet._core.errors import CheckpointError, DataError
from septet._core.files import PathLike, replacing
from septet._core.seals import content_digest
from septet.spiking.hebbian._rule import HebbianRule

T = TypeVar("T")

_KIND, _VERSION = "septet spiking novelty detector", 1
_ARRAYS = {  # attribute: number of axes and kind of its entries
    "weights_": (2, "f"),
    "bias_": (1, "f"),
    "_due": (1, "i"),
    "_fired": (1, "f"),
    "_lately": (1, "f"),
    "_recent_scores": (1, "f"),
}
_NUMBERS = {
    "n_neurons_": int,
    "n_features_in_": int,
    "n_samples_seen_": int,
    "n_silent_": int,
    "_seed": int,
    "_outputs": int,
    "_quiet": int,
    "threshold_": float,
    "rate_scale_": float,
    "learning_rate_": float,
    "offset_": float,
}


def save_detector(detector: Any, path: PathLike) -> None:
    """Write a fitted detector, whole or not at all."""
    parameters = detector.get_params(deep=False)
    if parameters["rule"] is not None:
        parameters["rule"] = dataclasses.asdict(parameters["rule"])
    if not isinstance(parameters["random_state"], int | np.integer):
        parameters["random_state"] = None  # its seed has been drawn and is kept below
    about = {
        "kind": _KIND,
        "version": _VERSION,
        "parameters": parameters,
        "numbers": {name: kind(getattr(detector, name)) for name, kind in _NUMBERS.items()},
        "feature_names": list(getattr(detector, "feature_names_in_", [])),
    }
    arrays = {name: np.ascontiguousarray(getattr(detector, name)) for name in _ARRAYS}
    # parameters that come out of a grid are NumPy's numbers
    text = json.dumps(about, sort_keys=True, default=lambda number: number.item())
    with replacing(path) as file:
        file.write(save(arrays, metadata={"about": text, "sha256": content_digest(text, arrays)}))


def load_detector(cls: type[T], path: PathLike) -> T:
    """Read a detector back, after checking every part of the file."""
    text, digest, arrays = _read(Path(path))
    if content_digest(text, arrays) != digest:
        raise CheckpointError(f"{path} is damaged: its digest does not fit its content.")
    about = json.loads(text)
    if about.get("kind") != _KIND:
        raise CheckpointError(f"{path} holds no spiking novelty detector.")
    if about["version"] > _VERSION:
        raise CheckpointError(
            f"{path} is of version {about['version']}; this Septet reads up to {_VERSION}. Update "
            "it."
        )
    parameters = about["parameters"]
    if parameters["rule"] is not None:
        parameters["rule"] = HebbianRule(**parameters["rule"])
    detector = cls(**parameters)
    for name, kind in _NUMBERS.items():
        setattr(detector, name, kind(about["numbers"][name]))
    for name in _ARRAYS:
        setattr(detector, name, arrays[name])
    if about["feature_names"]:
        detector.feature_names_in_ = np.array(about["feature_names"], dtype=object)  # pyrefly: ignore
    return detector


def _read(path: Path) -> tuple[str, str, dict[str, np.ndarray]]:
    try:
        with safe_open(path, framework="numpy") as file:
            about = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: no detector to load.") from None
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from None
    if set(about) != {"about", "sha256"} or set(arrays) != set(_ARRAYS):
        raise CheckpointError(f"{path} holds no spiking novelty detector.")
    for name, (axes, kind) in _ARRAYS.items():
        if arrays[name].ndim != axes or arrays[name].dtype.kind != kind:
            raise CheckpointError(f"{path}: {name} is not as it must be.")
    return about["about"], about["sha256"], arrays
