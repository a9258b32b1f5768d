"""Fair cohort selection: its guarantees against independent solvers, and its quality on data."""
