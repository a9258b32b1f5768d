"""The options of a parameter group, checked at the door."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Literal, TypeAlias

from torch import Tensor

from septet._core import checks

Momentum: TypeAlias = Literal["ema", "subspace"] | None
SecondMoment: TypeAlias = Literal["ema", "sum"] | None
Subset: TypeAlias = Literal["matrix", "tensor"] | int | None
Projection: TypeAlias = Literal["svd", "gram", "randomized", "random", "srht", "uniform", "topk"]
Refresh: TypeAlias = Literal["reset", "keep", "rotate"]
Nonfinite: TypeAlias = Literal["raise", "skip", "propagate"]
Debias: TypeAlias = bool | Literal["since_refresh"]

DENSE = ("svd", "gram", "randomized", "random", "srht")
SELECTIONS = ("uniform", "topk")
PROJECTIONS = DENSE + SELECTIONS

_CHOICES = {
    "reduction": ("sum", "mean"),
    "refresh": ("reset", "keep", "rotate"),
    "nonfinite": ("raise", "skip", "propagate"),
}
_FLAGS = (
    "amsgrad", "stagger", "stochastic_rounding", "maximize", "compiled", "capturable",
    "differentiable",
)  # fmt: skip
_REFUSED = {
    "capturable": "CUDA graphs cannot hold a step that reads its learning rate on the host",
    "differentiable": "the step writes in place and is not differentiable",
}


def checked_group(
    group: Mapping[str, Any],
    known: Iterable[str],
    foreign: Iterable[str],
    projections: tuple[str, ...] = PROJECTIONS,
) -> None:
    """Raise if a complete parameter group holds an unknown option or a bad value.

    Raises
    ------
    ValueError
        Names the option and the value.
    TypeError
        If a value has the wrong type.
    """
    known = set(known)
    for key in group:
        if key not in known and key not in foreign:
            near = get_close_matches(str(key), sorted(known), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"unknown option {key!r} in a parameter group.{hint}")
    _check_numbers(group)
    checks.choice("projection", group["projection"], projections)
    for name, options in _CHOICES.items():
        if name in known:
            checks.choice(name, group[name], options)
    for name in _FLAGS:
        if name in known:
            flag(name, group[name])
    for name, reason in _REFUSED.items():
        if group.get(name):
            raise ValueError(f"{name}=True is not supported: {reason}.")
    _check_structure(group, known)


def _check_numbers(group: Mapping[str, Any]) -> None:
    lr = group["lr"]
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"lr must be one number; got shape {tuple(lr.shape)}.")
    checks.number("lr", group["lr"], low=0)
    betas = group["betas"]
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise ValueError(f"betas must be a pair of numbers in [0, 1); got {betas!r}.")
    for i, beta in enumerate(betas):
        checks.number(f"betas[{i}]", beta, low=0, below=1)
    checks.number("eps", group["eps"], low=0)
    checks.number("weight_decay", group["weight_decay"], low=0)
    if "scale" in group:
        checks.number("scale", group["scale"], low=0)


def _check_structure(group: Mapping[str, Any], known: set[str]) -> None:
    if group["rank"] is not None:
        _whole("rank", group["rank"], low=1)
    _whole("update_interval", group["update_interval"], low=1)
    _whole("seed", group["seed"], low=0)
    if "momentum" in known:
        one_of("momentum", group["momentum"], (None, "ema", "subspace"))
        one_of("second_moment", group["second_moment"], (None, "ema", "sum"))
        _check_subset(group["subset"])
        one_of("debias", group["debias"], (True, False, "since_refresh"))
        one_of("compat", group["compat"], (None, "reference"))
        if group["amsgrad"] and group["second_moment"] != "ema":
            raise ValueError(
                "amsgrad=True needs second_moment='ema'; a sum of squares never shrinks "
                f"(got second_moment={group['second_moment']!r})."
            )
    for name in ("foreach", "fused"):
        if name in known:
            one_of(name, group[name], (None, True, False))
    for name in ("foreach", "compiled"):
        if group.get(name) and group.get("fused"):
            raise ValueError(f"{name}=True and fused=True exclude each other; set one of them.")


def _check_subset(subset: object) -> None:
    if subset is None or (isinstance(subset, str) and subset in ("matrix", "tensor")):
        return
    if isinstance(subset, bool) or not isinstance(subset, int) or subset == 0:
        raise ValueError(
            "subset must be 'matrix', 'tensor', None, a positive block size or a negative "
            f"divisor of the square root of the size; got {subset!r}."
        )


def _whole(name: str, value: object, *, low: int) -> None:
    try:
        checks.integer(name, value, low=low)
    except TypeError as error:
        raise ValueError(str(error)) from None


def one_of(name: str, value: object, options: tuple[object, ...]) -> None:
    """Raise unless `value` is one of `options`, which may hold None and booleans."""
    if not any(value is option for option in options if not isinstance(option, str)) and not (
        isinstance(value, str) and value in options
    ):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}; got {value!r}.")


def flag(name: str, value: object) -> None:
    """Raise unless `value` is True or False."""
    one_of(name, value, (True, False))
