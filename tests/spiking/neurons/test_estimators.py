"""What estimators that learn from spikes accept as neuron and as input."""

from types import SimpleNamespace

import pytest

from septet.spiking import LIF, SpikeBatch
from septet.spiking.neurons._estimators import check_spikes, neuron

TWO = SpikeBatch.from_lists([[[1.0], [2.0]]], duration=5.0)


def test_no_neuron_means_the_default_one():
    assert neuron(None) == LIF()
    assert neuron(mine := LIF(tau_m=15.0)) is mine
    with pytest.raises(TypeError, match="lif must be a LIF or None; got float"):
        neuron(15.0)


def test_only_batches_of_the_units_that_were_learned_pass():
    learned = SimpleNamespace(n_features_in_=3)
    assert check_spikes(learned, TWO, fitted=False) is TWO
    with pytest.raises(ValueError, match="X has 2 features, but SimpleNamespace is expecting 3"):
        check_spikes(learned, TWO)
    with pytest.raises(TypeError, match="X must be a SpikeBatch; got list"):
        check_spikes(learned, [[1.0]], fitted=False)
