"""Weights solved from linear constraints: prescribed spike trains, proofs where there are none."""

from septet.spiking.constraint._certificate import Certificate, UnreachableTargetsError
from septet.spiking.constraint._learner import SpikeTrainLearner
from septet.spiking.constraint._report import LearningReport
from septet.spiking.constraint._rules import RuleLearner

__all__ = [
    "Certificate",
    "LearningReport",
    "RuleLearner",
    "SpikeTrainLearner",
    "UnreachableTargetsError",
]
