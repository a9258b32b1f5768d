"""The engine of a stream: who waits, who goes, and how good the rule is."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from cohort.stream_streams import (
    adversarial,
    engine_for,
    lattice,
    orders,
    shift_optimum,
    utility,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.cohort._stream_kernel import advance
from septet.cohort._stream_reference import TINY
from septet.cohort._stream_rule import LATTICE, Rule, cell_of, knot_lattice, quantile_knots

NAMES = list(orders(4, np.random.default_rng(0)))


def live_cells(engine):
    """Number of cells that hold somebody whose fate is open."""
    return len({cell_of(engine.knots, w.z) for w in engine.waiting if not w.full})


def assert_bounded(engine, slack):
    most = engine.seats + 2 * max(1, live_cells(engine)) - 1 + slack
    least = min(engine.seats, engine.arrived)
    assert least <= len(engine.waiting) <= most
    assert live_cells(engine) <= len(engine.knots) - 1 - engine.cell


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("k", "cells"), [(1, 1), (7, 1), (7, 5), (20, 30)])
def test_few_people_wait_at_every_step(name, k, cells, rng):
    engine, _ = engine_for(k, cells)
    for number, z in enumerate(orders(300, rng)[name]):
        engine.arrive(number, z)
        assert_bounded(engine, 0)
        assert sum(w.drawn for w in engine.waiting) == pytest.approx(min(k, number + 1)) or (
            number < k
        )


@pytest.mark.parametrize("name", NAMES)
def test_slack_adds_no_more_than_itself_to_the_waiting(name, rng):
    k, cells, slack = 10, 8, 17
    engine, _ = engine_for(k, cells, slack)
    for number, z in enumerate(orders(300, rng)[name]):
        engine.arrive(number, z)
        assert len(engine.waiting) <= k + 2 * (cells - engine.cell) - 1 + slack


@pytest.mark.parametrize(("k", "cells"), [(3, 1), (3, 2), (4, 6)])
def test_an_adversary_who_sees_everything_cannot_break_the_bound(k, cells):
    engine, _ = engine_for(k, cells)
    for number, z in enumerate(adversarial(k, cells, 60, seed=k)):
        engine.arrive(number, z)
        assert_bounded(engine, 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cells", [1, 3, 20])
def test_probabilities_add_up_are_fair_and_only_ever_fall(name, cells, rng):
    k, stream = 5, orders(80, rng)[name]
    engine, _ = engine_for(k, cells)
    before = [Fraction(1)] * len(stream)
    for number, z in enumerate(stream):
        engine.arrive(number, z)
        now = [engine.rule().probability(seen) for seen in stream[: number + 1]]
        assert sum(now) == min(k, number + 1)
        assert all(a <= b for a, b in zip(now, before, strict=False))
        before[: number + 1] = now
        ranked = sorted(zip(stream, now, strict=False))
        for (y, p), (z, q) in itertools.pairwise(ranked):
            assert 0 <= (q - p) * LATTICE <= z - y


@pytest.mark.parametrize("name", NAMES)
def test_one_cell_is_exactly_ratio_optimal_at_every_time(name, rng):
    k, stream = 6, orders(60, rng)[name]
    engine, _ = engine_for(k, 1)
    for number, z in enumerate(stream):
        engine.arrive(number, z)
        seen = stream[: number + 1]
        if number + 1 <= k:
            continue
        total = sum(seen)
        if total > k * LATTICE:
            best = [Fraction(k * value, total) for value in seen]
        else:
            best = shift_optimum(seen, k)[0]
        assert [engine.rule().probability(value) for value in seen] == best


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cells", [1, 4, 15])
def test_the_loss_of_linear_utility_stays_below_k_times_w_plus_w_squared(name, cells, rng):
    k, stream = 6, orders(70, rng)[name]
    engine, _ = engine_for(k, cells)
    for number, z in enumerate(stream):
        engine.arrive(number, z)
        seen = stream[: number + 1]
        if number + 1 < k or number % 7:
            continue
        best, c = shift_optimum(seen, k)
        loss = utility(best, seen) - utility([engine.rule().probability(v) for v in seen], seen)
        width = Fraction(engine.knots[engine.cell + 1] - engine.knots[engine.cell], LATTICE)
        assert 0 <= loss <= k * (width + width**2)
        if c >= 0:
            assert loss == 0


def test_knots_at_all_scores_make_the_stream_exactly_optimal(rng):
    scores = rng.integers(0, 21, 80) / 20
    engine, _ = engine_for(9, np.unique(scores))
    stream = lattice(scores)
    for number, z in enumerate(stream):
        engine.arrive(number, z)
        seen = stream[: number + 1]
        if number >= 9:
            assert [engine.rule().probability(v) for v in seen] == shift_optimum(seen, 9)[0]


def test_the_comparison_table_of_two_hundred_comes_out():
    rng = np.random.default_rng(7)
    smooth, low = lattice(rng.beta(2, 5, 200)), lattice(rng.random(200) * 0.08)
    expected = {10: (9.08545, 29, 39), 50: (9.08801, 52, 119), 1: (7.16156, 21, 21)}
    for cells, (value, peak, bound) in expected.items():
        engine, _ = engine_for(20, cells)
        sizes = []
        for number, z in enumerate(smooth):
            engine.arrive(number, z)
            sizes.append(len(engine.waiting))
        p = [engine.rule().probability(z) for z in smooth]
        assert float(utility(p, smooth)) == pytest.approx(value, abs=6e-6)
        assert max(sizes) <= bound
        assert abs(max(sizes) - peak) <= (0 if cells == 1 else 4)  # the coins are others
        engine, _ = engine_for(20, cells)
        for number, z in enumerate(low):
            engine.arrive(number, z)
        assert [engine.rule().probability(z) for z in low] == shift_optimum(low, 20)[0]
        assert float(engine.rule().shift) == pytest.approx(0.063033, abs=5e-7)


STREAM = st.tuples(
    st.lists(
        st.integers(0, LATTICE) | st.integers(0, 8).map(lambda i: i * LATTICE // 8), max_size=120
    ),
    st.integers(0, 12),
    st.integers(1, 9) | st.lists(st.floats(0, 1), min_size=1, max_size=6),
    st.integers(0, 15),
    st.lists(st.integers(1, 119), max_size=3),
)


@settings(max_examples=150)
@given(STREAM)
def test_the_compiled_engine_decides_bit_for_bit_as_the_plain_one(case):
    scores, k, knots, slack, cuts = case
    plain, coins = engine_for(k, knots, slack)
    decisions = [(who, at) for at, z in enumerate(scores) for who in plain.arrive(at, z)]
    other, others = engine_for(k, knots, slack)
    state, compiled = other.state(), []
    edges = sorted({0, *(c for c in cuts if c < len(scores)), len(scores)})
    for start, stop in itertools.pairwise(edges):
        part = np.array(scores[start:stop], dtype=np.int64)
        state, who, at = advance(state, knot_lattice(knots), slack, part, start, others)
        compiled += zip(who.tolist(), at.tolist(), strict=True)
    assert compiled == decisions
    assert coins.position == others.position
    for name, values in plain.state().items():
        assert values.dtype == state[name].dtype
        assert values.tobytes() == state[name].tobytes(), name


def test_compiled_and_plain_agree_on_a_long_stream_through_every_regime(rng):
    scores = np.sort(rng.beta(2, 5, 20_000))[rng.permutation(20_000)]
    z = np.array(lattice(scores))
    plain, coins = engine_for(150, 40, 150)
    gone = [who for at, value in enumerate(z.tolist()) for who in plain.arrive(at, value)]
    other, others = engine_for(150, 40, 150)
    state, who, _ = advance(other.state(), knot_lattice(40), 150, z, 0, others)
    assert who.tolist() == gone
    other.load(state)
    plain.load(plain.state())  # full or not is found anew
    assert other.finish() == plain.finish()
    assert coins.position == others.position


def test_a_state_taken_over_continues_as_if_nothing_had_happened(rng):
    stream = orders(200, rng)["random"]
    whole, coins = engine_for(8, 6, 5)
    gone = [who for number, z in enumerate(stream) for who in whole.arrive(number, z)]
    for stop in (0, 5, 9, 60, 133, 200):
        first, _ = engine_for(8, 6, 5)
        early = [who for number, z in enumerate(stream[:stop]) for who in first.arrive(number, z)]
        position = first.flip.__closure__[0].cell_contents.position
        second, later = engine_for(8, 6, 5)
        second.load(first.state())
        later.seek(position)
        late = [
            who
            for number, z in enumerate(stream[stop:], start=stop)
            for who in second.arrive(number, z)
        ]
        assert early + late == gone
        assert later.position == coins.position


def test_weights_stay_true_over_a_long_stream(rng):
    z = np.array(lattice(rng.beta(2, 2, 400_000)))
    engine, coins = engine_for(50, 10, 50)
    state, *_ = advance(engine.state(), knot_lattice(10), 50, z, 0, coins)
    engine.load(state)
    engine.compress()
    assert sum(w.drawn for w in engine.waiting) == pytest.approx(50, abs=1e-9)
    assert TINY < 1e-12


def test_knots_are_exact_lattice_points_with_both_ends():
    assert knot_lattice(1).tolist() == [0, LATTICE]
    assert knot_lattice(4).tolist() == [0, LATTICE // 4, LATTICE // 2, 3 * LATTICE // 4, LATTICE]
    assert knot_lattice(3).tolist() == [0, 1431655765, 2863311530, LATTICE]
    assert knot_lattice([0.5, 0.25, 0.5]).tolist() == [0, LATTICE // 4, LATTICE // 2, LATTICE]
    assert knot_lattice([0.0, 1.0]).tolist() == [0, LATTICE]


@pytest.mark.parametrize(
    ("knots", "error", "message"),
    [
        (0, ValueError, "knots must be from 1 to 1048576; got 0"),
        (2.5, TypeError, "knots must be an integer; got 2.5"),
        ([0.5, 1.5], ValueError, r"knots\[1\] = 1.5 is no probability"),
        ([[0.5]], ValueError, "knots must be 1-D"),
        ("fifty", TypeError, "knots must be an integer; got 'fifty'"),
    ],
)
def test_knots_that_cannot_be_are_refused(knots, error, message):
    with pytest.raises(error, match=message):
        knot_lattice(knots)


def test_a_score_at_a_knot_belongs_to_the_cell_above_and_1_to_the_last():
    knots = knot_lattice(4).tolist()
    assert [cell_of(knots, z) for z in (0, LATTICE // 4 - 1, LATTICE // 4)] == [0, 0, 1]
    assert [cell_of(knots, z) for z in (3 * LATTICE // 4, LATTICE)] == [3, 3]


def test_quantile_knots_are_scores_that_were_seen():
    scores = np.random.default_rng(1).random(1000) * 0.02
    knots = quantile_knots(scores, 50)
    assert knots.size == 51
    assert set(knots) <= set(scores)
    counts = np.histogram(scores, knots)[0]
    assert counts.min() >= 19
    assert counts.max() <= 22
    with pytest.raises(ValueError, match="at least one earlier score; got none"):
        quantile_knots([])


def test_quantile_knots_rescue_a_narrow_band():
    rng = np.random.default_rng(4)
    last_year, stream = rng.random(3000) * 0.02, lattice(rng.random(3000) * 0.02)
    best = utility(shift_optimum(stream, 10)[0], stream)
    quality = {}
    for name, knots in {"uniform": 50, "quantiles": quantile_knots(last_year, 50)}.items():
        engine, _ = engine_for(10, knots, slack=10)
        for number, z in enumerate(stream):
            engine.arrive(number, z)
        p = [engine.rule().probability(z) for z in stream]
        quality[name] = float(utility(p, stream) / best)
    assert quality["uniform"] < 0.85
    assert quality["quantiles"] > 0.999


def test_a_rule_says_when_hope_is_lost():
    rule = Rule(dead=10, bend=20, rise=0, run=7)
    assert [rule.hopeless(z) for z in (9, 10, 11, 20, 21)] == [True, True, True, True, False]
    assert not Rule(dead=10, bend=20, rise=1, run=7).hopeless(11)
