"""Leaky integrate-and-fire neurons: spike batches, exact simulation, distances between trains."""

from septet.spiking.neurons._batch import SpikeBatch
from septet.spiking.neurons._convolution import SpikingConvolution
from septet.spiking.neurons._encoders import (
    GaussianReceptiveFieldEncoder,
    LatencyEncoder,
    PoissonEncoder,
)
from septet.spiking.neurons._events import from_aer, from_events, to_aer, to_events
from septet.spiking.neurons._export import from_nir, load_layer, save_layer, to_nir
from septet.spiking.neurons._files import format_spikes, read_spikes, write_spikes
from septet.spiking.neurons._lif import LIF
from septet.spiking.neurons._metrics import coincidence, van_rossum, victor_purpura
from septet.spiking.neurons._plot import plot_potential, plot_raster
from septet.spiking.neurons._simulate import SpikeStorm, simulate
from septet.spiking.neurons._traces import potential, psp

__all__ = [
    "LIF",
    "GaussianReceptiveFieldEncoder",
    "LatencyEncoder",
    "PoissonEncoder",
    "SpikeBatch",
    "SpikeStorm",
    "SpikingConvolution",
    "coincidence",
    "format_spikes",
    "from_aer",
    "from_events",
    "from_nir",
    "load_layer",
    "plot_potential",
    "plot_raster",
    "potential",
    "psp",
    "read_spikes",
    "save_layer",
    "simulate",
    "to_aer",
    "to_events",
    "to_nir",
    "van_rossum",
    "victor_purpura",
    "write_spikes",
]
