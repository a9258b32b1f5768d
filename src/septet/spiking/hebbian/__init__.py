"""Hebbian and STDP learning with normalised weights: convergence, novelty, the theory behind."""

from septet.spiking.hebbian._detector import SpikingNoveltyDetector
from septet.spiking.hebbian._drift import DriftAlarm
from septet.spiking.hebbian._layer import HebbianLayer, LayerRun, VanishedWeightsError
from septet.spiking.hebbian._monitor import (
    ConvergenceMonitor,
    LTDDominatedWarning,
    MonitorWindow,
)
from septet.spiking.hebbian._rule import HebbianRule
from septet.spiking.hebbian._scores import novelty_deviation
from septet.spiking.hebbian._theory import (
    PromotionConstraint,
    is_stable,
    l2_constraint,
    multiplicative_constraint,
    promotion_constraint,
    stdp_constraint,
    synaptic_memory,
    weak_coupling_promotions,
)

__all__ = [
    "ConvergenceMonitor",
    "DriftAlarm",
    "HebbianLayer",
    "HebbianRule",
    "LTDDominatedWarning",
    "LayerRun",
    "MonitorWindow",
    "PromotionConstraint",
    "SpikingNoveltyDetector",
    "VanishedWeightsError",
    "is_stable",
    "l2_constraint",
    "multiplicative_constraint",
    "novelty_deviation",
    "promotion_constraint",
    "stdp_constraint",
    "synaptic_memory",
    "weak_coupling_promotions",
]
