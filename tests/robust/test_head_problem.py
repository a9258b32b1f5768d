import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from robust.problems import problem, spurious

from septet.robust._head_problem import contrasts

BIASES = ["free", "penalized", "none"]


def random_problem(seed: int, bias: str = "free", **kwargs):
    rng = np.random.default_rng(seed)
    n, d, k = rng.integers(4, 30), rng.integers(1, 6), rng.integers(2, 5)
    y = np.append(np.arange(k), rng.integers(0, k, n))
    membership = rng.random((len(y), 3)) * (rng.random((len(y), 3)) < 0.5)
    membership[:, 0] += 0.1
    membership[0] += 0.1
    X = rng.normal(size=(len(y), d))
    alpha = float(10 ** rng.uniform(-3, 0))
    return rng, problem(X, y, membership, alpha, adjustment=rng.random(), bias=bias, **kwargs)


@pytest.mark.parametrize("k", [2, 3, 7])
def test_contrasts_are_orthonormal_and_blind_to_a_common_shift(k):
    u = contrasts(k)
    assert u.shape == (k, k - 1)
    np.testing.assert_allclose(u.T @ u, np.eye(k - 1), atol=1e-14)
    np.testing.assert_allclose(u.sum(axis=0), 0, atol=1e-14)


@given(st.integers(0, 10_000), st.sampled_from(BIASES))
def test_no_head_is_better_than_any_lower_bound(seed, bias):
    rng, p = random_problem(seed, bias)
    weights = rng.dirichlet(np.full(p.n_groups, 0.3))
    bound_from = rng.normal(size=p.shape) * 10 ** rng.uniform(-2, 1)
    bound = p.lower_bound(p.logits(bound_from), weights)
    head = rng.normal(size=p.shape)
    _, losses = p.probabilities(p.logits(head))
    assert p.primal(p.group_losses(losses), head) >= bound - 1e-9


@given(st.integers(0, 10_000))
def test_the_bound_also_holds_on_top_of_a_fixed_head(seed):
    rng, p = random_problem(seed)
    rng, p = random_problem(seed, base=rng.normal(size=(p.n_classes - 1, len(p.y))))
    weights = rng.dirichlet(np.ones(p.n_groups))
    bound = p.lower_bound(p.logits(rng.normal(size=p.shape)), weights)
    head = rng.normal(size=p.shape) * 0.1
    _, losses = p.probabilities(p.logits(head))
    assert p.primal(p.group_losses(losses), head) >= bound - 1e-9


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_gradients_and_curvature_are_derivatives(seed, bias):
    rng, p = random_problem(seed, bias)
    theta, weights, h = rng.normal(size=p.shape), np.array([0.2, 0.5, 0.3]), 1e-5

    def losses(flat):
        return p.group_losses(p.probabilities(p.logits(flat.reshape(p.shape)))[1])

    def gradients(flat):
        probabilities, _ = p.probabilities(p.logits(flat.reshape(p.shape)))
        return p.group_gradients(p.residual(probabilities)).reshape(p.n_groups, -1)

    flat = theta.ravel()
    steps = h * np.eye(flat.size)
    numeric = np.array([(losses(flat + e) - losses(flat - e)) / (2 * h) for e in steps]).T
    np.testing.assert_allclose(gradients(flat), numeric, atol=1e-8)
    numeric = np.array(
        [weights @ (gradients(flat + e) - gradients(flat - e)) / (2 * h) for e in steps]
    )
    probabilities, _ = p.probabilities(p.logits(theta))
    np.testing.assert_allclose(p.curvature(probabilities, weights), numeric, atol=1e-8)
    combined = p.gradient(p.residual(probabilities), weights)
    np.testing.assert_allclose(combined.ravel(), weights @ gradients(flat), atol=1e-12)


def test_blocks_of_rows_give_what_one_block_gives(monkeypatch):
    X, y, a = spurious(200, 7, n_classes=3)
    p = problem(X, y, 2 * y + a, 0.1)
    theta = np.random.default_rng(0).normal(size=p.shape)
    weights = np.full(p.n_groups, 1 / p.n_groups)

    def everything():
        logits = p.logits(theta)
        pi, _ = p.probabilities(logits)
        gradients = p.group_gradients(p.residual(pi))
        return logits, gradients, p.curvature(pi, weights), p.lower_bound(logits, weights)

    whole = everything()
    monkeypatch.setattr("septet.robust._head_problem._BLOCK_BYTES", 7 * 8 * 13)
    assert len(list(p.blocks())) == 16
    for one, many in zip(whole, everything(), strict=True):
        np.testing.assert_allclose(many, one, atol=1e-12)
