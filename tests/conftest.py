import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("ci")

# Two test processes on two cores: more threads in each would only take turns.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "2")
# matplotlib must never look for a screen
os.environ.setdefault("MPLBACKEND", "agg")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests an hour; all others have the limit of pyproject.toml."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20231105)


@pytest.fixture
def kitchen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the library find the recipes of the test kitchen instead of its own."""
    import septet.recipes
    from septet.recipes import _recipe

    folder = Path(__file__).parent / "recipes" / "kitchen"
    monkeypatch.setattr(_recipe, "_FOLDER", folder)
    monkeypatch.setattr(septet.recipes, "__path__", [str(folder)])
