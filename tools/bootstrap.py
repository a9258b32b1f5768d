"""Make `.venv` with everything Septet needs to run, test and lint; standard library only.

Runs again in a blink when nothing changed: the digest of the files that decide the environment is
kept beside it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "septet-setup.sha256"
DECIDING = ("pyproject.toml", "constraints.txt", "tools/bootstrap.py")


def run(*command: str | Path, **extra: str) -> None:
    """Run one command; stop with its exit status if it fails."""
    done = subprocess.run([str(c) for c in command], cwd=ROOT, env={**os.environ, **extra})
    if done.returncode:
        sys.exit(done.returncode)


def pip_setting(name: str) -> str:
    """Value of one pip setting, from the environment or pip's configuration; '' if unset."""
    from_environment = os.environ.get("PIP_" + name.upper().replace("-", "_"))
    if from_environment is not None:
        return from_environment
    query = [str(PYTHON), "-m", "pip", "config", "get", f"global.{name}"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()


def digest(groups: list[str]) -> str:
    """Digest of everything that decides what the environment holds."""
    parts = [sys.version, *groups, *((ROOT / name).read_text("utf-8") for name in DECIDING)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def main(groups: list[str]) -> None:
    """Create the environment if needed and bring it in line with the constraints."""
    if sys.version_info < (3, 11):  # noqa: UP036 - started by whatever python3 the machine has
        sys.exit("Septet needs Python 3.11 or newer; set PYTHON=... to one that is.")
    wanted = digest(groups)
    if STAMP.exists() and STAMP.read_text("utf-8") == wanted:
        return
    if not PYTHON.exists():
        run(sys.executable, "-m", "venv", VENV)
    run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv")
    # uv ignores pip's configuration, and a machine may offer its torch wheel only there.
    links = pip_setting("find-links")
    extra = {"UV_FIND_LINKS": ",".join(links.split())} if links else {}
    install = [PYTHON, "-m", "uv", "pip", "install", "--python", PYTHON, "-c", "constraints.txt"]
    for group in groups:
        install += ["--group", group]
    run(*install, "-e", ".[all]", **extra)
    STAMP.write_text(wanted, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:] or ["dev"])
