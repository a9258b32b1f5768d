"""What the theory says exactly, checked in float64."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from septet.optim import SGDSM, AdagradSN, AdamSN, AdamSNSM, RMSpropSN

ALL = ("svd", "gram", "randomized", "random", "srht", "uniform", "topk")
SHAPES = st.sampled_from([(7, 5), (5, 7), (1, 6), (6, 1), (4, 4), (13, 2)])


def gradients(shape, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(steps, *shape, generator=generator, dtype=torch.float64)


def weights_over_time(cls, sequence, **options):
    """All iterates, starting with zero, and the optimizer's state of the weight."""
    weight = torch.nn.Parameter(torch.zeros_like(sequence[0]))
    optimizer = cls([weight], **options)
    iterates = [weight.detach().clone()]
    for gradient in sequence:
        weight.grad = gradient.clone()
        optimizer.step()
        iterates.append(weight.detach().clone())
    return iterates, optimizer.state[weight]


def projector(optimizer_state, projection, shape):
    m, n = shape
    if "index" in optimizer_state:
        side = torch.zeros(max(m, n), dtype=torch.float64)
        side[optimizer_state["index"].long()] = 1
        return (lambda x: side[:, None] * x) if m >= n else (lambda x: x * side)
    basis = optimizer_state["basis"]
    return (lambda x: x @ basis @ basis.T) if m >= n else (lambda x: basis @ basis.T @ x)


@given(SHAPES, st.integers(0, 99))
def test_accumulated_ratios_telescope(shape, seed):
    sequence = gradients(shape, 12, seed)
    weight = torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64))
    optimizer = AdagradSN([weight], lr=0.1, eps=0.0)
    m, n = shape
    dim = 1 if m >= n else 0
    start = 0.3
    by_root = by_value = 0.0
    for step, gradient in enumerate(sequence):
        weight.grad = gradient
        optimizer.step()
        if step == 0:
            optimizer.state[weight]["second_moment"] += start
        v = optimizer.state[weight]["second_moment"]
        squares = gradient.square().sum(dim, keepdim=True)
        by_root, by_value = by_root + squares / v.sqrt(), by_value + squares / v
    assert (by_root <= 2 * v.sqrt() + 1e-12).all()
    assert (by_value <= (v / start).log() + 1e-12).all()


@given(SHAPES, st.integers(0, 99))
def test_adagrad_sn_never_moves_a_subset_farther_than_the_learning_rate(shape, seed):
    iterates, _ = weights_over_time(AdagradSN, gradients(shape, 8, seed), lr=0.25)
    dim = 1 if shape[0] >= shape[1] else 0
    for before, now in pairwise(iterates):
        assert (torch.linalg.vector_norm(now - before, dim=dim) <= 0.25 + 1e-12).all()


@pytest.mark.parametrize("cls", [RMSpropSN, AdamSN])
def test_the_first_corrected_step_has_the_length_of_the_learning_rate(cls):
    sequence = gradients((6, 4), 20)
    options = {"beta2": 0.99} if cls is RMSpropSN else {"betas": (0.0, 0.99)}
    iterates, _ = weights_over_time(cls, sequence, lr=0.1, eps=1e-3, debias=True, **options)
    norms = torch.linalg.vector_norm(sequence[0], dim=1)
    first = torch.linalg.vector_norm(iterates[1], dim=1)
    torch.testing.assert_close(first, 0.1 * norms / (norms + 1e-3))
    for t in range(1, 20):
        moved = torch.linalg.vector_norm(iterates[t + 1] - iterates[t], dim=1)
        correction = 1 - 0.99 ** (t + 1)
        assert (moved <= 0.1 * math.sqrt(correction / 0.01) + 1e-12).all()


def test_merging_subsets_adds_their_second_moments_and_shrinks_every_step():
    sequence = gradients((24,), 5)
    finer, fine = weights_over_time(AdagradSN, sequence, lr=0.1, subset=3)
    coarser, coarse = weights_over_time(AdagradSN, sequence, lr=0.1, subset=6)
    total = fine["second_moment"].reshape(-1, 2).sum(1)
    torch.testing.assert_close(coarse["second_moment"], total)
    for t in range(5):
        assert ((coarser[t + 1] - coarser[t]).abs() <= (finer[t + 1] - finer[t]).abs()).all()


@pytest.mark.parametrize("shape", [(9, 5), (5, 9)])
@pytest.mark.parametrize("projection", [p for p in ALL if p != "srht"])
def test_the_virtual_iterate_of_sgd_sm_takes_plain_gradient_steps(projection, shape):
    sequence = gradients(shape, 10)
    iterates, state = weights_over_time(
        SGDSM, sequence, lr=0.1, rank=3, projection=projection, update_interval=1000
    )
    project = projector(state, projection, shape)
    iterates = [iterates[0], *iterates]
    virtual = [now + 0.9 / 0.1 * project(now - before) for before, now in pairwise(iterates)]
    for t, gradient in enumerate(sequence):
        torch.testing.assert_close(virtual[t + 1] - virtual[t], -0.1 * gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(9, 5), (5, 9)])
@pytest.mark.parametrize("projection", [p for p in ALL if p != "srht"])
def test_outside_the_subspace_sgd_sm_is_plain_sgd(projection, shape):
    sequence = gradients(shape, 6)
    iterates, state = weights_over_time(
        SGDSM, sequence, lr=0.1, rank=3, projection=projection, update_interval=1000
    )
    project = projector(state, projection, shape)
    for t, gradient in enumerate(sequence):
        moved = iterates[t + 1] - iterates[t]
        expected = -0.1 * (gradient - project(gradient))
        torch.testing.assert_close(moved - project(moved), expected, rtol=0, atol=1e-12)


def orthogonal(size, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q


def test_adam_sn_commutes_with_rotations_inside_its_rows_and_adam_does_not():
    sequence, turn = gradients((8, 5), 6), orthogonal(5, 1)
    plain, _ = weights_over_time(AdamSN, sequence, lr=0.1)
    turned, _ = weights_over_time(AdamSN, sequence @ turn, lr=0.1)
    torch.testing.assert_close(turned[-1], plain[-1] @ turn, rtol=0, atol=1e-14)
    adam, _ = weights_over_time(torch.optim.Adam, sequence, lr=0.1)
    adam_turned, _ = weights_over_time(torch.optim.Adam, sequence @ turn, lr=0.1)
    assert (adam_turned[-1] - adam[-1] @ turn).abs().max() > 0.01


def test_svd_momentum_commutes_with_rotations_of_both_sides():
    sequence, left, right = gradients((8, 5), 6), orthogonal(8, 1), orthogonal(5, 2)
    options = {"lr": 0.1, "rank": 2, "update_interval": 3}
    plain, _ = weights_over_time(SGDSM, sequence, **options)
    turned, _ = weights_over_time(SGDSM, left @ sequence @ right, **options)
    torch.testing.assert_close(turned[-1], left @ plain[-1] @ right, rtol=0, atol=1e-12)


def test_adam_snsm_with_svd_commutes_with_rotations_inside_its_rows():
    sequence, right = gradients((8, 5), 6), orthogonal(5, 2)
    options = {"lr": 0.1, "rank": 2, "update_interval": 3}
    plain, _ = weights_over_time(AdamSNSM, sequence, **options)
    turned, _ = weights_over_time(AdamSNSM, sequence @ right, **options)
    torch.testing.assert_close(turned[-1], plain[-1] @ right, rtol=0, atol=1e-12)
