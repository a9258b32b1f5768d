"""Build the wheel, install it alone into an empty environment, run every smoke recipe it can there.

"Alone" means with its required dependencies only, so that what needs no extra is seen to need none;
then with the extra `audio`, which is all that enhancing a recording takes; then with all extras.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from bootstrap import PYTHON, ROOT, pip_setting

LIMIT = 1 << 20  # bytes of everything but weights
WEIGHTS_LIMIT = 10_000_000

NOISY = """
import numpy as np, soundfile
rng, t = np.random.default_rng(0), np.arange(44100) / 44100
soundfile.write("noisy.wav", 0.2 * np.sin(800 * t) + 0.05 * rng.normal(size=t.size), 44100)
"""


def run(*command: str | Path, cwd: Path) -> None:
    """Run one command outside the source tree; stop with its exit status if it fails."""
    clean = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    clean["UV_FIND_LINKS"] = ",".join(pip_setting("find-links").split())
    print("+", *command, flush=True)
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=clean)
    if done.returncode:
        sys.exit(done.returncode)


def main() -> None:
    """Prove the wheel."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    run(PYTHON, "-m", "uv", "build", "--quiet", "--wheel", "-o", "dist", ".", cwd=ROOT)
    (wheel,) = (ROOT / "dist").glob("septet-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as packed:
        sizes = {entry.filename: entry.compress_size for entry in packed.infolist()}
    weights = sum(size for name, size in sizes.items() if name.endswith(".safetensors"))
    for what, size, limit in (
        ("weights", weights, WEIGHTS_LIMIT),
        ("everything else", sum(sizes.values()) - weights, LIMIT),
    ):
        if size > limit:
            sys.exit(f"{wheel.name}: {what} takes {size} bytes; the limit is {limit}.")
    uv = [str(PYTHON), "-m", "uv", "pip", "install", "--quiet", "-c", f"{ROOT}/constraints.txt"]
    with tempfile.TemporaryDirectory() as folder:
        box = Path(folder)
        python = box / "env/bin/python"
        septet = box / "env/bin/septet"
        run(PYTHON, "-m", "uv", "venv", "--quiet", "env", cwd=box)
        run(*uv, "--python", python, wheel, cwd=box)
        run(septet, "doctor", cwd=box)
        run(septet, "reproduce", "cohort", "--scale", "smoke", cwd=box)
        run(*uv, "--python", python, f"{wheel}[audio]", cwd=box)
        run(python, "-c", NOISY, cwd=box)
        run(septet, "speech", "enhance", "noisy.wav", "-o", "clean.wav", cwd=box)
        run(*uv, "--python", python, f"{wheel}[all]", cwd=box)
        run(septet, "reproduce", "all", "--scale", "smoke", "--fresh", "--fetch", cwd=box)


if __name__ == "__main__":
    main()
