"""Linear-constraints learning of spike trains: exactness, speed, capacity, robustness."""
