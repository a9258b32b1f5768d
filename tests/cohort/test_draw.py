"""Drawing: the exact law by enumeration of all coins, the promises of each order, frequencies."""

from fractions import Fraction
from itertools import combinations
from math import ceil, floor, prod

import numpy as np
import pytest
from cohort.coin_tree import outcomes
from hypothesis import given
from hypothesis import strategies as st

from septet._core.errors import SeptetWarning
from septet.cohort import _engine, _kernels, _poisson, _twins, draw, selection_probabilities
from septet.cohort._coins import Coins
from septet.cohort._draw import check_groups, draw_rows, lattice_weights
from septet.cohort._poisson import conditional_poisson
from septet.cohort._reserve import draw_with_reserve

KEY = bytes(32)


class Lazy:
    """An integer below a bound of which only comparisons are ever asked."""

    def __init__(self, coin, bound):
        self.coin, self.bound = coin, bound

    def __lt__(self, threshold):
        return threshold > 0 and self.coin(Fraction(threshold, self.bound))


class LazyCoins:
    """Coins that fork; words are those of a script, so that the order of rows is given."""

    def __init__(self, coin, words=None):
        self.coin, self.words, self.position = coin, words, 0

    def below(self, bound):
        return Lazy(self.coin, bound)

    def take(self, count):
        words = np.arange(count, dtype=np.uint64) if self.words is None else self.words[:count]
        self.words = None
        return words

    def peek(self, count):
        return np.zeros(count, dtype=np.uint64)

    def advance(self, count):
        self.position += count


@pytest.fixture
def lazy(monkeypatch):
    """Let the plain pivotal kernel flip forking coins."""
    monkeypatch.setattr(_engine, "kernels", lambda: _twins)
    place = {}
    monkeypatch.setattr(
        _twins, "_below", lambda words, used, bound: (Lazy(place["coin"], bound), used + 1)
    )
    return place


def law(lazy, weights, total, **options):
    """Exact probability of every set."""
    found = {}

    def run(coin):
        lazy["coin"] = coin
        words = options.pop("words", None)
        options["words"] = words
        kept = {name: value for name, value in options.items() if name != "words"}
        chosen = draw_rows(np.array(weights), total, LazyCoins(coin, words), **kept)
        return tuple(np.flatnonzero(chosen).tolist())

    for probability, members in outcomes(run):
        found[members] = found.get(members, 0) + probability
    return found


def random_weights(rng, n, total):
    """Whole numbers from 0 to total whose sum is a multiple of total."""
    weights = rng.integers(0, total + 1, n)
    excess = int(weights.sum() % total)
    for i in rng.permutation(n):
        step = min(excess, int(weights[i]))
        weights[i] -= step
        excess -= step
    return weights.tolist()


@pytest.mark.parametrize("order", ["given", "random", "score", "group"])
def test_every_marginal_is_exact_and_every_pair_repels(order, rng, lazy):
    for _ in range(25):
        n = int(rng.integers(1, 8))
        total = int(rng.integers(2, 9))
        weights = random_weights(rng, n, total)
        options = {"order": order, "words": rng.integers(0, 99, n).astype(np.uint64)}
        if order == "group":
            options["codes"] = rng.integers(0, 3, n)
        found = law(lazy, weights, total, **options)
        p = [Fraction(w, total) for w in weights]
        assert sum(found.values()) == 1
        assert {len(members) for members in found} == {sum(weights) // total}
        for i in range(n):
            assert sum(q for members, q in found.items() if i in members) == p[i]
        for i, j in combinations(range(n), 2):
            both = sum(q for members, q in found.items() if i in members and j in members)
            assert both <= p[i] * p[j]


def test_every_group_gets_the_floor_or_ceiling_of_what_it_expects(rng, lazy):
    for _ in range(25):
        n, total = int(rng.integers(2, 8)), int(rng.integers(2, 7))
        weights = random_weights(rng, n, total)
        codes = rng.integers(0, 3, n)
        for members in law(lazy, weights, total, order="group", codes=codes):
            for group in range(3):
                expected = Fraction(int(np.array(weights)[codes == group].sum()), total)
                seats = sum(codes[i] == group for i in members)
                assert floor(expected) <= seats <= ceil(expected)


def test_in_order_of_score_every_interval_gets_nearly_what_it_expects(rng, lazy):
    for _ in range(20):
        n, total = int(rng.integers(2, 8)), int(rng.integers(2, 7))
        weights = sorted(random_weights(rng, n, total))
        for members in law(lazy, weights, total, order="score"):
            for i, j in combinations(range(n + 1), 2):
                expected = Fraction(sum(weights[i:j]), total)
                seats = sum(i <= row < j for row in members)
                assert abs(seats - expected) < (1 if i == 0 else 2)


def test_systematic_sampling_has_exact_marginals_over_all_starts(rng):
    for _ in range(30):
        n, total = int(rng.integers(1, 8)), int(rng.integers(2, 12))
        weights = np.array(random_weights(rng, n, total))
        counts = np.zeros(n, dtype=int)
        for start in range(total):
            chosen = {}
            for module in (_kernels, _twins):
                chosen[module] = np.zeros(n, dtype=bool)
                module.systematic(weights, total, np.arange(n), start, chosen[module])
            assert np.array_equal(chosen[_kernels], chosen[_twins])
            assert chosen[_twins].sum() == weights.sum() // total
            counts += chosen[_twins]
        assert counts.tolist() == weights.tolist()


def test_the_compiled_draw_does_what_its_twin_does(rng):
    for trial in range(100):
        n = int(rng.integers(1, 60))
        # denominators near 2**62 make refusals frequent; small ones make sums meet the total
        total = int(rng.integers(2**61, 2**62)) if trial % 2 else int(rng.integers(2, 9))
        weights = np.array(random_weights(rng, n, total))
        rows = np.flatnonzero((weights > 0) & (weights < total))
        words = Coins(KEY, trial).take(8 * n)
        found = []
        for module in (_kernels, _twins):
            state, chosen = np.array([0, -1, 0]), np.zeros(n, dtype=bool)
            used, left = [], words
            for part in (n // 2, words.size):  # stops and goes on
                used.append(int(module.pivotal(weights, total, rows, left[:part], state, chosen)))
                left = left[used[-1] :]
            found.append((used, state.tolist(), chosen.tolist()))
        assert found[0] == found[1]


def test_numerators_beyond_64_bits_draw_by_the_same_rule(rng):
    total = 3 << 70
    weights = np.array([total // 3, total // 3, total // 3, total], dtype=object)
    counts = np.zeros(4)
    for i in range(3000):
        chosen = draw_rows(weights, total, Coins(KEY, 1000 * i))
        assert chosen.sum() == 2
        counts += chosen
    assert counts[3] == 3000
    assert np.abs(counts[:3] - 1000).max() < 4.5 * np.sqrt(3000 * 2 / 9)
    chosen = draw_rows(weights, total, Coins(KEY), method="systematic")
    assert chosen.sum() == 2


def frequencies(p, draws, **options):
    weights, total = lattice_weights(p)
    coins = Coins(KEY)
    counts = np.zeros(len(p))
    for _ in range(draws):
        counts += draw_rows(weights, total, coins, **options)
    q = np.asarray(p)
    spread = np.sqrt(np.maximum(draws * q * (1 - q), 1e-300))
    return np.where(q * (1 - q) > 0, np.abs(counts - draws * q) / spread, counts != draws * q)


@pytest.mark.parametrize("method", ["pivotal", "systematic"])
@pytest.mark.parametrize("order", ["random", "score", "group"])
def test_frequencies_are_the_marginals(order, method):
    p = selection_probabilities(np.linspace(0.05, 0.95, 12), 5)
    codes = np.arange(12) % 3 if order == "group" else None
    assert frequencies(p, 5_000, order=order, codes=codes, method=method).max() < 4.5


@pytest.mark.slow
def test_two_hundred_thousand_draws_have_the_marginals():
    rng = np.random.default_rng(5)
    p = selection_probabilities(rng.random(40), 11)
    assert frequencies(p, 200_000).max() < 4.5


def test_chi_square_of_the_joint_law_for_a_random_order():
    """Four equal chances of one half: all six pairs are equally likely in random order."""
    coins = Coins(KEY)
    weights = np.array([1, 1, 1, 1])
    counts = dict.fromkeys(combinations(range(4), 2), 0)
    for _ in range(12_000):
        counts[tuple(np.flatnonzero(draw_rows(weights, 2, coins)).tolist())] += 1
    chi_square = sum((count - 2000) ** 2 / 2000 for count in counts.values())
    assert chi_square < 25.7  # 5 degrees of freedom, p = 1e-4


def test_conditional_poisson_has_the_marginals_and_the_largest_entropy():
    p, draws = np.array([0.2, 0.45, 0.6, 0.75]), 20_000
    q, after = _poisson.calibrate(p)
    sets = list(combinations(range(4), 2))
    words = Coins(KEY).take(4 * draws).reshape(draws, 4)
    found = [tuple(_poisson.flip(q, after, row).tolist()) for row in words]
    odds = q / (1 - q)
    # of all laws with these marginals the one of largest entropy is a product of weights
    expected = np.array([odds[i] * odds[j] for i, j in sets])
    expected /= expected.sum()
    for i in range(4):
        share = sum(x for x, pair in zip(expected, sets, strict=True) if i in pair)
        assert share == pytest.approx(p[i], abs=1e-11)
    counts = np.array([found.count(pair) for pair in sets])
    assert counts.sum() == draws
    chi_square = ((counts - draws * expected) ** 2 / (draws * expected)).sum()
    assert chi_square < 25.7  # 5 degrees of freedom, p = 1e-4


def test_conditional_poisson_keeps_certain_candidates():
    p = np.array([0.2, 1.0, 0.45, 0.0, 0.6, 0.75])
    for i in range(20):
        members = conditional_poisson(p, Coins(KEY, 100 * i)).tolist()
        assert len(members) == 3
        assert 1 in members
        assert 3 not in members
    assert conditional_poisson(np.array([1.0, 0.0]), Coins(KEY)).tolist() == [0]


def test_conditional_poisson_is_calibrated_against_enumeration(rng):
    q = rng.random(6)
    k = 3
    weight = {
        members: prod(q[i] if i in members else 1 - q[i] for i in range(6))
        for members in combinations(range(6), k)
    }
    expected = [
        sum(w for members, w in weight.items() if i in members) / sum(weight.values())
        for i in range(6)
    ]
    after = _poisson.successes_after(q, k)
    np.testing.assert_allclose(_poisson._marginals(q, k, after), expected, rtol=1e-12)


def test_conditional_poisson_says_when_its_tables_are_too_large():
    with pytest.raises(ValueError, match="too many.*method='pivotal' has no such limit"):
        draw(np.full(40_000, 0.25), seed=1, method="poisson")


def test_cohort_and_reserve_list_have_exactly_their_own_probabilities(rng):
    for _ in range(15):
        n = int(rng.integers(2, 5))
        k = int(rng.integers(0, n))
        spare = int(rng.integers(1, n - k + 1))
        s = rng.integers(0, 5, n) / 4
        p = selection_probabilities(s, k, allow_zero_score=True)
        q = selection_probabilities(s, k + spare, allow_zero_score=True)
        seats, places = lattice_weights(p), lattice_weights(q)
        sure, hoped = [Fraction(0)] * n, [Fraction(0)] * n
        whole = Fraction(0)

        def run(coin, seats=seats, places=places):
            return draw_with_reserve(seats, places, LazyCoins(coin))

        for probability, (cohort, reserve) in outcomes(run):
            whole += probability
            assert (len(cohort), len(reserve)) == (k, spare)
            for i in cohort:
                sure[i] += probability
            for i in {*cohort, *reserve}:
                hoped[i] += probability
        assert whole == 1
        assert sure == p.fractions()
        assert hoped == q.fractions()


@given(
    st.lists(st.integers(0, 20).map(lambda x: x / 20), min_size=1, max_size=30),
    st.data(),
    st.sampled_from(["random", "given", "score", "group"]),
    st.sampled_from(["pivotal", "systematic", "poisson"]),
)
def test_a_cohort_has_exactly_the_promised_size_and_its_certain_members(s, data, order, method):
    k = data.draw(st.integers(0, len(s)))
    p = selection_probabilities(s, k, allow_zero_score=True)
    options = {"seed": data.draw(st.integers(0, 9)), "method": method}
    if method != "poisson":
        options["order"] = order
    if options.get("order") == "group":
        options["groups"] = data.draw(
            st.lists(st.sampled_from("abc"), min_size=len(s), max_size=len(s))
        )
    rows = draw(p, **options)
    assert rows.size == k == len(set(rows.tolist()))
    assert rows.tolist() == sorted(rows.tolist())
    assert np.array_equal(rows, draw(p, **options))
    chances = p.fractions()
    assert all(chances[i] > 0 for i in rows.tolist())
    assert {i for i, x in enumerate(chances) if x == 1} <= set(rows.tolist())


def test_float_probabilities_are_made_whole_by_largest_remainders():
    p = np.full(7, 3 / 7)
    weights, total = lattice_weights(p)
    assert sum(weights.tolist()) == 3 * total
    assert np.abs(weights / total - p).max() < 2.0**-51
    near = p * (1 + 1e-8)
    with pytest.warns(SeptetWarning, match=r"p added up to 3.00000003; making that 3 changed"):
        weights, total = lattice_weights(near)
    assert sum(weights.tolist()) == 3 * total
    certain = np.array([1.0, 0.0, 0.5, 0.5 + 1e-8])
    with pytest.warns(SeptetWarning, match="changed a probability by up to"):
        weights, total = lattice_weights(certain)
    assert (weights[0], weights[1]) == (total, 0)


@pytest.mark.parametrize(
    ("p", "options", "message"),
    [
        ([0.5, 0.4], {}, "p must add up to a whole number, the cohort size; got 0.9"),
        ([0.5, 1.5], {}, r"p\[1\] = 1.5 is no probability"),
        ([[0.5, 0.5]], {}, "p must be 1-D"),
        ([0.5, 0.5], {"order": "radnom"}, "Did you mean 'random'"),
        ([0.5, 0.5], {"method": "pivotl"}, "Did you mean 'pivotal'"),
        ([0.5, 0.5], {"order": "group"}, "order='group' needs groups.*missing"),
        ([0.5, 0.5], {"groups": ["a", "b"]}, "order='group' needs groups.*given"),
        ([0.5, 0.5], {"order": "group", "groups": ["a"]}, "groups must have 2 entries.*got 1"),
        ([0.5, 0.5], {"method": "poisson", "order": "score"}, "method='poisson' has no order"),
    ],
)
def test_what_cannot_be_drawn_is_refused(p, options, message):
    with pytest.raises(ValueError, match=message):
        draw(p, seed=1, **options)


@pytest.mark.parametrize("label", [None, 1.5, True, np.nan])
def test_a_group_label_must_be_text_or_a_whole_number(label):
    with pytest.raises(TypeError, match=r"groups\[1\] = .*: a group label must be"):
        check_groups(["a", label], "group", 2)


def test_group_codes_follow_the_labels_as_text():
    assert check_groups(np.array([10, 9, 10]), "group", 3).tolist() == [0, 1, 0]
