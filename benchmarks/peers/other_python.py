"""A peer that cannot share Septet's environment: a script that the Python of another one runs."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def python_of(variable: str) -> Path | None:
    """The interpreter that an environment variable names, or None if it names none.

    Raises
    ------
    FileNotFoundError
        If it names one that does not exist.
    """
    named = os.environ.get(variable)
    if not named:
        return None
    if not Path(named).is_file():
        raise FileNotFoundError(f"{variable} = {named} is no file; name the python to run.")
    return Path(named)


@contextmanager
def started(*command: str | Path) -> Iterator[Peer]:
    """Start a script that answers lines with lines of JSON; it ends when its input does."""
    pipe = subprocess.PIPE
    with subprocess.Popen([str(c) for c in command], stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Peer(process)
        finally:
            process.kill()


class Peer:
    """A running script; `ready` is its first answer."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.ready = self._read()

    def ask(self, line: str = "run") -> dict[str, Any]:
        """Send a line and return the answer."""
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the peer ended without an answer; its error output says why.")
        return json.loads(line)
