"""Choice between the compiled kernels and their NumPy twins."""

import warnings
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

from septet._core import checks
from septet._core.errors import SeptetWarning
from septet._core.extras import needs
from septet.spiking.neurons._lif import LIF

BACKENDS = ("auto", "numba", "numpy")


class Constants(NamedTuple):
    """The numbers of a `LIF` that kernels need, as plain floats (compiled code takes the tuple)."""

    tau_m: float
    tau_s: float
    threshold: float
    t_ref: float
    norm: float

    @classmethod
    def of(cls, lif: LIF) -> "Constants":
        """Read them off a neuron."""
        return cls(lif.tau_m, lif.tau_s, lif.threshold, lif.t_ref, lif.psp_norm)


def uses_numba(backend: str) -> bool:
    """Whether `backend` means compiled kernels here; ``"auto"`` without numba warns once."""
    checks.choice("backend", backend, BACKENDS)
    if backend == "numba":
        needs("numba", extra="fast", purpose='backend="numba"')
    return backend == "numba" or (backend == "auto" and _have_numba())


@cache
def _have_numba() -> bool:
    if find_spec("numba") is not None:
        return True
    warnings.warn(
        "numba is not installed, so spiking simulation and learning run in NumPy: same results, "
        'many times slower. pip install "septet[fast]" brings it.',
        SeptetWarning,
        stacklevel=4,
    )
    return False


def kernels(backend: str) -> ModuleType:
    """Return the module that holds the simulation kernels of `backend`."""
    name = "_compiled" if uses_numba(backend) else "_reference"
    return import_module(f"septet.spiking.neurons.{name}")
