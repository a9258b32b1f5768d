"""The engine against an independent NumPy statement of the method and against torch's own."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optim import oracle

from septet.optim import SGDSM, AdagradNorm, AdagradSN, AdamSM, AdamSN, LeanOptimizer, RMSpropSN

SHAPES = [(), (1,), (7,), (1, 5), (5, 1), (3, 4), (4, 3), (4, 4), (2, 3, 5), (3, 2, 2, 3)]


def sequence(shape, steps=6, seed=0):
    return np.random.default_rng(seed).normal(size=(steps, *shape))


def trained(cls, gradients, **options):
    weight = torch.nn.Parameter(torch.zeros(gradients[0].shape, dtype=torch.float64))
    optimizer = cls([weight], **options)
    for gradient in gradients:
        weight.grad = torch.tensor(gradient)
        optimizer.step()
    return weight.detach().numpy(), optimizer.state[weight]


OPTIONS = st.fixed_dictionaries(
    {
        "momentum": st.sampled_from([None, "ema"]),
        "second_moment": st.sampled_from([None, "ema", "sum"]),
        "subset": st.sampled_from(["matrix", "tensor", None, 1, 2, 5, 100, -1, -2]),
        "reduction": st.sampled_from(["sum", "mean"]),
        "betas": st.sampled_from([(0.9, 0.99), (0.0, 0.5)]),
        "weight_decay": st.sampled_from([0.0, 0.3]),
        "debias": st.booleans(),
        "amsgrad": st.booleans(),
        "maximize": st.booleans(),
        "lr": st.just(0.1),
        "eps": st.just(1e-8),
    }
)


@settings(max_examples=150)
@given(st.sampled_from(SHAPES), OPTIONS, st.integers(0, 9))
def test_every_combination_equals_the_numpy_statement(shape, options, seed):
    options["amsgrad"] = options["amsgrad"] and options["second_moment"] == "ema"
    gradients = sequence(shape, seed=seed)
    actual, _ = trained(LeanOptimizer, gradients, **options)
    np.testing.assert_allclose(actual, oracle.run(gradients, options), rtol=1e-11, atol=1e-13)


def flat_projector(state, shape):
    """The projection of the flattened matrix onto the subspace that the state describes."""
    m, n = shape
    if "index" in state:
        kept = np.zeros(max(m, n))
        kept[state["index"].numpy()] = 1
        side, others = np.diag(kept), min(m, n)
        return np.kron(side, np.eye(others)) if m >= n else np.kron(np.eye(others), side)
    basis = state["basis"].numpy()
    pi = basis @ basis.T
    return np.kron(np.eye(m), pi) if m >= n else np.kron(pi, np.eye(n))


@pytest.mark.parametrize("refresh", ["reset", "keep", "rotate"])
@pytest.mark.parametrize("second_moment", [None, "ema", "sum"])
@pytest.mark.parametrize("projection", ["svd", "gram", "randomized", "random", "uniform", "topk"])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_momentum_in_a_subspace_equals_the_numpy_statement(
    shape, projection, second_moment, refresh
):
    gradients = sequence(shape, 5)
    options = {
        "momentum": "subspace", "second_moment": second_moment, "subset": "matrix",
        "reduction": "sum", "betas": (0.9, 0.99), "weight_decay": 0.1, "debias": True,
        "amsgrad": False, "maximize": False, "lr": 0.1, "eps": 1e-8,
    }  # fmt: skip
    subspace = {"rank": 2, "projection": projection, "update_interval": 99, "refresh": refresh}
    actual, state = trained(LeanOptimizer, gradients, **options, **subspace)
    projector = flat_projector(state, shape)
    expected = oracle.run(gradients, options, lambda t: projector)
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


def run_with_refreshes(shape, projection, refresh, steps=7, interval=3, **options):
    """Final weight, and the state's tensors after every step."""
    weight = torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64))
    optimizer = SGDSM(
        [weight], lr=1.0, rank=2, projection=projection, update_interval=interval,
        refresh=refresh, **options,
    )  # fmt: skip
    states, weights = [], [weight.detach().clone()]
    for gradient in sequence(shape, steps):
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        kept = optimizer.state[weight].items()
        states.append({k: v.clone() if torch.is_tensor(v) else v for k, v in kept})
        weights.append(weight.detach().clone())
    return weights, states


def test_the_subspace_is_refreshed_at_the_first_step_and_at_multiples_of_the_interval():
    _, states = run_with_refreshes((5, 3), "svd", "reset", steps=10, interval=3)
    assert [s["refreshed"] for s in states] == [1, 1, 3, 3, 3, 6, 6, 6, 9, 9]


@pytest.mark.parametrize("projection", ["svd", "random", "uniform", "topk"])
def test_a_reset_forgets_the_momentum_before_the_new_gradient_enters(projection):
    gradients = torch.tensor(sequence((5, 3), 7))
    weights, states = run_with_refreshes((5, 3), projection, "reset")
    pi = torch.tensor(flat_projector(states[2], (5, 3)))
    g = gradients[2].reshape(-1)
    expected = -(0.1 * pi @ g + g - pi @ g)
    torch.testing.assert_close((weights[3] - weights[2]).reshape(-1), expected)


@pytest.mark.parametrize("projection", ["svd", "random", "uniform", "topk"])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5)])
def test_rotating_projects_the_old_momentum_into_the_new_subspace(projection, shape):
    gradients = torch.tensor(sequence(shape, 7))
    weights, states = run_with_refreshes(shape, projection, "rotate")
    momentum = torch.zeros(15, dtype=torch.float64)
    for t in range(3):
        pi = torch.tensor(flat_projector(states[t], shape))
        g = gradients[t].reshape(-1)
        momentum = 0.9 * pi @ momentum + 0.1 * pi @ g
    expected = -(momentum + g - pi @ g)
    torch.testing.assert_close((weights[3] - weights[2]).reshape(-1), expected)


def test_keeping_reuses_the_coordinates_in_the_new_subspace():
    gradients = torch.tensor(sequence((5, 3), 7))
    _, states = run_with_refreshes((5, 3), "uniform", "keep")
    picked = gradients[2][states[2]["index"].long()]
    torch.testing.assert_close(states[2]["momentum"], 0.9 * states[1]["momentum"] + 0.1 * picked)


def test_debiasing_since_the_refresh_restarts_the_count_at_a_reset():
    gradients = torch.tensor(sequence((5, 3), 7))
    weights, _ = run_with_refreshes((5, 3), "svd", "reset", debias="since_refresh")
    # the momentum of the refresh step is that step's gradient alone, fully corrected
    torch.testing.assert_close(weights[3] - weights[2], -gradients[2])


def test_staggered_refreshes_spread_over_the_interval_after_a_common_first_step():
    params = [torch.nn.Parameter(torch.zeros(4, 3)) for _ in range(4)]
    optimizer = SGDSM(params, rank=1, projection="uniform", update_interval=8, stagger=True)
    refreshed = []
    for _ in range(17):
        for p in params:
            p.grad = torch.ones(4, 3)
        optimizer.step()
        refreshed.append([optimizer.state[p]["refreshed"] for p in params])
    assert refreshed[0] == [1, 1, 1, 1]
    changes = [sum(a != b for a, b in zip(x, y, strict=True)) for x, y in pairwise(refreshed)]
    assert max(changes) == 1
    assert sum(changes) == 8  # four matrices, twice in sixteen steps


def test_momentum_in_the_whole_space_is_ordinary_momentum():
    gradients = sequence((5, 3))
    whole, state = trained(SGDSM, gradients, lr=0.1, rank=3, update_interval=2)
    ordinary, _ = trained(
        LeanOptimizer, gradients, lr=0.1, momentum="ema", second_moment=None, debias=False
    )
    np.testing.assert_array_equal(whole, ordinary)
    assert set(state) == {"step", "momentum"}


TORCH_TWINS = [
    (AdamSN, {"subset": None}, torch.optim.AdamW, {}),
    (AdamSN, {"subset": 1}, torch.optim.AdamW, {}),
    (AdamSN, {"subset": None, "amsgrad": True}, torch.optim.AdamW, {"amsgrad": True}),
    (AdamSM, {"rank": None}, torch.optim.AdamW, {}),
    (RMSpropSN, {"subset": None, "beta2": 0.9}, torch.optim.RMSprop, {"alpha": 0.9}),
    (AdagradSN, {"subset": None}, torch.optim.Adagrad, {}),
]


@pytest.mark.parametrize(("ours", "options", "theirs", "their_options"), TORCH_TWINS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_subsets_of_one_coordinate_give_torchs_optimizers(
    ours, options, theirs, their_options, shape, dtype
):
    common = {"lr": 0.1, "eps": 1e-8}
    if theirs is torch.optim.AdamW:
        common["weight_decay"] = 0.2
    mine = torch.nn.Parameter(torch.zeros(shape, dtype=dtype))
    other = torch.nn.Parameter(torch.zeros(shape, dtype=dtype))
    optimizers = [ours([mine], **common, **options), theirs([other], **common, **their_options)]
    for gradient in sequence(shape, 8):
        mine.grad = torch.tensor(gradient, dtype=dtype)
        other.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    tolerance = 1e-12 if dtype == torch.float64 else 2e-6
    torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)


def test_without_second_moment_and_momentum_it_is_sgd():
    gradients = sequence((4, 3))
    mine, _ = trained(LeanOptimizer, gradients, lr=0.1, momentum=None, second_moment=None)
    sgd, _ = trained(torch.optim.SGD, gradients, lr=0.1)
    np.testing.assert_allclose(mine, sgd, rtol=1e-14)


def test_one_subset_for_the_whole_tensor_gives_adagrad_norm():
    gradients = sequence((4, 3))
    weight, state = trained(AdagradNorm, gradients, lr=0.1, eps=0.0)
    b2 = np.cumsum(np.square(gradients).sum((1, 2)))
    np.testing.assert_allclose(weight, -(0.1 * gradients / np.sqrt(b2)[:, None, None]).sum(0))
    assert state["second_moment"].shape == (1,)


def test_a_constant_gradient_leads_to_steps_of_the_learning_rate_in_norm():
    gradient = sequence((6, 4), 1)[0]
    before, _ = trained(AdamSN, [gradient] * 300, lr=0.1, betas=(0.9, 0.9))
    now, _ = trained(AdamSN, [gradient] * 301, lr=0.1, betas=(0.9, 0.9))
    expected = -0.1 * gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
    np.testing.assert_allclose(now - before, expected, rtol=1e-5)


def test_without_gradient_the_weight_rests_once_the_momentum_has_died():
    gradients = [*sequence((4, 3), 3), *np.zeros((900, 4, 3))]
    options = {"lr": 0.1, "betas": (0.5, 0.9), "momentum": "subspace", "rank": 2}
    almost, _ = trained(LeanOptimizer, gradients[:-1], **options)
    final, _ = trained(LeanOptimizer, gradients, **options)
    np.testing.assert_array_equal(almost, final)


def test_the_order_of_the_groups_does_not_matter():
    shapes = [(5, 3), (3, 5), (4,)]

    def train(order):
        params = [torch.nn.Parameter(torch.ones(s)) for s in shapes]
        groups = [{"params": [params[i]], "lr": 0.1 * (i + 1)} for i in order]
        optimizer = LeanOptimizer(
            groups, rank=2, projection="random", update_interval=2, stagger=True
        )
        for step in range(5):
            for i, p in enumerate(params):
                p.grad = torch.tensor(sequence(shapes[i], seed=step)[0], dtype=torch.float32)
            optimizer.step()
        return params

    for a, b in zip(train([0, 1, 2]), train([2, 0, 1]), strict=True):
        assert torch.equal(a, b)


def test_steps_read_the_gradient_and_leave_it_alone():
    weight = torch.nn.Parameter(torch.ones(4, 3))
    weight.grad = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    before = weight.grad.clone()
    LeanOptimizer([weight], rank=2, maximize=True).step()
    assert torch.equal(weight.grad, before)


@pytest.mark.parametrize("projection", ["svd", "randomized", "random", "srht", "uniform", "topk"])
def test_steps_leave_every_global_random_state_alone(projection):
    import random

    def states():
        legacy = str(np.random.get_state())  # noqa: NPY002 - the state to be watched
        return torch.get_rng_state().tolist(), legacy, random.getstate()

    weight = torch.nn.Parameter(torch.ones(4, 3, dtype=torch.bfloat16))
    weight.grad = torch.eye(4, 3, dtype=torch.bfloat16)
    optimizer = LeanOptimizer(
        [weight], rank=2, projection=projection, stochastic_rounding=True, update_interval=1
    )
    before = states()
    for _ in range(3):
        optimizer.step()
    assert states() == before


@pytest.mark.gpu
@pytest.mark.parametrize("path", [{"foreach": False}, {"foreach": True}])
def test_weights_on_several_devices_are_trained_together(path):
    weights = [torch.nn.Parameter(torch.ones(4, 3, device=d)) for d in ("cpu", "cuda")]
    optimizer = AdamSN(weights, **path)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    torch.testing.assert_close(weights[0], weights[1].cpu())
