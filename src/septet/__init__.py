"""Seven published learning methods as software their fields can use.

Subpackages load on first use, so ``import septet`` costs milliseconds and needs neither torch nor
scipy.

Examples
--------
>>> import septet
>>> septet.cohort.selection_probabilities([0.9, 0.5, 0.3, 0.1], k=2)[0]  # doctest: +SKIP
0.95
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_SUBPACKAGES = ("audio", "cohort", "data", "optim", "robust", "speech", "spiking")


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return import_module(f"septet.{name}")
    raise AttributeError(f"module 'septet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_SUBPACKAGES])
