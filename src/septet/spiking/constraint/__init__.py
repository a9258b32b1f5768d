"""Weights solved from linear constraints: prescribed spike trains, proofs where there are none."""

from septet.spiking.constraint._capacity import CapacityCurve, capacity
from septet.spiking.constraint._certificate import Certificate, UnreachableTargetsError
from septet.spiking.constraint._classifier import SpikingClassifier
from septet.spiking.constraint._counts import SpikeCountLearner, critical_thresholds
from septet.spiking.constraint._learner import SpikeTrainLearner
from septet.spiking.constraint._patterns import random_associations
from septet.spiking.constraint._peaks import peak_potentials
from septet.spiking.constraint._plot_capacity import plot_capacity
from septet.spiking.constraint._report import LearningReport
from septet.spiking.constraint._robustness import maximise_margin, noise_recall, tolerated_noise
from septet.spiking.constraint._rules import RuleLearner

__all__ = [
    "CapacityCurve",
    "Certificate",
    "LearningReport",
    "RuleLearner",
    "SpikeCountLearner",
    "SpikeTrainLearner",
    "SpikingClassifier",
    "UnreachableTargetsError",
    "capacity",
    "critical_thresholds",
    "maximise_margin",
    "noise_recall",
    "peak_potentials",
    "plot_capacity",
    "random_associations",
    "tolerated_noise",
]
