"""Critical thresholds against free simulation at thresholds on either side."""

import numpy as np
import pytest

from septet.spiking import LIF, SpikeBatch, critical_thresholds, simulate


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("seed", range(4))
def test_a_neuron_fires_k_times_just_below_its_kth_critical_threshold(seed, backend):
    rng = np.random.default_rng(seed)
    trains = [np.sort(rng.uniform(0, 150, 4)).tolist() for _ in range(12)]
    inputs = SpikeBatch.from_lists([trains], duration=200.0)
    weights = rng.uniform(0.0, 0.6, 12)
    for k, threshold in enumerate(
        critical_thresholds(LIF(), inputs, weights, 3, backend=backend), start=1
    ):
        below, above = (
            simulate(LIF(threshold=threshold * factor), inputs, weights[None]).n_spikes
            for factor in (1 - 1e-6, 1 + 1e-6)
        )
        assert below >= k > above
