"""Objective measures of enhanced speech."""

from septet.speech.metrics._composite import Composite, composite, pesq, si_sdr, stoi
from septet.speech.metrics._distortion import llr, ssnr, wss
from septet.speech.metrics._pairs import (
    MEASURES,
    Diagnosis,
    Scores,
    aligned,
    diagnose,
    interval,
    score_pairs,
    scores,
)

__all__ = [
    "MEASURES",
    "Composite",
    "Diagnosis",
    "Scores",
    "aligned",
    "composite",
    "diagnose",
    "interval",
    "llr",
    "pesq",
    "score_pairs",
    "scores",
    "si_sdr",
    "ssnr",
    "stoi",
    "wss",
]
