"""A fair stream against its plain Python engine: arrivals a second, in memory and on disk.

The floor is held against seconds of CPU of the one thread that works, which a busy machine does
not change; seconds on the clock stand beside them.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sidebyside import interleaved, ratio, show

from septet.cohort import FairStream
from septet.cohort._coins import Coins
from septet.cohort._scores import quantise
from septet.cohort._stream_reference import PlainEngine, coin_from
from septet.cohort._stream_rule import knot_lattice

ARRIVALS = 100_000
FLOOR = 500_000  # arrivals a second of CPU, in memory


def main() -> list[dict[str, Any]]:
    """Rows for streams of several numbers of seats and cells, then for single arrivals."""
    scores = np.random.default_rng(0).beta(2, 5, ARRIVALS)
    ids = [f"applicant {i}" for i in range(ARRIVALS)]
    rows = []
    for seats, cells in ((100, 50), (1000, 100), (1000, 1)):
        seconds = interleaved(
            {
                "FairStream.extend": in_bulk(ids, scores, seats, cells),
                "plain engine": plain(scores, seats, cells),
            },
            repeats=3,
        )
        name = f"{ARRIVALS} arrivals, {seats} seats, {cells} cells"
        row = ratio(name, seconds, "FairStream.extend", "plain engine")
        rate = ARRIVALS / cpu_seconds(in_bulk(ids, scores, seats, cells))
        row |= {"arrivals/s": ARRIVALS / min(seconds["FairStream.extend"])}
        rows.append(row | {"arrivals/s of CPU": rate, "floor": FLOOR, "met": rate >= FLOOR})
    return rows + one_by_one(ids, scores)


def cpu_seconds(way: Callable[[], Any], repeats: int = 3) -> float:
    """Least CPU time of some runs."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        way()
        taken.append(time.process_time() - start)
    return min(taken)


def in_bulk(ids: list[str], scores: np.ndarray, seats: int, cells: int) -> Callable[[], Any]:
    """One call with all arrivals, ids kept and every rejection reported."""
    return lambda: FairStream(seats, knots=cells, seed="bench").extend(ids, scores)


def plain(scores: np.ndarray, seats: int, cells: int) -> Callable[[], Any]:
    """Only the decisions, in plain Python: no ids, no record."""
    z, knots = quantise(scores).tolist(), knot_lattice(cells).tolist()

    def run() -> None:
        coins = Coins.from_seed("bench", bytes(32))
        engine = PlainEngine(seats, knots, seats, coin_from(coins))
        for number, value in enumerate(z):
            engine.arrive(number, value)

    return run


def one_by_one(ids: list[str], scores: np.ndarray) -> list[dict[str, Any]]:
    """Arrivals a second through `push`, in memory and each on disk before it is answered."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, store, count in (
            ("push, in memory", None, 20_000),
            ("push, durable", Path(folder) / "stream.db", 1_000),
        ):
            stream = FairStream(100, seed="bench", store=store)
            start = time.perf_counter()
            for who, score in zip(ids[:count], scores[:count].tolist(), strict=True):
                stream.push(who, score)
            seconds = time.perf_counter() - start
            stream.detach()
            what = f"{count} arrivals, 100 seats, 50 cells"
            rows.append({"what": what, "ours": name, "arrivals/s": count / seconds, "n": 1})
    return rows


if __name__ == "__main__":
    show(main())
