"""Bad options, parameters and gradients: refused with a name, before anything changed."""

import pytest
import torch

from septet.optim import SGDSM, AdagradSNSM, AdamSN, AdamSNSM, LeanOptimizer, RMSpropSN


def parameter(*shape, dtype=torch.float32):
    return torch.nn.Parameter(torch.ones(*shape, dtype=dtype))


BAD = [
    ({"lr": -1.0}, r"lr must be at least 0; got -1\.0"),
    ({"lr": float("nan")}, "lr must be finite"),
    ({"lr": torch.ones(2)}, r"lr must be one number; got shape \(2,\)"),
    ({"betas": (1.0, 0.9)}, r"betas\[0\] must be less than 1; got 1\.0"),
    ({"betas": (0.9, -0.1)}, r"betas\[1\] must be at least 0; got -0\.1"),
    ({"betas": 0.9}, r"betas must be a pair"),
    ({"eps": -1e-8}, r"eps must be at least 0; got -1e-08"),
    ({"weight_decay": -0.1}, r"weight_decay must be at least 0; got -0\.1"),
    ({"rank": 0}, "rank must be at least 1; got 0"),
    ({"rank": 2.5}, r"rank must be an integer; got 2\.5"),
    ({"update_interval": 0}, "update_interval must be at least 1; got 0"),
    ({"seed": -1}, "seed must be at least 0; got -1"),
    ({"subset": 0}, "subset must be .*; got 0"),
    ({"subset": True}, "subset must be .*; got True"),
    ({"subset": 2.0}, r"subset must be .*; got 2\.0"),
    ({"subset": "rows"}, "subset must be .*; got 'rows'"),
    ({"reduction": "max"}, "reduction must be one of 'sum', 'mean'; got 'max'"),
    ({"projection": "svt"}, "projection must be one of .*Did you mean 'svd'"),
    ({"refresh": "resett"}, "refresh must be one of .*Did you mean 'reset'"),
    ({"nonfinite": "ignore"}, "nonfinite must be one of"),
    ({"momentum": 0.9}, r"momentum must be one of None, 'ema', 'subspace'; got 0\.9"),
    ({"second_moment": "adam"}, "second_moment must be one of .*; got 'adam'"),
    ({"debias": "yes"}, "debias must be one of .*; got 'yes'"),
    ({"compat": "paper"}, "compat must be one of None, 'reference'; got 'paper'"),
    ({"amsgrad": 1}, "amsgrad must be one of True, False; got 1"),
    ({"amsgrad": True, "second_moment": "sum"}, "amsgrad=True needs second_moment='ema'"),
    ({"capturable": True}, "capturable=True is not supported"),
    ({"differentiable": True}, "differentiable=True is not supported"),
    ({"foreach": True, "fused": True}, "foreach=True and fused=True exclude each other"),
    ({"fused": 1}, "fused must be one of None, True, False; got 1"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_a_bad_option_is_named_at_construction(options, message):
    with pytest.raises(ValueError, match=message):
        LeanOptimizer([parameter(3, 2)], **options)


@pytest.mark.parametrize(("options", "message"), BAD)
def test_a_bad_option_of_a_group_is_named_and_the_group_not_added(options, message):
    optimizer = LeanOptimizer([parameter(3, 2)])
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group({"params": [parameter(4)], **options})
    assert len(optimizer.param_groups) == 1


def test_an_unknown_option_of_a_group_is_refused_with_a_suggestion():
    with pytest.raises(ValueError, match="unknown option 'weight_decat'.*'weight_decay'"):
        AdamSN([{"params": [parameter(3)], "weight_decat": 0.1}])


@pytest.mark.parametrize(
    ("cls", "option"),
    [(AdamSN, "rank"), (SGDSM, "subset"), (RMSpropSN, "betas"), (AdagradSNSM, "amsgrad")],
)
def test_an_option_that_means_nothing_for_a_class_is_refused(cls, option):
    with pytest.raises(TypeError, match=f"{cls.__name__} has no option '{option}'"):
        cls([parameter(3, 2)], **{option: 1})


def test_sparse_gradients_are_refused_by_name_before_anything_changed():
    dense, table = parameter(3, 2), parameter(5, 2)
    optimizer = AdamSN([("dense", dense), ("table", table)])
    dense.grad = torch.ones(3, 2)
    table.grad = torch.ones(5, 2).to_sparse()
    with pytest.raises(RuntimeError, match="'table' is sparse.*AdamSN.*SparseAdam"):
        optimizer.step()
    assert torch.equal(dense, torch.ones(3, 2))
    assert not optimizer.state.get(dense)


@pytest.mark.parametrize("projection", ["svd", "gram", "randomized", "random", "srht"])
def test_dense_bases_refuse_complex_matrices(projection):
    with pytest.raises(ValueError, match="parameter 0 of the group is complex.*'topk'"):
        AdamSNSM([parameter(4, 3, dtype=torch.complex64)], rank=2, projection=projection)


@pytest.mark.parametrize("projection", ["uniform", "topk"])
def test_selections_take_complex_matrices(projection):
    weight = parameter(4, 3, dtype=torch.complex128)
    optimizer = AdamSNSM([weight], lr=0.1, eps=0.0, rank=2, projection=projection)
    weight.grad = torch.full((4, 3), 3 + 4j, dtype=torch.complex128)
    optimizer.step()
    moved = weight.detach() - 1
    torch.testing.assert_close(moved, -0.1 * weight.grad / (5 * 3**0.5))
    assert optimizer.state[weight]["second_moment"].dtype == torch.float64


def test_stochastic_rounding_refuses_float16():
    with pytest.raises(
        ValueError, match="needs bfloat16; parameter 0 of the group is torch.float16"
    ):
        AdamSN([parameter(3, dtype=torch.float16)], stochastic_rounding=True)


def snapshot(params, optimizer):
    state = {
        i: {k: v.clone() if torch.is_tensor(v) else v for k, v in optimizer.state[p].items()}
        for i, p in enumerate(params)
        if p in optimizer.state
    }
    return [p.detach().clone() for p in params], state


def same(a, b):
    return str(a) == str(b)


@pytest.fixture
def two_steps_in():
    params = [parameter(4, 3), parameter(3, 4), parameter(5)]
    optimizer = AdamSNSM(
        [(f"layer{i}", p) for i, p in enumerate(params)], rank=2, update_interval=3
    )
    for _ in range(2):
        for p in params:
            p.grad = torch.full_like(p, 0.5)
        optimizer.step()
    return params, optimizer


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 2e19])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_gradient_that_is_not_finite_is_named_before_anything_changed(two_steps_in, bad, which):
    params, optimizer = two_steps_in
    before = snapshot(params, optimizer)
    params[which].grad.view(-1)[1] = bad
    with pytest.raises(FloatingPointError, match=f"'layer{which}'.*nothing was changed"):
        optimizer.step()
    assert same(snapshot(params, optimizer), before)


def test_a_step_with_a_bad_gradient_can_be_skipped_as_a_whole(two_steps_in):
    params, optimizer = two_steps_in
    for group in optimizer.param_groups:
        group["nonfinite"] = "skip"
    before = snapshot(params, optimizer)
    params[1].grad[0, 0] = float("nan")
    optimizer.step()
    assert same(snapshot(params, optimizer), before)
    params[1].grad[0, 0] = 0.5
    optimizer.step()
    assert not same(snapshot(params, optimizer), before)


def test_propagating_a_bad_gradient_poisons_its_subset_alone():
    weight = parameter(4, 3)
    optimizer = AdamSN([weight], nonfinite="propagate")
    weight.grad = torch.ones(4, 3)
    weight.grad[1, 2] = float("nan")
    optimizer.step()
    assert torch.isnan(weight[1]).all()
    assert torch.isfinite(weight[[0, 2, 3]]).all()


@pytest.mark.parametrize("second_moment", ["ema", "sum"])
def test_a_row_without_any_gradient_does_not_move_even_with_eps_zero(second_moment):
    weight = parameter(4, 3)
    optimizer = LeanOptimizer([weight], eps=0.0, momentum="ema", second_moment=second_moment)
    for _ in range(3):
        weight.grad = torch.ones(4, 3)
        weight.grad[2] = 0
        optimizer.step()
    assert torch.equal(weight[2], torch.ones(3))
    assert torch.isfinite(weight).all()


def test_empty_tensors_are_left_out_and_frozen_ones_wait_for_their_first_gradient():
    empty, late, early = parameter(0, 3), parameter(3, 2), parameter(3, 2)
    optimizer = AdamSNSM([empty, late, early], rank=1)
    for step in range(3):
        empty.grad, early.grad = torch.ones(0, 3), torch.ones(3, 2)
        late.grad = torch.ones(3, 2) if step == 2 else None
        optimizer.step()
    assert not optimizer.state.get(empty)
    assert optimizer.state[late]["step"] == 1
    assert optimizer.state[early]["step"] == 3


@pytest.mark.parametrize("option", [{"rank": 1}, {"projection": "topk"}, {"subset": None}])
def test_changing_an_option_under_its_state_is_refused_until_the_state_is_rebuilt(
    two_steps_in, option
):
    params, optimizer = two_steps_in
    before = snapshot(params, optimizer)
    optimizer.param_groups[0].update(option)
    with pytest.raises(ValueError, match=f"group 0: {next(iter(option))} from .*rebuild_state"):
        optimizer.step()
    assert same(snapshot(params, optimizer), before)
    optimizer.rebuild_state()
    optimizer.step()
    assert optimizer.state[params[0]]["step"] == 1
    assert optimizer.state[params[2]]["step"] == 3


def test_a_parameter_whose_shape_changed_is_refused():
    weight = parameter(4, 3)
    optimizer = AdamSN([weight])
    weight.grad = torch.ones(4, 3)
    optimizer.step()
    weight.data = torch.ones(2, 3)
    weight.grad = torch.ones(2, 3)
    with pytest.raises(ValueError, match=r"had shape \(4, 3\).*now has \(2, 3\)"):
        optimizer.step()


def test_the_same_tensor_in_two_groups_is_refused_by_torch():
    weight = parameter(3)
    with pytest.raises(ValueError, match="more than one parameter group"):
        AdamSN([{"params": [weight]}, {"params": [weight]}])


def test_half_precision_gradients_are_squared_in_float32():
    weight = parameter(2, 2, dtype=torch.float16)
    optimizer = AdamSN([weight], lr=0.1)
    weight.grad = torch.full((2, 2), 300.0, dtype=torch.float16)
    optimizer.step()
    assert optimizer.state[weight]["second_moment"].max().item() == pytest.approx(180.0)
    torch.testing.assert_close(
        weight.detach().float(), torch.full((2, 2), 1 - 0.1 / 2**0.5), rtol=0, atol=1e-3
    )


def test_a_bfloat16_weight_keeps_a_second_moment_that_can_decay():
    weight = parameter(1, 1, dtype=torch.bfloat16)
    optimizer = AdamSN([weight], lr=0.0)
    weight.grad = torch.full((1, 1), 0.1, dtype=torch.bfloat16)
    optimizer.step()
    # in bfloat16, 0.999 * 0.5 rounds back to 0.5
    optimizer.state[weight]["second_moment"].fill_(0.5)
    for _ in range(700):
        optimizer.step()
    left = 0.999**700
    expected = 0.5 * left + weight.grad.double().item() ** 2 * (1 - left)
    assert optimizer.state[weight]["second_moment"].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("layout", ["transposed", "sliced", "expanded", "channels_last"])
def test_memory_layout_does_not_matter(layout):
    generator = torch.Generator().manual_seed(0)
    shape = (6, 4, 3, 3) if layout == "channels_last" else (6, 4)
    values, gradient = (torch.randn(shape, generator=generator) for _ in range(2))
    if layout == "expanded":
        gradient = gradient[:, :1].expand(6, 4)

    def stored(x):
        if layout == "transposed":
            return x.T.contiguous().T
        if layout == "sliced":
            wide = torch.zeros(6, 8)
            wide[:, ::2] = x
            return wide[:, ::2]
        if layout == "channels_last":
            return x.contiguous(memory_format=torch.channels_last)
        return x.clone()

    plain, odd = torch.nn.Parameter(values.clone()), torch.nn.Parameter(stored(values))
    optimizers = [
        AdamSNSM([p], lr=0.1, rank=2, projection="topk", update_interval=2) for p in (plain, odd)
    ]
    for _ in range(3):
        plain.grad = gradient.contiguous()
        odd.grad = gradient if layout == "expanded" else stored(gradient)
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(odd.detach(), plain.detach(), rtol=1e-6, atol=1e-6)


def test_the_loss_of_a_closure_comes_back_and_gradients_are_enabled_in_it():
    weight = parameter(3)
    optimizer = AdamSN([weight])

    def closure():
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 3.0
    assert (weight < 1).all()


def test_a_tensor_learning_rate_is_read_anew_at_every_step():
    weight, other = parameter(3), parameter(3)
    rate = torch.tensor(0.5)
    tensor, number = AdamSN([weight], lr=rate), AdamSN([other], lr=0.5)
    for value in (0.5, 0.25):
        rate.fill_(value)
        number.param_groups[0]["lr"] = value
        weight.grad = other.grad = torch.ones(3)
        tensor.step()
        number.step()
    assert torch.equal(weight, other)


def test_stochastic_rounding_is_unbiased():
    weight = parameter(20000, dtype=torch.bfloat16)
    optimizer = LeanOptimizer(
        [weight], lr=1e-3, momentum=None, second_moment=None, stochastic_rounding=True
    )
    weight.grad = torch.ones_like(weight)
    for _ in range(10):
        optimizer.step()
    # nearest rounding would leave every weight at 1: the spacing below 1 is 2**-8
    assert weight.detach().double().mean().item() == pytest.approx(0.99, abs=2e-4)
    weight.grad.fill_(float("inf"))
    optimizer.param_groups[0]["nonfinite"] = "propagate"
    optimizer.step()
    assert torch.isinf(weight).all()
