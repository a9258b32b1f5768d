"""Checking a certificate against the roster, with nothing but the standard library.

Nothing here is shared with the code that draws: other algorithms, Python integers and fractions,
and the plain coin stream. ``docs/guide/certificate.md`` describes every byte.
"""

import csv
import hashlib
import json
import operator
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import lcm
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from septet._core.errors import SeptetError
from septet.cohort._plain_coins import PlainCoins

Id: TypeAlias = str | int
Row: TypeAlias = tuple[Id, int, str]

_D = 2**32
_FORMAT = "septet-cohort-certificate-1"
_STREAM = "septet-stream-certificate-1"
_LISTED = 10_000
_FIELDS = {
    *("active", "commitment", "digest", "format", "k", "max_violation", "n", "objective", "order"),
    *("probabilities", "ratio", "reserve", "reserve_scale", "reserve_shift", "roster", "scale"),
    *("seed", "selected", "shift", "software", "tight_pairs", "top_k_utility", "uniform_utility"),
    *("utility", "words"),
}
_PAIRS = ((0, 1), (0, 2), (1, 2))


class CertificateError(SeptetError):
    """A certificate does not fit its roster, or is none; the message names what differs."""


@dataclass(frozen=True)
class Verification:
    """What was recomputed and found equal.

    Attributes
    ----------
    n, k : int
        Number of candidates, size of the cohort.
    selected : tuple of (str or int)
        The cohort.
    reserve : tuple of (str or int)
        The reserve list in order.
    committed : bool
        Whether the certificate names a commitment of the seed. Compare it with the one that was
        published before the draw.
    """

    n: int
    k: int
    selected: tuple[Id, ...]
    reserve: tuple[Id, ...]
    committed: bool


def verify(
    certificate: Mapping[str, Any] | str | bytes | PathLike[str],
    roster: Mapping[Any, float] | Iterable[Any],
) -> Verification:
    """Recompute a selection from its seed and roster and compare every field of its certificate.

    Parameters
    ----------
    certificate : mapping, JSON text or path of a JSON file
        As `pick` made it. White space and the order of keys do not matter; anything else does.
    roster : mapping, or iterable
        All candidates: ``{id: score}``; or rows ``(id, score)`` or ``(id, score, group)``; or plain
        scores, whose ids are their row numbers. In any order otherwise. For the certificate of a
        stream, the lines of `FairStream.record` (see `verify_stream`).

    Returns
    -------
    Verification

    Raises
    ------
    CertificateError
        If the certificate is damaged, or any field differs from what the roster gives.

    Examples
    --------
    >>> from septet.cohort import pick
    >>> roster = {"Ada": 0.875, "Ben": 0.5, "Cleo": 0.25, "Dan": 0.125}
    >>> cohort = pick(list(roster.values()), 2, id=list(roster), seed="1 May")
    >>> verify(cohort.certificate.json(), roster).selected == tuple(cohort.ids)
    True
    >>> verify({**cohort.certificate, "k": 3}, roster)
    Traceback (most recent call last):
    septet.cohort._verify.CertificateError: the certificate's digest does not fit its fields.
    """
    stated = _read(certificate)
    if stated.get("format") == _STREAM:
        from septet.cohort._verify_stream import verify_stream

        return verify_stream(stated, roster)  # pyrefly: ignore[bad-argument-type]
    _check_shape(stated)
    expected = _redo(stated, _rows(roster, stated["roster"]))
    wrong = [key for key, value in expected.items() if _json(stated[key]) != _json(value)]
    if wrong:
        first = wrong[0]
        raise CertificateError(
            f"the certificate does not fit this roster: {', '.join(wrong)} "
            f"{'differs' if len(wrong) == 1 else 'differ'}; {first} is {_brief(stated[first])}, "
            f"recomputed {_brief(expected[first])}."
        )
    return Verification(
        n=stated["n"],
        k=stated["k"],
        selected=tuple(stated["selected"]),
        reserve=tuple(stated["reserve"]),
        committed=stated["commitment"] is not None,
    )


def roster_from_csv(
    path: str | PathLike[str],
    *,
    score: str,
    id: str | None = None,  # noqa: A002 - the field's word
    group: str | None = None,
    id_kind: str = "str",
) -> list[tuple[Id, float, str]]:
    """Read a roster for `verify` from a CSV file, ids exactly as written.

    Parameters
    ----------
    path : path
        UTF-8 file with a header line.
    score, id, group : str
        Names of columns; without `id` rows are numbered from 0.
    id_kind : {"str", "int"}, default "str"
        The kind that the certificate names under ``roster.ids``.

    Raises
    ------
    CertificateError
        If it is no CSV file, a column is missing, or a score or an integer id cannot be read.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            return _roster(path, csv.DictReader(file), score, id, group, id_kind)
    except (UnicodeDecodeError, csv.Error) as error:
        raise CertificateError(f"{path} cannot be read as CSV: {error}.") from None


def _roster(
    path: str | PathLike[str],
    reader: "csv.DictReader[str]",
    score: str,
    id: str | None,  # noqa: A002
    group: str | None,
    id_kind: str,
) -> list[tuple[Id, float, str]]:
    rows: list[tuple[Id, float, str]] = []
    missing = {score, id, group} - {None} - set(reader.fieldnames or ())
    if missing:
        raise CertificateError(f"{path} has no column {', '.join(map(repr, missing))}.")
    for number, row in enumerate(reader):
        name: Id = number if id is None else row[id]
        try:
            name = int(name) if id_kind == "int" else name
            rows.append((name, float(row[score]), row[group] if group else ""))
        except (TypeError, ValueError) as error:
            raise CertificateError(f"{path}, line {reader.line_num}: {error}.") from None
    return rows


def _read(certificate: Any) -> dict[str, Any]:
    if isinstance(certificate, Mapping):
        return dict(certificate)
    if isinstance(certificate, PathLike):
        certificate = Path(certificate).read_bytes()
    try:
        text = certificate.decode("utf-8") if isinstance(certificate, bytes) else certificate
        stated = json.loads(text, object_pairs_hook=_no_key_twice, parse_constant=_no_number)
    except (TypeError, ValueError, RecursionError) as error:
        raise CertificateError(f"the certificate is not JSON: {error}.") from None
    if not isinstance(stated, dict):
        raise CertificateError("the certificate is not a JSON object.")
    return stated


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _check_shape(stated: dict[str, Any]) -> None:
    """Check the digest first, then that every input of the recomputation has its type."""
    if stated.get("format") != _FORMAT:
        raise CertificateError(
            f"the certificate's format is {stated.get('format')!r}; this version reads {_FORMAT!r}."
        )
    try:
        text = _json({key: value for key, value in stated.items() if key != "digest"})
        digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    except (TypeError, ValueError) as error:
        raise CertificateError(f"the certificate holds what JSON cannot: {error}.") from None
    if stated.get("digest") != digest:
        raise CertificateError("the certificate's digest does not fit its fields.")
    roster = stated.get("roster")
    sound = (
        set(stated) == _FIELDS
        and isinstance(roster, dict)
        and type(stated.get("k")) is int
        and isinstance(stated.get("seed"), str)
        and isinstance(stated.get("reserve"), list)
        and stated.get("objective") in ("linear", "ratio")
        and stated.get("order") in ("random", "score", "group")
        and roster.get("ids") in ("int", "str")
        and roster.get("groups") == (stated["order"] == "group")
    )
    if not sound:
        raise CertificateError("the certificate's fields are not those of its format.")


def _rows(roster: Any, kind: dict[str, Any]) -> list[Row]:
    """Return (id, lattice score, group) for every candidate, sorted by id."""
    listed = list(roster.items()) if isinstance(roster, Mapping) else list(roster)
    rows = []
    for number, entry in enumerate(listed):
        full = entry if isinstance(entry, tuple | list) else (number, entry)
        name, score = _exact_id(full[0], kind["ids"]), float(full[1])
        if not -1e-12 <= score <= 1 + 1e-12:
            raise CertificateError(f"score of {name!r} is {score!r}, not from 0 to 1.")
        group = str(full[2]) if kind["groups"] and len(full) > 2 else ""
        rows.append((name, round(min(max(score, 0.0), 1.0) * _D), group))
    rows.sort()
    for first, second in pairwise(rows):
        if first[0] == second[0]:
            raise CertificateError(f"the roster has {first[0]!r} twice.")
    if not rows:
        raise CertificateError("the roster is empty.")
    return rows


def _exact_id(name: Any, kind: str) -> Id:
    if kind == "str" and isinstance(name, str):
        return name
    if kind == "int" and not isinstance(name, str | bool):
        with suppress(TypeError):
            return operator.index(name)
    raise CertificateError(f"ids are of kind {kind!r} in the certificate; the roster has {name!r}.")


def _redo(stated: dict[str, Any], rows: list[Row]) -> dict[str, Any]:
    """Compute every field from the seed, k, the options and the roster."""
    k, n, spare = stated["k"], len(rows), len(stated["reserve"])
    if not (k >= 0 and k + spare <= n):
        raise CertificateError(f"k = {k} with {spare} in reserve does not fit {n} candidates.")
    z = [row[1] for row in rows]
    digest = _roster_digest(rows, stated["roster"])
    coins = PlainCoins(stated["seed"], digest)
    weights, total, shift, scale = _probabilities(z, k, stated["objective"])
    both = _probabilities(z, k + spare, stated["objective"]) if spare else None
    if both is None:
        chosen = _draw(weights, total, coins, stated["order"], [row[2] for row in rows])
        waiting: list[int] = []
    else:
        chosen, waiting = _draw_both((weights, total), both[:2], coins)
    p = [Fraction(x, total) for x in weights]
    ranked = sorted(zip(z, p, strict=True))
    commitment = hashlib.sha256(stated["seed"].encode("utf-8")).hexdigest()
    return {
        "n": n,
        "roster": {
            "ids": stated["roster"]["ids"],
            "groups": stated["order"] == "group",
            "sha256": digest.hex(),
        },
        "commitment": None if stated["commitment"] is None else commitment,
        "selected": [rows[i][0] for i in chosen],
        "reserve": [rows[i][0] for i in waiting],
        "words": coins.position,
        "shift": _text(shift),
        "scale": _text(scale),
        "reserve_shift": _text(both[2] if both else None),
        "reserve_scale": _text(both[3] if both else None),
        "active": sum(0 < x < total for x in weights),
        "utility": _text(sum(x * Fraction(s, _D) for s, x in ranked)),
        "ratio": _text(min((x * _D / s for s, x in ranked if s), default=None)),
        "max_violation": _text(_violation(ranked)),
        "uniform_utility": _text(Fraction(k * sum(z), n * _D)),
        "top_k_utility": _text(Fraction(sum(sorted(z)[n - k :]), _D)),
        "probabilities": [_text(x) for x in p] if n <= _LISTED else None,
        "tight_pairs": _tight(ranked) if n <= _LISTED else None,
    }


def _roster_digest(rows: list[Row], kind: dict[str, Any]) -> bytes:
    header = f"septet roster 1 {kind['ids']}{' group' if kind['groups'] else ''}\n"
    digest = hashlib.sha256(header.encode())
    for name, z, group in rows:
        digest.update(_bytes(name) if isinstance(name, str) else struct.pack("<q", name))
        digest.update(struct.pack("<q", z))
        if kind["groups"]:
            digest.update(_bytes(group))
    return digest.digest()


def _bytes(text: str) -> bytes:
    raw = text.encode("utf-8")
    return struct.pack("<I", len(raw)) + raw


def _probabilities(
    z: list[int], k: int, objective: str
) -> tuple[list[int], int, Fraction | None, Fraction | None]:
    """Return numerators, denominator, shift and scale."""
    total = sum(z)
    if objective == "ratio" and k and total >= k * _D:
        return [k * x for x in z], total, None, Fraction(k * _D, total)
    x = _solve(z, k)
    active = sum(0 < s + x < _D for s in z) or 1
    weights = [int(min(max(s + x, 0), _D) * active) for s in z]
    return weights, active * _D, x / _D, None


def _solve(z: list[int], k: int) -> Fraction:
    """Find x with sum clip(z + x) = k * _D: halving for its whole part, then a straight line."""
    if k == 0:
        return Fraction(-max(z))
    if k == len(z):
        return Fraction(_D - min(z))

    def reached(x: int) -> int:
        return sum(min(max(s + x, 0), _D) for s in z)

    low, high = -_D, _D
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if reached(middle) <= k * _D else (low, middle)
    moving = sum(0 <= s + low < _D for s in z)
    return low + Fraction(k * _D - reached(low), moving or 1)


def _draw(
    weights: list[int], total: int, coins: PlainCoins, order: str, groups: list[str]
) -> list[int]:
    """Return the cohort's places in the roster, ascending."""
    chosen = {i for i, x in enumerate(weights) if x == total}
    rows = [i for i, x in enumerate(weights) if 0 < x < total]
    word = {i: coins.word() for i in rows}
    if order == "group":
        left = []
        for label in sorted({groups[i] for i in rows}):
            members = sorted((word[i], i) for i in rows if groups[i] == label)
            left += _pivotal([(i, weights[i]) for _, i in members], total, coins, chosen)
        visit = sorted(left, key=lambda row: (word[row[0]], row[0]))
    else:
        by_score = order == "score"
        rows.sort(key=lambda i: (weights[i] if by_score else 0, word[i], i))
        visit = [(i, weights[i]) for i in rows]
    _pivotal(visit, total, coins, chosen)
    return sorted(chosen)


def _pivotal(
    visit: list[tuple[int, int]], total: int, coins: PlainCoins, chosen: set[int]
) -> list[tuple[int, int]]:
    """Let rows meet one after the other; return the one that is left undecided, if any."""
    carrier: list[tuple[int, int]] = []
    for i, b in visit:
        if not carrier:
            carrier = [(i, b)]
            continue
        j, a = carrier[0]
        t = a + b
        if t < total:
            carrier = [(i if coins.below(t) < b else j, t)]
        elif t == total:
            chosen.add(i if coins.below(total) < b else j)
            carrier = []
        elif coins.below(2 * total - t) < total - a:
            chosen.add(i)
            carrier = [(j, t - total)]
        else:
            chosen.add(j)
            carrier = [(i, t - total)]
    return carrier


def _draw_both(
    seats: tuple[list[int], int], places: tuple[list[int], int], coins: PlainCoins
) -> tuple[list[int], list[int]]:
    """Draw the cohort and the ordered reserve list together."""
    unit = lcm(seats[1], places[1])
    table: list[list[int]] = []
    for a, b in zip(seats[0], places[0], strict=True):
        a, b = a * unit // seats[1], b * unit // places[1]
        table.append([a, b - a, unit - b])
    visit = sorted((coins.word(), i) for i, row in enumerate(table) if max(row) < unit)
    waiting: list[int] = []
    for _, i in visit:
        waiting.append(i)
        while cycle := _two_rows(table, waiting):
            _shift_mass(table, cycle, coins)
            waiting = [j for j in waiting if max(table[j]) < unit]
    if waiting:
        ab, an, bn = sorted(
            waiting, key=lambda j: [x == 0 for x in table[j]].index(True), reverse=True
        )
        _shift_mass(table, [(ab, 0), (ab, 1), (bn, 1), (bn, 2), (an, 2), (an, 0)], coins)
    reserve = [i for i, row in enumerate(table) if row[1] == unit]
    lot = sorted((coins.word(), i) for i in reserve)
    return [i for i, row in enumerate(table) if row[0] == unit], [i for _, i in lot]


def _two_rows(table: list[list[int]], waiting: list[int]) -> list[tuple[int, int]]:
    for j in reversed(waiting):
        for i in waiting:
            for u, v in _PAIRS if i != j else ():
                if table[i][u] and table[i][v] and table[j][u] and table[j][v]:
                    return [(i, u), (i, v), (j, v), (j, u)]
    return []


def _shift_mass(table: list[list[int]], cycle: list[tuple[int, int]], coins: PlainCoins) -> None:
    """Raise the even places of a cycle and lower the odd ones, or the other way round."""
    up = min(table[i][c] for i, c in cycle[1::2])
    down = min(table[i][c] for i, c in cycle[::2])
    step = up if coins.below(up + down) < down else -down
    for place, (i, c) in enumerate(cycle):
        table[i][c] += -step if place % 2 else step


def _violation(ranked: list[tuple[int, Fraction]]) -> Fraction:
    """Return the largest excess of a difference of probability, from neighbours in score.

    If no neighbours violate fairness no pair does; otherwise the sum of excesses is named.
    """
    excess = (abs(q - p) - Fraction(t - s, _D) for (s, p), (t, q) in pairwise(ranked))
    return sum((x for x in excess if x > 0), Fraction(0))


def _tight(ranked: list[tuple[int, Fraction]]) -> int:
    """Count neighbours, different in score, whose probabilities differ by as much."""
    steps = pairwise(sorted(set(ranked)))
    return sum(s < t and abs(q - p) == Fraction(t - s, _D) for (s, p), (t, q) in steps)


def _text(value: Fraction | int | None) -> str | None:
    if value is None:
        return None
    fraction = Fraction(value)
    return f"{fraction.numerator}/{fraction.denominator}"


def _json(value: Any) -> str:
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
