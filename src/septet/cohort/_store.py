"""A stream's record in one SQLite file that survives whatever ends the process.

Every call of the stream is one transaction, on disk before it returns (write-ahead log, full
synchronisation). Snapshots of the engine are arrays without any code, and carry a digest that is
chained over all events before them. The file holds the seed: it is readable by its owner alone.
"""

import hashlib
import os
import sqlite3
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from septet._core.errors import CheckpointError, DataError
from septet._core.files import PathLike
from septet.cohort._ledger import STATUSES, Event, Id, Ints, Person, arrival_line

_APPLICATION = 0x53455054  # "SEPT", marks the file as ours
_VERSION = 1
# what SQLite raises for a damaged file; Python cannot decode a message that quotes damaged text
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
_MANY = 500  # ids or numbers in one query
_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE arrivals (seq INTEGER PRIMARY KEY, id NOT NULL UNIQUE, z INTEGER NOT NULL);
CREATE TABLE actions (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, id, value INTEGER);
CREATE TABLE decisions (seq INTEGER NOT NULL, id PRIMARY KEY NOT NULL, status TEXT NOT NULL)
    WITHOUT ROWID;
CREATE INDEX decisions_by_seq ON decisions (seq);
CREATE TABLE snapshot (seq INTEGER PRIMARY KEY, position INTEGER NOT NULL, blob BLOB NOT NULL,
    log BLOB NOT NULL, digest BLOB NOT NULL);
"""


class StoreLedger:
    """A record in a SQLite file; made by `create` or `open`.

    Tables: ``arrivals(seq, id, z)``, ``actions(seq, kind, id, value)``, ``decisions(seq, id,
    status)`` with the event upon which somebody was decided about, ``snapshot(seq, ...)`` with the
    state after the first `seq` events, ``about(key, value)``.

    Attributes
    ----------
    path : Path
    release : callable
        Lets go of the file; called at the latest when the record is garbage.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._sql = connection
        self.release = weakref.finalize(self, connection.close)  # its lock outlives the object
        self.path = path
        self.events = self._count()

    @classmethod
    def create(cls, path: PathLike, about: dict[str, str]) -> Self:
        """Start a new file with facts about the stream.

        Raises
        ------
        FileExistsError
            If there is a file already; it is left as it is.
        DataError
            If the file cannot be written.
        """
        path = Path(path)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            raise FileExistsError(
                f"{path} exists: go on with FairStream.open({str(path)!r}), or choose another name."
            ) from None
        except OSError as error:
            raise DataError(f"cannot create the stream's store {path}: {error.strerror}.") from None
        sql = _connect(path)
        sql.execute("BEGIN IMMEDIATE")
        for statement in filter(str.strip, _SCHEMA.split(";")):
            sql.execute(statement)
        sql.executemany("INSERT INTO about VALUES (?, ?)", about.items())
        sql.execute(f"PRAGMA application_id = {_APPLICATION}")
        sql.execute(f"PRAGMA user_version = {_VERSION}")
        sql.execute("COMMIT")
        return cls(sql, path)

    @classmethod
    def open(cls, path: PathLike) -> Self:
        """Open a file that `create` made.

        Raises
        ------
        DataError
            If there is no such file, it is no stream's store, or another process holds it.
        CheckpointError
            If it was written by a newer version.
        """
        path = Path(path)
        if not path.is_file():
            raise DataError(f"there is no stream's store at {path}.")
        return cls(_connect(path, made=True), path)

    def about(self, key: str) -> str | None:
        """Return one of the facts given at the start or by `note`."""
        row = self._sql.execute("SELECT value FROM about WHERE key = ?", (key,)).fetchone()
        return row and row[0]

    def note(self, key: str, value: str) -> None:
        """Add a fact, or change it."""
        self._sql.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (key, value))

    def check(self) -> None:
        """Look at the structure of the whole file.

        Raises
        ------
        CheckpointError
            If it is damaged.
        """
        found = self._sql.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise CheckpointError(f"{self.path} is damaged: {found}.")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Make one transaction of what happens within; an exception undoes all of it."""
        before = self.events
        try:
            self._sql.execute("BEGIN IMMEDIATE")
            yield
            self._sql.execute("COMMIT")
        except BaseException as error:
            self.events = before
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise DataError(f"{self.path}: {error}; nothing of this event is kept.") from error
            raise

    def find(self, who: Id) -> Person | None:
        """Return what is known of `who`."""
        row = self._sql.execute(
            "SELECT a.seq, a.z, d.status FROM arrivals a LEFT JOIN decisions d USING (id) "
            "WHERE a.id = ?",
            (who,),
        ).fetchone()
        return row and Person(row[0], row[1], STATUSES.index(row[2] or STATUSES[0]))

    def known(self, ids: Sequence[Id]) -> dict[Id, int]:
        """Return the lattice scores of those of `ids` who have arrived."""
        found: dict[Id, int] = {}
        for start in range(0, len(ids), _MANY):
            some = ids[start : start + _MANY]
            query = f"SELECT id, z FROM arrivals WHERE id IN ({','.join('?' * len(some))})"  # noqa: S608 - marks
            found.update(self._sql.execute(query, some).fetchall())
        return found

    def arrive(self, ids: Sequence[Id], z: Ints) -> int:
        """Record arrivals of people who are new; return the number of the first."""
        first = self.events
        rows = zip(range(first, first + len(ids)), ids, z.tolist(), strict=True)
        self._sql.executemany("INSERT INTO arrivals VALUES (?, ?, ?)", rows)
        self.events += len(ids)
        return first

    def act(self, event: Event) -> int:
        """Record an action; return its number."""
        row = (self.events, event.kind, event.id, event.value)
        self._sql.execute("INSERT INTO actions VALUES (?, ?, ?, ?)", row)
        self.events += 1
        return self.events - 1

    def find_action(self, event: Event) -> int | None:
        """Return the number of the last action that equals `event`."""
        row = self._sql.execute(
            "SELECT max(seq) FROM actions WHERE kind = ? AND id IS ? AND value IS ?",
            (event.kind, event.id, event.value),
        ).fetchone()
        return row[0]

    def decide(self, numbers: Ints, status: int, decided: Ints) -> None:
        """Record a final status of pending people and the events upon which it was decided."""
        rows = zip(decided.tolist(), numbers.tolist(), strict=True)
        self._sql.executemany(
            f"INSERT INTO decisions SELECT ?, id, '{STATUSES[status]}' FROM arrivals WHERE seq = ?",  # noqa: S608 - a constant
            rows,
        )

    def decided(self, event: int, status: int) -> list[Id]:
        """Return who got a status upon an event, in order of arrival."""
        rows = self._sql.execute(
            "SELECT d.id FROM decisions d JOIN arrivals a USING (id) "
            "WHERE d.seq = ? AND d.status = ? ORDER BY a.seq",
            (event, STATUSES[status]),
        )
        return [who for (who,) in rows]

    def ids(self, numbers: Ints) -> list[Id]:
        """Return the ids of people by number."""
        found: dict[int, Id] = {}
        for start in range(0, numbers.size, _MANY):
            some = ",".join(map(str, numbers[start : start + _MANY].tolist()))
            query = f"SELECT seq, id FROM arrivals WHERE seq IN ({some})"  # noqa: S608 - numbers
            found.update(self._sql.execute(query).fetchall())
        return [found[number] for number in numbers.tolist()]

    def numbers(self, status: int) -> Ints:
        """Return the numbers of all people of a status, ascending."""
        rows = self._sql.execute(
            "SELECT a.seq FROM decisions d JOIN arrivals a USING (id) WHERE d.status = ?1 "
            "ORDER BY a.seq",
            (STATUSES[status],),
        )
        return np.array([number for (number,) in rows], dtype=np.int64)

    def people(self) -> tuple[Ints, Ints]:
        """Return numbers and lattice scores of all who arrived, in order."""
        rows = self._sql.execute("SELECT seq, z FROM arrivals ORDER BY seq").fetchall()
        table = np.array(rows, dtype=np.int64).reshape(-1, 2)
        return table[:, 0], table[:, 1]

    def log(self, start: int = 0) -> Iterator[Event]:
        """Yield the events from number `start` on."""
        for row in self._rows(start):
            yield Event(*row)

    def lines(self, start: int = 0) -> Iterator[str]:
        """Yield the events from number `start` on, as they enter the digest."""
        for kind, who, value in self._rows(start):
            if kind == "arrive":
                yield arrival_line(who, value)
            else:
                yield Event(kind, who, value).line()

    def _rows(self, start: int) -> Iterator[Any]:
        rows = self._sql.execute(
            "SELECT seq, 'arrive', id, z FROM arrivals WHERE seq >= :start UNION ALL "
            "SELECT seq, kind, id, value FROM actions WHERE seq >= :start ORDER BY seq",
            {"start": start},
        )
        expected = start
        for seq, *row in rows:
            if seq != expected:
                break
            yield row
            expected += 1
        if expected != self.events:
            raise CheckpointError(f"{self.path} is damaged: event {expected} is missing.")

    def keep(self, state: dict[str, NDArray[Any]], position: int, log: bytes) -> None:
        """Keep a snapshot of the engine and its coins after all events so far, and no older one."""
        blob = save(state)
        row = (self.events, position, blob, log, _seal(self.events, position, blob, log))
        self._sql.execute("DELETE FROM snapshot")
        self._sql.execute("INSERT INTO snapshot VALUES (?, ?, ?, ?, ?)", row)

    def kept(self) -> tuple[int, dict[str, NDArray[Any]], int, bytes] | None:
        """Return the snapshot: number of events, state, position of the coins, digest of the log.

        Raises
        ------
        CheckpointError
            If it is not what was written.
        """
        row = self._sql.execute("SELECT * FROM snapshot ORDER BY seq DESC LIMIT 1").fetchone()
        if row is None:
            return None
        events, position, blob, log, seal = row
        try:
            if _seal(events, position, blob, log) != seal:
                raise CheckpointError(f"{self.path} is damaged: its snapshot has another digest.")
            return events, load(blob), position, log
        except (SafetensorError, TypeError, OverflowError) as error:
            raise CheckpointError(f"{self.path} is damaged: {error}.") from None

    def kind(self) -> str | None:
        """Return the type of the ids, or None if nobody has arrived."""
        row = self._sql.execute("SELECT id FROM arrivals LIMIT 1").fetchone()
        return row and type(row[0]).__name__

    def _count(self) -> int:
        try:
            row = self._sql.execute(
                "SELECT (SELECT count(*) FROM arrivals) + (SELECT count(*) FROM actions)"
            ).fetchone()
        except UNREADABLE as error:
            raise _foreign(self.path, error) from None
        return row[0]


def _connect(path: Path, *, made: bool = False) -> sqlite3.Connection:
    try:
        sql = sqlite3.connect(path, timeout=0, isolation_level=None)
    except sqlite3.Error as error:
        raise _foreign(path, error) from None
    try:
        # exclusive: one process at a time, found out at once
        sql.execute("PRAGMA locking_mode = EXCLUSIVE")
        if made:
            _check_kind(path, sql)  # before anything is changed: it may be somebody else's
        sql.execute("PRAGMA journal_mode = WAL")
        sql.execute("PRAGMA synchronous = FULL")
        sql.execute("BEGIN IMMEDIATE")
        sql.execute("COMMIT")
    except BaseException as error:
        sql.close()
        if isinstance(error, UNREADABLE):
            raise _foreign(path, error) from None
        raise
    return sql


def _check_kind(path: Path, sql: sqlite3.Connection) -> None:
    if sql.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
        raise DataError(f"{path} is an SQLite file, but no stream's store.")
    version = sql.execute("PRAGMA user_version").fetchone()[0]
    if version != _VERSION:
        raise CheckpointError(f"{path} has format {version}; this version reads {_VERSION}.")


def _foreign(path: Path, error: Exception) -> DataError:
    if "locked" in str(error):
        return DataError(f"{path} is in use by another process: one stream, one process.")
    return DataError(f"{path} cannot be used as a stream's store: {error}.")


def _seal(events: int, position: int, blob: bytes, log: bytes) -> bytes:
    head = f"{events},{position},".encode()
    return hashlib.sha256(log + head + hashlib.sha256(blob).digest()).digest()
