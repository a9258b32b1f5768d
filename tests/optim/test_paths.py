"""Every fast way of computing a step against the plain one, which the other tests pin down."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._dynamo.testing import CompileCounter

from septet._core.errors import MissingExtraError, SeptetWarning
from septet.optim import AdamSN, AdamSNSM, LeanOptimizer, _choice, _stacked, scratch_bytes

SHAPES = [
    (), (1,), (7,), (1, 5), (5, 1), (3, 4), (4, 3), (4, 4), (17, 13), (2, 3, 5), (3, 2, 2, 3),
    (0, 4),
]  # fmt: skip
EQUAL_SHAPES = [(3, 4), (3, 4), (4, 3), (4, 3), (4, 3), (7,), (7,), (2, 3, 5), (2, 3, 5)]


def options(**changed):
    choices = {
        "momentum": [None, "ema", "subspace"],
        "second_moment": [None, "ema", "sum"],
        "subset": ["matrix", "tensor", None, 2, 5, -2],
        "reduction": ["sum", "mean"],
        "projection": ["gram", "random", "srht", "uniform", "topk"],
        "refresh": ["reset", "keep", "rotate"],
        "debias": [True, False, "since_refresh"],
        "amsgrad": [False, True],
        "maximize": [False, True],
        "weight_decay": [0.0, 0.3],
        "compat": [None, "reference"],
        "betas": [(0.9, 0.99), (0.0, 0.5)],
        "nonfinite": ["raise", "propagate"],
    } | changed
    return st.fixed_dictionaries({k: st.sampled_from(v) for k, v in choices.items()})


def made(shapes, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(s, generator=generator).to(dtype)) for s in shapes]


def trained(shapes, dtype=torch.float32, *, steps=4, path=None, **options):
    options["amsgrad"] = options.get("amsgrad", False) and options.get("second_moment") == "ema"
    weights = made(shapes, dtype)
    fixed = {"lr": 0.05, "rank": 2, "update_interval": 3, "eps": 1e-6}
    optimizer = LeanOptimizer(weights, **fixed, **options)
    if path is not None:
        optimizer._paths.choose = lambda job: getattr(optimizer._paths, path)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator).to(dtype)
        optimizer.step()
    return weights, optimizer


def assert_equal_up_to_rounding(ours, plain, *, ulps=8):
    """Weights agree to a few units in the last place of their largest entry (but at least 1)."""
    for a, b in zip(ours, plain, strict=True):
        eps = torch.finfo(a.dtype).eps
        scale = max(1.0, float(b.detach().abs().amax())) if b.numel() else 1.0
        difference = (a.detach().double() - b.detach().double()).abs()
        assert not b.numel() or float(difference.amax()) <= ulps * eps * scale


@settings(max_examples=60, deadline=None)
@given(options())
def test_compiled_cpu_steps_equal_plain_ones(chosen):
    fast, optimizer = trained(SHAPES, **chosen)
    plain, _ = trained(SHAPES, fused=False, **chosen)
    assert optimizer._paths._cpu, "no tensor took the kernels"
    assert_equal_up_to_rounding(fast, plain)


@settings(max_examples=60, deadline=None)
@given(options(projection=["uniform", "topk"], subset=["matrix", None]))
def test_compiled_bfloat16_steps_differ_by_single_roundings(chosen):
    # Where float32 values differ in the last bit, their roundings may fall on either side.
    fast, _ = trained(SHAPES, torch.bfloat16, steps=2, **chosen)
    plain, _ = trained(SHAPES, torch.bfloat16, steps=2, fused=False, **chosen)
    assert_equal_up_to_rounding(fast, plain, ulps=2)


@settings(max_examples=60, deadline=None)
@given(options(), st.sampled_from([torch.float32, torch.float64]))
def test_stacked_steps_equal_plain_ones(chosen, dtype):
    stacked, _ = trained(EQUAL_SHAPES, dtype, foreach=True, **chosen)
    plain, _ = trained(EQUAL_SHAPES, dtype, fused=False, **chosen)
    assert_equal_up_to_rounding(stacked, plain, ulps=16)


@pytest.mark.parametrize("nonfinite", ["raise", "propagate"])
@pytest.mark.parametrize("momentum", [None, "ema", "subspace"])
def test_shares_of_threads_add_up(monkeypatch, momentum, nonfinite):
    monkeypatch.setattr("septet.optim._cpu._SHARED_FROM", 1)
    shapes = [*SHAPES, (9, 300), (300, 9)]
    options = {"momentum": momentum, "projection": "topk", "nonfinite": nonfinite}
    plain, _ = trained(shapes, fused=False, **options)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            fast, _ = trained(shapes, **options)
            assert_equal_up_to_rounding(fast, plain)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("projection", ["gram", "topk"])
def test_a_stack_larger_than_the_limit_is_cut(monkeypatch, projection):
    plain, _ = trained(EQUAL_SHAPES, fused=False, projection=projection)
    monkeypatch.setattr(_stacked, "_TOGETHER", 24)  # two matrices of twelve
    stacked, _ = trained(EQUAL_SHAPES, foreach=True, projection=projection)
    assert_equal_up_to_rounding(stacked, plain, ulps=16)


@pytest.mark.parametrize("momentum", ["ema", "subspace"])
def test_a_compiled_step_equals_the_plain_one_and_new_rates_do_not_recompile(monkeypatch, momentum):
    compilations = CompileCounter()
    monkeypatch.setattr(_stacked, "_BACKEND", compilations)
    _stacked._compiled.cache_clear()
    weights = made([(3, 4), (4, 3), (7,)], torch.float32)
    options = {"momentum": momentum, "rank": 2, "update_interval": 3, "projection": "random"}
    optimizer = LeanOptimizer(weights, lr=0.05, compiled=True, **options)
    plain = [torch.nn.Parameter(w.detach().clone()) for w in weights]
    reference = LeanOptimizer(plain, lr=0.05, fused=False, **options)
    counts = []
    for step in range(8):
        for w, p in zip(weights, plain, strict=True):
            w.grad = torch.randn(w.shape, generator=torch.Generator().manual_seed(step))
            p.grad = w.grad.clone()
        for chosen in (optimizer, reference):
            chosen.param_groups[0]["lr"] = 0.05 / (step + 1)
            chosen.step()
        counts.append(compilations.frame_count)
    _stacked._compiled.cache_clear()
    assert counts == [3] * 8  # one for each shape, at the first step
    assert_equal_up_to_rounding(weights, plain)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of the compiler itself
def test_the_compiler_of_torch_gives_the_same_steps():
    compiled, _ = trained([(3, 4), (4, 3)], compiled=True, projection="topk")
    plain, _ = trained([(3, 4), (4, 3)], fused=False, projection="topk")
    assert_equal_up_to_rounding(compiled, plain)


def test_a_step_inside_a_compiled_function_runs_outside_of_the_graph():
    weights, optimizer = trained([(3, 4)], steps=1, projection="topk")
    plain, reference = trained([(3, 4)], steps=1, projection="topk")
    compilations = CompileCounter()

    @torch.compile(backend=compilations)
    def update():
        optimizer.step()

    for lr in (0.1, 0.2, 0.3):
        optimizer.param_groups[0]["lr"] = reference.param_groups[0]["lr"] = lr
        update()
        reference.step()
    assert compilations.frame_count == 0
    torch.testing.assert_close(weights, plain, rtol=0, atol=0)


def test_scratch_is_what_is_documented_and_stays_after_the_first_step():
    shapes = [(64, 16), (16, 48), (32, 32)]
    rank, threads = 4, torch.get_num_threads()
    for cls, product in ((AdamSN, 0), (AdamSNSM, 64 * rank)):
        weights = made(shapes, torch.float32)
        extra = {"rank": rank} if cls is AdamSNSM else {}
        optimizer = cls(weights, **extra)
        assert scratch_bytes(optimizer) == 0
        seen = []
        for _ in range(3):
            for weight in weights:
                weight.grad = torch.ones_like(weight)
            optimizer.step()
            seen.append(scratch_bytes(optimizer))
        assert len(set(seen)) == 1
        sums = 64 + 48 * threads + 32
        assert seen[0] <= 4 * (sums + 3 * 16 + product)


def test_without_numba_one_warning_is_given_and_the_result_stays(monkeypatch):
    monkeypatch.setattr(_choice, "find_spec", lambda name: None)
    _choice._compiler_is_there.cache_clear()
    try:
        with pytest.warns(SeptetWarning, match=r'pip install "septet\[fast\]"') as caught:
            slow, optimizer = trained([(4, 3), (7,)])
        assert len(caught) == 1
        assert not optimizer._paths._cpu
    finally:
        _choice._compiler_is_there.cache_clear()
    plain, _ = trained([(4, 3), (7,)], fused=False)
    torch.testing.assert_close(slow, plain, rtol=0, atol=0)


def test_asking_for_kernels_that_there_are_none_of_is_refused():
    with pytest.raises(ValueError, match="fused=True does not take .*float64"):
        AdamSN(made([(3, 4)], torch.float64), fused=True)


def test_asking_for_kernels_without_their_compiler_names_the_extra(monkeypatch):
    def missing(name, *, extra, purpose):
        raise MissingExtraError(f"{purpose} needs {name}: septet[{extra}]")

    monkeypatch.setattr(_choice, "needs", missing)
    with pytest.raises(MissingExtraError, match=r"septet\[fast\]"):
        AdamSN(made([(3, 4)], torch.float32), fused=True)


def test_kernels_can_be_asked_for():
    weights = made([(3, 4)], torch.float32)
    before = weights[0].detach().clone()
    optimizer = AdamSN(weights, fused=True)
    weights[0].grad = torch.ones(3, 4)
    optimizer.step()
    assert optimizer._paths._cpu
    assert np.all(weights[0].detach().numpy() < before.numpy())
