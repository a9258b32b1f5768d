"""A spiking novelty detector as a gate before a spiking classifier."""
