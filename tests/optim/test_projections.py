"""Subspaces: orthonormal, as good as promised, and drawn without touching global randomness."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.optim import LeanOptimizer
from septet.optim._projection import (
    new_basis,
    new_index,
    picked,
    private_generator,
    spread,
    srht_basis,
)

DENSE = ("svd", "gram", "randomized", "random", "srht")
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13}


def matrix(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(64, 32), (32, 64), (37, 11), (1376, 12), (3, 7, 5), (1, 9)])
@pytest.mark.parametrize("projection", DENSE)
def test_bases_are_orthonormal_and_projectors_idempotent(projection, shape, dtype):
    rank = max(1, min(shape[-2:]) // 3)
    basis = new_basis(projection, matrix(*shape, dtype=dtype), rank, private_generator(1))
    assert basis.dtype == dtype
    assert basis.shape == (*shape[:-2], min(shape[-2:]), rank)
    gram = basis.mT @ basis
    torch.testing.assert_close(
        gram, torch.eye(rank, dtype=dtype).expand_as(gram), rtol=0, atol=TOLERANCE[dtype]
    )
    projector = basis @ basis.mT
    torch.testing.assert_close(projector, projector.mT)
    torch.testing.assert_close(projector @ projector, projector, rtol=0, atol=2 * TOLERANCE[dtype])


@settings(max_examples=60)
@given(st.integers(1, 200), st.data())
def test_the_randomized_hadamard_transform_is_orthonormal_for_every_size(size, data):
    rank = data.draw(st.integers(1, size))
    basis = srht_basis(size, rank, private_generator(size, rank))
    gram = basis.double().T @ basis.double()
    torch.testing.assert_close(gram, torch.eye(rank).double(), rtol=0, atol=1e-6)


def test_the_randomized_hadamard_transform_mixes_all_coordinates_of_a_power_of_two():
    basis = srht_basis(64, 8, private_generator(0))
    torch.testing.assert_close(basis.abs(), torch.full((64, 8), 0.125))


def test_the_randomized_hadamard_transform_keeps_its_share_of_the_energy():
    g = matrix(64, 32)
    basis = srht_basis(32, 8, private_generator(0))
    share = ((g @ basis).norm() / g.norm()).item()
    assert share == pytest.approx(0.5, abs=0.05)


def energy(basis, g):
    wide = g if g.shape[0] < g.shape[1] else g.T
    return ((basis.T @ wide).square().sum() / wide.square().sum()).item()


@pytest.mark.parametrize("shape", [(120, 60), (60, 120), (300, 60)])
def test_svd_and_gram_capture_the_most_energy_and_the_range_finder_nearly_so(shape):
    u, _, v = torch.linalg.svd(matrix(*shape, dtype=torch.float64), full_matrices=False)
    spectrum = torch.arange(1, 61, dtype=torch.float64) ** -0.7
    g = (u * spectrum) @ v
    best = (spectrum[:15].square().sum() / spectrum.square().sum()).item()
    for projection in ("svd", "gram"):
        basis = new_basis(projection, g, 15, private_generator(0))
        assert energy(basis, g) == pytest.approx(best, abs=1e-12)
    assert energy(new_basis("randomized", g, 15, private_generator(0)), g) >= 0.98 * best


def test_random_bases_are_uniform_in_every_coordinate():
    draws = [new_basis("random", matrix(5, 3), 1, private_generator(i)) for i in range(2000)]
    mean = torch.stack(draws).mean(0)
    assert mean.abs().max() < 0.05
    second = torch.stack([b @ b.T for b in draws]).mean(0)
    torch.testing.assert_close(second, torch.eye(3) / 3, rtol=0, atol=0.04)


def test_top_k_takes_the_longest_rows_or_columns_of_the_larger_side():
    g = torch.diag(torch.tensor([1.0, 5.0, 3.0, 4.0]))[:, :3] + 0.01
    g[3] = 2
    assert new_index("topk", g, 2, private_generator(0)).tolist() == [1, 3]
    assert new_index("topk", g.T, 2, private_generator(0)).tolist() == [1, 3]
    both = new_index("topk", torch.stack([g, g.flip(0)]), 2, private_generator(0))
    assert both.tolist() == [[1, 3], [0, 2]]


def test_uniform_selections_are_distinct_ascending_and_differ_between_matrices_of_a_stack():
    index = new_index("uniform", matrix(4, 50, 3), 20, private_generator(0))
    assert (index.diff(dim=-1) > 0).all()
    assert index.dtype == torch.int32
    assert len({tuple(row) for row in index.tolist()}) == 4


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (2, 6, 4), (2, 4, 6)])
def test_spreading_what_was_picked_changes_nothing(shape):
    g = matrix(*shape)
    tall = shape[-2] >= shape[-1]
    index = new_index("uniform", g, 3, private_generator(0))
    assert torch.equal(spread(g, index, picked(g, index, tall), tall), g)


@pytest.mark.parametrize("projection", [*DENSE, "uniform"])
def test_a_seed_fixes_the_subspaces_and_another_seed_changes_the_random_ones(projection):
    def subspace(seed):
        weight = torch.nn.Parameter(torch.zeros(12, 8))
        optimizer = LeanOptimizer([weight], rank=3, projection=projection, seed=seed)
        weight.grad = matrix(12, 8)
        optimizer.step()
        return weight.detach()

    assert torch.equal(subspace(1), subspace(1))
    random = projection not in ("svd", "gram")
    assert torch.equal(subspace(1), subspace(2)) != random


@pytest.mark.parametrize("projection", ["svd", "random", "topk"])
def test_bases_of_half_precision_weights_are_float32(projection):
    weight = torch.nn.Parameter(torch.zeros(12, 8, dtype=torch.bfloat16))
    optimizer = LeanOptimizer([weight], rank=3, projection=projection)
    weight.grad = matrix(12, 8, dtype=torch.bfloat16)
    optimizer.step()
    state = optimizer.state[weight]
    if projection != "topk":
        assert state["basis"].dtype == torch.float32
        torch.testing.assert_close(state["basis"].T @ state["basis"], torch.eye(3))
    assert state["momentum"].dtype == torch.bfloat16
    assert state["second_moment"].dtype == torch.float32


def test_a_stack_of_matrices_is_treated_matrix_by_matrix():
    stack = torch.nn.Parameter(torch.zeros(5, 6, 4, dtype=torch.float64))
    singles = [torch.nn.Parameter(torch.zeros(6, 4, dtype=torch.float64)) for _ in range(5)]
    options = {"rank": 2, "projection": "svd", "update_interval": 2}
    optimizers = [LeanOptimizer([stack], **options), LeanOptimizer(singles, **options)]
    for step in range(4):
        stack.grad = matrix(5, 6, 4, dtype=torch.float64, seed=step)
        for single, grad in zip(singles, stack.grad, strict=True):
            single.grad = grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(stack.detach(), torch.stack([s.detach() for s in singles]))
