"""A stored stream: whatever ends its process, the cohort and the certificate come out the same."""

import json
import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time

import numpy as np
import pytest

from septet._core.errors import CheckpointError, DataError, SeptetError
from septet.cohort import FairStream
from septet.cohort import _stream_run as stream_run
from septet.cohort._store import StoreLedger

TERMS = {"k": 6, "knots": 8, "slack": 5, "seed": "a secret", "reserve": 2}


def requests(n=240, seed=0):
    """Arrivals with withdrawals and two reductions of k among them, then the close."""
    rng = np.random.default_rng(seed)
    out = []
    for i, score in enumerate(rng.beta(2, 5, n).tolist()):
        out.append({"id": f"p{i}", "score": score})
        if i % 23 == 7:
            out.append({"withdraw": f"p{int(rng.integers(0, i + 1))}"})
        if i in (n // 3, n // 2):
            out.append({"reduce_k": 5 if i == n // 3 else 4})
    return [*out, {"close": True}]


def ask(stream, request):
    if "score" in request:
        return stream.push(request["id"], request["score"])
    if "withdraw" in request:
        return stream.withdraw(request["withdraw"])
    if "reduce_k" in request:
        return stream.reduce_k(request["reduce_k"])
    return stream.close()


def undisturbed(asked):
    stream = FairStream(**TERMS)
    for request in asked:
        ask(stream, request)
    return stream.close().certificate, list(stream.record())


@pytest.fixture
def store(tmp_path):
    return tmp_path / "ströme" / "admissions 2024.db"


@pytest.fixture(autouse=True)
def frequent_snapshots(monkeypatch, store):
    store.parent.mkdir()
    monkeypatch.setattr(stream_run, "_SNAPSHOT", 31)


def test_a_stored_stream_is_the_stream_in_memory(store):
    asked = requests()
    stream, memory = FairStream(**TERMS, store=store), FairStream(**TERMS)
    for request in asked[:-1]:
        assert ask(stream, request) == ask(memory, request)
        assert stream.pending == memory.pending
    assert list(stream.record()) == list(memory.record())
    for who in ("p0", "p7", "p200"):
        assert stream.status(who) == memory.status(who)
    assert stream.close().certificate == memory.close().certificate
    assert stream.close().rows.tolist() == memory.close().rows.tolist()


def test_opened_anew_after_every_event_it_goes_on_as_if_nothing_had_happened(store):
    asked = requests(90)
    certificate, record = undisturbed(asked)
    FairStream(**TERMS, store=store).detach()
    for request in asked:
        stream = FairStream.open(store)
        ask(stream, request)
        stream.detach()
    stream = FairStream.open(store)
    assert stream.close().certificate == certificate
    assert list(stream.record()) == record


def test_a_request_that_is_sent_again_after_a_crash_gets_the_same_answer(store):
    asked = requests()
    stream = FairStream(**TERMS, store=store)
    first = [ask(stream, request) for request in asked[:-1]]
    position = stream._run.coins.position
    stream.detach()
    stream = FairStream.open(store)
    for request, answer in zip(asked[:-1], first, strict=True):
        again = ask(stream, request)
        if isinstance(answer, list):
            assert again == answer
        else:
            assert (again.id, again.rejected) == (answer.id, answer.rejected)
    assert stream._run.coins.position == position
    assert stream.close().certificate == undisturbed(asked)[0]


def test_bulks_and_single_arrivals_share_one_store(store, rng):
    scores = rng.random(9000)
    plain = FairStream(30, seed=4)
    plain.extend(np.arange(9000), scores)
    stored = FairStream(30, seed=4, store=store)
    told = stored.extend(np.arange(5000), scores[:5000])
    told += [who for i in range(5000, 5050) for who in stored.push(i, scores[i]).rejected]
    stored.detach()
    stored = FairStream.open(store)
    told += stored.extend(np.arange(4990, 9000), scores[4990:])
    assert {stored.status(who) for who in told} == {"rejected"}
    assert len(set(told)) == len(told) == 9000 - len(stored.pending)
    assert stored.close().certificate == plain.close().certificate


def test_cut_anywhere_in_its_write_ahead_log_the_store_holds_a_prefix_of_whole_events(store):
    asked = requests(70)
    certificate, record = undisturbed(asked)
    stream = FairStream(**TERMS, store=store)
    for request in asked[:-1]:
        ask(stream, request)
    wal = store.with_name(store.name + "-wal")
    whole, base = wal.read_bytes(), store.read_bytes()
    stream.detach()
    chance = random.Random(5)
    lengths = set()
    for cut in [0, 31, len(whole), *(chance.randrange(len(whole)) for _ in range(12))]:
        copy = store.with_name(f"copy {cut}.db")
        copy.write_bytes(base)
        copy.with_name(copy.name + "-wal").write_bytes(whole[:cut])
        try:
            stream = FairStream.open(copy)
        except DataError:  # not even the tables were on disk
            assert cut < len(whole) // 4
            continue
        seen = list(stream.record())
        assert seen == record[: len(seen)]
        lengths.add(len(seen))
        for request in asked:
            ask(stream, request)
        assert stream.close().certificate == certificate
        stream.detach()
    assert len(lengths) > 5


SERVICE = """
import json, pathlib, sys
from septet.cohort import FairStream, _stream_run, serve
_stream_run._SNAPSHOT = 31
store, asked, terms, mode = sys.argv[1:]
store = pathlib.Path(store)
def opened():
    try:
        return FairStream(**json.loads(terms), store=store)
    except FileExistsError:
        return FairStream.open(store)
stream = opened()
lines = pathlib.Path(asked).read_text(encoding="utf-8").splitlines()
if mode == "lines":
    serve(stream, lines, sys.stdout)
else:
    people = [json.loads(line) for line in lines[:-1]]
    for start in range(0, len(people), 40):
        some = people[start : start + 40]
        stream.extend([p["id"] for p in some], [p["score"] for p in some])
        print("{}", flush=True)
    print(json.dumps({"certificate": dict(stream.close().certificate)}), flush=True)
"""


def killed_again_and_again(store, asked, kills, mode, seed):
    """Run the service until it ends by itself, having killed it so many times; its last answer."""
    chance = random.Random(seed)
    path = store.with_name("requests.jsonl")
    path.write_text("\n".join(map(json.dumps, asked)), encoding="utf-8")
    command = [sys.executable, "-c", SERVICE, str(store), str(path), json.dumps(TERMS), mode]
    answers = len(asked) if mode == "lines" else -(-(len(asked) - 1) // 40) + 1
    for turn in range(kills + 1):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if turn == kills:
            output, _ = process.communicate()
            assert process.returncode == 0
            return json.loads(output.splitlines()[-1])
        if chance.random() < 0.1:  # while it starts, or while it creates the store
            time.sleep(chance.random())
        else:
            for _ in range(chance.randrange(answers)):
                process.stdout.readline()
            time.sleep(chance.random() * 0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    raise AssertionError


def assert_unmoved_by_kills(store, kills, mode, seed):
    asked = requests(400)
    if mode == "batches":
        asked = [request for request in asked if "score" in request] + asked[-1:]
    last = killed_again_and_again(store, asked, kills, mode, seed)
    certificate, record = undisturbed(asked)
    assert last["certificate"] == dict(certificate)
    assert list(FairStream.open(store).record()) == record


@pytest.mark.parametrize(("mode", "kills"), [("lines", 5), ("batches", 2)])
def test_killed_at_random_moments_it_ends_in_the_same_cohort(store, mode, kills):
    assert_unmoved_by_kills(store, kills, mode, seed=kills)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["lines", "batches"])
def test_killed_fifty_times_it_ends_in_the_same_cohort(store, mode):
    assert_unmoved_by_kills(store, 50, mode, seed=99)


# the file


def test_the_store_is_readable_by_its_owner_alone(store):
    stream = FairStream(**TERMS, store=store)
    stream.push("a", 0.5)
    for path in store.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_tables_say_in_plain_words_what_was_decided(store):
    stream = FairStream(2, knots=3, slack=0, seed=1, store=store)
    rejected = [who for i in range(20) for who in stream.push(f"p{i}", (i % 7) / 7).rejected]
    stream.withdraw(stream.pending[0])
    stream.detach()
    sql = sqlite3.connect(store)
    assert sql.execute("SELECT id, z FROM arrivals WHERE seq = 1").fetchone() == (
        "p1",
        round(2**32 / 7),
    )
    told = sql.execute("SELECT id FROM decisions WHERE status = 'rejected' ORDER BY seq").fetchall()
    assert sorted(who for (who,) in told) == sorted(rejected)
    assert sql.execute("SELECT seq, kind FROM actions").fetchall() == [(20, "withdraw")]


def test_an_existing_file_is_never_overwritten(store):
    store.write_text("something else")
    with pytest.raises(FileExistsError, match=r"exists: go on with FairStream\.open"):
        FairStream(**TERMS, store=store)
    assert store.read_text() == "something else"


def test_one_stream_belongs_to_one_process(store):
    stream = FairStream(**TERMS, store=store)
    stream.push("a", 0.5)
    with pytest.raises(DataError, match="in use by another process: one stream, one process"):
        FairStream.open(store)
    stream.detach()
    FairStream.open(store).detach()


def test_a_stream_that_is_dropped_lets_go_of_its_store(store):
    stream = FairStream(**TERMS, store=store)
    stream.push("a", 0.5)
    del stream
    assert FairStream.open(store).pending == ("a",)


def test_a_detached_stream_takes_nothing_more(store):
    stream = FairStream(**TERMS, store=store)
    stream.detach()
    with pytest.raises((SeptetError, sqlite3.ProgrammingError)):
        stream.push("a", 0.5)


def test_what_is_no_store_is_refused_by_name(store, tmp_path):
    with pytest.raises(DataError, match=r"there is no stream's store at .*admissions 2024\.db"):
        FairStream.open(store)
    store.write_text("not a database at all, but long enough to be read as one" * 40)
    with pytest.raises(DataError, match="cannot be used as a stream's store"):
        FairStream.open(store)
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE t (x)")
    before = other.read_bytes()
    with pytest.raises(DataError, match="is an SQLite file, but no stream's store"):
        FairStream.open(other)
    assert other.read_bytes() == before
    with pytest.raises(DataError, match="cannot create the stream's store"):
        FairStream(**TERMS, store=tmp_path / "missing" / "a.db")


def edited(store, *statements):
    """A stored stream of 100 events, then edited by hand."""
    stream = FairStream(3, knots=4, slack=2, seed=1, store=store)
    for i in range(100):
        stream.push(i, (i * 37 % 101) / 101)
    stream.detach()
    sql = sqlite3.connect(store)
    for statement in statements:
        sql.execute(statement)
    sql.commit()
    sql.close()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("PRAGMA user_version = 7", "has format 7; this version reads 1"),
        ("UPDATE snapshot SET position = position + 1", "its snapshot has another digest"),
        ("UPDATE snapshot SET blob = x'00'", "its snapshot has another digest"),
        ("DELETE FROM arrivals WHERE seq = 95", "event 95 is missing"),
        ("DELETE FROM decisions WHERE seq >= 94", "does not reproduce .* at event 9[4-9]"),
        ("DELETE FROM about WHERE key = 'terms'", "is damaged: terms of format None"),
        ("UPDATE arrivals SET z = 1 WHERE seq > 92", "record was changed"),
    ],
)
def test_a_store_that_was_changed_is_found_out(store, statement, message):
    edited(store, statement)
    with pytest.raises(CheckpointError, match=message):
        FairStream.open(store)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE arrivals SET z = z + 1 WHERE seq = 5",
        "UPDATE arrivals SET z = z + 1 WHERE seq = 99",
        "UPDATE arrivals SET id = 1000 WHERE seq = 5",
        "UPDATE about SET value = 'another' WHERE key = 'seed'",
    ],
)
def test_any_entry_that_was_changed_is_found_out_at_once(store, statement):
    edited(store, statement)
    with pytest.raises(CheckpointError, match="record was changed after it was written"):
        FairStream.open(store)


def test_a_certificate_that_was_changed_is_not_given_out(store):
    stream = FairStream(**TERMS, store=store)
    stream.extend(list("abcdefgh"), np.linspace(0, 1, 8))
    stream.close()
    stream.detach()
    sql = sqlite3.connect(store)
    sql.execute(
        "UPDATE about SET value = replace(value, '\"k\":6', '\"k\":7') WHERE key = 'certificate'"
    )
    sql.commit()
    sql.close()
    with pytest.raises(CheckpointError, match="certificate was changed"):
        FairStream.open(store).close()


def test_an_event_that_cannot_be_written_is_not_half_kept(store, monkeypatch):
    stream = FairStream(**TERMS, store=store)
    for i in range(30):
        stream.push(i, i / 30)

    arrive = StoreLedger.arrive

    def full(self, *args):
        arrive(self, *args)
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(StoreLedger, "arrive", full)
        with pytest.raises(DataError, match="disk is full; nothing of this event is kept"):
            stream.push(30, 0.5)
    with pytest.raises(SeptetError, match="left by an error; open it anew"):
        stream.push(31, 0.5)
    stream.detach()
    again = FairStream.open(store)
    assert len(list(again.record())) == 30
    again.push(30, 0.5)
    memory = FairStream(**TERMS)
    for i in range(31):
        memory.push(i, i / 30 if i < 30 else 0.5)
    assert again.close().certificate == memory.close().certificate


def test_a_copy_of_the_file_is_a_backup(store, tmp_path):
    stream = FairStream(**TERMS, store=store)
    stream.extend(list(range(50)), np.linspace(0, 1, 50))
    stream.detach()
    copy = shutil.copy(store, tmp_path / "backup.db")
    assert FairStream.open(copy).close().certificate == FairStream.open(store).close().certificate
