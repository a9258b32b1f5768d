import copy
import math
from itertools import pairwise

import pytest
import torch

from septet.training import DivergedError, World, gradient_step, warmup_cosine


def make(seed=0):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    return model.double(), torch.optim.SGD


X = torch.linspace(-1, 1, 16 * 5, dtype=torch.float64).reshape(16, 5)
Y = X.square().sum(1, keepdim=True)


def loss_of(model, size):
    def loss(i):
        rows = torch.arange(i * size, (i + 1) * size) % 16
        return torch.nn.functional.mse_loss(model(X[rows]), Y[rows])

    return loss


@pytest.mark.parametrize(("size", "accumulate"), [(1, 8), (2, 4), (4, 2)])
def test_accumulated_micro_batches_equal_one_batch(size, accumulate):
    whole, sgd = make()
    split = copy.deepcopy(whole)
    big = gradient_step(loss_of(whole, 8), sgd(whole.parameters(), lr=0.1), clip_norm=0.5)
    small = gradient_step(
        loss_of(split, size), sgd(split.parameters(), lr=0.1), clip_norm=0.5, accumulate=accumulate
    )
    for t in range(5):
        a, b = big(t), small(t)
        assert a == pytest.approx(b, rel=1e-12)
    for p, q in zip(whole.parameters(), split.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-14)


def test_processes_take_turns_with_the_micro_batches():
    seen = []

    class Two(World):
        def mean(self, values):
            return values

        def mean_gradients(self, parameters):
            pass

    w = torch.nn.Parameter(torch.zeros(1))
    for rank in range(2):

        def loss(i, rank=rank):
            seen.append((rank, i))
            return w.sum()

        step = gradient_step(loss, torch.optim.SGD([w]), accumulate=2, world=Two(rank, 2))
        step(0), step(1)
    assert seen == [(0, 0), (0, 2), (0, 4), (0, 6), (1, 1), (1, 3), (1, 5), (1, 7)]


def test_the_schedule_multiplies_each_groups_own_rate():
    a, b = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    groups = [{"params": [a], "lr": 1.0}, {"params": [b], "lr": torch.tensor(10.0)}]
    optimizer = torch.optim.SGD(groups)
    tensor_rate = optimizer.param_groups[1]["lr"]
    step = gradient_step(lambda i: a.sum() + b.sum(), optimizer, schedule=lambda t: 1 / (t + 1))
    assert [step(t)["lr"] for t in (0, 1, 3)] == [1.0, 0.5, 0.25]
    assert a.item() == pytest.approx(-1.75)
    assert b.item() == pytest.approx(-17.5)
    assert optimizer.param_groups[1]["lr"] is tensor_rate


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_changes_nothing(bad):
    w = torch.nn.Parameter(torch.ones(2))
    step = gradient_step(lambda i: w.sum() * bad, torch.optim.Adam([w]))
    with pytest.raises(DivergedError, match=f"the loss is {bad}"):
        step(0)
    assert w.tolist() == [1, 1]


def test_a_gradient_that_is_not_finite_changes_nothing():
    w = torch.nn.Parameter(torch.zeros(2))
    step = gradient_step(lambda i: w.sqrt().sum(), torch.optim.Adam([w]), clip_norm=1.0)
    with pytest.raises(DivergedError, match="the gradient's norm is inf"):
        step(0)
    assert w.tolist() == [0, 0]


def test_clipping_brings_the_norm_down_and_reports_it_as_it_was():
    w = torch.nn.Parameter(torch.zeros(2))
    step = gradient_step(lambda i: 3 * w[0] + 4 * w[1], torch.optim.SGD([w], lr=1.0), clip_norm=1.0)
    assert step(0)["gradient_norm"] == pytest.approx(5)
    assert w.tolist() == pytest.approx([-0.6, -0.8], abs=1e-6)


def test_autocast_computes_in_bfloat16_and_keeps_float32_weights():
    model = torch.nn.Linear(4, 4)
    kinds = []

    def loss(i):
        out = model(torch.ones(2, 4))
        kinds.append(out.dtype)
        return out.float().square().mean()

    gradient_step(loss, torch.optim.SGD(model.parameters()), autocast=torch.bfloat16)(0)
    assert kinds == [torch.bfloat16]
    assert model.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"accumulate": 0}, "accumulate must be at least 1; got 0"),
        ({"clip_norm": 0.0}, "clip_norm must be greater than 0"),
        ({"autocast": torch.float16}, "autocast must be torch.bfloat16 or None"),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    w = torch.nn.Parameter(torch.zeros(1))
    with pytest.raises(ValueError, match=message):
        gradient_step(lambda i: w.sum(), torch.optim.SGD([w]), **kwargs)


def test_the_schedule_warms_up_to_one_and_ends_at_its_floor():
    factors = [warmup_cosine(t, steps=400) for t in range(400)]
    assert factors[0] == 1 / 40
    assert factors[39] == 1.0
    assert factors[-1] == pytest.approx(0.1)
    assert factors[219] == pytest.approx(0.55)  # half-way down
    assert all(a > b for a, b in pairwise(factors[39:]))
    assert warmup_cosine(0, steps=1) == pytest.approx(0.1)
    assert warmup_cosine(5, steps=10, warmup=1.0) == 0.6
    assert warmup_cosine(0, steps=10, warmup=0.0, floor=1.0) == 1.0
