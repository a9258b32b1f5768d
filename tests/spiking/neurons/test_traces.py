"""Potentials at chosen times: zero after a spike, threshold at it, affine when forced."""

import numpy as np
import pytest
from spiking.patterns import poisson_batch

from septet.spiking import LIF, SpikeBatch, potential, psp, simulate


def test_rows_of_a_worked_example_have_their_printed_values():
    inputs = SpikeBatch.from_lists([[[0.0], [4.0], [18.0]]], duration=40.0)
    rows = psp(LIF(), inputs, 0, [8.0, 25.0])
    printed = [[0.99143467, 0.78185172, 0.0], [0.59213626, 0.70891674, 0.96956578]]
    assert rows == pytest.approx(np.array(printed), abs=1e-8)


@pytest.mark.parametrize("lif", [LIF(), LIF(tau_s=20.0), LIF(t_ref=5.0)])
def test_the_potential_stands_at_the_threshold_when_the_neuron_fires(lif, rng):
    inputs, w = poisson_batch(rng, n_patterns=2), rng.normal(0.2, 0.2, 30)
    for p in range(2):
        spikes = simulate(lif, inputs, w)[p][0]
        assert spikes.size > 3
        v = potential(lif, inputs, w, spikes, pattern=p)
        assert v == pytest.approx(np.ones(spikes.size), abs=1e-9)
        grid = np.linspace(0, inputs.duration, 4001)
        assert potential(lif, inputs, w, grid, pattern=p).max() <= 1 + 1e-9


def test_the_potential_restarts_from_zero(rng):
    inputs, w = poisson_batch(rng), rng.normal(0.2, 0.2, 30)
    spikes = simulate(LIF(), inputs, w).times
    assert potential(LIF(), inputs, w, spikes + 1e-9) == pytest.approx(0, abs=1e-7)
    held = simulate(LIF(t_ref=5.0), inputs, w).times
    assert np.all(potential(LIF(t_ref=5.0), inputs, w, held + 4.9) == 0)


def test_with_forced_resets_the_potential_is_affine_in_the_weights(rng):
    inputs, grid, forced = poisson_batch(rng), rng.uniform(0, 200, 50), [40.0, 90.0]
    u, v = rng.normal(0, 0.3, (2, 30))

    def at(w):
        return potential(LIF(), inputs, w, grid, spikes=forced)

    assert at(0.3 * u + 0.7 * v) == pytest.approx(0.3 * at(u) + 0.7 * at(v), abs=1e-12)
    assert at(u) - at(v) == pytest.approx(psp(LIF(), inputs, 0, grid) @ (u - v), abs=1e-12)


def test_delta_synapses_forget_what_came_before_a_spike():
    inputs = SpikeBatch.from_lists([[[10.0, 30.0]]], duration=50.0)
    v = potential(LIF(tau_s=0.0), inputs, [1.2], [10.0, 20.0, 30.0, 30.0 + 1e-9])
    assert v.tolist() == pytest.approx([0.0, 0.0, 0.0, 0.0])
    v = potential(LIF(tau_s=0.0), inputs, [0.6], [20.0])
    assert v == pytest.approx([0.6 * np.exp(-0.5)])


def test_only_one_neuron_at_a_time_has_a_potential():
    inputs = SpikeBatch.from_lists([[[1.0]]], duration=5.0)
    with pytest.raises(ValueError, match="one neuron; got 2"):
        potential(LIF(), inputs, [[1.0], [2.0]], [1.0])
