"""Seven published learning methods as software their fields can use.

Subpackages load on first use, so ``import septet`` costs milliseconds and needs neither torch nor
scipy. The errors and warnings that are Septet's own stand here.

Examples
--------
>>> import septet
>>> septet.cohort.selection_probabilities([0.875, 0.5, 0.25, 0.125], k=2)[0]
0.9375
"""

from importlib import import_module
from typing import Any

from septet._core.errors import (
    CheckpointError,
    DataError,
    InfeasibleError,
    MissingExtraError,
    SeptetError,
    SeptetWarning,
)

__all__ = [
    "CheckpointError",
    "DataError",
    "InfeasibleError",
    "MissingExtraError",
    "SeptetError",
    "SeptetWarning",
]
__version__ = "0.1.0"

_SUBPACKAGES = ("audio", "cohort", "data", "optim", "robust", "speech", "spiking")


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return import_module(f"septet.{name}")
    raise AttributeError(f"module 'septet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_SUBPACKAGES])
