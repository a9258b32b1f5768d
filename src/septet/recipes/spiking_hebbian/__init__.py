"""Normalised Hebbian weights: their constraint, a monitor of convergence, novelty detection."""
