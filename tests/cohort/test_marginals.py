"""Selection probabilities: worked fractions, linear programmes, invariants, bad input."""

import warnings
from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from cohort import oracles
from hypothesis import given
from hypothesis import strategies as st

from septet._core.errors import InfeasibleError, SeptetWarning
from septet.cohort import _chain, _engine, _kernels, _shift, _twins, selection_probabilities
from septet.cohort._scores import LATTICE
from septet.cohort._shift import apply_shift, exact_shift

UNIT = Fraction(1, LATTICE)
EXAMPLES = [
    (".9 .5 .3 .1", 2, "1/20", ".95 .55 .35 .15", "1.25", ".95 .55 .35 .15", "19/18"),
    (".9 .8 .6 .5 .2", 1, "-9/20", ".45 .35 .15 .05 0", ".8", ".3 4/15 .2 1/6 1/15", "1/3"),
    (".9 .8 .6 .5 .2", 2, "-1/5", ".7 .6 .4 .3 0", "1.5", ".6 8/15 .4 1/3 2/15", "2/3"),
    (".5 .25 .75", 1, "-1/6", "1/3 1/12 7/12", ".625", "1/3 1/6 1/2", "2/3"),
    (".9 .9 .9 0 0", 3, "3/50", ".96 .96 .96 .06 .06", "2.592", ".96 .96 .96 .06 .06", "16/15"),
    (".9 .9 .9 0 0", 4, "1/2", "1 1 1 .5 .5", "2.7", "1 1 1 .5 .5", "10/9"),
    ("1 .2 .2", 2, "3/10", "1 .5 .5", "1.2", "1 .5 .5", "1"),
    (".6 .6 .6 .6", 1, "-7/20", "1/4 1/4 1/4 1/4", ".6", "1/4 1/4 1/4 1/4", "5/12"),
    (
        ".2 .1 .05 .05 0",
        2,
        "8/25",
        ".52 .42 .37 .37 .32",
        ".183",
        ".52 .42 .37 .37 .32",
        "13/5",
    ),
]


def fractions(text):
    return [Fraction(x) for x in text.split()]


def probabilities(s, k, **options):
    return selection_probabilities(s, k, **{"allow_zero_score": True} | options)


def lattice(s):
    """Scores as the exact computation sees them."""
    return [Fraction(round(float(x) * LATTICE), LATTICE) for x in s]


scores = st.lists(st.integers(0, 16).map(lambda x: x / 16), min_size=1, max_size=12)
smooth = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@pytest.fixture(params=["compiled", "plain"])
def engine(request, monkeypatch):
    module = _kernels if request.param == "compiled" else _twins
    monkeypatch.setattr(_engine, "kernels", lambda: module)
    return module


@pytest.mark.parametrize(("s", "k", "c", "p", "utility", "ratio_p", "ratio"), EXAMPLES)
def test_worked_examples_hold_as_fractions(s, k, c, p, utility, ratio_p, ratio, engine):
    exact, unit = fractions(s), 100
    z = np.array([int(x * unit) for x in exact])
    offset, active = exact_shift(z, k, unit)
    found = [Fraction(int(x), active * unit) for x in apply_shift(z, offset, active, unit)]
    assert Fraction(offset, active * unit) == Fraction(c)
    assert found == fractions(p)
    assert sum(x * y for x, y in zip(exact, found, strict=True)) == Fraction(utility)
    # the public function rounds .9 to the nearest multiple of 2**-32, and nothing after that
    linear = probabilities([float(x) for x in exact], k)
    assert abs(linear.shift - Fraction(c)) <= UNIT
    assert all(abs(x - y) <= 2 * UNIT for x, y in zip(linear.fractions(), found, strict=True))
    best = probabilities([float(x) for x in exact], k, objective="ratio")
    wanted = fractions(ratio_p)
    assert all(abs(x - y) <= 2 * UNIT for x, y in zip(best.fractions(), wanted, strict=True))
    assert abs(best.ratio - Fraction(ratio)) <= 100 * UNIT


@pytest.mark.parametrize(("s", "k", "c", "p", "utility", "ratio_p", "ratio"), EXAMPLES)
def test_worked_examples_hold_in_floating_point(s, k, c, p, utility, ratio_p, ratio, engine):
    values = [float(x) for x in fractions(s)]
    linear = probabilities(values, k, exact=False)
    np.testing.assert_allclose(linear, [float(x) for x in fractions(p)], atol=1e-15)
    assert linear.shift == pytest.approx(float(Fraction(c)), abs=1e-15)
    assert linear.utility == pytest.approx(float(Fraction(utility)), abs=1e-14)
    best = probabilities(values, k, objective="ratio", exact=False)
    np.testing.assert_allclose(best, [float(x) for x in fractions(ratio_p)], atol=1e-15)
    assert best.ratio == pytest.approx(float(Fraction(ratio)), abs=1e-14)


def check_against_programmes(seed, count, most):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        n = int(rng.integers(2, most + 1))
        k = int(rng.integers(0, n + 1))
        s = np.array([float(x) for x in lattice(oracles.random_scores(rng, n))])
        exact = rng.random() < 0.5
        linear = probabilities(s, k, exact=exact)
        assert float(linear.utility) == pytest.approx(oracles.solve(s, k, s), abs=1e-9)
        if s.any() and k:
            ratio = probabilities(s, k, objective="ratio", exact=exact)
            assert float(ratio.ratio) == pytest.approx(oracles.solve_ratio(s, k), abs=1e-8)
        utility = rng.normal(size=n).round(int(rng.integers(0, 8)))
        general = probabilities(s, k, utility=utility, exact=exact)
        assert general.utility == pytest.approx(oracles.solve(s, k, utility), abs=1e-8)
        for p in (linear, general):
            assert p.max_violation <= (0 if exact else 1e-14)
            assert np.asarray(p).sum() == pytest.approx(k, abs=1e-12)


def test_sixty_random_instances_agree_with_the_programme_over_all_pairs():
    check_against_programmes(seed=1, count=60, most=10)


@pytest.mark.slow
def test_four_hundred_random_instances_agree_with_the_programme_over_all_pairs():
    check_against_programmes(seed=2, count=400, most=25)


@pytest.mark.parametrize("exact", [True, False])
def test_a_known_metric_agrees_with_the_programme_over_all_pairs(exact):
    rng = np.random.default_rng(3)
    for _ in range(15):
        n = int(rng.integers(1, 20))
        k = int(rng.integers(0, n + 1))
        s, utility = rng.random(n), rng.normal(size=n)
        place = rng.random((n, 3))
        metric = np.linalg.norm(place[:, None] - place, axis=2) * rng.choice([0.01, 0.3, 3])
        p = probabilities(s, k, utility=utility, metric=metric, exact=exact)
        assert p.utility == pytest.approx(oracles.solve(s, k, utility, metric), abs=1e-7)
        assert np.asarray(p).sum() == pytest.approx(k, abs=1e-12)
        assert p.max_violation <= (0 if exact else 1.1e-9)
        if exact:
            assert sum(p.fractions()) == k


def test_any_utility_that_rises_with_the_score_has_the_same_solution(rng):
    for _ in range(20):
        s = oracles.random_scores(rng, 15)
        k = int(rng.integers(1, 15))
        value, place = np.unique(s, return_inverse=True)
        utility = np.sort(rng.exponential(size=value.size)).cumsum()[place]
        p = probabilities(s, k, utility=utility)
        assert p.fractions() == probabilities(s, k).fractions()


@given(scores, st.data())
def test_the_solution_is_the_nearest_point_of_the_right_sum(s, data):
    k = data.draw(st.integers(0, len(s)))
    p = probabilities(s, k).fractions()
    toward = [Fraction(x) - y for x, y in zip(s, p, strict=True)]
    # p is nearest if no corner of the polytope lies on the side of s; the worst one is a top k
    inner = sum(x * y for x, y in zip(toward, p, strict=True))
    assert sum(sorted(toward)[len(s) - k :]) == inner


@given(smooth, st.data(), st.sampled_from(["linear", "ratio"]))
def test_sum_bounds_and_fairness_are_exact(s, data, objective):
    k = data.draw(st.integers(0, len(s)))
    p = probabilities(s, k, objective=objective).fractions()
    z = lattice(s)
    assert sum(p) == k
    assert all(0 <= x <= 1 for x in p)
    assert all(abs(p[i] - p[j]) <= abs(z[i] - z[j]) for i in range(len(p)) for j in range(len(p)))


@given(smooth, st.data())
def test_any_utility_gives_exact_sum_bounds_and_fairness(s, data):
    n = len(s)
    k = data.draw(st.integers(0, n))
    utility = data.draw(st.lists(st.integers(-5, 5), min_size=n, max_size=n))
    m = probabilities(s, k, utility=utility)
    p, z = m.fractions(), lattice(s)
    assert sum(p) == k
    assert all(0 <= x <= 1 for x in p)
    assert all(abs(p[i] - p[j]) <= abs(z[i] - z[j]) for i in range(n) for j in range(n))
    assert m.max_violation == 0


@given(scores, st.data(), st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(s, data, random):
    k = data.draw(st.integers(0, len(s)))
    order = list(range(len(s)))
    random.shuffle(order)
    p = probabilities(s, k).fractions()
    assert probabilities([s[i] for i in order], k).fractions() == [p[i] for i in order]


@given(scores, st.data())
def test_a_constant_added_to_all_scores_changes_nothing(s, data):
    k = data.draw(st.integers(0, len(s)))
    room = data.draw(st.integers(-round(16 * min(s)), 16 - round(16 * max(s)))) / 16
    assert probabilities([x + room for x in s], k).fractions() == probabilities(s, k).fractions()


@given(scores, st.data())
def test_one_more_seat_lowers_nobody_and_one_more_candidate_raises_nobody(s, data):
    k = data.draw(st.integers(0, len(s) - 1))
    p = probabilities(s, k).fractions()
    assert all(x <= y for x, y in zip(p, probabilities(s, k + 1).fractions(), strict=True))
    joined = probabilities([*s, data.draw(st.integers(0, 16)) / 16], k).fractions()
    assert all(x >= y for x, y in zip(p, joined[:-1], strict=True))


@given(scores, st.data())
def test_selecting_the_others_is_the_mirror_image(s, data):
    k = data.draw(st.integers(0, len(s)))
    mirrored = probabilities([1 - x for x in s], len(s) - k).fractions()
    assert mirrored == [1 - x for x in probabilities(s, k).fractions()]


@given(smooth, st.data())
def test_probabilities_are_their_own_solution(s, data):
    k = data.draw(st.integers(0, len(s)))
    p = np.asarray(probabilities(s, k, exact=False))
    np.testing.assert_allclose(probabilities(p, k, exact=False), p, atol=1e-14)


@given(smooth, st.data())
def test_exact_and_floating_point_agree_to_the_lattice(s, data):
    k = data.draw(st.integers(0, len(s)))
    for objective in ("linear", "ratio"):
        if objective == "ratio" and sum(s) < len(s) * 2**-31 and k:
            continue  # where all scores vanish next to the lattice, their ratios are lost
        exact = np.asarray(probabilities(s, k, objective=objective))
        np.testing.assert_allclose(
            exact, probabilities(s, k, objective=objective, exact=False), atol=len(s) * 2.0**-31
        )


def test_one_vector_is_best_for_both_utilities_while_scores_add_up_to_at_most_k(rng):
    s = rng.random(50) * 0.3
    k = ceil(s.sum())
    linear, ratio = probabilities(s, k), probabilities(s, k, objective="ratio")
    assert linear.fractions() == ratio.fractions()
    assert linear.shift == ratio.shift >= 0


def test_compiled_kernels_do_what_their_twins_do(rng):
    for n in (1, 2, 7, 8, 9, 300):
        z = rng.integers(0, LATTICE, n, endpoint=True)
        y = rng.integers(0, 2**61, n)
        words = rng.integers(0, 2**64, n, dtype=np.uint64) >> np.uint64(rng.choice([0, 62]))
        low, high = np.sort(rng.integers(0, LATTICE, 2)).tolist()
        counted = tuple(map(int, _kernels.count_between(z, low, high)))
        assert counted == _twins.count_between(z, low, high)
        assert tuple(map(int, _kernels.dot_parts(z, y))) == _twins.dot_parts(z, y)
        assert _shift.exact_dot(z, y) == sum(
            a * b for a, b in zip(z.tolist(), y.tolist(), strict=True)
        )
        assert np.array_equal(_kernels.order_of(words), _twins.order_of(words))
        inside, total, ones = _kernels.clip_count(z / LATTICE, -0.4)
        assert (inside, ones) == _twins.clip_count(z / LATTICE, -0.4)[::2]
        assert total == pytest.approx(_twins.clip_count(z / LATTICE, -0.4)[1], rel=1e-15)
        out = np.empty((2, n), dtype=np.int64)
        _kernels.affine_clip(z, 3, -LATTICE, 2 * LATTICE, out[0])
        _twins.affine_clip(z, 3, -LATTICE, 2 * LATTICE, out[1])
        assert np.array_equal(*out)


def test_the_compiled_chain_does_what_its_twin_does(rng):
    for trial in range(200):
        n = int(rng.integers(1, 20))
        gaps = rng.integers(1, 12, n - 1)
        gains = rng.normal(size=n).round(trial % 3)  # ties in two of three
        found = []
        for module in (_kernels, _twins):
            low, high = np.zeros((2, n), dtype=np.int64)
            module.chain(gains, gaps, 20, low, high)
            found.append((low.tolist(), high.tolist()))
        assert found[0] == found[1]


def test_the_chain_finds_the_smallest_and_largest_maximiser(rng):
    """By enumeration of all lattice vectors."""
    top = 3
    for _ in range(60):
        n = int(rng.integers(1, 5))
        gaps = rng.integers(1, 3, n - 1)
        gains = rng.integers(-2, 3, n).astype(float)
        grid = np.stack(np.meshgrid(*[np.arange(top + 1)] * n, indexing="ij"), -1).reshape(-1, n)
        fair = grid[(np.abs(np.diff(grid, axis=1)) <= gaps).all(axis=1)]
        best = fair[fair @ gains == (fair @ gains).max()]
        low, high = np.zeros((2, n), dtype=np.int64)
        _twins.chain(gains, gaps, top, low, high)
        assert low.tolist() == best.min(axis=0).tolist()
        assert high.tolist() == best.max(axis=0).tolist()


def test_the_price_is_found_in_far_fewer_sweeps_than_bisection_takes(rng, monkeypatch):
    sweeps = []
    original = _kernels.chain
    monkeypatch.setattr(_kernels, "chain", lambda *a: (sweeps.append(1), original(*a)))
    _chain.chain_exact(rng.integers(0, LATTICE, 20_000), rng.normal(size=20_000), 2_000)
    assert len(sweeps) < 40


def test_numerators_beyond_64_bits_give_the_same_fractions(rng, monkeypatch):
    s = rng.random(40)
    expected = probabilities(s, 7)
    monkeypatch.setattr(_shift, "_MOST", 1)
    wide = probabilities(s, 7)
    assert wide.numerators.dtype == object
    assert wide.fractions() == expected.fractions()
    assert (wide.utility, wide.max_violation, wide.active) == (
        expected.utility,
        0,
        expected.active,
    )
    assert np.array_equal(wide.tight_pairs, expected.tight_pairs)


def test_chunks_and_threads_change_nothing(rng, monkeypatch):
    s = rng.random(1000)
    expected = probabilities(s, 100)
    monkeypatch.setattr(_engine, "CHUNK", 64)
    chunked = probabilities(s, 100)
    assert np.array_equal(chunked.numerators, expected.numerators)
    assert chunked.utility == expected.utility
    assert probabilities(s, 100, exact=False).shift == pytest.approx(float(expected.shift))


def test_without_numba_it_works_and_says_so_once(monkeypatch):
    _engine.kernels.cache_clear()
    real = _engine.import_module

    def no_numba(name):
        if name.endswith("_kernels"):
            raise ModuleNotFoundError("No module named 'numba'", name="numba")
        return real(name)

    monkeypatch.setattr(_engine, "import_module", no_numba)
    try:
        with pytest.warns(SeptetWarning, match=r"slower .*pip install .septet\[fast\]") as seen:
            first = [probabilities([0.5, 0.25, 0.75], 1).shift for _ in range(2)]
        assert len(seen) == 1
        assert first == [Fraction(-1, 6)] * 2
    finally:
        _engine.kernels.cache_clear()


def test_marginals_are_array_like():
    p = probabilities([0.875, 0.5, 0.25, 0.125], 2)
    assert np.asarray(p).tolist() == list(p) == [0.9375, 0.5625, 0.3125, 0.1875]
    assert np.asarray(p, dtype=np.float32).dtype == np.float32
    assert (len(p), p[0], p[1:3].tolist()) == (4, 0.9375, [0.5625, 0.3125])
    assert "0.9375" in repr(p)
    assert "k=2" in repr(p)
    copy = np.array(p)
    copy[0] = 0
    assert p[0] == 0.9375


def test_tight_pairs_are_neighbours_between_the_clips():
    s = [1.0, 0.5, 0.25, 0.5, 0.0]
    p = probabilities(s, 1)
    assert p.fractions() == fractions("2/3 1/6 0 1/6 0")
    assert p.tight_pairs.tolist() == [[1, 0]]
    assert probabilities(s, 1, exact=False).tight_pairs.tolist() == [[1, 0]]
    assert probabilities(s, 2).tight_pairs.tolist() == [[2, 1], [1, 0]]
    assert probabilities([0.5, 0.5, 0.5], 1).tight_pairs.shape == (0, 2)
    assert probabilities([0.1, 0.9], 0).tight_pairs.shape == (0, 2)


def test_fractions_of_floats_are_refused():
    with pytest.raises(ValueError, match="use exact=True"):
        probabilities([0.5, 0.5], 1, exact=False).fractions()


@pytest.mark.parametrize("k", [-1, 6, 2.5, 2.0, "2", None, True])
def test_a_wrong_k_is_named_with_n(k):
    with pytest.raises(ValueError, match=r"k, the cohort size, .* 0 to n = 5.*got k = "):
        selection_probabilities([0.1] * 5, k)


@pytest.mark.parametrize(
    ("s", "message"),
    [
        ([0.5, np.nan, np.inf], r"2 of 3 scores are missing or infinite \(row 1, row 2\)"),
        ([0.5, -0.1], r"1 of 2 scores lie outside \[0, 1\] \(row 1; .*cannot be negative"),
        ([50.0, 0.0, 100.0], r"2 of 3 .*look like percentages; divide them by 100"),
        ([3.0, -2.0], r"look like logits; convert them with scipy.special.expit"),
        ([400.0, 2.0], r"2 of 2 .*Calibrate the model"),
        ([], r"scores must not be empty"),
        ([[0.5]], r"scores must be 1-D.*\(1, 1\)"),
    ],
)
def test_scores_that_are_no_probabilities_are_explained(s, message):
    with pytest.raises(ValueError, match=message):
        selection_probabilities(s, 1)


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(TypeError, match="scores must hold numbers only"):
        selection_probabilities(["high", "low"], 1)


def test_rounding_outside_the_unit_interval_is_clipped_and_reported():
    with pytest.warns(SeptetWarning, match=r"clipped 2 scores that lay outside \[0, 1\]"):
        p = selection_probabilities([1 + 1e-13, 0.5, -1e-14], 1, allow_zero_score=True)
    assert p.scores.tolist() == [1.0, 0.5, 0.0]


def test_equal_scores_share_the_seats():
    assert set(probabilities([0.3] * 7, 3).fractions()) == {Fraction(3, 7)}
    zeros = probabilities([0.0] * 4, 1, objective="ratio")
    assert set(zeros.fractions()) == {Fraction(1, 4)}
    assert zeros.ratio is None
    assert set(probabilities([1.0] * 4, 1, objective="ratio").fractions()) == {Fraction(1, 4)}
    assert probabilities([0.0] * 4, 1, exact=False).ratio is None


@pytest.mark.parametrize("exact", [True, False])
def test_nobody_everybody_and_a_single_candidate(exact):
    assert list(probabilities([0.2, 0.9], 0, exact=exact)) == [0, 0]
    assert list(probabilities([0.2, 0.9], 2, exact=exact)) == [1, 1]
    assert list(probabilities([0.4], 1, exact=exact)) == [1]
    assert list(probabilities([0.4], 0, exact=exact)) == [0]
    assert list(probabilities([0.2, 0.9], 0, objective="ratio", exact=exact)) == [0, 0]
    assert np.asarray(probabilities([0.5] * 6, 5, exact=exact)).sum() == pytest.approx(5)


def test_zero_and_one_scores_that_fit_exactly_need_no_shift():
    p = probabilities([1.0, 0.0, 1.0, 0.0], 2)
    assert (p.shift, p.active, list(p)) == (0, 0, [1, 0, 1, 0])


def test_lifting_candidates_of_score_zero_warns():
    with pytest.warns(SeptetWarning, match=r"2 candidates of score 0 get a positive probability"):
        selection_probabilities([0.9, 0.9, 0.9, 0, 0], 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        selection_probabilities([0.9, 0.9, 0.9, 0, 0], 3, allow_zero_score=True)
        selection_probabilities([0.9, 0.9, 0.9, 0, 0], 2)


@pytest.mark.parametrize("exact", [True, False])
def test_lifting_candidates_of_score_zero_can_be_refused(exact):
    with pytest.raises(InfeasibleError, match=r"largest feasible k is 3.*not fairness-preserving"):
        selection_probabilities([0.9, 0.9, 0.9, 0, 0], 3, exact=exact, allow_zero_score=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "lineer"}, "Did you mean 'linear'"),
        ({"utility": [1, 2]}, "utility must have 3 entries; got 2"),
        ({"utility": [1, 2, np.nan]}, r"utility\[2\] = nan is not finite"),
        ({"objective": "ratio", "utility": [1, 2, 3]}, "knows neither utility= nor metric="),
        ({"metric": np.zeros((2, 2))}, r"metric must be an \(n, n\) matrix.*n = 3.*\(2, 2\)"),
        ({"metric": -np.ones((3, 3))}, r"metric\[0, 0\] = -1.0 is no distance \(9 such entries\)"),
        ({"metric": np.ones((3, 3))}, r"metric\[0, 0\] must be 0; got 1.0"),
        ({"metric": np.triu(np.ones((3, 3)), 1)}, r"metric must be symmetric; \[0, 1\]"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        selection_probabilities([0.2, 0.4, 0.6], 1, **options)
