"""Spiking neurons: exact simulation, weights solved from linear constraints, classic rules."""

from septet.spiking.constraint import (
    Certificate,
    LearningReport,
    RuleLearner,
    SpikeTrainLearner,
    UnreachableTargetsError,
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
    "Certificate",
    "LearningReport",
    "RuleLearner",
    "SpikeBatch",
    "SpikeStorm",
    "SpikeTrainLearner",
    "UnreachableTargetsError",
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
