"""Layers against worked numbers, against their adjoints, and against the plain formula."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from septet.speech import Down, SelfAttention1d, TFRMSprop, Up, VirtualBatchNorm1d
from septet.speech._layers import normalised


def with_kernel(layer, kernel):
    layer.weight.data = kernel.reshape(layer.weight.shape).clone()
    return layer


def test_down_pads_14_left_and_15_right():
    ones = with_kernel(Down(1, 1), torch.ones(31))
    assert ones(torch.arange(8.0).reshape(1, 1, 8)).flatten().tolist() == [28.0] * 4
    ramp = with_kernel(Down(1, 1), torch.arange(31.0))
    impulse = torch.zeros(1, 1, 8)
    impulse[..., 3] = 1
    assert ramp(impulse).flatten().tolist() == [17.0, 15.0, 13.0, 11.0]


def test_up_puts_the_kernel_where_down_took_it_from():
    ramp = with_kernel(Up(1, 1), torch.arange(31.0))
    impulse = torch.tensor([[[0.0, 1.0, 0.0, 0.0]]])
    assert ramp(impulse).flatten().tolist() == [12.0, 13, 14, 15, 16, 17, 18, 19]


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_up_is_the_adjoint_of_down(stride):
    torch.manual_seed(0)
    down = Down(3, 5, stride=stride).double()
    up = Up(5, 3, stride=stride).double()
    up.weight.data = down.weight.data.clone()
    a = torch.randn(2, 3, 8 * stride, dtype=torch.float64)
    b = torch.randn(2, 5, 8, dtype=torch.float64)
    assert torch.sum(down(a) * b).item() == pytest.approx(torch.sum(a * up(b)).item(), abs=1e-12)


def test_initial_weights_are_cut_at_two_deviations():
    weight = Down(32, 64, generator=torch.Generator().manual_seed(0)).weight
    assert weight.abs().max() <= 0.04
    assert weight.std().item() == pytest.approx(0.02 * 0.8796, rel=0.02)


def worked_attention():
    attention = SelfAttention1d(8)
    mean = torch.full((8,), 1 / 8)
    key, value = torch.zeros(8), torch.zeros(8)
    key[0], value[1], value[2] = 2.0, 1.0, -0.5
    for layer, row in ((attention.query, mean), (attention.key, key), (attention.value, value)):
        layer.weight.data = row.reshape(1, 8, 1)
    attention.output.weight.data = torch.ones(8, 1, 1)
    attention.beta.data = torch.tensor(1.0)
    return attention


def test_attention_gives_the_worked_numbers():
    x = torch.arange(64.0).reshape(1, 8, 8) / 64
    added = (worked_attention()(x) - x)[0, 0]
    expected = [0.03948964, 0.03950489, 0.03952013, 0.03953538]
    expected += [0.03955062, 0.03956587, 0.03958111, 0.03959635]
    np.testing.assert_allclose(added.detach().numpy(), expected, atol=1e-7)


def map_building(attention, x):
    """The formula as it stands, with the map."""
    p = attention.memory_reduction
    q = attention.query(x)
    k, v = (F.max_pool1d(f(x), p) for f in (attention.key, attention.value))
    weights = torch.softmax(q.transpose(1, 2) @ k, dim=-1)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    return x + attention.beta * attention.output((weights @ v.transpose(1, 2)).transpose(1, 2))


@pytest.mark.parametrize("value_reduction", [8, 2, 16])
def test_fused_attention_equals_the_map_building_form(value_reduction):
    torch.manual_seed(1)
    attention = SelfAttention1d(32, value_reduction=value_reduction).double()
    attention.beta.data.fill_(0.7)
    x = torch.randn(2, 32, 64, dtype=torch.float64, requires_grad=True)
    fused, plain = attention(x), map_building(attention, x)
    torch.testing.assert_close(fused, plain, atol=1e-10, rtol=0)
    grads = [torch.autograd.grad(y.square().sum(), x)[0] for y in (fused, plain)]
    torch.testing.assert_close(*grads, atol=1e-9, rtol=0)


def test_attention_output_lies_between_the_pooled_values():
    attention = worked_attention()
    x = torch.randn(1, 8, 16, generator=torch.Generator().manual_seed(2))
    pooled = F.max_pool1d(attention.value(x), 4)
    added = (attention(x) - x)[0, 0]
    assert pooled.min() - 1e-6 <= added.min() <= added.max() <= pooled.max() + 1e-6


def test_attention_adds_the_parameters_of_the_formula():
    for channels, k, v in ((64, 8, 8), (256, 8, 2)):
        attention = SelfAttention1d(channels, channel_reduction=k, value_reduction=v)
        count = sum(p.numel() for p in attention.parameters())
        assert count == (2 / k + 2 / v) * channels**2 + 1


def test_attention_refuses_what_it_cannot_pool():
    with pytest.raises(ValueError, match="multiple of 4"):
        SelfAttention1d(8)(torch.zeros(1, 8, 6))
    with pytest.raises(ValueError, match="channel_reduction must be from 1 to 4"):
        SelfAttention1d(4)


def test_virtual_batch_norm_gives_the_worked_numbers():
    norm = VirtualBatchNorm1d(1)
    torch.nn.init.ones_(norm.weight)
    batch = torch.tensor([[[0.0, 1.0]], [[2.0, 3.0]]])
    out, moments = norm.reference(batch)
    expected = [-1.34163542, -0.44721181, 0.44721181, 1.34163542]
    np.testing.assert_allclose(out.detach().flatten(), expected, atol=1e-7)
    live = norm(torch.full((2, 1, 2), 4.0), moments)
    np.testing.assert_allclose(live.detach().flatten(), [1.11803147] * 4, atol=1e-7)


def test_virtual_batch_norm_lets_the_gradient_through_the_reference():
    norm = VirtualBatchNorm1d(2)
    batch = torch.randn(3, 2, 8, requires_grad=True)
    _, moments = norm.reference(batch)
    norm(torch.randn(3, 2, 8), moments).square().sum().backward()
    assert batch.grad.abs().max() > 0


def test_spectral_norm_divides_by_the_largest_singular_value():
    linear = torch.nn.Conv1d(2, 2, 1, bias=False).double()
    linear.weight.data = torch.tensor([[3.0, 0.0], [4.0, 5.0]], dtype=torch.float64)[..., None]
    layer = normalised(linear).eval()
    for _ in range(30):
        layer.train()(torch.zeros(1, 2, 1, dtype=torch.float64))
    sigma = 3.0 / layer.eval().weight[0, 0, 0].item()
    assert sigma == pytest.approx(6.70820393, abs=1e-8)


@pytest.mark.parametrize("make", [Down, Up])
def test_spectrally_normalised_layers_have_norm_one_over_their_first_dimension(make):
    torch.manual_seed(3)
    layer = normalised(make(6, 10))
    for _ in range(100):
        _ = layer.weight
    matrix = layer.eval().weight.detach().flatten(1)
    assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1, abs=1e-3)
    assert torch.equal(layer.weight, layer.weight)  # nothing moves in evaluation


def test_tf_rmsprop_starts_from_a_mean_square_of_one():
    p = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    q = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    ours = TFRMSprop([p], lr=2e-4)
    torchs = torch.optim.RMSprop([q], lr=2e-4, alpha=0.9, eps=1e-10)
    for _ in range(2):
        for parameter, optimizer in ((p, ours), (q, torchs)):
            parameter.grad = torch.tensor(0.01, dtype=torch.float64)
            optimizer.step()
    assert p.item() == pytest.approx(-4.33036955e-06, rel=1e-8)
    assert q.item() == pytest.approx(-1.09129e-03, rel=1e-5)


def test_tf_rmsprop_resumes_from_its_state():
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = TFRMSprop([p])
    p.grad = torch.ones(3)
    optimizer.step()
    again = TFRMSprop([torch.nn.Parameter(p.detach().clone())])
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    q = again.param_groups[0]["params"][0]
    p.grad, q.grad = torch.full((3,), 0.5), torch.full((3,), 0.5)
    optimizer.step()
    again.step()
    assert torch.equal(p, q)
