"""Streams: their exact law, how many people wait, and what not knowing the future costs."""

import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from septet import cohort
from septet._core.errors import SeptetWarning
from septet.cohort._scores import LATTICE
from septet.cohort._stream_reference import PlainEngine
from septet.cohort._stream_rule import knot_lattice

Floats = NDArray[np.float64]
Entry = dict[str, Any]

_BAND = "narrow band"


def laws(n: int, rng: np.random.Generator) -> dict[str, Floats]:
    """Scores of `n` arrivals under six laws, in random order."""
    groups = rng.random(n) < 0.3
    return {
        "uniform": rng.random(n),
        "skewed low": rng.beta(2, 5, n),
        "skewed high": rng.beta(5, 2, n),
        "two groups": np.where(groups, rng.beta(20, 5, n), rng.beta(3, 12, n)),
        "coarse": rng.integers(0, 21, n) / 20,
        _BAND: 0.02 * rng.random(n),
    }


def compare(
    n: int, seats: tuple[int, ...], cells: tuple[int, ...], slack: int, seed: int
) -> list[Entry]:
    """One entry for every law, order, number of seats and number of cells."""
    rng = np.random.default_rng(seed)
    entries = []
    for law, scores in laws(n, rng).items():
        for order in ("random", "ascending", "descending"):
            arranged = scores if order == "random" else np.sort(scores)
            arranged = arranged[::-1] if order == "descending" else arranged
            for k in seats:
                for knots in cells:
                    entry = follow(arranged, k, knots, slack, f"{seed} {law} {order}")
                    entries.append({"law": law, "order": order, **entry})
    return entries


def follow(scores: Floats, k: int, knots: int, slack: int, seed: str) -> Entry:
    """Run one stream to its end, watch who waits, and hold it against the offline optimum."""
    stream = cohort.FairStream(k, knots=knots, slack=slack, seed=seed)
    waiting = [stream.push(i, score).pending for i, score in enumerate(scores.tolist())]
    with warnings.catch_warnings():  # of the narrow band, which is here on purpose
        warnings.simplefilter("ignore", SeptetWarning)
        end = stream.close()
    if end.p is None or not scores.any():
        raise ValueError("streams to compare hold up to a million scores, some of them positive.")
    rule = end.certificate["rule"]
    width = Fraction(rule["bend"] - rule["dead"], LATTICE) if rule["dead"] >= 0 else Fraction(0)
    linear = cohort.selection_probabilities(scores, k, allow_zero_score=True)
    ratio = cohort.selection_probabilities(scores, k, objective="ratio", allow_zero_score=True)
    best = Fraction(ratio.ratio or 1)
    reached = Fraction(end.certificate["utility"])
    loss, most = linear.utility - reached, k * (width + width**2)
    return {
        "seats": k,
        "cells": knots,
        "of the optimum": float(reached / linear.utility),
        "loss over bound": float(loss / most) if most else float(loss != 0),
        "ratio shortfall": float(1 - Fraction(end.certificate["ratio"]) / best),
        "violation": float(end.p.max_violation),
        "peak": max(waiting),
        "bound": k + 2 * knots - 1 + slack,
        "replayed": replays(end, stream),
    }


def replays(end: cohort.Cohort, stream: cohort.FairStream) -> bool:
    """Whether the plain verifier comes to the same cohort from seed and record."""
    try:
        cohort.verify_stream(end.certificate, stream.record())
    except cohort.CertificateError:
        return False
    return True


def waiting_over_time(n: int, k: int, knots: int, slack: int) -> list[int]:
    """How many people wait after each of `n` arrivals with skewed scores."""
    scores = np.random.default_rng(7).beta(2, 5, n).tolist()
    stream = cohort.FairStream(k, knots=knots, slack=slack, seed="waiting over time")
    return [stream.push(i, score).pending for i, score in enumerate(scores)]


def enumerate_laws(arrivals: int, instances: int, seed: int) -> Entry:
    """Compare everybody's exact chance, over all outcomes of all coins, with the promised one.

    Weights and coins are fractions here, in the very code that serves single arrivals in floats.
    """
    rng = np.random.default_rng(seed)
    wrong = compared = outcomes = 0
    for _ in range(instances):
        z = (rng.integers(0, 17, arrivals) * (LATTICE // 16)).tolist()
        knots, slack = int(rng.integers(1, 5)), int(rng.integers(0, 3))
        for stop in range(1, arrivals + 1):
            k = int(rng.integers(0, min(stop, 3) + 1))
            p, promised, count = _law(z[:stop], k, knots, slack)
            wrong += sum(a != b for a, b in zip(p, promised, strict=True))
            compared, outcomes = compared + stop, outcomes + count
    return {"wrong": wrong, "compared": compared, "outcomes": outcomes}


def _law(
    z: list[int], k: int, knots: int, slack: int
) -> tuple[list[Fraction], list[Fraction], int]:
    """Chances by enumeration, chances as promised, and the number of outcomes."""

    def run(flip: Callable[[Fraction], bool]) -> tuple[list[int], list[Fraction]]:
        engine = PlainEngine(k, knot_lattice(knots).tolist(), slack, flip, exact=True)
        for number, value in enumerate(z):
            engine.arrive(number, value)
        promised = [engine.rule().probability(value) for value in z]
        return engine.finish()[0], promised

    p, found = [Fraction(0)] * len(z), list(_outcomes(run))
    for probability, (chosen, _) in found:
        for number in chosen:
            p[number] += probability
    return p, found[0][1][1], len(found)


def _outcomes(run: Callable[[Callable[[Fraction], bool]], Any]) -> Iterator[tuple[Fraction, Any]]:
    """Yield the probability and the result of `run` for every sequence of coins."""
    script: list[bool] = []
    while True:
        probability, place = Fraction(1), 0

        def flip(q: Fraction) -> bool:
            nonlocal probability, place
            if place == len(script):
                script.append(True)
            outcome = script[place]
            place += 1
            probability *= q if outcome else 1 - q
            return outcome

        result = run(flip)
        yield probability, result
        while script and not script[-1]:
            script.pop()
        if not script:
            return
        script[-1] = False


def summary(entries: list[Entry]) -> list[Entry]:
    """One row for every number of seats and cells: the worst over laws and orders."""
    rows = []
    for seats, cells in sorted({(e["seats"], e["cells"]) for e in entries}):
        some = [e for e in entries if (e["seats"], e["cells"]) == (seats, cells)]
        smooth = [e["of the optimum"] for e in some if e["law"] != _BAND]
        rows.append(
            {
                "seats": seats,
                "cells": cells,
                "streams": len(some),
                "of the optimum, spread scores": min(smooth),
                "of the optimum, narrow band": min(
                    e["of the optimum"] for e in some if e["law"] == _BAND
                ),
                "loss over its bound": max(e["loss over bound"] for e in some),
                "shortfall of the ratio": max(e["ratio shortfall"] for e in some),
                "most waiting": max(e["peak"] for e in some),
                "bound": some[0]["bound"],
                "violation": max(e["violation"] for e in some),
            }
        )
    return rows
