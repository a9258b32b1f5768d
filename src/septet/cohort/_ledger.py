"""The record of a stream: every event in order, and what was decided about whom.

Events are numbered from 0. An arrival's number is also the number of the person. The digest of a
record is a chain over its events, each written as one line of JSON without spaces:

* ``["arrive",id,z]`` with the lattice score z, ``["withdraw",id]``, ``["reduce",k]`` and
  ``["close"]``;
* ``h[-1]`` is the SHA-256 of the canonical terms, ``h[e] = SHA-256(h[e-1] || line e in UTF-8)``.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Id: TypeAlias = str | int
Ints: TypeAlias = NDArray[np.int64]

PENDING, REJECTED, WITHDRAWN, ACCEPTED, RESERVE = range(5)
STATUSES = ("pending", "rejected", "withdrawn", "accepted", "reserve")


@dataclass(frozen=True, slots=True)
class Person:
    """One line of the record: number, lattice score and status of somebody who arrived."""

    number: int
    z: int
    status: int


@dataclass(frozen=True, slots=True)
class Event:
    """One event: an arrival (`id`, `value` is the lattice score) or an action.

    `kind` is "arrive", "withdraw" (`id`), "reduce" (`value` is the new k) or "close".
    """

    kind: str
    id: Id | None = None
    value: int | None = None

    def line(self) -> str:
        """Return the event as it enters the digest."""
        parts = [part for part in (self.id, self.value) if part is not None]
        return json.dumps([self.kind, *parts], ensure_ascii=False, separators=(",", ":"))


_json_text = json.JSONEncoder(ensure_ascii=False).encode


def arrival_line(who: Id, z: int) -> str:
    """Return the line of an arrival, faster than an `Event` would."""
    return f'["arrive",{_json_text(who)},{z}]'


def chain(digest: bytes, lines: Iterable[str]) -> bytes:
    """Return the digest of a record that goes on with these events."""
    for line in lines:
        digest = hashlib.sha256(digest + line.encode("utf-8")).digest()
    return digest


class Ledger(Protocol):
    """What a stream needs of its record, be it in memory or in a file."""

    @property
    def events(self) -> int:
        """Number of events so far."""
        ...

    def about(self, key: str) -> str | None:
        """Return a fact that was noted."""
        ...

    def note(self, key: str, value: str) -> None:
        """Note a fact about the stream."""
        ...

    def writing(self) -> AbstractContextManager[object]:
        """Within it changes belong together: all of them are kept, or none."""
        ...

    def find(self, who: Id) -> Person | None:
        """Return what is known of `who`."""
        ...

    def known(self, ids: Sequence[Id]) -> dict[Id, int]:
        """Return the lattice scores of those of `ids` who have arrived."""
        ...

    def arrive(self, ids: Sequence[Id], z: Ints) -> int:
        """Record arrivals of people who are new; return the number of the first."""
        ...

    def act(self, event: Event) -> int:
        """Record an action; return its number."""
        ...

    def find_action(self, event: Event) -> int | None:
        """Return the number of the last action that equals `event`."""
        ...

    def decide(self, numbers: Ints, status: int, decided: Ints) -> None:
        """Record a final status of pending people and the events upon which it was decided."""
        ...

    def decided(self, event: int, status: int) -> list[Id]:
        """Return who got a status upon an event, in order of arrival."""
        ...

    def ids(self, numbers: Ints) -> list[Id]:
        """Return the ids of people by number."""
        ...

    def numbers(self, status: int) -> Ints:
        """Return the numbers of all people of a status, ascending."""
        ...

    def people(self) -> tuple[Ints, Ints]:
        """Return numbers and lattice scores of all who arrived, in order."""
        ...

    def lines(self, start: int = 0) -> Iterator[str]:
        """Yield the events from number `start` on, as they enter the digest."""
        ...


class MemoryLedger:
    """A record that lives as long as the process."""

    def __init__(self) -> None:
        self.events = 0
        self._numbers: dict[Id, int] = {}
        self._ids: list[Id | None] = []  # None where the event is no arrival
        self._actions: dict[int, Event] = {}
        self._last: dict[Event, int] = {}
        self._about: dict[str, str] = {}
        self._z = np.empty(0, dtype=np.int64)
        self._status = np.empty(0, dtype=np.uint8)
        self._decided = np.empty(0, dtype=np.int64)

    def about(self, key: str) -> str | None:
        """Return a fact that was noted."""
        return self._about.get(key)

    def note(self, key: str, value: str) -> None:
        """Note a fact about the stream."""
        self._about[key] = value

    def writing(self) -> AbstractContextManager[object]:
        """Changes in memory need no transaction."""
        return nullcontext()

    def find(self, who: Id) -> Person | None:
        """Return what is known of `who`."""
        number = self._numbers.get(who)
        if number is None:
            return None
        return Person(number, int(self._z[number]), int(self._status[number]))

    def known(self, ids: Sequence[Id]) -> dict[Id, int]:
        """Return the lattice scores of those of `ids` who have arrived."""
        if self._numbers.keys().isdisjoint(ids):
            return {}
        some = {who: self._numbers[who] for who in ids if who in self._numbers}
        return {who: int(self._z[number]) for who, number in some.items()}

    def arrive(self, ids: Sequence[Id], z: Ints) -> int:
        """Record arrivals of people who are new; return the number of the first."""
        first = self.events
        self._numbers.update(zip(ids, range(first, first + len(ids)), strict=True))
        self._extend(ids, z)
        return first

    def act(self, event: Event) -> int:
        """Record an action; return its number."""
        self._actions[self.events] = event
        self._last[event] = self.events
        self._extend([None], np.zeros(1, dtype=np.int64))
        return self.events - 1

    def find_action(self, event: Event) -> int | None:
        """Return the number of the last action that equals `event`."""
        return self._last.get(event)

    def decide(self, numbers: Ints, status: int, decided: Ints) -> None:
        """Record a final status of pending people and the events upon which it was decided."""
        self._status[numbers] = status
        self._decided[numbers] = decided

    def decided(self, event: int, status: int) -> list[Id]:
        """Return who got a status upon an event, in order of arrival."""
        span = slice(0, self.events)
        found = (self._decided[span] == event) & (self._status[span] == status)
        return self.ids(np.flatnonzero(found))

    def ids(self, numbers: Ints) -> list[Id]:
        """Return the ids of people by number."""
        return [self._ids[number] for number in numbers.tolist()]  # pyrefly: ignore[bad-return]

    def numbers(self, status: int) -> Ints:
        """Return the numbers of all people of a status, ascending."""
        return np.flatnonzero(self._status[: self.events] == status)

    def people(self) -> tuple[Ints, Ints]:
        """Return numbers and lattice scores of all who arrived, in order."""
        actions = np.array(list(self._actions), dtype=np.int64)
        numbers = np.delete(np.arange(self.events), actions)
        return numbers, self._z[numbers]

    def lines(self, start: int = 0) -> Iterator[str]:
        """Yield the events from number `start` on, as they enter the digest."""
        z = self._z[start : self.events].tolist()
        for number, (who, value) in enumerate(zip(self._ids[start:], z, strict=True), start):
            if who is None:
                yield self._actions[number].line()
            else:
                yield arrival_line(who, value)

    def _extend(self, ids: Sequence[Id | None], z: Ints) -> None:
        stop = self.events + len(ids)
        if stop > self._z.size:
            room = max(1024, 2 * stop)
            self._z, self._status, self._decided = (
                _grown(column, room) for column in (self._z, self._status, self._decided)
            )
        self._ids.extend(ids)
        self._z[self.events : stop] = z
        self._status[self.events : stop] = PENDING
        self._decided[self.events : stop] = -1
        self.events = stop


def _grown(column: NDArray[Any], room: int) -> NDArray[Any]:
    out = np.empty(room, dtype=column.dtype)
    out[: column.size] = column
    return out
