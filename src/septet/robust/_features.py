"""Features of a frozen network, and a new head for it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from septet._core import checks
from septet._core.files import PathLike
from septet.robust._fitting import standardization
from septet.robust._fixed_head import LinearHead, fit_head, full_rows, rescale, unscale
from septet.robust._group_dro_cv import GroupDROClassifierCV
from septet.robust._head_problem import FloatArray
from septet.robust._linear_head import LinearHeadBase

Inputs: TypeAlias = Tensor | NDArray[Any] | Mapping[str, Tensor] | Dataset[Any]


def find_head(model: nn.Module, head: str) -> nn.Linear:
    """Return the linear layer called `head` inside `model`.

    Raises
    ------
    ValueError
        If there is no such layer, or it is not a Linear.
    """
    layers = dict(model.named_modules())
    linear = [name for name, layer in layers.items() if isinstance(layer, nn.Linear)]
    hint = f"its linear layers are {', '.join(map(repr, linear)) or 'none'}"
    if head not in layers:
        raise ValueError(f"the model has no layer {head!r}; {hint}.")
    layer = layers[head]
    if not isinstance(layer, nn.Linear):
        raise ValueError(
            f"head {head!r} must be a Linear layer; it is a {type(layer).__name__}, {hint}."
        )
    return layer


def head_of(model: nn.Module, head: str, classes: ArrayLike | None = None) -> LinearHead:
    """Copy the linear layer called `head` into a `LinearHead`."""
    layer = find_head(model, head)
    weight = layer.weight.detach().double().cpu().numpy()
    bias = None if layer.bias is None else layer.bias.detach().double().cpu().numpy()
    return LinearHead(weight, bias, classes).fit()


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Put the whole model into evaluation mode without gradients; afterwards it is as before."""
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def extract_features(
    model: nn.Module,
    X: Inputs,
    *,
    head: str = "fc",
    batch_size: int = 256,
    out: PathLike | None = None,
) -> NDArray[np.float32]:
    """Return what goes into the head of a network, for every row.

    The network runs once over the rows, in evaluation mode and on the device where it is; its
    parameters, buffers, gradients flags and training modes are afterwards what they were.

    Parameters
    ----------
    model : nn.Module
        Network with a linear last layer.
    X : Tensor, ndarray, mapping of str to Tensor, or Dataset
        Rows. A mapping is passed by keyword; from a Dataset's items the first entry (or the
        mapping) is taken.
    head : str, default "fc"
        Name of the linear layer, such as ``"classifier"`` or ``"head.2"``.
    batch_size : int, default 256
        Rows per forward pass.
    out : path, optional
        Write the features to this ``.npy`` file instead and return it memory-mapped: for more rows
        than fit in memory.

    Returns
    -------
    ndarray of shape (n, d), float32
        Input of the head, row by row.

    Raises
    ------
    ValueError
        If `head` is not a Linear layer, is not called exactly once per forward pass, or takes input
        that is not 2-D.

    Notes
    -----
    The reference implementation keeps the frozen network in training mode, so that batch statistics
    leak into the features and the buffers change, and computes them anew in every epoch.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> extract_features(model, torch.zeros(5, 3), head="2").shape
    (5, 4)
    """
    checks.integer("batch_size", batch_size, low=1)
    layer = find_head(model, head)
    caught: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, arguments: caught.append(arguments[0]))
    n, done = count_rows(X), 0
    features: NDArray[np.float32] | None = None
    try:
        with frozen(model), torch.inference_mode():
            for batch in _batches(X, batch_size):
                caught.clear()
                call(model, _to(batch, model))
                if len(caught) != 1:
                    raise ValueError(
                        f"head {head!r} must run once per forward pass; it ran {len(caught)} times."
                    )
                found = caught[0]
                if found.ndim != 2:
                    raise ValueError(
                        f"head {head!r} must take 2-D input (rows, features); it got shape "
                        f"{tuple(found.shape)}."
                    )
                if features is None:
                    features = _room((n, found.shape[1]), out)
                features[done : done + len(found)] = found.float().cpu().numpy()
                done += len(found)
    finally:
        hook.remove()
        if out is not None and done < n:
            _part(Path(out)).unlink(missing_ok=True)
    if features is None:
        raise ValueError("X has no rows.")
    return features if out is None else _keep(features, Path(out))


def retrain_head(
    model: nn.Module,
    X: Inputs,
    y: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    group_membership: ArrayLike | None = None,
    head: str = "fc",
    classifier: LinearHeadBase | None = None,
    standardize: bool = True,
    statistics: tuple[ArrayLike, ArrayLike] | None = None,
    batch_size: int = 256,
) -> LinearHeadBase:
    """Retrain the last layer of a network on rows with group labels and put it in place.

    Everything but the head's weight and bias is bit for bit as before.

    Parameters
    ----------
    model : nn.Module
        Trained network with a linear last layer of K outputs; its head is replaced in place.
    X : Tensor, ndarray, mapping of str to Tensor, or Dataset
        Rows that the network was *not* trained on; see `extract_features`.
    y : array_like of shape (n,)
        Classes, the numbers 0 .. K - 1 of the outputs; every one must occur.
    groups : array_like of shape (n,) or (n, n_attributes), optional
        Group labels, unknown ones allowed; passed on if the classifier's `fit` takes them.
    group_membership : array_like of shape (n, G), optional
        Multi-hot or soft memberships instead of labels: groups may overlap.
    head : str, default "fc"
        Name of the linear layer.
    classifier : linear head of this package, optional
        Rule of retraining, cloned; `GroupDROClassifierCV` by default. One whose parameter ``head``
        is None gets the present head.
    standardize : bool, default True
        Whether the classifier sees features scaled to mean 0 and variance 1. The new head takes
        features as they are.
    statistics : (mean, standard deviation), optional
        Where the scaling comes from, such as the rows that trained the network; by default the rows
        given.
    batch_size : int, default 256
        Rows per forward pass.

    Returns
    -------
    classifier
        The fitted head, for standardised features if `standardize`.

    Raises
    ------
    ValueError
        If `head` is not a Linear layer, y is not made of its output numbers, or a layer without
        bias would need one.

    References
    ----------
    T. H. Nguyen, H. R. Zhang, H. L. Nguyen, "Improved Group Robustness via Classifier Retraining on
    Independent Splits", TMLR 2023, algorithm 1, line 4.

    Examples
    --------
    >>> torch_rows = torch.tensor([[-1.0, 0.2], [-2.0, 0.1], [1.0, 0.3], [2.0, 0.4]])
    >>> model = nn.Sequential(nn.Identity(), nn.Linear(2, 2))
    >>> from septet.robust import GroupDROClassifier
    >>> _ = retrain_head(model, torch_rows, [0, 0, 1, 1], head="1", classifier=GroupDROClassifier())
    >>> model(torch_rows).argmax(dim=1).tolist()
    [0, 0, 1, 1]
    """
    layer = find_head(model, head)
    labels = np.asarray(y)
    if not np.array_equal(np.unique(labels), np.arange(layer.out_features)):
        raise ValueError(
            f"y must hold each of the numbers 0 to {layer.out_features - 1}, the outputs of the "
            f"head; it holds {np.unique(labels)[:10].tolist()}."
        )
    features = extract_features(model, X, head=head, batch_size=batch_size).astype(np.float64)
    if statistics is None:
        center, scale = standardization(features, on=standardize)
    else:
        center, scale = (checks.vector("statistics", s, size=features.shape[1]) for s in statistics)
        scale = np.where(scale > 0, scale, 1.0)
    fitted = fit_head(
        classifier if classifier is not None else GroupDROClassifierCV(),
        (features - center) / scale,
        labels,
        {"groups": groups, "group_membership": group_membership},
        present=rescale(head_of(model, head), center, scale),
    )
    write_head(layer, *unscale(*full_rows(fitted), center, scale))
    return fitted


@torch.no_grad()
def write_head(layer: nn.Linear, rows: FloatArray, bias: FloatArray) -> None:
    """Put weights into a layer, in its own precision and on its own device."""
    if layer.bias is None:
        if np.abs(bias - bias.mean()).max() > 1e-12:
            raise ValueError(
                "the head has no bias to hold that of the classifier: use a classifier with "
                "fit_intercept=False and standardize=False."
            )
    else:
        layer.bias.copy_(torch.as_tensor(bias))
    layer.weight.copy_(torch.as_tensor(rows))


def predict_rows(model: nn.Module, X: Inputs, *, batch_size: int = 256) -> NDArray[np.int64]:
    """Return the number of the largest output for every row, from the model in evaluation mode.

    Parameters
    ----------
    model : nn.Module
        Network that maps rows to K logits; it is afterwards as it was.
    X : Tensor, ndarray, mapping of str to Tensor, or Dataset
        Rows; see `extract_features`.
    batch_size : int, default 256
        Rows per forward pass.

    Returns
    -------
    ndarray of shape (n,), int64
        Numbers from 0 to K - 1.

    Examples
    --------
    >>> predict_rows(nn.Identity(), torch.tensor([[0.1, 0.9], [3.0, 2.0]])).tolist()
    [1, 0]
    """
    with frozen(model), torch.inference_mode():
        parts = [
            call(model, _to(batch, model)).argmax(dim=1).cpu() for batch in _batches(X, batch_size)
        ]
    return torch.cat(parts).numpy()


def take_rows(X: Inputs, index: Tensor, model: nn.Module) -> Any:
    """Return some rows as tensors on the model's device; numbers take the precision of the model.

    Raises
    ------
    TypeError
        If X is a Dataset, whose rows come in an order of their own.
    """
    if isinstance(X, Dataset):
        raise TypeError("training needs X as an array, a Tensor or a mapping of these.")
    if isinstance(X, Mapping):
        return {name: _tensor(values[index], model) for name, values in X.items()}
    return _tensor(X[index] if isinstance(X, Tensor) else X[index.numpy()], model)


def place_of(model: nn.Module) -> torch.device:
    """Device of the model's first parameter or buffer."""
    tensors = (*model.parameters(), *model.buffers())
    return tensors[0].device if tensors else torch.device("cpu")


def count_rows(X: Inputs) -> int:
    if isinstance(X, Mapping):
        return len(next(iter(X.values())))
    return len(X)  # pyrefly: ignore[bad-argument-type] - datasets of this kind have a length


def _batches(X: Inputs, batch_size: int) -> Iterator[Any]:
    if isinstance(X, Dataset):
        for batch in DataLoader(X, batch_size=batch_size):
            yield batch[0] if isinstance(batch, Sequence) else batch
        return
    for start in range(0, count_rows(X), batch_size):
        part = slice(start, start + batch_size)
        if isinstance(X, Mapping):
            yield {name: values[part] for name, values in X.items()}
        else:
            yield X[part]


def _to(batch: Any, model: nn.Module) -> Any:
    if isinstance(batch, Mapping):
        return {name: _tensor(values, model) for name, values in batch.items()}
    return _tensor(batch, model)


def _tensor(values: Any, model: nn.Module) -> Tensor:
    tensor = torch.as_tensor(values)
    if tensor.is_floating_point():
        wanted = next((p.dtype for p in model.parameters() if p.is_floating_point()), tensor.dtype)
        tensor = tensor.to(wanted)
    return tensor.to(place_of(model))


def call(model: nn.Module, batch: Any) -> Any:
    """Run the model on a batch; a mapping is passed by keyword."""
    return model(**batch) if isinstance(batch, Mapping) else model(batch)


def _room(shape: tuple[int, int], out: PathLike | None) -> NDArray[np.float32]:
    if out is None:
        return np.empty(shape, dtype=np.float32)
    return np.lib.format.open_memmap(_part(Path(out)), "w+", np.float32, shape)


def _keep(features: NDArray[np.float32], path: Path) -> NDArray[np.float32]:
    """Give the complete file its name and open it again to read."""
    np.memmap.flush(features)  # pyrefly: ignore[bad-argument-type]
    _part(path).replace(path)
    return np.load(path, mmap_mode="r")


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")
