import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from septet._core.errors import CheckpointError, SeptetError, SeptetWarning
from septet.audio import (
    FixedPolicy,
    OGRPolicy,
    blend_ratios,
    gblend_weights,
    normalize_weights,
    optimal_blend,
    squared_ogr,
)

POINT = np.arange(31)
# three branches: healthy, overfitting from point 10 on, slow
TRAIN = np.stack(
    [2 * np.exp(-0.05 * POINT) + 0.1, 2 * np.exp(-0.15 * POINT), 2 - 0.01 * POINT], axis=1
)
VALIDATION = np.stack(
    [
        2 * np.exp(-0.05 * POINT) + 0.15,
        1 + np.exp(-0.3 * POINT) + 0.02 * np.maximum(0, POINT - 10),
        2 - 0.009 * POINT,
    ],
    axis=1,
)
FORMS = [
    {"form": "loss", "warmup": 0},
    {"form": "loss", "warmup": 0, "rho": 1.0},
    {"form": "speed", "smooth": 5, "window": 5, "warmup": 5},
    {"form": "tangent", "compat": True, "smooth": 5, "window": 5, "warmup": 5, "rho": 0.1},
]


def weights_along(policy, train=TRAIN, validation=VALIDATION):
    pairs = zip(train, validation, strict=True)
    return np.array([policy.update(t, u) for t, u in pairs])


def uniform(n):
    return np.full(n, 1 / n)


class TestWorkedExamples:
    def test_the_loss_form(self):
        policy = OGRPolicy(3, eps=1e-6, warmup=0, renormalize=False)
        found = weights_along(policy)
        worked = [
            (0.949511, 0.006684, 0.043805),
            (0.996081, 0.000023, 0.003897),
            (0.998866, 1e-5, 0.001131),
            (0.999807, 1e-5, 0.000193),
        ]
        np.testing.assert_allclose(found[[1, 5, 10, 30]], worked, atol=5e-7)
        np.testing.assert_allclose(policy.gain, (1.55374, 0.599877, 0.27), atol=5e-6)
        np.testing.assert_allclose(policy.overfit, (0, 1.377905, 0.03), atol=5e-7)

    def test_the_tangent_form_with_short_windows(self):
        policy = OGRPolicy(3, form="tangent", compat=True, smooth=5, window=5, warmup=5)
        gains = []
        found = []
        for t, u in zip(TRAIN, VALIDATION, strict=True):
            found.append(policy.update(t, u))
            gains.append(policy.gain)
        np.testing.assert_allclose(found[:8], np.full((8, 3), 1 / 3))
        np.testing.assert_allclose(gains[6], (-0.011678, -0.008202, -0.00135), atol=5e-7)
        assert (gains[7] < 0).all()
        worked = [
            (0.956369, 0.043631, 1e-5),
            (0.791587, 0.208413, 1e-5),
            (0.974306, 0.025694, 1e-5),
            (0.997437, 0.002563, 1e-5),
        ]
        np.testing.assert_allclose(np.array(found)[[10, 15, 20, 30]], worked, atol=5e-7)
        _, steepest = policy.state_dict()["reference"]
        np.testing.assert_allclose(steepest, (-0.082194, -0.113112, -0.009), atol=5e-7)

    def test_the_published_tangent_rule_hands_everything_to_the_branch_that_overfits(self):
        """Why nobody should take compat mode for the recommended one."""
        found = weights_along(OGRPolicy(3, form="tangent", compat=True))
        np.testing.assert_allclose(found[:21], np.full((21, 3), 1 / 3))
        np.testing.assert_allclose(found[21], (0.055732, 0.944268, 0), atol=5e-7)
        np.testing.assert_allclose(found[[25, 30]], [(0, 1, 0)] * 2, atol=5e-7)

    def test_the_speed_form_keeps_the_healthy_branch_ahead(self):
        policy = OGRPolicy(3, form="speed")
        found = weights_along(policy)
        worked = [
            (0.938792, 0.000175, 0.061033),
            (0.932050, 0.000113, 0.067837),
            (0.923302, 0.000055, 0.076643),
        ]
        np.testing.assert_allclose(found[[21, 25, 30]], worked, atol=5e-7)
        np.testing.assert_allclose(policy.gain, (0.043695, 0.007183, 0.007254), atol=5e-7)
        np.testing.assert_allclose(policy.overfit, (0, 0.042169, 0.000806), atol=5e-7)

    def test_the_speed_form_with_less_regularisation(self):
        found = weights_along(OGRPolicy(3, form="speed", rho=0.1))
        np.testing.assert_allclose(found[30], (0.998349, 1e-5, 0.001641), atol=5e-7)
        found = weights_along(OGRPolicy(3, form="speed", rho=0.001))
        assert (found[21:, 0] > 0.99998).all()

    def test_normalising(self):
        np.testing.assert_allclose(normalize_weights([3, 1, 0]), (0.75, 0.25, 0))
        lifted = normalize_weights([1e9, 1, 0], renormalize=False)
        np.testing.assert_allclose(lifted, (1, 1e-5, 0), atol=2e-9)
        assert normalize_weights([1e9, 1, 0]).sum() == pytest.approx(1, abs=1e-15)
        np.testing.assert_allclose(normalize_weights([0, 0]), uniform(2))
        np.testing.assert_allclose(normalize_weights([1, np.nan, 0]), uniform(3))

    def test_an_absolute_regulariser_depends_on_the_scale_of_the_losses(self):
        policy = OGRPolicy(3, form="tangent", compat=True, smooth=5, window=5, warmup=5)
        found = weights_along(policy, 1e-3 * TRAIN, 1e-3 * VALIDATION)
        np.testing.assert_allclose(found[30], (0.292169, 0.707831, 1e-5), atol=5e-7)

    def test_the_optimal_blend(self):
        gains, spreads = (1, 0.5, 0.2), (2, 0.5, 0.1)
        best = optimal_blend(gains, spreads)
        np.testing.assert_allclose(best, (0.011236, 0.089888, 0.898876), atol=5e-7)
        assert squared_ogr(best, gains, spreads) == pytest.approx(0.1904761905, abs=5e-11)
        assert squared_ogr(uniform(3), gains, spreads) == pytest.approx(4.26 / 2.89)


@pytest.mark.parametrize("settings", FORMS)
class TestEveryForm:
    def test_the_scale_of_the_losses_does_not_matter(self, settings):
        plain = weights_along(OGRPolicy(3, **settings))
        scale = 2.0**-10  # exact: straight lines have gaps of 0 that must stay 0
        scaled = weights_along(OGRPolicy(3, **settings), scale * TRAIN, scale * VALIDATION)
        np.testing.assert_allclose(scaled, plain, atol=1e-12)

    def test_permuting_branches_permutes_weights(self, settings):
        order = [2, 0, 1]
        plain = weights_along(OGRPolicy(3, **settings))
        moved = weights_along(OGRPolicy(3, **settings), TRAIN[:, order], VALIDATION[:, order])
        np.testing.assert_allclose(moved, plain[:, order], atol=1e-12)

    def test_duplicate_branches_get_equal_weights(self, settings):
        twice = [0, 1, 1, 2, 2]
        found = weights_along(OGRPolicy(5, **settings), TRAIN[:, twice], VALIDATION[:, twice])
        np.testing.assert_array_equal(found[:, 1], found[:, 2])
        np.testing.assert_array_equal(found[:, 3], found[:, 4])

    def test_a_constant_added_to_a_branch_changes_nothing(self, settings):
        plain, moved = OGRPolicy(3, **settings), OGRPolicy(3, **settings)
        weights_along(plain)
        shift = np.array([0, 5, 0])
        weights_along(moved, TRAIN + shift, VALIDATION + shift)
        np.testing.assert_allclose(moved.gain, plain.gain, atol=1e-12)
        np.testing.assert_allclose(moved.overfit, plain.overfit, atol=1e-12)

    def test_a_resumed_policy_goes_on_as_if_never_stopped(self, settings):
        whole = OGRPolicy(3, **settings, ema=0.3)
        expected = weights_along(whole)
        first, second = OGRPolicy(3, **settings, ema=0.3), OGRPolicy(3, **settings, ema=0.3)
        weights_along(first, TRAIN[:13], VALIDATION[:13])
        second.load_state_dict(first.state_dict())
        np.testing.assert_array_equal(second.weights, expected[12])
        found = weights_along(second, TRAIN[13:], VALIDATION[13:])
        np.testing.assert_array_equal(found, expected[13:])
        np.testing.assert_array_equal(second.curves.weights, expected)

    def test_equal_curves_carry_no_information(self, settings):
        flat = np.ones((20, 4))
        np.testing.assert_allclose(weights_along(OGRPolicy(4, **settings), flat, flat), 0.25)
        same = np.repeat(TRAIN[:, :1], 4, axis=1)
        np.testing.assert_allclose(weights_along(OGRPolicy(4, **settings), same, same), 0.25)

    def test_a_branch_that_is_not_finite_has_weight_0_and_may_recover(self, settings):
        train, validation = TRAIN.copy(), VALIDATION.copy()
        train[12:15, 0] = np.nan
        validation[13, 0] = np.inf
        policy = OGRPolicy(3, **settings)
        with pytest.warns(SeptetWarning, match="step 12: the loss of 0 is not finite") as caught:
            found = weights_along(policy, train, validation)
        assert len(caught) == 1
        assert not found[12:15, 0].any()
        np.testing.assert_allclose(found[12:15].sum(axis=1), 1)
        assert found[-1, 0] > 0
        assert np.isfinite(found).all()

    def test_no_finite_branch_at_all_is_an_error(self, settings):
        policy = OGRPolicy(2, **settings)
        with pytest.raises(SeptetError, match="loss is not finite at step 70"):
            policy.update([np.nan, 1], [1, np.inf], step=70)

    @given(st.integers(0, 2**32), st.integers(1, 6))
    def test_weights_are_a_distribution_whatever_the_losses(self, settings, seed, n_branches):
        rng = np.random.default_rng(seed)
        policy = OGRPolicy(n_branches, **settings, renormalize=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SeptetWarning)
            for _ in range(15):
                losses = rng.lognormal(sigma=3, size=(2, n_branches))
                losses[:, 1:][rng.random((2, n_branches - 1)) < 0.1] = np.nan
                weights = policy.update(*losses)
                assert weights.min() >= 0
                assert weights.sum() == pytest.approx(1)
                assert not weights[np.isnan(losses).any(axis=0)].any()


def test_weights_stay_equal_during_the_warm_up():
    found = weights_along(OGRPolicy(3, warmup=7))
    np.testing.assert_allclose(found[:8], 1 / 3)
    assert found[8, 0] > 0.5


def test_a_branch_that_is_not_finite_from_the_start_counts_from_when_it_is():
    train, validation = TRAIN.copy(), VALIDATION.copy()
    train[:5, 2] = np.nan
    with pytest.warns(SeptetWarning):
        found = weights_along(OGRPolicy(3, warmup=0), train, validation)
    assert not found[:5, 2].any()
    late = OGRPolicy(1)
    weights_along(late, train[5:, 2:], validation[5:, 2:])
    policy = OGRPolicy(3, warmup=0)
    with pytest.warns(SeptetWarning):
        weights_along(policy, train, validation)
    assert policy.gain[2] == pytest.approx(late.gain[0])


def test_a_moving_average_keeps_part_of_the_previous_weights():
    plain = weights_along(OGRPolicy(3, warmup=0))
    smooth = weights_along(OGRPolicy(3, warmup=0, ema=0.9))
    np.testing.assert_allclose(smooth[0], plain[0])
    for n in range(1, 31):
        np.testing.assert_allclose(smooth[n], 0.9 * smooth[n - 1] + 0.1 * plain[n])


@pytest.mark.parametrize(
    ("evaluations", "width"), [(1, 3), (20, 3), (60, 10), (99, 16), (100, 20), (5000, 20)]
)
def test_windows_suit_the_number_of_evaluations(evaluations, width):
    policy = OGRPolicy.for_evaluations(2, evaluations, form="speed")
    assert (policy.smooth, policy.window, policy.warmup) == (width, width, width)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"form": "tangent"}, 'form="tangent" .* compat=True'),
        ({"form": "slope"}, "form must be one of 'loss', 'tangent', 'speed'"),
        ({"rho": 1.0, "eps": 1e-6}, "either rho or eps, not both"),
        ({"rho": 0.0}, "rho must be greater than 0"),
        ({"eps": -1.0}, "eps must be at least 0"),
        ({"window": 1}, "window must be at least 2"),
        ({"ema": 1.0}, "ema must be less than 1"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        OGRPolicy(3, **settings)


def test_losses_of_the_wrong_number_are_refused():
    with pytest.raises(ValueError, match=r"3 losses each.*got shapes \(2,\) and \(2,\)"):
        OGRPolicy(3).update([1, 2], [1, 2])


def test_a_state_of_another_policy_is_refused_with_the_difference():
    state = OGRPolicy(3, form="speed", ema=0.5).state_dict()
    with pytest.raises(CheckpointError, match=r"form = 'speed', here 'loss'.*ema = 0\.5, here 0"):
        OGRPolicy(3).load_state_dict(state)
    state = OGRPolicy(["mel", "joint"]).state_dict()
    with pytest.raises(CheckpointError, match="branches mel, joint; here they are cqt, joint"):
        OGRPolicy(["cqt", "joint"]).load_state_dict(state)
    state = FixedPolicy(2).state_dict()
    with pytest.raises(CheckpointError, match="saved with weights"):
        FixedPolicy(2, [1, 3]).load_state_dict(state)


def test_fixed_weights_stay_and_are_recorded():
    policy = FixedPolicy(["mel", "joint"], [1, 3])
    np.testing.assert_allclose(policy.update([1, 2], [3, np.nan], step=5), (0.25, 0.75))
    again = FixedPolicy(["mel", "joint"], [1, 3])
    again.load_state_dict(policy.state_dict())
    assert again.curves.steps == [5]
    np.testing.assert_array_equal(again.curves.validation, [[3, np.nan]])
    for bad in ([-1, 2], [0, 0]):
        with pytest.raises(ValueError, match="must not be negative nor all 0"):
            FixedPolicy(2, bad)


@pytest.mark.parametrize("backend", ["pandas", "polars", "pyarrow"])
def test_the_history_is_a_data_frame_with_a_row_for_each_point_and_branch(backend):
    policy = OGRPolicy(["a", "b", "c"], warmup=0)
    weights_along(policy)
    frame = policy.curves.to_frame(backend)
    assert frame.shape == (93, 5)
    column = frame["weight"].to_numpy()
    np.testing.assert_array_equal(column.reshape(31, 3), policy.curves.weights)


def test_the_weights_are_drawn_as_a_stack():
    policy = OGRPolicy(["a", "b", "c"], warmup=0)
    weights_along(policy)
    axes = policy.curves.plot().axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b", "c"]
    assert axes.get_ylim() == (0, 1)


def test_gblend_prefers_the_branch_that_gained_with_less_overfitting():
    weights = gblend_weights(([2, 2, 2], [2, 2, 2]), ([1.0, 0.5, 2.5], [1.5, 1.5, 2.5]))
    # G = (0.5, 0.5, -0.5), O = (0.5, 1.0, 0)
    np.testing.assert_allclose(weights, (0.8, 0.2, 0), atol=1e-5)
    np.testing.assert_allclose(gblend_weights(([2, 2], [2, 2]), ([1, np.nan], [1.5, 1.5])), (1, 0))
    np.testing.assert_allclose(gblend_weights(([2, 2], [2, 2]), ([3, 3], [3, 3])), (0.5, 0.5))


def test_ratios_need_one_regulariser_and_fall_back_to_gains_without_any_overfit():
    np.testing.assert_allclose(blend_ratios([2, -1, 1], [0, 0, 5], rho=1.0), (2, 0, 1))
    with pytest.raises(ValueError, match="either rho or eps"):
        blend_ratios([1], [1])


@given(st.integers(0, 2**32), st.integers(1, 8))
def test_no_blend_beats_the_optimal_one_and_another_branch_never_hurts(seed, n):
    rng = np.random.default_rng(seed)
    gains, spreads = rng.exponential(size=n), rng.lognormal(size=n)
    best = squared_ogr(optimal_blend(gains, spreads), gains, spreads)
    assert best == pytest.approx(1 / np.sum((gains / spreads) ** 2))
    for _ in range(20):
        assert squared_ogr(rng.dirichlet(np.ones(n)), gains, spreads) >= best * (1 - 1e-12)
    more = np.append(gains, 0.0), np.append(spreads, 0.5)
    assert optimal_blend(*more)[-1] == 0
    assert squared_ogr(optimal_blend(*more), *more) == pytest.approx(best)
    more = np.append(gains, 0.3), np.append(spreads, 0.5)
    assert squared_ogr(optimal_blend(*more), *more) <= best


@pytest.mark.parametrize(
    ("gains", "spreads", "message"),
    [
        ([1, -1], [1, 1], "must not be negative"),
        ([0, 0], [1, 1], "one of them must be above 0"),
        ([1, 1], [1, 0], "spreads must be above 0"),
    ],
)
def test_a_blend_of_nothing_is_refused(gains, spreads, message):
    with pytest.raises(ValueError, match=message):
        optimal_blend(gains, spreads)


def test_trial_runs_that_diverged_have_no_weight_and_all_of_them_are_an_error():
    before = ([2.0, 2.0, 2.0], [2.0, 2.0, 2.0])
    weights = gblend_weights(before, ([np.inf, 1.0, 1.0], [np.inf, 1.5, 1.5]))
    np.testing.assert_array_equal(weights, [0.0, 0.5, 0.5])
    with pytest.raises(ValueError, match="no branch has finite losses"):
        gblend_weights(before, ([np.nan] * 3, [np.inf] * 3))
