"""Every recipe killed with kill -9 at random moments and started again has the same result."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from septet.recipes import names

SCRIPT = str(Path(__file__).with_name("kill_recipe.py"))
KILLS = 4


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX signals")
@pytest.mark.parametrize("name", names())
def test_a_recipe_killed_at_random_moments_ends_in_the_same_result(name, tmp_path):
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, SCRIPT, name, str(tmp_path), str(KILLS), "0"],
        env={**os.environ, **threads},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1
