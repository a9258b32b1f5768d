"""A stream at work: engine, coins and record kept in step, whatever happens in between."""

import hashlib
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from itertools import islice
from typing import Any, Self

import numpy as np

from septet._core.errors import CheckpointError, SeptetError, SeptetWarning
from septet.cohort._cohort import Cohort
from septet.cohort._coins import Coins
from septet.cohort._ledger import (
    ACCEPTED,
    PENDING,
    REJECTED,
    RESERVE,
    WITHDRAWN,
    Event,
    Id,
    Ints,
    Ledger,
    chain,
)
from septet.cohort._store import UNREADABLE, StoreLedger
from septet.cohort._stream_close import cohort_from, draw_seats, seat_rule, write_certificate
from septet.cohort._stream_reference import PlainEngine, coin_from
from septet.cohort._stream_rule import MOST, Rule
from septet.cohort._stream_terms import Terms

_BULK = 2048  # arrivals that are worth the compiled engine
_SNAPSHOT = 4096  # events between two snapshots of a stored stream


class StreamRun:
    """The transitions of a stream. Arguments are checked already; `FairStream` does that.

    Parameters
    ----------
    terms : Terms
    seed : str
    ledger : Ledger

    Attributes
    ----------
    terms, seed, ledger
        As given.
    engine : PlainEngine
    kind : {"str", "int"} or None
        What the ids are; None before the first arrival.
    phantoms : set of int
        Numbers of those who withdrew while they waited.
    closed : bool
    """

    def __init__(self, terms: Terms, seed: str, ledger: Ledger) -> None:
        self.terms, self.seed, self.ledger = terms, seed, ledger
        self.coins = Coins.from_seed(seed, terms.digest())
        self.engine = PlainEngine(
            terms.k + terms.reserve, terms.knots, terms.slack, coin_from(self.coins)
        )
        self.kind: str | None = None
        self.phantoms: set[int] = set()
        self.closed = self._broken = False
        self._log, self._logged = terms.digest(), 0  # digest of the first so many events
        self._head, self._headed = terms.digest(), 0  # the same of all events on disk

    @classmethod
    def resume(cls, ledger: StoreLedger) -> Self:
        """Return the run whose record this is, by its snapshot and a replay of what followed.

        Raises
        ------
        CheckpointError
            If the record is damaged or the replay decides otherwise.
        """
        try:
            return cls._resume(ledger)
        except UNREADABLE as error:
            raise CheckpointError(f"{ledger.path} is damaged: {error}.") from None

    @classmethod
    def _resume(cls, ledger: StoreLedger) -> Self:
        ledger.check()
        try:
            terms = Terms.of(json.loads(ledger.about("terms") or "{}"))
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{ledger.path} is damaged: {error}.") from None
        run = cls(terms, ledger.about("seed") or "", ledger)
        run.kind = ledger.kind()
        run.phantoms = set(ledger.numbers(WITHDRAWN).tolist())
        if kept := ledger.kept():
            run._logged, state, position, run._log = kept
            run.engine.load(state)
            run.coins.seek(position)
        run._check_head()
        for number, event in enumerate(ledger.log(run._logged), start=run._logged):
            run._replay(number, event)
        return run

    def _check_head(self) -> None:
        """Compare the record on disk with the digest that every change renewed."""
        self._head, self._headed = self._digest(), self.ledger.events
        if self._headed and self.ledger.about("head") != self._sealed_head():
            raise CheckpointError("the stream's record was changed after it was written.")

    def _sealed_head(self) -> str:
        return hashlib.sha256(self._head + self.seed.encode()).hexdigest()

    def _replay(self, number: int, event: Event) -> None:
        """Do once more what an event did, and compare with what was told."""
        rejected: list[int] = []
        if event.kind == "arrive" and event.value is not None:
            rejected = self.engine.arrive(number, event.value)
        elif event.kind == "reduce" and event.value is not None:
            rejected = self.engine.reduce(event.value + self.terms.reserve)
        elif event.kind == "close":
            self.closed = True
            return
        if self.ids(self._present(rejected)) != self.ledger.decided(number, REJECTED):
            raise CheckpointError(
                f"a replay does not reproduce the stream's decisions at event {number}: its store "
                "was changed, or written by another version."
            )

    @property
    def seats(self) -> int:
        """Number of seats now, without the reserve."""
        return self.engine.seats - self.terms.reserve

    def rule(self) -> Rule:
        """Return the rule for the seats."""
        return seat_rule(self.engine, self.seats)

    def pending(self) -> list[int]:
        """Return the numbers of those who wait for an answer."""
        return [] if self.closed else self._present([who.number for who in self.engine.waiting])

    def n_pending(self) -> int:
        """Return how many people wait for an answer."""
        fast = not self.phantoms and not self.closed
        return len(self.engine.waiting) if fast else len(self.pending())

    def ids(self, numbers: list[int]) -> list[Id]:
        """Return the ids of people by number."""
        return self.ledger.ids(np.array(numbers, dtype=np.int64))

    def release(self) -> None:
        """Let go of the record, if it is a file."""
        if isinstance(self.ledger, StoreLedger):
            self.ledger.release()
            self._broken = True

    def arrive(self, names: list[Id], z: Ints) -> list[Id]:
        """Take in people who are new; return the ids of those rejected upon it."""
        advance = _compiled() if z.size >= _BULK else None
        with self._change(z.size):
            self.kind = self.kind or type(names[0]).__name__
            first = self.ledger.arrive(names, z)
            if advance is not None:
                knots = np.array(self.terms.knots, dtype=np.int64)
                state, rejected, upon = advance(
                    self.engine.state(), knots, self.terms.slack, z, first, self.coins
                )
                self.engine.load(state)
            else:
                pairs = [
                    (gone, number)
                    for number, value in enumerate(z.tolist(), start=first)
                    for gone in self.engine.arrive(number, value)
                ]
                if not pairs:
                    return []
                rejected, upon = np.array(pairs, dtype=np.int64).T
            return self._reject(rejected, upon)

    def withdraw(self, who: Id) -> None:
        """Record that somebody withdraws; who waits stays in the draw as a phantom."""
        event = Event("withdraw", who)
        person = self.ledger.find(who)
        if person is None or self.ledger.find_action(event) is not None:
            return
        with self._change():
            number = self.ledger.act(event)
            if person.status == PENDING:
                self._decide([person.number], WITHDRAWN, number)
                self.phantoms.add(person.number)

    def reduce(self, seats: int) -> list[Id]:
        """Take seats away; return the ids of those rejected upon it."""
        event = Event("reduce", None, seats)
        number = self.ledger.find_action(event)
        if number is not None:  # asked again
            return self.ledger.decided(number, REJECTED)
        if seats == self.seats:
            return []
        if seats > self.seats:
            raise ValueError(
                f"k can only be reduced: it is {self.seats}, got {seats}. People were rejected "
                "for good whom more seats would have given a chance."
            )
        with self._change():
            number = self.ledger.act(event)
            rejected = np.array(self.engine.reduce(seats + self.terms.reserve), dtype=np.int64)
            return self._reject(rejected, np.full(rejected.size, number))

    def close(self) -> Cohort:
        """End the stream if it has not ended; return its cohort."""
        if not self.closed:
            with self._change():
                self._end()
            self.closed = True
        fields = json.loads(self.ledger.about("certificate") or "{}")
        numbers, z = self.ledger.people()
        rows = np.searchsorted(numbers, self.ledger.numbers(ACCEPTED))
        return cohort_from(fields, z, rows)

    def _end(self) -> None:
        """Draw, decide about everybody, and note the certificate."""
        event = self.ledger.act(Event("close"))
        drawn, spare, rejected = draw_seats(self.engine, self.seats, self.coins)
        self._decide(self._present(rejected), REJECTED, event)
        seated, waiting = self._present(drawn), self._present(spare)
        free = len(drawn) - len(seated)
        seated, waiting = sorted(seated + waiting[:free]), waiting[free:]
        self._decide(seated, ACCEPTED, event)
        self._decide(waiting, RESERVE, event)
        told = {*seated, *waiting}
        gone = [number for number in (*drawn, *spare) if number not in told]
        people = {
            "drawn": sorted(self.ids(drawn)),
            "withdrawn": sorted(self.ids(gone)),
            "selected": sorted(self.ids(seated)),
            "reserve": self.ids(waiting),
        }
        certificate = write_certificate(
            self.terms,
            self.rule(),
            self.seats,
            self.ledger.people()[1],
            record={"events": event + 1, "ids": self.kind, "sha256": self._digest().hex()},
            seed=self.seed,
            words=self.coins.position,
            people=people,
        )
        self.ledger.note("certificate", certificate.json())

    def _digest(self) -> bytes:
        """Return the digest of the whole record, having compared it with the snapshot's."""
        lines = self.ledger.lines()
        early = chain(self.terms.digest(), islice(lines, self._logged))
        if early != self._log:
            raise CheckpointError("the stream's record was changed after it was written.")
        return chain(early, lines)

    def _reject(self, numbers: Ints, upon: Ints) -> list[Id]:
        """Record who is rejected, phantoms apart; return their ids."""
        if self.phantoms:
            there = ~np.isin(numbers, list(self.phantoms))
            numbers, upon = numbers[there], upon[there]
        self.ledger.decide(numbers, REJECTED, upon)
        return self.ledger.ids(numbers)

    def _decide(self, numbers: list[int], status: int, event: int) -> None:
        self.ledger.decide(np.array(numbers, dtype=np.int64), status, np.full(len(numbers), event))

    def _present(self, numbers: list[int]) -> list[int]:
        return [number for number in numbers if number not in self.phantoms]

    @contextmanager
    def _change(self, arrivals: int = 0) -> Iterator[None]:
        """Let an event happen wholly, or not at all as far as the record on disk is concerned."""
        if self.closed:
            raise ValueError("the stream is closed: its cohort is drawn, nothing can change it.")
        if self._broken:
            raise SeptetError("this stream was detached, or left by an error; open it anew.")
        if self.engine.arrived + arrivals > MOST:
            raise ValueError(f"a stream takes at most 2**30 arrivals; {arrivals} are too many.")
        self._broken = True  # an exception on the way leaves it so
        with self.ledger.writing():
            yield
            if isinstance(self.ledger, StoreLedger):
                self._head = chain(self._head, self.ledger.lines(self._headed))
                self._headed = self.ledger.events
                self.ledger.note("head", self._sealed_head())
                if self._headed - self._logged >= _SNAPSHOT:
                    self._log, self._logged = self._head, self._headed
                    self.ledger.keep(self.engine.state(), self.coins.position, self._log)
        self._broken = False


@cache
def _compiled() -> Any:
    """Return the compiled engine, or None with one warning."""
    try:
        return import_module("septet.cohort._stream_kernel").advance
    except ImportError as error:
        warnings.warn(
            "septet.cohort runs its stream without the compiled engine, correct but slower "
            f'({error}); to speed it up: pip install "septet[fast]"',
            SeptetWarning,
            stacklevel=4,
        )
        return None
