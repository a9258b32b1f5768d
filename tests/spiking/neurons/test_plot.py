"""Pictures show the spikes, the potential up to the threshold, and the targets."""

import numpy as np
import pytest

from septet.spiking import LIF, SpikeBatch, plot_potential, plot_raster


@pytest.fixture
def inputs():
    return SpikeBatch.from_lists([[[0.0]], [[5.0]]], duration=50.0)


def test_a_raster_has_a_tick_for_every_spike():
    batch = SpikeBatch.from_lists([[[1.0, 7.0], [3.0]], [[], [2.0]]], duration=10.0)
    (ticks,) = plot_raster(batch, 0).axes[0].collections
    at = sorted((path.vertices[0, 0], path.vertices.mean(axis=0)[1]) for path in ticks.get_paths())
    assert at == [(1.0, 0.0), (3.0, 1.0), (7.0, 0.0)]


def test_a_potential_reaches_the_threshold_at_its_spikes_and_falls_to_0(inputs):
    lif = LIF(threshold=2.0)
    axes = plot_potential(lif, inputs, [6.0], pattern=0).axes[0]
    line, _, spikes = axes.lines
    # check 2 of the worked examples, scaled by the threshold
    expected = [1.2214094440691, 2.86303585684983, 5.40533946044742, 12.9145646341304]
    np.testing.assert_allclose(spikes.get_xdata(), expected, atol=1e-9)
    t, v = line.get_data()
    at = np.searchsorted(t, spikes.get_xdata())
    np.testing.assert_allclose(v[at], 1.0, atol=1e-9)
    np.testing.assert_allclose(v[at + 1], 0.0, atol=1e-6)
    assert v.max() <= 1.0 + 1e-9


def test_targets_are_drawn_where_they_are(inputs):
    axes = plot_potential(LIF(), inputs, [0.5], pattern=1, targets=[12.0, 20.0]).axes[0]
    assert [line.get_xdata()[0] for line in axes.lines[3:]] == [12.0, 20.0]


def test_pictures_can_share_a_figure(inputs):
    from matplotlib.figure import Figure

    figure = Figure()
    upper, lower = figure.subplots(2)
    assert plot_raster(inputs, ax=upper) is figure
    assert plot_potential(LIF(), inputs, [0.5], ax=lower) is figure
