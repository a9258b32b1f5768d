"""What is fixed before a stream begins, what it answers, and the ids it takes."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from septet.cohort._certificate import canonical_json
from septet.cohort._ledger import Id, Ints
from septet.cohort._scores import LATTICE

_FORMAT = "septet-stream-1"


@dataclass(frozen=True)
class Terms:
    """The terms of a stream; the SHA-256 of their canonical JSON keys all coins."""

    k: int
    reserve: int
    slack: int
    knots: tuple[int, ...]

    def facts(self) -> dict[str, Any]:
        """Return the terms as plain values."""
        return {
            "format": _FORMAT,
            "k": self.k,
            "knots": list(self.knots),
            "lattice": LATTICE,
            "reserve": self.reserve,
            "slack": self.slack,
        }

    @classmethod
    def of(cls, facts: dict[str, Any]) -> Self:
        """Return the terms that `facts` returned.

        Raises
        ------
        ValueError
            If they are of another format.
        """
        if facts.get("format") != _FORMAT or facts.get("lattice") != LATTICE:
            raise ValueError(f"terms of format {facts.get('format')!r}, not {_FORMAT!r}.")
        return cls(facts["k"], facts["reserve"], facts["slack"], tuple(facts["knots"]))

    def text(self) -> str:
        """Return the canonical JSON."""
        return canonical_json(self.facts())

    def digest(self) -> bytes:
        """Return the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.text().encode()).digest()


@dataclass(frozen=True, slots=True)
class Decision:
    """What a stream answers to one event.

    Attributes
    ----------
    id : str or int
        Whom the event was about.
    status : {"pending", "rejected", "withdrawn", "accepted", "reserve"}
        Their status now.
    rejected : tuple of (str or int)
        Everybody who was turned down for good upon this event, in order of arrival; often others
        than `id`.
    pending : int
        How many people wait for an answer now.
    """

    id: Id
    status: str
    rejected: tuple[Id, ...]
    pending: int


def checked_ids(ids: Iterable[Any], kind: str | None) -> list[Id]:
    """Return ids as exact strings or exact integers; nothing but NumPy's own types is converted.

    Parameters
    ----------
    ids : iterable
    kind : {"str", "int"} or None
        What the stream's ids are, if that is known already.

    Raises
    ------
    TypeError
        If they are not all strings or all integers.
    ValueError
        If one is empty, no UTF-8 text or too large for 64 bits.
    """
    names: list[Any] = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
    if not names:
        return []
    kinds = set(map(type, names))
    if not kinds <= {str, int}:
        names = [who.item() if isinstance(who, np.generic) else who for who in names]
        kinds = set(map(type, names))
    expected = {"str": str, "int": int, None: type(names[0])}[kind]
    if kinds != {expected} or expected not in (str, int):
        row = next(i for i, who in enumerate(names) if type(who) not in {expected} & {str, int})
        raise TypeError(
            "ids must be all strings or all integers, so that no two are confused by conversion; "
            f"got {names[row]!r}" + (f" in a stream of {kind} ids." if kind else f" in row {row}.")
        )
    if expected is int:
        if min(names) < -(2**63) or max(names) >= 2**63:
            raise ValueError(
                "integer ids must fit 64 bits with a sign; give larger ones as strings."
            )
        return names
    if not all(names):
        raise ValueError("an id is empty: nobody can be told the outcome without one.")
    try:
        "".join(names).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"ids must be encodable as UTF-8: {error}.") from None
    return names


def same_score(who: Id, known: int, z: int) -> None:
    """Raise unless somebody who has arrived comes with the same score again."""
    if known != z:
        raise ValueError(
            f"{who!r} has arrived with the score {known / LATTICE:.10g} already, now it is "
            f"{z / LATTICE:.10g}: a score is final."
        )


def without_repeats(names: Sequence[Id], z: Ints, known: dict[Id, int]) -> tuple[list[Id], Ints]:
    """Leave out who is known already, or comes twice, with the same score."""
    fresh: dict[Id, int] = {}
    for who, value in zip(names, z.tolist(), strict=True):
        same_score(who, known.get(who, fresh.get(who, value)), value)
        if who not in known:
            fresh[who] = value
    return list(fresh), np.array(list(fresh.values()), dtype=np.int64)
