"""The Triton kernel against the plain path.

Needs Triton, and either a CUDA device or Triton's interpreter, which works anywhere:
``pip install triton && TRITON_INTERPRET=1 python -m pytest -m gpu tests/optim/test_triton.py``.
"""

import os

import pytest
import torch
from optim.test_paths import assert_equal_up_to_rounding, trained

from septet.optim import AdamSN, _triton

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
SHAPES = [(5, 3), (3, 5), (1, 6), (6, 1), (7,), (), (2, 3, 2, 2)]

MOMENTS = [
    (momentum, second, subset)
    for momentum in (None, "ema", "subspace")
    for second, subset in (
        (None, "matrix"), ("ema", "matrix"), ("sum", "matrix"), ("ema", None), ("sum", None),
    )
]  # fmt: skip


@pytest.mark.gpu
@pytest.mark.parametrize(("momentum", "second_moment", "subset"), MOMENTS)
def test_the_kernel_equals_the_plain_path(momentum, second_moment, subset):
    assert INTERPRETED or torch.cuda.is_available(), "set TRITON_INTERPRET=1 without a GPU"
    options = {
        "momentum": momentum, "second_moment": second_moment, "subset": subset,
        "projection": "topk", "weight_decay": 0.1, "maximize": momentum == "ema",
        "reduction": "mean" if second_moment == "sum" else "sum",
        "amsgrad": second_moment == "ema",
    }  # fmt: skip
    fast, _ = trained(SHAPES, path="_triton", **options)
    plain, _ = trained(SHAPES, fused=False, **options)
    assert_equal_up_to_rounding(fast, plain)


@pytest.mark.gpu
@pytest.mark.parametrize("momentum", ["ema", "subspace"])
def test_half_precision_differs_by_single_roundings(momentum):
    assert INTERPRETED or torch.cuda.is_available(), "set TRITON_INTERPRET=1 without a GPU"
    options = {"momentum": momentum, "projection": "topk", "steps": 2}
    fast, _ = trained(SHAPES, torch.float16, path="_triton", **options)
    plain, _ = trained(SHAPES, torch.float16, fused=False, **options)
    assert_equal_up_to_rounding(fast, plain, ulps=2)


def test_the_kernel_is_refused_where_it_does_not_apply(monkeypatch):
    monkeypatch.setattr(_triton, "triton", object())
    weight = torch.nn.Parameter(torch.zeros(4, 3, device="meta"))
    with pytest.raises(ValueError, match=r"the kernel needs subset='matrix' or None"):
        AdamSN([weight], fused=True, subset=2)
    double = torch.nn.Parameter(torch.zeros(4, 3, device="meta", dtype=torch.float64))
    with pytest.raises(ValueError, match=r"its dtype is torch.float64"):
        AdamSN([double], fused=True)


def test_without_triton_asking_for_the_kernel_is_refused(monkeypatch):
    monkeypatch.setattr(_triton, "triton", None)
    weight = torch.nn.Parameter(torch.zeros(4, 3, device="meta"))
    with pytest.raises(ValueError, match=r"Triton is not installed\. Leave fused unset"):
        AdamSN([weight], fused=True)
