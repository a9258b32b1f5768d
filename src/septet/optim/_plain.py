"""One step of one tensor in plain tensor operations: the readable twin of every fast path.

All arithmetic is done in float32 for half-precision weights and in the weight's dtype otherwise.
"""

from typing import Any

import torch
from torch import Tensor

from septet.optim._jobs import Hyper
from septet.optim._projection import picked, spread
from septet.optim._rule import Rule


def subset_sums(rule: Rule, grad: Tensor) -> Tensor:
    """Sum (or mean) of squared magnitudes over each subset, in the shape of the second moments."""
    squares = grad.abs().square() if grad.is_complex() else grad.square()
    if rule.partition == "each":
        return squares
    if rule.partition == "blocks":
        one = rule.block == rule.size
        sums = squares.sum().reshape(1) if one else _blocks(rule, squares).sum(1)
        if rule.mean:
            sums = sums / rule.block
            rest = rule.size % rule.block
            if rest:
                sums[-1] *= rule.block / rest
        return sums
    dim = -1 if rule.partition == "rows" else -2
    sums = squares.reshape(rule.view).sum(dim, keepdim=True)
    return sums / rule.block if rule.mean else sums


def moved(
    rule: Rule, param: Tensor, numerator: Tensor, sums: Tensor, state: dict[str, Any], hyper: Hyper
) -> Tensor:
    """Advance the second moment in place and return the new weight in the arithmetic's dtype.

    Parameters
    ----------
    rule : Rule
    param : Tensor
        The weight; not changed here.
    numerator : Tensor
        What to move along, in the shape of the weight.
    sums : Tensor
        As :func:`subset_sums` returns it.
    state : dict of str to Tensor
        With the second moments of :meth:`Rule.state_layout`.
    hyper : Hyper
    """
    step = _scaled(rule, numerator, _inverse_denominator(rule, sums, state, hyper))
    weight = param.to(step.dtype) * (1 - hyper.lr * hyper.weight_decay)
    return weight - hyper.lr * step


def numerator(rule: Rule, grad: Tensor, state: dict[str, Any], hyper: Hyper) -> Tensor:
    """Advance the momentum in place and return what to move along, in the shape of the weight.

    Parameters
    ----------
    rule : Rule
    grad : Tensor
        The direction to descend along, in the dtype of the arithmetic.
    state : dict of str to Tensor
        With ``"momentum"``, and ``"index"`` or ``"basis"`` where there is a subspace.
    hyper : Hyper
    """
    if rule.momentum is None:
        return grad
    momentum, c1 = state["momentum"], hyper.correction1
    if rule.momentum == "ema":
        return averaged(momentum, grad, hyper.beta1) / c1
    # The complement keeps its plain gradient; only the reference code divides that as well.
    inner, outer = (1.0, c1) if rule.whole_numerator else (c1, 1.0)
    g = grad.reshape(rule.view)
    if rule.momentum == "select":
        kept = averaged(momentum, picked(g, state["index"], rule.tall), hyper.beta1)
        u = spread(g, state["index"], kept / inner, rule.tall)
    else:
        basis = state["basis"]
        q = g @ basis if rule.tall else basis.mT @ g
        difference = averaged(momentum, q, hyper.beta1) / inner - q
        u = g + (difference @ basis.mT if rule.tall else basis @ difference)
    return (u / outer).reshape(rule.shape)


def averaged(momentum: Tensor, new: Tensor, beta1: float) -> Tensor:
    """Advance the moving average in place; return it before it is rounded for storage."""
    average = momentum.to(new.dtype) * beta1 + new * (1 - beta1)
    momentum.copy_(average)
    return average


def _inverse_denominator(
    rule: Rule, sums: Tensor, state: dict[str, Any], hyper: Hyper
) -> Tensor | None:
    if rule.second_moment is None:
        return None
    v = state["second_moment"]
    if rule.second_moment == "sum":
        v.add_(sums)
    else:
        v.mul_(hyper.beta2).add_(sums * (1 - hyper.beta2))
    if rule.amsgrad:
        v = state["max_second_moment"].copy_(torch.maximum(state["max_second_moment"], v))
    denominator = (v / hyper.correction2).sqrt() + hyper.eps
    # Only with eps=0 and no gradient so far: such a subset does not move.
    return torch.where(denominator == 0, torch.zeros_like(denominator), 1 / denominator)


def _scaled(rule: Rule, u: Tensor, inverse: Tensor | None) -> Tensor:
    if inverse is None:
        return u
    if rule.partition == "each":
        return u * inverse
    if rule.block == rule.size and rule.partition == "blocks":
        return u * inverse.reshape(())
    if rule.partition == "blocks":
        scaled = _blocks(rule, u) * inverse[:, None]
        return scaled.reshape(-1)[: rule.size].reshape(rule.shape)
    return (u.reshape(rule.view) * inverse).reshape(rule.shape)


def _blocks(rule: Rule, values: Tensor) -> Tensor:
    """Return the values row by row in blocks, the last one filled up with zeros."""
    flat = values.reshape(-1)
    count = -(-rule.size // rule.block)
    flat = torch.nn.functional.pad(flat, (0, count * rule.block - rule.size))
    return flat.reshape(count, rule.block)
