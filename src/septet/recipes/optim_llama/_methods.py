"""The optimizers that are compared, each with the same number of learning rates to try."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from septet.optim import (
    AdagradNorm,
    AdagradSN,
    AdagradSNSM,
    AdamSM,
    AdamSN,
    AdamSNSM,
    RMSpropSN,
    param_groups,
)

Rates = tuple[float, float]
"""Learning rates of the linear maps and of the rest (embedding and norms)."""

N_TRIES = 6


@dataclass(frozen=True)
class Method:
    """An optimizer and its rates.

    Attributes
    ----------
    label : str
        For tables and figures.
    make : callable
        Optimizer class, called with parameter groups and options.
    tries : tuple of Rates
        Rates tried when it is tuned; as many for every method.
    tuned : Rates
        The rates that the full scale's tuning chose, for scales that do not tune.
    options : mapping
        Passed to `make`.
    """

    label: str
    make: Callable[..., Optimizer]
    tries: tuple[Rates, ...]
    tuned: Rates
    options: Mapping[str, Any] = field(default_factory=dict)


def _one(middle: float) -> tuple[Rates, ...]:
    """Return six rates shared by all weights, a factor two apart."""
    return tuple((r, r) for r in (middle * 2.0**k for k in range(-3, 3)))


def _two(lr: float, lr_dense: float) -> tuple[Rates, ...]:
    """Return six pairs: three rates of the linear maps, two of the rest."""
    return tuple(product((lr / 2, lr, lr * 2), (lr_dense / 2, lr_dense)))


_ADAM = {"betas": (0.9, 0.999), "eps": 1e-8}
_TORCH_ADAM = {**_ADAM, "fused": True}
_SUBSPACE = {**_ADAM, "projection": "svd"}
# Ranks of the small model that leave a fifth of Adam's state, bases and scratch counted.
_LEAN = {**_ADAM, "refresh": "rotate", "update_interval": 20}

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "adam": Method("Adam", torch.optim.Adam, _one(3e-3), (3e-3, 3e-3), _TORCH_ADAM),
        "adam-two-rates": Method(
            "Adam, two rates", torch.optim.Adam, _two(3e-3, 3e-2), (3e-3, 1.5e-2), _TORCH_ADAM
        ),
        "adam-two-rates-high": Method(
            "Adam, two rates, the second doubled",
            torch.optim.Adam,
            _two(3e-3, 6e-2),
            (3e-3, 3e-2),
            _TORCH_ADAM,
        ),
        "adam-sn": Method("AdamSN", AdamSN, _one(3e-2), (6e-2, 6e-2), _ADAM),
        "adam-sm": Method("AdamSM", AdamSM, _two(3e-3, 3e-2), (1.5e-3, 3e-2), _SUBSPACE),
        "adam-snsm": Method("AdamSNSM", AdamSNSM, _one(3e-2), (3e-2, 3e-2), _SUBSPACE),
        "rmsprop-sn": Method(
            "RMSpropSN", RMSpropSN, _one(1e-2), (2.5e-3, 2.5e-3), {"beta2": 0.999, "eps": 1e-8}
        ),
        **{
            f"lean-{projection}": Method(
                f"AdamSNSM, {words}, rotated",
                AdamSNSM,
                _two(3e-2, 3e-2),
                (3e-2, 3e-2),
                {**_LEAN, "projection": projection, **more},
            )
            for projection, words, more in (
                ("topk", "top rows", {"rank": 48}),
                ("srht", "Hadamard", {"rank": 28}),
                ("gram", "rank 18", {"rank": 18}),
            )
        },
        "adagrad": Method("Adagrad", torch.optim.Adagrad, _one(1e-2), (5e-3, 5e-3)),
        "adagrad-sn": Method("AdagradSN", AdagradSN, _one(1e-1), (1e-1, 1e-1)),
        "adagrad-norm": Method("AdagradNorm", AdagradNorm, _one(1.0), (0.5, 0.5)),
        "adagrad-snsm": Method(
            "AdagradSNSM", AdagradSNSM, _one(1e-1), (1e-1, 1e-1), {"projection": "svd"}
        ),
    }
)
MAIN = ("adam", "adam-two-rates", "adam-sn", "adam-sm", "adam-snsm", "rmsprop-sn")
LEAN = ("lean-topk", "lean-srht", "lean-gram")
# Held against each other once more, on fresh seeds: the lean candidate that did best at full
# length, and two-rate Adam at both rates that its tuning could hardly tell apart (2.121, 2.123).
CONFIRMED = "lean-gram"
CONTROLS = ("adam", "adam-two-rates", "adam-two-rates-high")
ADAGRAD = ("adagrad", "adagrad-sn", "adagrad-norm", "adagrad-snsm")


def build(
    method: str,
    model: nn.Module,
    rates: Rates,
    subspace: Mapping[str, Any],
    changes: Mapping[str, Any],
) -> Optimizer:
    """Return the optimizer of a method for a model.

    Parameters
    ----------
    method : str
        A key of `METHODS`.
    model : torch.nn.Module
    rates : Rates
    subspace : mapping
        Options for methods with momentum in a subspace, unless they have their own.
    changes : mapping
        What an ablation changes, above all else.
    """
    entry = METHODS[method]
    groups = param_groups(model, rates[0], lr_dense=rates[1])
    shared = subspace if "projection" in entry.options else {}
    return entry.make(groups, **{**shared, **entry.options, **changes})
