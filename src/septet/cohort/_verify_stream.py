"""Checking a stream's certificate against its record, with nothing but the standard library.

Nothing here is shared with the engines: the rule is solved from scratch upon every arrival, and
the weights are plain Python floats, whose every operation is one of IEEE 754. In lattice units of
2**-32, upon each event the verifier does this:

1. An arrival adds its score to its cell ``[a_j, a_j+1)`` of the knots (1 belongs to the last). The
   rule then is (`dead`, `bend`, `rise`, `run`): ``(-1, 0, 2**32, 1)`` while no more arrived than
   there are seats (reserve included), and ``(2**32 - 1, 2**32, 0, 1)`` if there are none; else,
   with n arrivals of total S and k seats, if ``S <= k 2**32``, ``(-1, 0, (k - m) 2**32 - rest,
   n - m)`` with the m highest at probability 1 and the rest's total; else, with the first cell for
   which ``rise = k 2**32 - sum(z - bend over all z in cells above)`` is positive, its two ends,
   that `rise` and ``run = (bend - dead) (number above) + sum(z - dead over its own cell)``.
2. Whoever has probability 0 is rejected; else the arrival waits with weight 1.0. After more than
   `slack` have joined the waiting, and after every reduction of k, they are thinned out.
3. Thinning out (only if more arrived than there are seats) computes ``h = float(rise) /
   float(run)``, ``foot = (bend - dead) * h`` and everybody's ``p``: 0.0 up to `dead`, ``(z - dead)
   * h / 2**32`` below `bend`, ``min(1.0, (z - bend + foot) / 2**32)`` from there. In order of
   arrival: weight * p of at most 2**-40 is a rejection, of at least ``1 - 2**-40`` full; all others
   meet the at most two of their cell who wait to move. One of equal score is met along (1, -1), two
   of other scores along the differences ``(zb - zn, zn - za, za - zb)``, until at most two are
   left. A meeting goes as far ahead, or back, as all weights stay from 0 to 1 / p, ahead with
   probability ``back / (ahead + back)``, if the coin ``below(2**62)`` is less than that times
   2**62, rounded down. Who stops it gets the weight 0.0 or ``1 / p``; the others weight + step * v.
4. The close thins out once more. Without a reserve, those who are neither full nor rejected meet
   by the pivotal method in floats; with one, chances are rounded to multiples of 2**-52 and drawn
   as for a roster.
"""

import hashlib
import json
from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any

from septet.cohort._plain_coins import PlainCoins
from septet.cohort._verify import (
    CertificateError,
    Id,
    Verification,
    _brief,
    _draw_both,
    _json,
    _read,
    _text,
)

_D = 2**32
_FORMAT = "septet-stream-certificate-1"
_TERMS = "septet-stream-1"
_TINY = 2.0**-40
_LISTED = 10_000
_FIELDS = {
    *("commitment", "digest", "drawn", "format", "k", "max_violation", "n", "probabilities"),
    *("ratio", "record", "reserve", "rule", "seed", "selected", "shift", "software", "terms"),
    *("top_k_utility", "uniform_utility", "utility", "withdrawn", "words"),
}

_Rule = tuple[int, int, int, int]


class _Replay:
    """A stream once more, written for reading."""

    def __init__(self, terms: dict[str, Any], seed: str) -> None:
        self.spare, self.slack, self.knots = terms["reserve"], terms["slack"], terms["knots"]
        self.k = terms["k"]
        self.coins = PlainCoins(seed, hashlib.sha256(_json(terms).encode()).digest())
        self.digest = hashlib.sha256(_json(terms).encode()).digest()
        self.z: dict[Id, int] = {}
        self.ranked: list[int] = []  # all scores, ascending, until they exceed the seats
        self.total = 0
        self.cells = [[0, 0] for _ in self.knots[1:]]  # number and total of the scores
        self.weight: dict[Id, float] = {}  # of those who wait, in order of arrival
        self.p: dict[Id, float] = {}
        self.full: set[Id] = set()
        self.phantoms: set[Id] = set()
        self.joined = 0

    def event(self, kind: str, *rest: Any) -> None:
        line = json.dumps([kind, *rest], ensure_ascii=False, separators=(",", ":"))
        self.digest = hashlib.sha256(self.digest + line.encode()).digest()
        if kind == "arrive":
            self.arrive(*rest)
        elif kind == "withdraw":
            (who,) = rest
            if who not in self.z:
                raise CertificateError(f"the record lets {who!r} withdraw, who never arrived.")
            if who in self.weight:
                self.phantoms.add(who)
        elif kind == "reduce":
            (k,) = rest
            if not 0 <= k < self.k:
                raise CertificateError(f"the record changes k from {self.k} to {k}.")
            self.k = k
            self.thin_out()
        elif kind != "close" or rest:
            raise CertificateError(f"the record holds an unknown event, {line}.")

    def arrive(self, who: Id, z: int) -> None:
        if who in self.z or type(z) is not int or not 0 <= z <= _D:
            raise CertificateError(f"the record holds {who!r} twice, or with the score {z!r}.")
        self.z[who] = z
        self.total += z
        if self.total <= (self.k + self.spare) * _D or len(self.z) <= self.k + self.spare:
            insort(self.ranked, z)
        cell = self.cells[self.cell(z)]
        cell[0] += 1
        cell[1] += z
        if _chance(self.rule(self.k + self.spare), z) > 0:
            self.weight[who] = 1.0
            self.joined += 1
            if self.joined > self.slack:
                self.thin_out()

    def cell(self, z: int) -> int:
        return min(bisect_right(self.knots, z), len(self.knots) - 1) - 1

    def rule(self, seats: int) -> _Rule:
        n = len(self.z)
        if seats == 0:
            return _D - 1, _D, 0, 1
        if n <= seats:
            return -1, 0, _D, 1
        if self.total <= seats * _D:
            rest, m = self.total, 0
            while True:
                rise = (seats - m) * _D - rest
                top = self.ranked[n - 1 - m]
                if top * (n - m) + rise < _D * (n - m):
                    return -1, 0, rise, n - m
                rest, m = rest - top, m + 1
        above, total = n, self.total
        for j, (count, here) in enumerate(self.cells):
            dead, bend = self.knots[j], self.knots[j + 1]
            above, total = above - count, total - here
            rise = seats * _D - (total - bend * above)
            if rise > 0:
                return dead, bend, rise, (bend - dead) * above + here - dead * count
        raise CertificateError("the terms' knots do not end at 1.")

    def thin_out(self) -> None:
        self.joined = 0
        self.full = set()
        if len(self.z) <= self.k + self.spare:
            self.full = set(self.weight)
            return
        self.p = _floats(self.rule(self.k + self.spare), {who: self.z[who] for who in self.weight})
        undecided: list[list[Id]] = [[] for _ in self.cells]
        for who in list(self.weight):
            if self.moves(who):
                self.meet(undecided[self.cell(self.z[who])], who)
        self.weight = {who: w for who, w in self.weight.items() if w > 0}

    def moves(self, who: Id) -> bool:
        drawn = self.weight[who] * self.p[who]
        if drawn <= _TINY:
            self.weight[who] = 0.0
        elif drawn >= 1 - _TINY:
            self.full.add(who)
        return _TINY < drawn < 1 - _TINY

    def meet(self, pair: list[Id], new: Id) -> None:
        z = self.z
        twin = next((old for old in pair if z[old] == z[new]), None)
        if twin is not None:
            pair.remove(twin)
            pair += self.step([twin, new], [1, -1])
        elif len(pair) < 2:
            pair.append(new)
        else:
            a, b = pair
            pair[:] = self.step([a, b, new], [z[b] - z[new], z[new] - z[a], z[a] - z[b]])

    def step(self, people: list[Id], line: list[int]) -> list[Id]:
        w, p = self.weight, self.p
        up = [(1 / p[who] - w[who]) / abs(v) for who, v in zip(people, line, strict=True)]
        down = [w[who] / abs(v) for who, v in zip(people, line, strict=True)]
        ahead = [u if v > 0 else d for u, d, v in zip(up, down, line, strict=True)]
        back = [d if v > 0 else u for u, d, v in zip(up, down, line, strict=True)]
        forth = self.coin(min(back) / (min(ahead) + min(back)))
        reach = ahead if forth else back
        stop, step = reach.index(min(reach)), min(reach) if forth else -min(reach)
        for i, (who, v) in enumerate(zip(people, line, strict=True)):
            if i != stop:
                w[who] += step * v
            elif step * v > 0:
                w[who] = 1 / p[who]
                self.full.add(who)
            else:
                w[who] = 0.0
        return [who for i, who in enumerate(people) if i != stop and self.moves(who)]

    def coin(self, q: float) -> bool:
        return self.coins.below(2**62) < int(q * 2**62)

    def close(self) -> tuple[list[Id], list[Id]]:
        """Return who is drawn for a seat, in order of arrival, and the reserve list."""
        self.thin_out()
        if self.spare:
            return self.close_with_reserve()
        drawn = {who for who in self.weight if who in self.full}
        left: tuple[Id, float] | None = None
        for who in [who for who in self.weight if who not in self.full]:
            x = self.weight[who] * self.p[who]
            if left is None:
                left = (who, x)
                continue
            other, y = left
            if abs(x + y - 1) <= _TINY:
                drawn.add(who if self.coin(x / (y + x)) else other)
                left = None
            elif x + y < 1:
                left = (who if self.coin(x / (y + x)) else other, y + x)
            else:
                wins = self.coin((1 - y) / (2 - (y + x)))
                drawn.add(who if wins else other)
                left = (other if wins else who, y + x - 1)
        if left and len(drawn) < self.k:
            drawn.add(left[0])
        return [who for who in self.weight if who in drawn], []

    def close_with_reserve(self) -> tuple[list[Id], list[Id]]:
        names = list(self.weight)
        places = [1.0 if w in self.full else self.weight[w] * self.p[w] for w in names]
        p = _floats(self.rule(self.k), {who: self.z[who] for who in names})
        sits = [min(self.weight[w] * p[w], x) for w, x in zip(names, places, strict=True)]
        most = _whole(places, [2**52] * len(names), min(self.k + self.spare, len(names)))
        least = _whole(sits, most, min(self.k, len(names)))
        chosen, waiting = _draw_both((least, 2**52), (most, 2**52), self.coins)
        return [names[i] for i in chosen], [names[i] for i in waiting]


def verify_stream(
    certificate: Mapping[str, Any] | str | bytes | PathLike[str],
    record: Iterable[str] | PathLike[str],
) -> Verification:
    """Replay a stream from its seed and record and compare every field of its certificate.

    Parameters
    ----------
    certificate : mapping, JSON text or path of a JSON file
        As `FairStream.close` made it.
    record : iterable of str, or path of a text file
        The lines of `FairStream.record`.

    Returns
    -------
    Verification

    Raises
    ------
    CertificateError
        If the certificate or the record is damaged, or they do not fit each other.
    """
    stated = _read(certificate)
    digest = hashlib.sha256(
        _json({key: value for key, value in stated.items() if key != "digest"}).encode()
    ).hexdigest()
    if stated.get("format") != _FORMAT or set(stated) != _FIELDS:
        raise CertificateError(f"the certificate is none of the format {_FORMAT!r}.")
    if stated["digest"] != digest:
        raise CertificateError("the certificate's digest does not fit its fields.")
    if isinstance(record, PathLike):
        record = Path(record).read_text(encoding="utf-8").splitlines()
    try:
        expected = _redo(stated, [json.loads(line) for line in record])
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise CertificateError(f"the record or the terms cannot be read: {error}.") from None
    wrong = [key for key, value in expected.items() if _json(stated[key]) != _json(value)]
    if wrong:
        raise CertificateError(
            f"the certificate does not fit this record: {', '.join(wrong)} "
            f"{'differs' if len(wrong) == 1 else 'differ'}; {wrong[0]} is "
            f"{_brief(stated[wrong[0]])}, recomputed {_brief(expected[wrong[0]])}."
        )
    return Verification(
        n=stated["n"],
        k=stated["k"],
        selected=tuple(stated["selected"]),
        reserve=tuple(stated["reserve"]),
        committed=True,
    )


def _redo(stated: dict[str, Any], events: list[list[Any]]) -> dict[str, Any]:
    """Compute every field from the seed, the terms and the record."""
    terms = stated["terms"]
    if terms["format"] != _TERMS or terms["lattice"] != _D:
        raise CertificateError(f"the terms are none of the format {_TERMS!r}.")
    if [event[0] for event in events].count("close") != 1 or events[-1] != ["close"]:
        raise CertificateError("the record does not end with its one close.")
    replay = _Replay(terms, stated["seed"])
    for event in events:
        replay.event(*event)
    drawn, spare = replay.close()
    present = [who for who in drawn if who not in replay.phantoms]
    waiting = [who for who in spare if who not in replay.phantoms]
    free = len(drawn) - len(present)
    z, k, n = list(replay.z.values()), replay.k, len(replay.z)
    dead, bend, rise, run = rule = replay.rule(k)
    p = [_chance(rule, value) for value in z]
    kinds = {type(who).__name__ for who in replay.z}
    return {
        "terms": {
            "format": _TERMS,
            "k": terms["k"],
            "knots": replay.knots,
            "lattice": _D,
            "reserve": replay.spare,
            "slack": replay.slack,
        },
        "record": {
            "events": len(events),
            "ids": kinds.pop() if len(kinds) == 1 else None,
            "sha256": replay.digest.hex(),
        },
        "commitment": hashlib.sha256(stated["seed"].encode()).hexdigest(),
        "words": replay.coins.position,
        "k": k,
        "n": n,
        "drawn": sorted(drawn),
        "withdrawn": sorted(who for who in (*drawn, *spare) if who in replay.phantoms),
        "selected": sorted(present + waiting[:free]),
        "reserve": waiting[free:],
        "rule": {"dead": dead, "bend": bend, "rise": rise, "run": run},
        "shift": _text((Fraction((bend - dead) * rise, run) - bend) / _D),
        "utility": _text(sum((x * value for x, value in zip(p, z, strict=True)), Fraction(0)) / _D),
        "ratio": _text(min((x * _D / v for x, v in zip(p, z, strict=True) if v), default=None)),
        "max_violation": _text(_violation(z, p)),
        "uniform_utility": _text(Fraction(min(k, n) * sum(z), _D * max(n, 1))),
        "top_k_utility": _text(Fraction(sum(sorted(z, reverse=True)[:k]), _D)),
        "probabilities": [_text(x) for x in p] if n <= _LISTED else None,
    }


def _chance(rule: _Rule, z: int) -> Fraction:
    dead, bend, rise, run = rule
    if z <= dead:
        return Fraction(0)
    if z < bend:
        return Fraction((z - dead) * rise, run * _D)
    return min(Fraction(1), Fraction((z - bend) * run + (bend - dead) * rise, run * _D))


def _floats(rule: _Rule, z: dict[Id, int]) -> dict[Id, float]:
    dead, bend, rise, run = rule
    height = float(rise) / float(run)
    foot = (bend - dead) * height
    out = {}
    for who, value in z.items():
        if value <= dead:
            out[who] = 0.0
        elif value < bend:
            out[who] = (value - dead) * height / _D
        else:
            out[who] = min(1.0, (value - bend + foot) / _D)
    return out


def _whole(chances: list[float], most: list[int], size: int) -> list[int]:
    """Round to multiples of 2**-52, at most `most`; the first who can make the sum right do."""
    whole = [min(round(x * 2**52), top) for x, top in zip(chances, most, strict=True)]
    missing = size * 2**52 - sum(whole)
    for i, top in enumerate(most):
        if 0 < whole[i] < top:
            fit = min(max(whole[i] + missing, 0), top)
            missing -= fit - whole[i]
            whole[i] = fit
    return whole


def _violation(z: list[int], p: list[Fraction]) -> Fraction:
    """Return the sum of what neighbours in score differ too much; 0 if nobody does."""
    ranked = sorted(zip(z, p, strict=True))
    excess = (abs(q - r) - Fraction(y - x, _D) for (x, r), (y, q) in pairwise(ranked))
    return sum((x for x in excess if x > 0), Fraction(0))
