"""Kills a recipe's smoke run at random moments until it ends; compares with a run left alone.

Usage: kill_recipe.py NAME FOLDER KILLS SEED; prints how many kills hit it at work. One process
imports everything; its forked children do the work, so that a kill costs no start. One thread: a
fork must not happen among several.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

import torch

from septet.recipes import load, reproduce


def start(name, folder):
    """Return the process id of a child that runs the recipe to its end; it leads a group."""
    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            recipe = load(name)
            reproduce(recipe, "smoke", recipe.config("smoke"), folder)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def finish(name, folder):
    """Let the recipe run to its end; return how long that took in seconds."""
    begin = time.monotonic()
    status = os.waitpid(start(name, folder), 0)[1]
    if status:
        raise RuntimeError(f"{name} ended with status {status}")
    return time.monotonic() - begin


def killed(name, folder, seconds):
    """Return whether the recipe was at work when it was killed after so many seconds."""
    child = start(name, folder)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    hit = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what it had started itself
    return hit


def result_hash(folder):
    """Digest of everything in the result that no clock has measured."""
    (path,) = folder.glob("*/*/result.json")
    text = json.dumps(untimed(json.loads(path.read_text("utf-8"))), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def untimed(value):
    """A result without keys that speak of seconds, and without rows, which may."""
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if "seconds" not in k and k != "rows"}
    return [untimed(item) for item in value] if isinstance(value, list) else value


def main(name, folder, kills, seed):
    torch.set_num_threads(1)
    rng = random.Random(seed)
    load(name).module.run  # noqa: B018 - imported here once, not in every child
    finish(name, folder / "first")  # compiles what is to be compiled
    seconds = finish(name, folder / "whole")
    hits = 0
    for _ in range(kills):
        # early: what a killed run has kept brings the next one nearer to the end
        hits += killed(name, folder / "killed", rng.uniform(0, seconds / 2))
    finish(name, folder / "killed")
    if result_hash(folder / "killed") != result_hash(folder / "whole"):
        raise RuntimeError(f"{name}, killed {hits} times, ended in another result")
    sys.stdout.write(str(hits))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
