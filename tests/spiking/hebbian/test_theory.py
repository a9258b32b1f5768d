"""Stationary weights: printed digits, and the update itself as the oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from septet._core.errors import InfeasibleError
from septet.spiking import (
    LIF,
    HebbianLayer,
    HebbianRule,
    SpikeBatch,
    is_stable,
    l2_constraint,
    multiplicative_constraint,
    promotion_constraint,
    stdp_constraint,
    synaptic_memory,
    weak_coupling_promotions,
)
from septet.spiking.hebbian import _reference
from septet.spiking.hebbian._state import Plan, State, Tally, Watch

EIGHT = (0.9, 0.7, 0.5, 0.3, 0.1, 0.05, 0.02, 0.4)


def learned(promoted, learning_rate, blocks=50, **rule):
    """Weights after every event with the given promotions, and means of blocks of them.

    The layer's own update is fed directly, without neurons around it.
    """
    n_events, n = promoted.shape
    w = np.full(n, 1.0 / n)
    plan = Plan.of(
        LIF(tau_s=0.0),
        HebbianRule(**rule),
        learning_rate,
        winner=False,
        gain=0.0,
        threshold=1.0,
    )
    state = State.at_rest(w[None])
    tally, watch = Tally.empty(n, 1, 0), Watch.empty(w[None], 1, watched=False)
    trajectory = np.empty((n_events, n))
    for event in range(n_events):
        _reference._learn(0, 0.0, promoted[event], plan, state, tally, watch)
        trajectory[event] = state.w[:, 0]
    kept = trajectory[n_events // 10 :]
    size = len(kept) // blocks
    return kept, kept[: blocks * size].reshape(blocks, size, n).mean(axis=1)


@pytest.mark.parametrize(
    ("rate", "mean", "variance"),
    [
        (0.25, (0.59146151, 0.27516360, 0.13337488), (0.01324025, 0.01187123, 0.00883540)),
        (0.05, (0.57668252, 0.28304716, 0.14027033), (0.00282076, 0.00260092, 0.00212560)),
    ],
)
def test_the_exact_moments_have_the_printed_digits_and_the_update_has_these_moments(
    rate, mean, variance, rng
):
    p = np.array([0.8, 0.4, 0.2])
    exact = promotion_constraint(p, rate)
    np.testing.assert_allclose(exact.mean, mean, atol=5e-9)
    np.testing.assert_allclose(exact.covariance.diagonal(), variance, atol=5e-9)
    np.testing.assert_allclose(exact.share, (0.57142857, 0.28571429, 0.14285714), atol=5e-9)
    kept, means = learned((rng.random((20_000, 3)) < p).astype(float), rate)
    error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    assert (np.abs(means.mean(axis=0) - exact.mean) < 5 * error).all()
    np.testing.assert_allclose(kept.var(axis=0), variance, rtol=0.1)


def test_one_promotion_per_event_needs_no_correction_and_has_the_printed_variance(rng):
    p, rate = np.array([0.4, 0.3, 0.2, 0.1]), 0.3
    kept, means = learned(np.eye(4)[rng.choice(4, 20_000, p=p)], rate)
    error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    assert (np.abs(means.mean(axis=0) - p) < 5 * error).all()
    variance = rate / (2 + rate) * p * (1 - p)
    np.testing.assert_allclose(variance, (0.0313043, 0.0273913, 0.0208696, 0.0117391), atol=5e-8)
    np.testing.assert_allclose(kept.var(axis=0), variance, rtol=0.06)


@pytest.mark.parametrize(
    ("rate", "corrected", "plain"),
    [
        (0.3, 6.4e-4, 1.46e-2),
        (0.1, 1.6e-4, 6.8e-3),
        (0.03, 2.1e-5, 2.4e-3),
        (0.01, 2.7e-6, 8.5e-4),
    ],
)
def test_the_closed_form_correction_leaves_the_printed_residual(rate, corrected, plain):
    rest = promotion_constraint(EIGHT, rate)
    assert np.abs(rest.mean - rest.corrected).max() == pytest.approx(corrected, rel=0.03)
    assert np.abs(rest.mean - rest.share).max() == pytest.approx(plain, rel=0.03)


def test_the_residual_halves_with_the_rate_while_little_is_learned_at_once():
    residuals = [
        np.abs((rest := promotion_constraint(EIGHT, rate)).mean - rest.share).sum()
        for rate in (0.08, 0.04, 0.02, 0.01)
    ]
    ratios = np.array(residuals[:-1]) / residuals[1:]
    assert ((ratios > 1.5) & (ratios < 2.5)).all()


def test_normalising_less_often_shrinks_the_correction_as_stated():
    measured = {1: 8.5e-4, 10: 6.8e-4, 100: 2.2e-4}
    for n, value in measured.items():
        rest = promotion_constraint(EIGHT, 0.01, spikes_per_normalization=n)
        assert np.abs(rest.corrected - rest.share).max() == pytest.approx(value, rel=0.03)


@given(
    st.lists(st.floats(0.0, 1.0), min_size=2, max_size=5).filter(lambda p: sum(p) > 0.1),
    st.floats(1e-3, 3.0),
)
def test_the_exact_mean_is_that_of_all_outcomes(p, rate):
    p = np.array(p)
    outcomes = np.array(np.meshgrid(*[[0, 1]] * p.size, indexing="ij")).reshape(p.size, -1).T
    chance = np.where(outcomes, p, 1 - p).prod(axis=1)
    g = 1 / (1 + rate * outcomes.sum(axis=1))
    gm = (chance * g) @ outcomes
    np.testing.assert_allclose(
        promotion_constraint(p, rate).mean, gm / gm.sum(), rtol=1e-9, atol=1e-13
    )


def test_under_l2_the_weights_are_the_normalised_promotions(rng):
    kept, _ = learned((rng.random((20_000, 8)) < EIGHT).astype(float), 0.01, normalization="l2")
    # 1.2e-3 is the bias the theory leaves; the mean of this run has its own error beside it
    error = 5 * kept.std(axis=0).max() * np.sqrt(2 / (0.01 * sum(EIGHT) * len(kept)))
    assert np.abs(kept.mean(axis=0) - l2_constraint(EIGHT)).max() <= 1.2e-3 + error


def test_stdp_has_a_difference_form_an_active_set_and_a_limit():
    up, down = np.array([0.6, 0.4, 0.1]), np.array([0.2, 0.2, 0.3])
    np.testing.assert_allclose(stdp_constraint(up, down, form="difference"), [1.0, 0.5, -0.5])
    np.testing.assert_allclose(stdp_constraint(up, down), [2 / 3, 1 / 3, 0.0])
    with pytest.raises(InfeasibleError, match=r"demotions outweigh promotions by 0\.1 per output"):
        stdp_constraint([0.5, 0.1], [0.3, 0.4], form="difference")
    with pytest.raises(InfeasibleError, match="no synapse is promoted more than demoted"):
        stdp_constraint([0.1], [0.4])


@given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(0, 5)), min_size=1, max_size=6))
def test_the_multiplicative_form_is_a_fixed_point_on_the_simplex(pairs):
    up, b = np.array(pairs).T
    w = multiplicative_constraint(up, b)
    assert w.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(w * (up - b * w).sum(), up - b * w, atol=1e-9)


def test_a_fixed_point_that_amplifies_itself_is_unstable():
    w = np.array([0.7, 0.2, 0.1])
    assert is_stable(w, w, np.zeros((3, 3)))
    assert not is_stable(w, w, 10 * np.eye(3))


def test_memory_is_counted_in_output_spikes():
    assert synaptic_memory(0.003, 50.0) == pytest.approx(1 / 0.15)
    with pytest.raises(ValueError, match="learning_rate must be greater than 0"):
        synaptic_memory(0.0, 50.0)


@pytest.mark.parametrize("promotion", ["binary", "count", "trace", "nearest"])
def test_weakly_coupled_neurons_promote_as_the_limit_says(promotion):
    rates = np.linspace(2.0, 40.0, 100)
    rule = HebbianRule(promotion=promotion)
    layer = HebbianLayer(100, lif=LIF(tau_s=0.0, threshold=0.35), rule=rule)
    run = layer.respond_poisson(rates, 100_000.0, random_state=0)
    limit = weak_coupling_promotions(rates, rule)
    share = run.promotion[0] / run.promotion[0].sum()
    assert np.abs(share - limit / limit.sum()).sum() < 0.06


def test_a_rule_without_a_limit_is_refused():
    for rule in (HebbianRule(promotion="trigger"), HebbianRule(depression=0.3, depression_power=1)):
        with pytest.raises(ValueError, match="promotions depend on the weights"):
            weak_coupling_promotions([1.0], rule)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: weak_coupling_promotions([-1.0], HebbianRule()), "rates must be numbers of at"),
        (lambda: weak_coupling_promotions([np.nan], HebbianRule()), "rates must be numbers of at"),
        (lambda: promotion_constraint([0.5, 1.5], 0.1), r"p\[1\] = 1.5 is no probability"),
        (lambda: promotion_constraint([0.0, 0.0], 0.1), "p must have a positive entry"),
        (lambda: promotion_constraint([0.5], -1.0), "learning_rate must be greater than 0"),
        (lambda: l2_constraint([0.0]), "no synapse is promoted"),
        (lambda: is_stable([1.0], [1.0], [[1.0, 0.0]]), r"jacobian must be \(1, 1\)"),
    ],
)
def test_what_cannot_be_meant_is_refused(call, message):
    with pytest.raises((ValueError, InfeasibleError), match=message):
        call()


def test_learning_in_a_driven_layer_settles_where_promotions_say():
    rng = np.random.default_rng(0)
    n, steps = 30, 4000
    p = np.linspace(0.1, 0.9, n)
    active = rng.random((steps, n)) < p
    raster = active.astype(int)[None]
    batch = SpikeBatch.from_raster(raster, dt=100.0)  # far apart: windows never overlap
    layer = HebbianLayer(
        n,
        lif=LIF(tau_s=0.0, threshold=0.05),
        rule=HebbianRule(promotion="binary"),
        learning_rate=0.001,
    )
    run = layer.learn(batch, statistics=True)
    assert run.spikes.n_spikes > 0.99 * steps
    assert np.abs(layer.weights[0] - run.promotion[0] / run.promotion[0].sum()).sum() < 0.15
