"""Promises of runs: same seed, same checkpoint; stopped or killed and resumed, same checkpoint."""

import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from septet._core.errors import CheckpointError
from septet._core.files import PathLike
from septet.training import checkpoint_digest, has_checkpoint, load_checkpoint

Progress = Callable[[dict[str, Any]], None]
Run = Callable[[Path, Progress | None], object]
"""``run(folder, progress)`` trains to the end in `folder`, calling `progress` with each record."""


class _Stop(Exception):  # noqa: N818 - no error, a way out of the loop
    pass


def assert_same_seed_same_checkpoint(run: Run, folder: PathLike) -> None:
    """Fail unless two runs from nothing end in the same checkpoint."""
    folder = Path(folder)
    run(folder / "first", None)
    run(folder / "second", None)
    _same_digest(folder / "second", folder / "first", "a second run")


def assert_resume_is_exact(run: Run, folder: PathLike, *, stops: Sequence[int]) -> None:
    """Fail unless a run that is broken off at each of `stops` ends like one that is not.

    Parameters
    ----------
    run : callable
        ``run(folder, progress)``.
    folder : path
        Scratch.
    stops : sequence of int
        Steps, ascending, at whose record the run is broken off, without a chance to save.
    """
    folder = Path(folder)
    run(folder / "whole", None)
    for stop in stops:

        def progress(record: dict[str, Any], stop: int = stop) -> None:
            if record["step"] >= stop:
                raise _Stop

        try:
            run(folder / "broken", progress)
        except _Stop:
            continue
        raise AssertionError(f"the run has no record at or after step {stop}.")
    run(folder / "broken", None)
    _same_digest(folder / "broken", folder / "whole", f"a run broken off at {list(stops)}")


def assert_survives_kills(
    command: Callable[[Path], Sequence[str]],
    folder: PathLike,
    *,
    kills: int = 3,
    seed: int = 0,
    longest: float = 120.0,
) -> None:
    """Fail unless a run in an own process, killed with SIGKILL and started again, ends the same.

    After each kill the checkpoint, if there is one, must load. Kills fall at a random moment after
    the run's history has grown by a random number of records.

    Parameters
    ----------
    command : callable
        ``command(folder)`` is the command line that trains in `folder` and goes on from what it
        finds there, such as ``["septet", "reproduce", ...]``.
    folder : path
        Scratch.
    kills : int, default 3
        How many kills must hit the run before it is let through to its end.
    seed : int, default 0
        Of the moments.
    longest : float, default 120
        Seconds after which one start counts as hanging.
    """
    folder, rng = Path(folder), random.Random(seed)  # noqa: S311 - no secret
    _finish(command(folder / "whole"), longest)
    n_records = len((folder / "whole" / "history.jsonl").read_bytes().splitlines())
    killed = folder / "killed"
    for _ in range(kills):
        process = subprocess.Popen(command(killed), stdout=subprocess.DEVNULL)  # noqa: S603
        wait_for = _n_lines(killed) + rng.randint(1, max(1, n_records // (kills + 1)))
        limit = time.monotonic() + longest
        while _n_lines(killed) < wait_for and process.poll() is None:
            if time.monotonic() > limit:
                process.kill()
                raise AssertionError(f"no progress within {longest:g} s.")
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        if process.wait() != -signal.SIGKILL:
            raise AssertionError("the run ended before it could be killed; give it more steps.")
        if has_checkpoint(killed / "checkpoint"):
            try:
                load_checkpoint(killed / "checkpoint")
            except CheckpointError as error:
                raise AssertionError(f"the kill left a damaged checkpoint: {error}") from error
    _finish(command(killed), longest)
    _same_digest(killed, folder / "whole", f"a run killed {kills} times")


def _same_digest(actual: Path, expected: Path, what: str) -> None:
    if checkpoint_digest(actual / "checkpoint") != checkpoint_digest(expected / "checkpoint"):
        raise AssertionError(f"{what} ended in another checkpoint.")


def _n_lines(folder: Path) -> int:
    path = folder / "history.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _finish(command: Sequence[str], longest: float) -> None:
    done = subprocess.run(  # noqa: S603 - the caller's own command
        command, capture_output=True, text=True, timeout=longest, check=False
    )
    if done.returncode:
        raise AssertionError(f"{command} failed: {done.stderr[-2000:]}")
