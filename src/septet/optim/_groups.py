"""The transformer recipe: which weights are compressed and which rate each group gets."""

import warnings
from typing import Any, Literal

from torch import Tensor, nn

from septet._core import checks
from septet._core.errors import SeptetWarning

_ATTENTION_INPUTS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


def param_groups(
    model: nn.Module,
    lr: float | Tensor,
    *,
    lr_dense: float | Tensor | None = None,
    rank: int | None = None,
    which: Literal["linear", "matrices"] = "linear",
) -> list[dict[str, Any]]:
    """Split a model into weights to compress and the rest, as the paper does for transformers.

    The weights of linear maps, the language-model head included, get shared second moments and
    subspace momentum; embeddings, norms and biases get ordinary per-coordinate statistics.

    Parameters
    ----------
    model : torch.nn.Module
        Frozen parameters are left out.
    lr : float or Tensor
        Learning rate of the compressed weights.
    lr_dense : float or Tensor, optional
        Learning rate of the rest; `lr` by default, as in the paper. Most of the paper's gain over
        Adam on small models comes from this shared, large rate, so tune it for a baseline too.
    rank : int, optional
        Rank for the compressed weights; the optimizer's own by default.
    which : {"linear", "matrices"}, default "linear"
        Compress the weights of linear maps, or everything of two or more dimensions that is no
        embedding (convolutions and recurrent weights too).

    Returns
    -------
    list of dict
        One or two groups of named parameters. Torch's own optimizers take them as well and ignore
        the keys that are not theirs.

    Raises
    ------
    ValueError
        If `which` is unknown or nothing in the model is trainable.

    Warns
    -----
    SeptetWarning
        If a linear map shares its weight with an embedding: it stays uncompressed, once.

    References
    ----------
    Nguyen and Nguyen (2025), ICML, PMLR 267; grouping as in the authors' code.

    Examples
    --------
    >>> from torch import nn
    >>> from septet.optim import AdamSNSM, param_groups
    >>> model = nn.Sequential(nn.Embedding(99, 32), nn.Linear(32, 64), nn.LayerNorm(64))
    >>> groups = param_groups(model, lr=1e-2, lr_dense=3e-3, rank=8)
    >>> [[name for name, _ in group["params"]] for group in groups]
    [['1.weight'], ['0.weight', '1.bias', '2.weight', '2.bias']]
    >>> optimizer = AdamSNSM(groups)
    """
    checks.choice("which", which, ("linear", "matrices"))
    embedded = {id(p) for p in _weights(model, nn.Embedding | nn.EmbeddingBag)}
    compressed: dict[int, str] = {}
    for module_name, module in model.named_modules():
        for name, param in module.named_parameters(module_name, recurse=False):
            if _compressible(module, name.rpartition(".")[2], param, which):
                compressed[id(param)] = name
    tied = [name for key, name in compressed.items() if key in embedded]
    if tied:
        warnings.warn(
            f"{', '.join(tied)} shares its weight with an embedding and stays uncompressed.",
            SeptetWarning,
            stacklevel=2,
        )
    inside, outside = [], []
    for name, param in model.named_parameters():
        if param.requires_grad:
            lean = id(param) in compressed and id(param) not in embedded
            (inside if lean else outside).append((name, param))
    if not inside and not outside:
        raise ValueError("the model has no trainable parameters.")
    groups: list[dict[str, Any]] = []
    if inside:
        groups.append({"params": inside, "lr": lr, **({} if rank is None else {"rank": rank})})
    if outside:
        rate = lr if lr_dense is None else lr_dense
        groups.append({"params": outside, "lr": rate, "subset": None, "rank": None})
    return groups


def _weights(model: nn.Module, kinds: Any) -> list[Tensor]:
    return [m.weight for m in model.modules() if isinstance(m, kinds)]


def _compressible(module: nn.Module, name: str, param: Tensor, which: str) -> bool:
    if param.ndim < 2 or isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return False
    if which == "matrices" or isinstance(module, nn.Linear):
        return which == "matrices" or name == "weight"
    if isinstance(module, nn.MultiheadAttention):
        return name in _ATTENTION_INPUTS
    # GPT-2 of Hugging Face keeps linear maps in a class of its own.
    return type(module).__name__ == "Conv1D" and name == "weight"
