"""The law of a stream, exactly: all coins enumerated, all weights fractions."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from cohort.coin_tree import outcomes

from septet.cohort._stream_reference import PlainEngine, pivotal
from septet.cohort._stream_rule import LATTICE, knot_lattice


def of(text):
    return [Fraction(word) for word in text.split()]


def lattice(scores):
    return [int(Fraction(s) * LATTICE) for s in scores]


def run_stream(coin, scores, k, knots, slack=0, reductions=()):
    """Run one stream to its end; `reductions` holds (arrivals before it, new k)."""
    engine = PlainEngine(k, knot_lattice(knots).tolist(), slack, coin, exact=True)
    rejected = []
    for number, z in enumerate(lattice(scores)):
        rejected += engine.arrive(number, z)
        for after, seats in reductions:
            if after == number + 1:
                rejected += engine.reduce(seats)
    check_sums(engine)
    rule = engine.rule()
    chosen, last = engine.finish()
    assert sorted(chosen + rejected + last) == list(range(len(scores)))
    return tuple(chosen), rule


def check_sums(engine):
    """The facts that make renormalising needless: in live cells weights add up as arrivals did."""
    cells = len(engine.knots) - 1
    for cell, (low, high) in enumerate(itertools.pairwise(engine.knots)):
        if engine.rule().dead > low:
            continue
        last = cell == cells - 1
        members = [w for w in engine.waiting if low <= w.z < high or (last and w.z == high)]
        above = sum(w.weight * (w.z - low) for w in members)
        assert above == engine.sums[cell] - low * engine.counts[cell]
        if engine.rule().dead < low and cell > 0:  # nobody in this cell can have chance 0
            assert sum(w.weight for w in members) == engine.counts[cell]


def law(scores, k, knots, **options):
    """Selection probabilities by enumeration, the rule's promise, and the size of the tree."""
    p, total, rules = [Fraction(0)] * len(scores), Fraction(0), set()
    for probability, (chosen, rule) in outcomes(
        lambda coin: run_stream(coin, scores, k, knots, **options)
    ):
        rules.add(rule)
        total += probability
        assert len(set(chosen)) == len(chosen)
        seats = options["reductions"][-1][1] if options.get("reductions") else k
        assert len(chosen) == min(seats, len(scores))
        for number in chosen:
            p[number] += probability
    assert total == 1
    (rule,) = rules  # no coin ever changes it
    return p, [rule.probability(z) for z in lattice(scores)], rule


def assert_lawful(scores, k, knots, **options):
    p, promised, _ = law(scores, k, knots, **options)
    assert p == promised
    for (s, a), (t, b) in itertools.combinations(zip(map(Fraction, scores), p, strict=True), 2):
        assert abs(a - b) <= abs(s - t)


QUARTERS = of("1/2 1/4 3/4")
FIVE = of("9/10 4/5 3/5 1/2 1/5")


@pytest.mark.parametrize("knots", [1, 2, 3, 4])
def test_two_of_the_example_stream_have_5_and_3_eighths(knots):
    assert law(QUARTERS[:2], 1, knots)[0] == of("5/8 3/8")


@pytest.mark.parametrize(
    ("knots", "shift", "p", "utility"),
    [
        (1, Fraction(-1, 3), of("1/3 1/6 1/2"), Fraction(7, 12)),
        (2, Fraction(-1, 5), of("3/10 3/20 11/20"), Fraction(3, 5)),
        (4, Fraction(-1, 6), of("1/3 1/12 7/12"), Fraction(5, 8)),
    ],
)
def test_three_of_the_example_stream_depend_on_the_knots(knots, shift, p, utility):
    seen, promised, rule = law(QUARTERS, 1, knots)
    assert seen == promised == p
    assert sum(a * b for a, b in zip(seen, QUARTERS, strict=True)) == utility
    assert rule.shift == shift


@pytest.mark.parametrize("knots", [4, 10])
def test_five_of_the_second_example_reach_the_offline_optimum(knots):
    # the scores are not all on the lattice, so the promise holds for the quantised ones
    seen, promised, rule = law(FIVE, 1, knots)
    expected = of("9/20 7/20 3/20 1/20 0")
    assert seen == promised
    assert all(abs(a - b) < Fraction(4, LATTICE) for a, b in zip(seen, expected, strict=True))
    assert abs(rule.shift + Fraction(9, 20)) < Fraction(4, LATTICE)


STREAMS = {
    "ascending": [Fraction(i, 8) for i in range(1, 8)],
    "descending": [Fraction(i, 8) for i in range(7, 0, -1)],
    "constant": [Fraction(3, 8)] * 6,
    "two points": of("1/8 7/8") * 3,
    "with 0 and 1": of("0 1 1/2 1 0 1/4"),
    "all 0": [Fraction(0)] * 5,
    "all 1": [Fraction(1)] * 5,
    "low": of("1/64 1/32 0 1/16 1/64"),
    "uneven": of("3/16 15/16 5/16 1/2 13/16 9/16 11/16"),
}


@pytest.mark.parametrize("cells", [1, 2, 3, 4])
@pytest.mark.parametrize("name", STREAMS)
def test_at_every_stopping_time_everyone_has_exactly_the_promised_chance(name, cells):
    scores = STREAMS[name][:5]
    for stop in range(1, len(scores) + 1):
        for k in range(min(stop, 3) + 1):
            assert_lawful(scores[:stop], k, cells)


@pytest.mark.slow
@pytest.mark.parametrize("cells", [1, 2, 3, 4])
@pytest.mark.parametrize("name", STREAMS)
def test_six_and_seven_arrivals_are_lawful_too(name, cells):
    for stop in range(6, len(STREAMS[name]) + 1):
        for k in range(1, stop):
            assert_lawful(STREAMS[name][:stop], k, cells)


@pytest.mark.parametrize("slack", [1, 2, 7])
def test_when_the_waiting_are_thinned_out_does_not_change_the_chances(slack):
    for scores in (STREAMS["uneven"][:6], STREAMS["two points"]):
        for k in (1, 2, 3):
            assert_lawful(scores, k, 3, slack=slack)


@pytest.mark.parametrize("seed", range(8))
def test_random_streams_with_uneven_knots_are_lawful(seed):
    rng = np.random.default_rng(seed)
    scores = [Fraction(int(i), 32) for i in rng.integers(0, 33, 6)]
    knots = np.sort(rng.choice(31, 3, replace=False) + 1) / 32
    for k in (1, 2, 3):
        assert_lawful(scores, k, knots.tolist(), slack=int(rng.integers(0, 3)))


def test_seven_arrivals_with_three_cells_are_lawful():
    assert_lawful(STREAMS["uneven"], 2, 3)


@pytest.mark.parametrize("cells", [1, 3])
def test_taking_seats_away_on_the_way_keeps_the_law(cells):
    scores = STREAMS["uneven"][:6]
    assert_lawful(scores, 3, cells, reductions=[(2, 2), (5, 1)])
    assert_lawful(scores[:5], 4, cells, reductions=[(5, 2)])
    assert_lawful(scores[:4], 2, cells, reductions=[(3, 0)])


def test_pivotal_draws_everyone_with_the_chance_given_and_never_favours_pairs():
    chances = of("1/2 1/3 2/3 3/4 1/4 1/2")
    people = list(enumerate(chances))
    p, pairs = [Fraction(0)] * 6, dict.fromkeys(itertools.combinations(range(6), 2), Fraction(0))
    for probability, chosen in outcomes(lambda coin: pivotal(people, 3, coin, 0)):
        assert len(chosen) == 3
        for i in chosen:
            p[i] += probability
        for pair in itertools.combinations(sorted(chosen), 2):
            pairs[pair] += probability
    assert p == chances
    assert all(both <= chances[i] * chances[j] for (i, j), both in pairs.items())


def test_in_floats_the_law_is_the_promise_to_within_2_to_the_minus_40():
    scores = [0.3, 0.9, 0.55, 0.3, 0.71, 0.12]
    z = [round(s * LATTICE) for s in scores]

    def run(coin):
        engine = PlainEngine(2, knot_lattice(3).tolist(), 0, lambda q: coin(Fraction(q)))
        for number, score in enumerate(z):
            engine.arrive(number, score)
        promised = [engine.rule().probability(score) for score in z]
        return engine.finish()[0], promised

    p = [Fraction(0)] * len(z)
    for probability, (chosen, promised) in outcomes(run):
        assert len(chosen) == 2
        for i in chosen:
            p[i] += probability
        assert all(0 < q < 1 for q in promised)
    assert all(abs(a - b) < 2**-40 for a, b in zip(p, promised, strict=True))
