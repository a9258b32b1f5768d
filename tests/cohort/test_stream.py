"""A fair stream as its user sees it: arrivals, answers, the cohort, and what is refused."""

import warnings
from fractions import Fraction

import numpy as np
import pytest
from cohort.stream_streams import lattice, shift_optimum, utility
from hypothesis import given, settings
from hypothesis import strategies as st

from septet._core.errors import SeptetWarning
from septet.cohort import FairStream, quantile_knots
from septet.cohort._scores import LATTICE
from septet.cohort._stream_close import ratio as smallest_ratio
from septet.cohort._stream_close import seat_rule
from septet.cohort._stream_close import utility as expected_score
from septet.cohort._stream_rule import MOST, Rule


def filled(scores, k, **options):
    stream = FairStream(k, **{"seed": "test"} | options)
    stream.extend([f"p{i}" for i in range(len(scores))], scores)
    return stream


@pytest.fixture
def scores(rng):
    return rng.beta(2, 5, 300)


# what it promises


@pytest.mark.parametrize("knots", [1, 2, 4])
def test_the_example_has_the_promised_chances(knots):
    stream = filled([0.5, 0.25, 0.75], 1, knots=knots)
    expected = {1: (1 / 3, 1 / 6, 1 / 2), 2: (0.3, 0.15, 0.55), 4: (1 / 3, 1 / 12, 7 / 12)}
    assert [stream.probability(s) for s in (0.5, 0.25, 0.75)] == pytest.approx(expected[knots])
    assert stream.shift == {1: Fraction(-1, 3), 2: Fraction(-1, 5), 4: Fraction(-1, 6)}[knots]


def test_everybody_waits_until_there_are_more_than_seats(scores):
    stream = FairStream(5, seed=1)
    for i, score in enumerate(scores[:5]):
        assert stream.push(i, score).status == "pending"
    assert stream.probability(0.0) == 1
    assert stream.pending == (0, 1, 2, 3, 4)
    assert stream.close().ids == [0, 1, 2, 3, 4]


def test_a_decision_names_everybody_it_turns_down(scores):
    stream = FairStream(5, seed=1, slack=0)
    told = []
    for i, score in enumerate(scores):
        decision = stream.push(i, score)
        told += decision.rejected
        assert decision.id == i
        assert decision.status == ("rejected" if i in decision.rejected else "pending")
        assert decision.pending == len(stream.pending)
        assert set(stream.pending).isdisjoint(told)
    assert sorted([*told, *stream.pending]) == list(range(300))
    assert {stream.status(i) for i in told} == {"rejected"}


def test_one_by_one_and_in_bulk_come_to_the_same_cohort(scores):
    one, bulk = FairStream(9, seed=3), FairStream(9, seed=3)
    told = [who for i, score in enumerate(scores) for who in one.push(i, score).rejected]
    assert told == bulk.extend(np.arange(300), scores)
    assert one.close().certificate == bulk.close().certificate


def test_the_compiled_bulk_engine_is_one_and_the_same(rng):
    scores = rng.random(6000)
    plain, compiled = FairStream(20, seed=3), FairStream(20, seed=3)
    for start in range(0, 6000, 1500):  # too small a bulk to be worth compiling
        plain.extend(np.arange(start, start + 1500), scores[start : start + 1500])
    compiled.extend(np.arange(6000), scores)
    assert plain.close().certificate == compiled.close().certificate


def test_the_cohort_has_exactly_k_and_its_probabilities_add_up(scores):
    stream = filled(scores, 30, knots=20)
    cohort = stream.close()
    assert len(cohort) == len(cohort.ids) == len(set(cohort.ids)) == 30
    assert sum(cohort.p.fractions()) == 30
    assert cohort.p.max_violation == 0
    assert [f"p{i}" for i in cohort.rows] == sorted(cohort.ids, key=lambda who: int(who[1:]))
    row = cohort.rows[0]
    assert float(cohort.p.fractions()[row]) == stream.probability(scores[row])
    assert {stream.status(who) for who in cohort.ids} == {"accepted"}
    others = {f"p{i}" for i in range(300)}.difference(cohort.ids)
    assert {stream.status(who) for who in others} == {"rejected"}
    assert stream.pending == ()


def test_the_certificate_states_utility_and_ratio_exactly(rng):
    for case in range(60):
        n, k = int(rng.integers(1, 40)), int(rng.integers(0, 9))
        scores = [rng.random(n), rng.random(n) * 0.1, rng.integers(0, 5, n) / 4][case % 3]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SeptetWarning)
            stream = filled(scores, k, knots=int(rng.integers(1, 8)))
            cohort = stream.close()
        p, z = cohort.p.fractions(), lattice(scores)
        rule = stream._run.rule()
        assert p == [rule.probability(value) for value in z]
        assert Fraction(cohort.certificate["utility"]) == utility(p, z)
        ratios = [Fraction(q * LATTICE, value) for q, value in zip(p, z, strict=True) if value]
        text = cohort.certificate["ratio"]
        assert (Fraction(text) if text else None) == min(ratios, default=None)
        assert cohort.certificate["probabilities"] == [f"{q.numerator}/{q.denominator}" for q in p]


@settings(max_examples=60)
@given(
    st.integers(0, LATTICE - 2),
    st.integers(1, LATTICE),
    st.fractions(0, 1),
    st.lists(st.integers(0, LATTICE), min_size=1, max_size=8),
)
def test_sums_over_a_rule_agree_with_adding_up_person_by_person(dead, width, h, values):
    rule = Rule(dead, min(dead + width, LATTICE), h.numerator, h.denominator)
    z = np.array(values)
    p = [rule.probability(value) for value in values]
    assert expected_score(rule, z) == utility(p, values)
    ratios = [q * LATTICE / value for q, value in zip(p, values, strict=True) if value]
    assert smallest_ratio(rule, z) == min(ratios, default=None)


def test_another_seed_is_another_cohort_and_the_same_seed_the_same(scores):
    cohorts = [filled(scores, 9, seed=seed).close().ids for seed in (1, 1, 2)]
    assert cohorts[0] == cohorts[1] != cohorts[2]


def test_everybody_is_drawn_as_often_as_promised():
    scores = [0.9, 0.2, 0.55, 0.3, 0.71, 0.12, 0.5]
    counts = np.zeros(7)
    for seed in range(800):
        stream = FairStream(2, knots=3, slack=1, seed=seed)
        for i, score in enumerate(scores):
            stream.push(i, score)
        counts[stream._run.engine.finish()[0]] += 1
    p = np.array([stream.probability(score) for score in scores])
    assert np.abs((counts - 800 * p) / np.sqrt(800 * p * (1 - p))).max() < 4.5


def test_the_commitment_is_known_before_and_proved_after():
    stream = FairStream(1, seed="kept secret")
    stream.push("a", 0.5)
    assert stream.commitment == stream.close().certificate["commitment"]
    assert len(stream.commitment) == 64


# fewer seats, withdrawals, reserve


def test_seats_can_be_taken_away_on_the_way(scores):
    stream = filled(scores, 20, knots=10)
    before = [stream.probability(s) for s in scores]
    turned_down = stream.reduce_k(6)
    assert turned_down
    assert stream.k == 6
    assert all(stream.probability(s) <= b for s, b in zip(scores, before, strict=True))
    assert stream.reduce_k(6) == turned_down  # asked again, answered again
    assert len(stream.close().ids) == 6


def test_seats_can_all_be_taken_away(scores):
    stream = filled(scores, 5)
    waiting = stream.pending
    assert tuple(stream.reduce_k(0)) == waiting
    assert stream.push("late", 0.9).status == "rejected"
    assert stream.close().ids == []


def test_who_is_rejected_and_withdraws_stays_rejected_but_it_is_recorded(scores):
    stream = filled(scores, 3, knots=5)
    loser = next(f"p{i}" for i in range(300) if stream.status(f"p{i}") == "rejected")
    assert stream.withdraw(loser).status == "rejected"
    assert stream.withdraw(loser).status == "rejected"
    assert list(stream.record())[300:] == [f'["withdraw","{loser}"]']


def test_a_phantom_changes_nobody_elses_chance_and_leaves_its_seat_empty(scores):
    undisturbed = filled(scores, 12, seed=5)
    everyone = undisturbed.close()
    stream = filled(scores, 12, seed=5)
    leaver = everyone.ids[4]
    waiting = len(stream.pending)
    assert stream.withdraw(leaver).status == "withdrawn"
    assert stream.withdraw(leaver).pending == waiting - 1
    assert leaver not in stream.pending
    with pytest.warns(SeptetWarning, match="1 of 12 seats stay empty: who was drawn for them had"):
        cohort = stream.close()
    assert cohort.ids == [who for who in everyone.ids if who != leaver]
    assert cohort.certificate["withdrawn"] == [leaver]
    assert stream.status(leaver) == "withdrawn"


def test_a_phantom_that_loses_is_not_told_so(scores):
    stream = filled(scores[:20], 12, slack=100)
    for who in stream.pending:
        stream.withdraw(who)
    assert stream.reduce_k(1) == []
    assert {stream.status(f"p{i}") for i in range(20)} == {"withdrawn"}


def test_the_reserve_fills_vacancies_in_its_order(scores):
    plain = filled(scores, 8, seed=2, reserve=4).close()
    assert len(plain.ids) == 8
    assert len(plain.reserve) == 4
    stream = filled(scores, 8, seed=2, reserve=4)
    leavers = [plain.ids[1], plain.ids[6], plain.reserve[0]]
    for who in leavers:
        stream.withdraw(who)
    cohort = stream.close()
    stay = [who for who in plain.ids if who not in leavers]
    assert cohort.ids == sorted([*stay, *plain.reserve[1:3]])
    assert cohort.reserve == plain.reserve[3:]
    assert cohort.certificate["drawn"] == plain.ids
    assert [stream.status(who) for who in (cohort.ids[0], cohort.reserve[0])] == [
        "accepted",
        "reserve",
    ]


@pytest.mark.parametrize("top", [1.0, 0.3, 0.03])
def test_a_reserve_does_not_change_the_chances_of_a_seat(rng, top):
    scores = rng.random(60) * top
    alone, both = filled(scores, 7), filled(scores, 7, reserve=5)
    rule, wide = alone._run.rule(), both._run.engine.rule()
    for z in lattice(scores):
        assert both._run.rule().probability(z) == rule.probability(z)
        assert wide.probability(z) >= rule.probability(z)
    waiting = both._run.engine.waiting
    both._run.engine.compress()
    seats = sum(w.weight * float(rule.probability(w.z)) for w in waiting)
    places = sum(w.weight * float(wide.probability(w.z)) for w in waiting)
    assert (seats, places) == pytest.approx((7, 12))


def test_with_a_reserve_seats_and_places_are_drawn_as_often_as_promised():
    scores = [0.9, 0.2, 0.55, 0.3, 0.71, 0.12, 0.5]
    seats, places = np.zeros(7), np.zeros(7)
    for seed in range(400):
        stream = FairStream(1, knots=3, slack=1, seed=seed, reserve=1)
        for i, score in enumerate(scores):
            stream.push(i, score)
        rules = stream._run.rule(), stream._run.engine.rule()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SeptetWarning)
            cohort = stream.close()
        seats[cohort.ids] += 1
        places[[*cohort.ids, *cohort.reserve]] += 1
    for counts, rule in zip((seats, places), rules, strict=True):
        p = np.array([float(rule.probability(z)) for z in lattice(scores)])
        assert p.sum() == pytest.approx(counts.sum() / 400)
        sd = np.sqrt(400 * p * (1 - p)) + 1e-9
        assert np.abs((counts - 400 * p) / sd).max() < 4.5


def test_a_reserve_with_few_arrivals_or_fewer_seats_still_adds_up():
    for n, k, spare in [(3, 2, 4), (6, 5, 3), (9, 3, 3), (5, 0, 2)]:
        stream = filled(np.linspace(0.1, 0.9, n), k, reserve=spare)
        cohort = stream.close()
        assert len(cohort.ids) == min(n, k)
        assert len(cohort.reserve) == min(n - min(n, k), spare)
    stream = filled(np.linspace(0.1, 0.9, 9), 3, reserve=3)
    stream.reduce_k(1)
    assert [len(part) for part in (stream.close().ids, stream.close().reserve)] == [1, 3]


def test_the_rule_for_fewer_seats_is_that_of_a_stream_for_fewer_seats(rng):
    for case in range(40):
        scores = rng.random(30) * [1, 0.3, 0.02][case % 3]
        k, spare = int(rng.integers(0, 12)), int(rng.integers(1, 12))
        wide = filled(scores, k, reserve=spare, knots=5, slack=case % 4)._run
        narrow = filled(scores, k, knots=5)._run
        assert seat_rule(wide.engine, k).shift == narrow.rule().shift


# ids and scores at the door (each row of the method's table of bad input)


def test_the_same_id_with_the_same_score_is_passed_over(scores):
    stream = FairStream(4, seed=1, slack=0)
    first = [stream.push(i, score) for i, score in enumerate(scores[:60])]
    position = stream._run.coins.position
    again = [stream.push(i, score) for i, score in enumerate(scores[:60])]
    assert [d.rejected for d in again] == [d.rejected for d in first]
    assert all(d.status == stream.status(d.id) for d in again)
    assert stream._run.coins.position == position
    assert stream.extend([7, 61, 61, 7], [scores[7], 0.9, 0.9, scores[7]]) is not None
    assert len(list(stream.record())) == 61


def test_the_same_id_with_another_score_is_refused(scores):
    stream = filled(scores, 4)
    with pytest.raises(ValueError, match=r"'p3' has arrived with the score 0\.\d+ already, now it"):
        stream.push("p3", 0.999)
    with pytest.raises(ValueError, match="'p3' has arrived with the score"):
        stream.extend(["new", "p3"], [0.5, 0.999])
    with pytest.raises(ValueError, match="'twin' has arrived with the score 0.5 already, now it"):
        stream.extend(["twin", "other", "twin"], [0.5, 0.1, 0.6])
    with pytest.raises(ValueError, match="nobody with the id 'new'"):
        stream.status("new")  # nothing of a refused bulk is kept


def test_after_the_close_nothing_happens_any_more(scores):
    stream = filled(scores, 4)
    cohort = stream.close()
    for late in (
        lambda: stream.push("late", 0.5),
        lambda: stream.extend(["late"], [0.5]),
        lambda: stream.withdraw(cohort.ids[0]),
        lambda: stream.reduce_k(1),
    ):
        with pytest.raises(ValueError, match="the stream is closed: its cohort is drawn"):
            late()
    assert stream.close().certificate == cohort.certificate
    assert stream.push("p0", scores[0]).status == stream.status("p0")


@pytest.mark.parametrize("k", [21, 100])
def test_seats_cannot_be_added(scores, k):
    with pytest.raises(ValueError, match=f"k can only be reduced: it is 20, got {k}"):
        filled(scores, 20).reduce_k(k)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (float("nan"), r"1 of 1 scores are missing or infinite \('x'\)"),
        (float("inf"), r"1 of 1 scores are missing or infinite \('x'\)"),
        (-0.1, r"1 of 1 scores lie outside \[0, 1\] \('x'"),
        (87, "these look like percentages; divide them by 100"),
        (None, "missing or infinite|must hold numbers"),
    ],
)
def test_a_score_that_is_no_probability_is_refused(score, message):
    stream = FairStream(2, seed=1)
    with pytest.raises((ValueError, TypeError), match=message):
        stream.push("x", score)
    with pytest.raises(ValueError, match="nobody with the id 'x' has arrived"):
        stream.status("x")


def test_bad_scores_of_a_bulk_are_counted_and_named():
    with pytest.raises(ValueError, match=r"2 of 4 scores are missing .*\('b', 'd'\)"):
        FairStream(2, seed=1).extend(list("abcd"), [0.1, np.nan, 0.2, np.inf])
    with pytest.raises(ValueError, match="these look like logits"):
        FairStream(2, seed=1).extend(list("abc"), [-2.0, 0.5, 3.0])


@pytest.mark.parametrize(
    ("who", "error", "message"),
    [
        (7.0, TypeError, "ids must be all strings or all integers, .* got 7.0"),
        (True, TypeError, "got True"),
        (None, TypeError, "got None"),
        (("a", "b"), TypeError, r"got \('a', 'b'\)"),
        ("", ValueError, "an id is empty"),
        ("\ud800", ValueError, "ids must be encodable as UTF-8"),
        (2**63, ValueError, "integer ids must fit 64 bits"),
    ],
)
def test_an_id_that_could_be_confused_is_refused(who, error, message):
    with pytest.raises(error, match=message):
        FairStream(2, seed=1).push(who, 0.5)
    with pytest.raises(error, match=message):
        FairStream(2, seed=1).extend([who], [0.5])


def test_the_first_id_says_what_ids_are():
    stream = FairStream(2, seed=1)
    stream.push("7", 0.5)
    with pytest.raises(TypeError, match="got 7 in a stream of str ids"):
        stream.push(7, 0.5)
    with pytest.raises(TypeError, match="got 7 in a stream of str ids"):
        stream.status(7)
    with pytest.raises(TypeError, match="got 'b' in row 1"):
        FairStream(2, seed=1).extend([1, "b"], [0.5, 0.5])
    numbers = FairStream(3, seed=1)
    numbers.extend(np.array([4, 5], dtype=np.uint16), [0.5, 0.5])
    assert numbers.push(np.int64(6), 0.5).id == 6
    assert numbers.pending == (4, 5, 6)


def test_ids_and_scores_must_match():
    with pytest.raises(ValueError, match="ids and scores must match; got 2 and 3"):
        FairStream(2, seed=1).extend(["a", "b"], [0.1, 0.2, 0.3])
    assert FairStream(2, seed=1).extend([], []) == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": -1}, ValueError, "k must be from 0 to"),
        ({"k": 2.0}, TypeError, "k must be an integer; got 2.0"),
        ({"k": MOST}, ValueError, "k must be from 0 to"),
        ({"reserve": -1}, ValueError, "reserve must be from 0 to"),
        ({"slack": -1}, ValueError, "slack must be from 0 to"),
        ({"knots": 0}, ValueError, "knots must be from 1 to 1048576"),
        ({"knots": [0.5, 2]}, ValueError, r"knots\[1\] = 2.0 is no probability"),
        ({"seed": ""}, ValueError, "seed must not be empty"),
        ({"seed": 1.5}, TypeError, "seed must be a string or an integer"),
    ],
)
def test_terms_that_cannot_be_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        FairStream(**{"k": 2, "seed": 1} | options)


def test_unknown_people_are_named():
    stream = FairStream(2, seed=1)
    for call in (stream.status, stream.withdraw):
        with pytest.raises(ValueError, match="nobody with the id 'x' has arrived"):
            call("x")


def test_a_stream_is_closed_with_fewer_people_than_seats_and_says_so():
    stream = filled([0.1, 0.7], 5)
    with pytest.warns(SeptetWarning, match="only 2 arrived for 5 seats: all of them were drawn"):
        cohort = stream.close()
    assert cohort.ids == ["p0", "p1"]
    with pytest.warns(SeptetWarning, match="only 0 arrived for 5 seats"):
        assert FairStream(5, seed=1).close().ids == []


def test_a_narrow_band_of_scores_is_noticed_and_quantile_knots_help(rng):
    last_year, scores = rng.random(3000) * 0.02, rng.random(3000) * 0.02
    stream = filled(scores, 10)
    with pytest.warns(
        SeptetWarning, match=r"10 of 10 seats fall into the one cell, from 0 to 0.02"
    ):
        narrow = stream.close()
    knots = quantile_knots(last_year, 50)
    helped = filled(scores, 10, knots=knots).close()  # and says nothing
    z = lattice(scores)
    best = utility(shift_optimum(z, 10)[0], z)
    assert float(Fraction(narrow.certificate["utility"]) / best) < 0.85
    assert float(Fraction(helped.certificate["utility"]) / best) > 0.999


@pytest.mark.parametrize("knots", [1, [0.0, 0.25, 0.5, 0.75, 1.0]])
def test_one_cell_by_choice_and_exact_knots_draw_no_such_warning(knots, rng):
    filled(rng.integers(0, 5, 400) / 4, 10, knots=knots).close()


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (2, 1), (30, 7), (8, 7)])
def test_equal_scores_give_equal_chances(value, n, k):
    stream = filled([value] * n, k)
    assert stream.probability(value) == float(Fraction(k, n))
    cohort = stream.close()
    assert len(cohort.ids) == k
    assert (cohort.certificate["ratio"] is None) == (value == 0)


def test_scores_a_rounding_error_outside_are_clipped_and_reported():
    stream = FairStream(1, seed=1)
    with pytest.warns(SeptetWarning, match="clipped 1 score"):
        stream.push("a", 1 + 1e-13)
    assert stream.probability(1.0) == 1


def test_without_the_compiled_engine_a_bulk_runs_with_one_warning(rng, monkeypatch):
    from septet.cohort import _stream_run

    scores = rng.random(5000)
    expected = filled(scores, 9).close().certificate

    def missing(name):
        raise ImportError(f"no {name}")

    monkeypatch.setattr(_stream_run, "import_module", missing)
    _stream_run._compiled.cache_clear()
    try:
        with pytest.warns(SeptetWarning, match="without the compiled engine.*septet\\[fast\\]"):
            stream = filled(scores, 9)
        again = filled(scores, 9)  # warned once
    finally:
        _stream_run._compiled.cache_clear()
    assert stream.close().certificate == again.close().certificate == expected


def test_too_many_arrivals_for_exact_sums_are_refused():
    stream = FairStream(1, seed=1)
    stream._run.engine.arrived = MOST
    with pytest.raises(ValueError, match=r"at most 2\*\*30 arrivals"):
        stream.push("one more", 0.5)
