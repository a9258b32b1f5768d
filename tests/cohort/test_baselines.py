"""The other ways to choose k of n: their laws in closed form, by enumeration and by simulation."""

from fractions import Fraction
from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from septet import cohort

TABLE = [
    ([0.9, 0.5, 0.3, 0.1], 2, [0.869667, 0.557667, 0.369667, 0.203], "2/3 14/27 4/9 10/27"),
    (
        [0.9, 0.8, 0.6, 0.5, 0.2],
        1,
        [0.32518, 0.27434667, 0.19018, 0.15344667, 0.05684667],
        "3/10 4/15 1/5 1/6 1/15",
    ),
    (
        [0.9, 0.8, 0.6, 0.5, 0.2],
        2,
        [0.62696, 0.54529333, 0.38696, 0.31549333, 0.12529333],
        "19/40 9/20 2/5 3/8 3/10",
    ),
    ([0.5, 0.25, 0.75], 1, [0.3125, 0.15625, 0.53125], "1/3 1/6 1/2"),
    ([0.9, 0.9, 0.9, 0, 0], 3, [0.9366] * 3 + [0.0951] * 2, "2/3 2/3 2/3 1/2 1/2"),
    ([0.9, 0.9, 0.9, 0, 0], 4, [0.9683] * 3 + [0.54755] * 2, "5/6 5/6 5/6 3/4 3/4"),
    ([1, 0.2, 0.2], 2, [0.98666667, 0.50666667, 0.50666667], "6/7 4/7 4/7"),
    ([0.6] * 4, 1, [0.25] * 4, "1/4 1/4 1/4 1/4"),
    (
        [0.2, 0.1, 0.05, 0.05, 0],
        2,
        [0.494262, 0.416908, 0.376574, 0.376574, 0.335683],
        "5/8 7/16 11/32 11/32 1/4",
    ),
]
CLOSED = {
    cohort.permute_then_classify: cohort.permute_then_classify_probabilities,
    cohort.weighted_sampling: cohort.weighted_sampling_probabilities,
    cohort.uniform: cohort.uniform_probabilities,
    cohort.top_k: cohort.top_k_probabilities,
}
DRAWS = [*CLOSED, cohort.successive, cohort.first_come]
scores = st.lists(st.integers(0, 16).map(lambda x: x / 16), min_size=1, max_size=7)


@pytest.mark.parametrize(("s", "k", "expected", "weighted"), TABLE)
def test_worked_examples(s, k, expected, weighted):
    p = cohort.permute_then_classify_probabilities(s, k)
    np.testing.assert_allclose(p, expected, atol=6e-7)
    exact = [float(Fraction(x)) for x in weighted.split()]
    np.testing.assert_allclose(cohort.weighted_sampling_probabilities(s, k), exact, atol=1e-15)


def flip_all_coins(s, k):
    """Law of permute-then-classify by enumerating every outcome of every coin."""
    s = [Fraction(x) for x in s]
    p = [Fraction(0)] * len(s)
    for coins in product((0, 1), repeat=len(s)):
        chance = Fraction(1)
        for x, coin in zip(s, coins, strict=True):
            chance *= x if coin else 1 - x
        yes = sum(coins)
        for i, coin in enumerate(coins):
            if coin:
                p[i] += chance * min(Fraction(1), Fraction(k, yes))
            elif yes < k:
                p[i] += chance * Fraction(k - yes, len(s) - yes)
    return p


@given(scores, st.data())
def test_permute_then_classify_agrees_with_every_outcome_enumerated(s, data):
    k = data.draw(st.integers(0, len(s)))
    p = cohort.permute_then_classify_probabilities(s, k)
    np.testing.assert_allclose(p, [float(x) for x in flip_all_coins(s, k)], atol=1e-14)


@given(scores, st.data())
def test_permute_then_classify_is_fair_and_never_beats_the_optimum(s, data):
    k = data.draw(st.integers(0, len(s)))
    s = np.array(s)
    p = cohort.permute_then_classify_probabilities(s, k)
    assert (np.abs(np.subtract.outer(p, p)) <= np.abs(np.subtract.outer(s, s)) + 1e-12).all()
    assert s @ p <= float(s @ np.asarray(best(s, k))) + 1e-9
    some = s > 0
    if some.any():
        ratio = np.asarray(best(s, k, objective="ratio"))
        assert (p[some] / s[some]).min() <= (ratio[some] / s[some]).min() + 1e-9


def best(s, k, **options):
    return cohort.selection_probabilities(s, k, allow_zero_score=True, **options)


@given(scores.filter(any), st.data())
def test_weighted_sampling_draws_a_set_by_its_total_score(s, data):
    k = data.draw(st.integers(1, len(s)))
    sets = list(combinations(range(len(s)), k))
    weight = [sum(s[i] for i in chosen) for chosen in sets]
    assert sum(weight) == pytest.approx(sum(s) * comb(len(s) - 1, k - 1))
    expected = np.zeros(len(s))
    for chosen, w in zip(sets, weight, strict=True):
        expected[list(chosen)] += w / sum(weight)
    np.testing.assert_allclose(cohort.weighted_sampling_probabilities(s, k), expected, atol=1e-12)


@given(scores.filter(any), st.data())
def test_weighted_sampling_is_fair_exactly_from_the_stated_total_on(s, data):
    s = np.array(s)
    n = s.size
    k = data.draw(st.integers(1, n))
    p = cohort.weighted_sampling_probabilities(s, k)
    excess = np.abs(np.subtract.outer(p, p)) - np.abs(np.subtract.outer(s, s))
    fair = excess.max() <= 1e-12
    assert fair == (n == 1 or s.sum() >= (n - k) / (n - 1) - 1e-12 or len(set(s.tolist())) == 1)


@pytest.mark.parametrize("mechanism", CLOSED, ids=lambda f: f.__name__)
def test_draws_follow_their_closed_form(mechanism, rng):
    s, k, draws = np.array([0.9, 0.8, 0.8, 0.3, 0.1, 0.0]), 3, 20_000
    counts = np.zeros(s.size)
    for _ in range(draws):
        counts[mechanism(s, k, random_state=rng)] += 1
    p = CLOSED[mechanism](s, k)
    spread = np.sqrt(draws * p * (1 - p))
    assert (np.abs(counts - draws * p) <= 4.5 * spread).all()


@pytest.mark.parametrize("mechanism", DRAWS, ids=lambda f: f.__name__)
@given(s=scores, data=st.data())
def test_every_draw_has_exactly_k_members_in_order(mechanism, s, data):
    k = data.draw(st.integers(0, len(s)))
    seed = data.draw(st.integers(0, 99))
    needed = {cohort.successive: k, cohort.weighted_sampling: min(k, 1)}.get(mechanism, 0)
    if np.count_nonzero(s) < needed:
        with pytest.raises(ValueError, match="scores must"):
            mechanism(s, k, random_state=seed)
        return
    rows = mechanism(s, k, random_state=seed)
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert len(rows) == k
    assert (mechanism(s, k, random_state=seed) == rows).all()


def test_successive_sampling_misses_the_probabilities_that_it_is_asked_for(rng):
    s, k, draws = np.array([0.6, 0.3, 0.1]), 2, 20_000
    counts = np.zeros(3)
    for _ in range(draws):
        counts[cohort.successive(s, k, random_state=rng)] += 1
    assert np.abs(counts / draws - k * s / s.sum())[2] > 0.05


def test_first_come_depends_on_the_order_of_arrival(rng):
    first, last = np.zeros(2), np.zeros(2)
    for _ in range(5_000):
        first[0] += 0 in cohort.first_come([0.8, 0.8, 0.8], 1, random_state=rng)
        last[0] += 2 in cohort.first_come([0.8, 0.8, 0.8], 1, random_state=rng)
    assert first[0] > 10 * last[0]


@pytest.mark.parametrize("n", [2_000])
def test_the_law_stays_exact_for_many_candidates(n, rng):
    s = rng.random(n)
    p = cohort.permute_then_classify_probabilities(s, n // 10)
    assert p.sum() == pytest.approx(n // 10, abs=1e-9)
    assert (np.diff(p[np.argsort(s)]) >= -1e-12).all()
