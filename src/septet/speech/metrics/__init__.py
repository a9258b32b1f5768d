"""Objective measures of enhanced speech."""

from septet.speech.metrics._composite import Composite, composite, pesq, si_sdr, stoi
from septet.speech.metrics._distortion import llr, ssnr, wss

__all__ = ["Composite", "composite", "llr", "pesq", "si_sdr", "ssnr", "stoi", "wss"]
