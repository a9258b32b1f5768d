"""Leaky integrate-and-fire neurons: spike batches, exact simulation, distances between trains."""

from septet.spiking.neurons._batch import SpikeBatch
from septet.spiking.neurons._encoders import (
    GaussianReceptiveFieldEncoder,
    LatencyEncoder,
    PoissonEncoder,
)
from septet.spiking.neurons._events import from_aer, from_events, to_aer, to_events
from septet.spiking.neurons._lif import LIF
from septet.spiking.neurons._metrics import coincidence, van_rossum, victor_purpura
from septet.spiking.neurons._simulate import SpikeStorm, simulate
from septet.spiking.neurons._traces import potential, psp

__all__ = [
    "LIF",
    "GaussianReceptiveFieldEncoder",
    "LatencyEncoder",
    "PoissonEncoder",
    "SpikeBatch",
    "SpikeStorm",
    "coincidence",
    "from_aer",
    "from_events",
    "potential",
    "psp",
    "simulate",
    "to_aer",
    "to_events",
    "van_rossum",
    "victor_purpura",
]
