"""The end of a stream: seats and reserve list from those who wait, and the certificate."""

import warnings
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet._core.errors import CheckpointError, SeptetWarning
from septet.cohort._certificate import (
    LISTED,
    Certificate,
    fraction_text,
    seed_commitment,
    software,
)
from septet.cohort._cohort import Cohort
from septet.cohort._coins import Coins
from septet.cohort._ledger import Ints
from septet.cohort._marginals import Marginals
from septet.cohort._reserve import draw_with_reserve
from septet.cohort._shift import exact_sum
from septet.cohort._stream_reference import PlainEngine, chances
from septet.cohort._stream_rule import ALL_STAY, LATTICE, NOBODY, Rule
from septet.cohort._stream_terms import Terms

FORMAT = "septet-stream-certificate-1"
_UNIT = 1 << 52  # on which the chances of those who wait are rounded for the last draw
_KEPT = 1_000_000  # up to so many arrivals, the probabilities of all are returned


def seat_rule(engine: PlainEngine, seats: int) -> Rule:
    """Return the rule for fewer seats than the engine keeps people for.

    It needs no more than the engine's sums: whoever is sure of one of the fewer seats waits.
    """
    if seats == engine.seats:
        return engine.rule()
    n, total = engine.arrived, sum(engine.sums)
    if seats == 0:
        return NOBODY
    if n <= seats:
        return ALL_STAY
    if total <= seats * LATTICE:
        sure = 0
        for z in sorted((person.z for person in engine.waiting), reverse=True):
            lift = (seats - sure) * LATTICE - total
            if z * (n - sure) + lift < LATTICE * (n - sure):
                break
            sure, total = sure + 1, total - z
        return Rule(dead=-1, bend=0, rise=(seats - sure) * LATTICE - total, run=n - sure)
    above, sum_above = n, total
    for (dead, bend), count, here in zip(
        pairwise(engine.knots), engine.counts, engine.sums, strict=True
    ):
        above, sum_above = above - count, sum_above - here
        rise = seats * LATTICE + bend * above - sum_above
        if rise > 0:
            return Rule(dead, bend, rise, (bend - dead) * above + here - dead * count)
    raise AssertionError("more than k scores' worth lies above the last knot, which is 1")


def draw_seats(
    engine: PlainEngine, seats: int, coins: Coins
) -> tuple[list[int], list[int], list[int]]:
    """End a stream.

    Returns
    -------
    drawn, reserve, rejected : list of int
        Numbers of those drawn for a seat, ascending; of the reserve list, in its order; of those
        rejected now, ascending.
    """
    if engine.seats == seats:
        drawn, rejected = engine.finish()
        return drawn, [], rejected
    rejected = engine.compress()
    waiting = engine.waiting
    if engine.arrived <= engine.seats:
        places = [1.0] * len(waiting)
    else:
        places = [1.0 if person.full else float(person.drawn) for person in waiting]
    p = chances(seat_rule(engine, seats), [person.z for person in waiting], engine.ratio)
    sits = [min(float(w.weight * q), x) for w, q, x in zip(waiting, p, places, strict=True)]
    most = _whole(places, [_UNIT] * len(waiting), min(engine.seats, len(waiting)))
    least = _whole(sits, most, min(seats, len(waiting)))
    rows, spare = draw_with_reserve((np.array(least), _UNIT), (np.array(most), _UNIT), coins)
    drawn = [waiting[i].number for i in rows.tolist()]
    reserve = [waiting[i].number for i in spare.tolist()]
    told = {*drawn, *reserve}
    rejected += [person.number for person in waiting if person.number not in told]
    return drawn, reserve, sorted(rejected)


def _whole(chances: Sequence[float], limits: Sequence[int], size: int) -> list[int]:
    """Round chances to multiples of 1 / _UNIT that stay within limits and add up to `size`."""
    weights = [min(round(x * _UNIT), top) for x, top in zip(chances, limits, strict=True)]
    missing = size * _UNIT - sum(weights)
    for i, top in enumerate(limits):  # what rounding left goes to the first who have room
        step = min(max(missing, -weights[i]), top - weights[i])
        if 0 < weights[i] < top:
            weights[i] += step
            missing -= step
    if missing:
        raise AssertionError(f"the chances of those who wait miss {size} by {missing / _UNIT:g}")
    return weights


def marginals(rule: Rule, seats: int, z: Ints) -> Marginals | None:
    """Return the probabilities of all arrivals as exact fractions, or None if too many came."""
    if z.size > _KEPT or z.size == 0:
        return None
    top = rule.run * LATTICE
    foot = (rule.bend - rule.dead) * rule.rise
    weights = np.array(
        [
            0
            if value <= rule.dead
            else (value - rule.dead) * rule.rise
            if value < rule.bend
            else min(top, (value - rule.bend) * rule.run + foot)
            for value in z.tolist()
        ],
        dtype=object if top >= 1 << 62 else np.int64,
    )
    return Marginals(
        z / LATTICE,
        min(seats, z.size),
        "linear",
        lattice_scores=z,
        numerators=weights,
        denominator=top,
        shift=rule.shift if rule.dead < 0 else None,
    )


def ratio(rule: Rule, z: Ints) -> Fraction | None:
    """Return the smallest ``p / s`` over the positive scores, or None if there are none.

    Where the rule lifts scores the largest one gains least, elsewhere the smallest one does.
    """
    positive = z[z > 0]
    if not positive.size:
        return None
    extremes = {int(positive.min()), int(positive.max())}
    return min(rule.probability(value) * LATTICE / value for value in extremes)


def utility(rule: Rule, z: Ints) -> Fraction:
    """Return the expected total score of the cohort."""
    sure = rule.bend + LATTICE - Fraction((rule.bend - rule.dead) * rule.rise, rule.run)
    inside = [value for value in z.tolist() if rule.dead < value < rule.bend]
    above = [value for value in z.tolist() if rule.bend <= value < sure]
    capped = sum(value for value in z.tolist() if value >= max(sure, rule.bend))
    low = Fraction(sum(value * (value - rule.dead) for value in inside) * rule.rise, rule.run)
    foot = Fraction((rule.bend - rule.dead) * rule.rise, rule.run) - rule.bend
    high = sum(value * value for value in above) + foot * sum(above)
    return (low + high) / LATTICE**2 + Fraction(capped, LATTICE)


def write_certificate(
    terms: Terms,
    rule: Rule,
    seats: int,
    z: Ints,
    *,
    record: dict[str, Any],
    seed: str,
    words: int,
    people: dict[str, list[Any]],
) -> Certificate:
    """Return the certificate of a stream that ends, and warn where it could have been better.

    `record` describes the log of events, `people` holds ids under "drawn", "withdrawn", "selected"
    and "reserve", `words` is the number of words of the coin stream used up.
    """
    ranked = np.sort(z)[::-1]
    given = min(seats, z.size)
    _warn(rule, seats, z, empty=given - len(people["selected"]))
    return Certificate(
        {
            "format": FORMAT,
            "software": software(),
            "terms": terms.facts(),
            "record": record,
            "seed": seed,
            "commitment": seed_commitment(seed),
            "words": words,
            "k": seats,
            "n": int(z.size),
            "rule": {name: getattr(rule, name) for name in ("dead", "bend", "rise", "run")},
            "shift": fraction_text(rule.shift),
            "utility": fraction_text(utility(rule, z)),
            "ratio": fraction_text(ratio(rule, z)),
            "max_violation": fraction_text(Fraction(0)),  # by the form of the rule
            "uniform_utility": fraction_text(
                Fraction(given * exact_sum(z), LATTICE * max(z.size, 1))
            ),
            "top_k_utility": fraction_text(Fraction(exact_sum(ranked[:given]), LATTICE)),
            "probabilities": None
            if z.size > LISTED
            else [fraction_text(rule.probability(value)) for value in z.tolist()],
            **people,
        }
    )


def cohort_from(fields: dict[str, Any], z: Ints, rows: NDArray[np.intp]) -> Cohort:
    """Return what a closed stream gives out, from its certificate's fields."""
    digest = fields.pop("digest", None)
    certificate = Certificate(fields)
    if certificate["digest"] != digest:
        raise CheckpointError("the stream's certificate was changed after it was written.")
    return Cohort(
        ids=fields["selected"],
        certificate=certificate,
        p=marginals(Rule(**fields["rule"]), fields["k"], z),
        rows=rows,
        reserve=fields["reserve"],
    )


def _warn(rule: Rule, seats: int, z: Ints, *, empty: int) -> None:
    if z.size < seats:
        _say(f"only {z.size} arrived for {seats} seats: all of them were drawn.")
    if empty:
        _say(f"{empty} of {seats} seats stay empty: who was drawn for them had withdrawn.")
    inside = z[(z > rule.dead) & (z < rule.bend)] - rule.dead
    share = Fraction(exact_sum(inside) * rule.rise, rule.run * LATTICE) if inside.size else 0
    if (rule.dead, rule.bend) != (0, LATTICE) and 2 * share > seats:
        _say(
            f"{float(share):.3g} of {seats} seats fall into the one cell, from "
            f"{rule.dead / LATTICE:.4g} to {rule.bend / LATTICE:.4g}, in which the rule bends, "
            "because the scores lie in a narrow band. Next time, knots=quantile_knots(scores of "
            "this season) comes closer to the best expected total score."
        )


def _say(text: str) -> None:
    warnings.warn(text, SeptetWarning, stacklevel=6)
