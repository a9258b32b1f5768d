"""Saving and loading: bit for bit, across refreshes, with nothing but plain data in the file."""

import copy
import io
import pickle

import pytest
import torch

from septet._core.errors import CheckpointError
from septet.optim import AdamSN, AdamSNSM, LeanOptimizer

ALL = ("svd", "gram", "randomized", "random", "srht", "uniform", "topk")


def build(dtype, **options):
    generator = torch.Generator().manual_seed(7)
    shapes = [(12, 8), (6, 16), (5,), (), (3, 8, 4)]
    params = [torch.nn.Parameter(torch.randn(s, generator=generator).to(dtype)) for s in shapes]
    return params, AdamSNSM(params, lr=0.05, rank=3, update_interval=20, **options)


def advance(params, optimizer, steps):
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)
        optimizer.step()


def through_a_file(state_dict):
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def bits(optimizer):
    return {
        (number, key): (value.dtype, value.tolist()) if torch.is_tensor(value) else value
        for number, p in enumerate(p for g in optimizer.param_groups for p in g["params"])
        for key, value in optimizer.state[p].items()
    }


@pytest.mark.parametrize("saved_at", [19, 25])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("projection", ALL)
def test_fifty_steps_after_a_reload_are_bit_identical(projection, dtype, saved_at):
    options = {
        "projection": projection, "refresh": "rotate", "stagger": True, "amsgrad": True,
        "stochastic_rounding": True,
    }  # fmt: skip
    straight, one = build(dtype, **options)
    advance(straight, one, range(saved_at))
    resumed, other = build(dtype, **options)
    for p, q in zip(resumed, straight, strict=True):
        p.data.copy_(q.data)
    other.load_state_dict(through_a_file(one.state_dict()))
    assert bits(other) == bits(one)
    advance(straight, one, range(saved_at, saved_at + 50))
    advance(resumed, other, range(saved_at, saved_at + 50))
    assert bits(other) == bits(one)
    assert all(torch.equal(p, q) for p, q in zip(straight, resumed, strict=True))


def test_float32_statistics_of_bfloat16_weights_are_not_rounded_by_loading():
    weight = torch.nn.Parameter(torch.zeros(2, 3, dtype=torch.bfloat16))
    optimizer = AdamSN([weight])
    weight.grad = torch.full((2, 3), 8.1845, dtype=torch.bfloat16)
    optimizer.step()
    exact = optimizer.state[weight]["second_moment"].clone()
    assert not torch.equal(exact.bfloat16().float(), exact)
    loaded = AdamSN([weight])
    loaded.load_state_dict(optimizer.state_dict())
    assert loaded.state[weight]["second_moment"].dtype == torch.float32
    assert torch.equal(loaded.state[weight]["second_moment"], exact)


def test_a_loaded_state_shares_no_memory_with_the_saved_one():
    params, optimizer = build(torch.float32)
    advance(params, optimizer, range(2))
    saved = optimizer.state_dict()
    loaded = build(torch.float32)[1]
    loaded.load_state_dict(saved)
    theirs = {t.data_ptr() for s in saved["state"].values() for t in s.values()
              if torch.is_tensor(t) and t.numel()}  # fmt: skip
    ours = {t.data_ptr() for s in loaded.state.values() for t in s.values()
            if torch.is_tensor(t) and t.numel()}  # fmt: skip
    assert not theirs & ours


def test_hooks_of_the_user_see_and_shape_what_is_loaded():
    params, optimizer = build(torch.bfloat16)
    advance(params, optimizer, range(2))
    loaded = build(torch.bfloat16)[1]
    seen = []

    def rename(_, state_dict):
        state_dict["state"] = {
            k: {"second_moment" if n == "v" else n: t for n, t in s.items()}
            for k, s in state_dict["state"].items()
        }
        return state_dict

    loaded.register_load_state_dict_pre_hook(rename)
    loaded.register_load_state_dict_post_hook(lambda o: seen.append(bits(o)))
    saved = optimizer.state_dict()
    saved["state"] = {
        k: {"v" if n == "second_moment" else n: t for n, t in s.items()}
        for k, s in saved["state"].items()
    }
    loaded.load_state_dict(saved)
    assert seen == [bits(optimizer)]


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_copies_go_on_like_the_original(clone):
    params, optimizer = build(torch.float32)
    advance(params, optimizer, range(5))
    twin_params, twin = clone((params, optimizer))
    advance(params, optimizer, range(5, 30))
    advance(twin_params, twin, range(5, 30))
    assert all(torch.equal(p, q) for p, q in zip(params, twin_params, strict=True))


def plain(value):
    if isinstance(value, dict):
        return all(plain(k) and plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(plain, value))
    return value is None or isinstance(value, torch.Tensor | int | float | str)


@pytest.mark.parametrize("projection", ALL)
def test_a_state_dict_holds_tensors_numbers_and_strings_only(projection):
    params, optimizer = build(torch.float32, projection=projection)
    advance(params, optimizer, range(2))
    assert plain(optimizer.state_dict())


def test_a_state_of_another_shape_is_refused_before_anything_changes():
    params, optimizer = build(torch.float32)
    advance(params, optimizer, range(2))
    saved = optimizer.state_dict()
    saved["state"][1]["momentum"] = torch.zeros(3, 3)
    before = bits(optimizer)
    with pytest.raises(CheckpointError, match=r"parameter 1 \(shape \(6, 16\)\).*momentum \[3, 16"):
        optimizer.load_state_dict(saved)
    assert bits(optimizer) == before


def test_the_state_of_another_optimizer_is_refused():
    params, optimizer = build(torch.float32)
    adam = torch.optim.AdamW(params)
    advance(params, adam, range(2))
    with pytest.raises(CheckpointError, match="saved by another optimizer"):
        optimizer.load_state_dict(adam.state_dict())


def test_a_parameter_that_never_had_a_gradient_has_no_state_to_load():
    params, optimizer = build(torch.float32)
    params[0].grad = torch.ones_like(params[0])
    optimizer.step()
    loaded = build(torch.float32)[1]
    loaded.load_state_dict(optimizer.state_dict())
    assert bits(loaded) == bits(optimizer)
    assert len([s for s in loaded.state.values() if s]) == 1


def test_options_missing_from_an_older_state_get_their_defaults():
    params, optimizer = build(torch.float32)
    saved = optimizer.state_dict()
    del saved["param_groups"][0]["stochastic_rounding"]
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["stochastic_rounding"] is False
    advance(params, optimizer, range(1))


def test_a_general_optimizer_reads_the_state_of_the_named_class():
    params, optimizer = build(torch.float32)
    advance(params, optimizer, range(3))
    general = LeanOptimizer(params, rank=3)
    general.load_state_dict(optimizer.state_dict())
    assert bits(general) == bits(optimizer)
