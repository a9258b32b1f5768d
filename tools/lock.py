"""Write `constraints.txt`: one pinned version of every package that any extra or group can need.

Local versions such as `+cpu` are cut, so that the same file serves machines with and without CUDA.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib

from bootstrap import PYTHON, ROOT, pip_setting

GPU_ONLY = re.compile(r"^(nvidia-|triton\b|cuda-)")


def main() -> None:
    """Resolve everything once and write the result."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    command = [str(PYTHON), "-m", "uv", "pip", "compile", "pyproject.toml", "--all-extras"]
    for group in project["dependency-groups"]:
        command += ["--group", group]
    command += ["-c", "tools/pins.txt", "--no-header", "--no-annotate", "--quiet"]
    command += ["--no-emit-package", "septet", *sys.argv[1:]]
    env = {**os.environ, "UV_FIND_LINKS": ",".join(pip_setting("find-links").split())}
    done = subprocess.run(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(done.returncode)
    lines = [re.sub(r"\+[\w.]+", "", line) for line in done.stdout.splitlines()]
    kept = [line for line in lines if re.match(r"[\w.-]+==", line) and not GPU_ONLY.match(line)]
    (ROOT / "constraints.txt").write_text("\n".join(kept) + "\n", "utf-8")


if __name__ == "__main__":
    main()
