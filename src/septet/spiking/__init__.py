"""Spiking neurons: exact simulation, weights solved from linear constraints, classic rules."""

from septet.spiking.constraint import (
    CapacityCurve,
    Certificate,
    LearningReport,
    SpikeTrainLearner,
    UnreachableTargetsError,
    capacity,
    random_associations,
)
from septet.spiking.neurons import (
    LIF,
    SpikeBatch,
    SpikeStorm,
    coincidence,
    from_aer,
    from_events,
    potential,
    psp,
    simulate,
    to_aer,
    to_events,
    van_rossum,
    victor_purpura,
)

__all__ = [
    "LIF",
    "CapacityCurve",
    "Certificate",
    "LearningReport",
    "SpikeBatch",
    "SpikeStorm",
    "SpikeTrainLearner",
    "UnreachableTargetsError",
    "capacity",
    "coincidence",
    "from_aer",
    "from_events",
    "potential",
    "psp",
    "random_associations",
    "simulate",
    "to_aer",
    "to_events",
    "van_rossum",
    "victor_purpura",
]
