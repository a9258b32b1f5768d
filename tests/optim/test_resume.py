"""Saving and loading: bit for bit, across refreshes, with nothing but plain data in the file."""

import copy
import io
import pickle

import pytest
import torch

from septet._core.errors import CheckpointError
from septet.optim import AdamSN, AdamSNSM, GaLore, LeanOptimizer, RMSpropSN
from septet.training import load_checkpoint, save_checkpoint

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


@pytest.mark.parametrize("cls", [AdamSNSM, GaLore])
def test_bases_of_a_checkpoint_without_strides_give_bit_identical_steps(cls, tmp_path):
    straight, resumed = (build(torch.float32)[0] for _ in range(2))
    one, other = (cls(p, rank=3, projection="gram") for p in (straight, resumed))
    advance(straight, one, range(3))
    for p, q in zip(resumed, straight, strict=True):
        p.data.copy_(q.data)
    save_checkpoint(tmp_path, {"optimizer": one.state_dict()})
    other.load_state_dict(load_checkpoint(tmp_path)["optimizer"])
    advance(straight, one, range(3, 30))
    advance(resumed, other, range(3, 30))
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


@pytest.mark.parametrize("build_one", [AdamSN, lambda p: AdamSNSM(p, rank=2), GaLore])
@pytest.mark.parametrize(("saved", "loaded"), [("float32", "bfloat16"), ("bfloat16", "float32")])
def test_a_state_is_converted_to_what_weights_of_another_precision_keep(build_one, saved, loaded):
    # The kernels read a state's memory as what its weight says it is.
    old, new = (
        torch.nn.Parameter(torch.ones(6, 4, dtype=getattr(torch, d))) for d in (saved, loaded)
    )
    optimizer, other, fresh = build_one([old]), build_one([new]), build_one([new])
    advance([old], optimizer, range(3))
    other.load_state_dict(optimizer.state_dict())
    advance([new], fresh, range(1))
    for name, value in fresh.state[new].items():
        if torch.is_tensor(value):
            assert other.state[new][name].dtype == value.dtype
            assert torch.equal(other.state[new][name], optimizer.state[old][name].to(value.dtype))
    advance([new], other, range(3, 6))
    assert torch.isfinite(new).all()


def test_a_model_converted_in_the_middle_of_a_run_is_refused_until_its_state_is_converted():
    model = torch.nn.Linear(4, 6)
    optimizer = AdamSN(model.parameters())
    advance(list(model.parameters()), optimizer, range(2))
    model.bfloat16()
    with pytest.raises(
        ValueError, match="parameter 0 .* was torch.float32 and is now torch.bfloat16"
    ):
        advance(list(model.parameters()), optimizer, range(2, 3))
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.state[model.weight]["momentum"].dtype == torch.bfloat16
    advance(list(model.parameters()), optimizer, range(2, 4))


@pytest.mark.parametrize("option", [{"rank": 5}, {"projection": "topk"}, {"reduction": "mean"}])
def test_an_option_changed_after_loading_is_refused_until_the_state_is_rebuilt(option):
    params, optimizer = build(torch.float32)
    advance(params, optimizer, range(2))
    resumed, other = build(torch.float32)
    other.load_state_dict(optimizer.state_dict())
    other.param_groups[0].update(option)
    with pytest.raises(ValueError, match=f"{next(iter(option))} from .*rebuild_state"):
        advance(resumed, other, range(2, 3))
    other.rebuild_state()
    advance(resumed, other, range(2, 3))
    assert other.state[resumed[0]]["step"] == 1


def test_an_optimizer_whose_options_no_longer_fit_its_state_is_not_copied():
    params, optimizer = build(torch.float32)
    advance(params, optimizer, range(2))
    optimizer.param_groups[0]["rank"] = 5
    with pytest.raises(ValueError, match="call rebuild_state"):
        copy.deepcopy(optimizer)


def test_a_named_class_refuses_the_state_of_another_one():
    weight = torch.nn.Parameter(torch.ones(6, 4))
    optimizer = AdamSN([weight])
    advance([weight], optimizer, range(2))
    with pytest.raises(CheckpointError, match="momentum='ema', and RMSpropSN has momentum=None"):
        RMSpropSN([weight]).load_state_dict(optimizer.state_dict())
