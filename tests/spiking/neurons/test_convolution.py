"""The hidden layer: every window is a layer of its own, outputs are pooled, filters are sampled."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier

from septet.spiking import LIF, LatencyEncoder, SpikeBatch, SpikingConvolution, simulate


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return LatencyEncoder(window=10.0, duration=30.0).fit_transform(X[:1200]), X[:1200], y[:1200]


def by_hand(layer, batch, pattern):
    """Run every window separately, from nested lists, and pool the spikes."""
    height, width = layer.image_shape_
    trains = np.array(batch.trains(pattern), dtype=object).reshape(height, width)
    rows = list(range(0, height - layer.size + 1, layer.stride))
    columns = list(range(0, width - layer.size + 1, layer.stride))
    pooled = {}
    for i, top in enumerate(rows):
        for j, left in enumerate(columns):
            part = trains[top : top + layer.size, left : left + layer.size].ravel()
            alone = SpikeBatch.from_lists([list(part)], duration=batch.duration)
            cell = i * layer.pool // len(rows) * layer.pool + j * layer.pool // len(columns)
            for k, train in enumerate(simulate(LIF(), alone, layer.coef_).trains(0)):
                pooled.setdefault(k * layer.pool**2 + cell, []).extend(train.tolist())
    return {unit: sorted(times) for unit, times in pooled.items() if times}


@pytest.mark.parametrize(("size", "stride", "pool"), [(3, 1, 2), (4, 2, 3), (5, 3, 1), (8, 1, 1)])
def test_every_window_answers_as_a_layer_of_its_own(digits, size, stride, pool):
    batch = digits[0][:40]
    layer = SpikingConvolution(5, size=size, stride=stride, pool=pool, random_state=0)
    fired = layer.fit_transform(batch)
    assert fired.n_spikes > 0
    for p in (0, 7):
        got = {u: t.tolist() for u, t in enumerate(fired.trains(p)) if t.size}
        expected = by_hand(layer, batch, p)
        assert got.keys() == expected.keys()
        for unit, times in expected.items():
            np.testing.assert_allclose(got[unit], times, rtol=0, atol=1e-12)


def test_images_need_not_be_square():
    batch = SpikeBatch.from_lists(
        [[[float(i + j)] for i in range(24)] for j in range(30)], duration=60.0
    )
    layer = SpikingConvolution(
        2, size=2, stride=1, pool=2, image_shape=(4, 6), sparsity=0.5, random_state=1
    ).fit(batch)
    got = {u: t.tolist() for u, t in enumerate(layer.transform(batch).trains(3)) if t.size}
    expected = by_hand(layer, batch, 3)
    assert got.keys() == expected.keys()
    for unit, times in expected.items():
        np.testing.assert_allclose(got[unit], times, rtol=0, atol=1e-12)


def test_patterns_are_independent_and_threads_change_nothing(digits):
    batch = digits[0][:20]
    layer = SpikingConvolution(4, size=3, stride=1, pool=2, random_state=0).fit(batch)
    whole = layer.transform(batch)
    assert layer.transform(batch[5:9]) == whole[5:9]
    assert clone(layer).set_params(n_threads=2).fit(batch).transform(batch) == whole


def test_its_spikes_tell_digits_apart_better_than_pixels(digits):
    batch, X, y = digits
    layer = SpikingConvolution(24, size=3, stride=1, pool=3, random_state=0)
    features = layer.fit(batch[:400]).transform(batch).counts()
    score = RidgeClassifier(10.0).fit(features[:400], y[:400]).score(features[400:], y[400:])
    pixels = RidgeClassifier(10.0).fit(X[:400], y[:400]).score(X[400:], y[400:])
    assert score > pixels + 0.02


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 9}, "windows of 9 pixels do not fit"),
        ({"image_shape": (7, 9)}, "64 input lines are no image of 7 x 9"),
        ({"n_filters": 0}, "n_filters must be at least 1"),
        ({"sparsity": 1.0}, "sparsity must be less than 1"),
        ({"n_filters": 30_000}, "filters need as many windows"),
    ],
)
def test_bad_settings_are_refused(digits, change, message):
    layer = SpikingConvolution(**{"n_filters": 4, "size": 3, "random_state": 0} | change)
    with pytest.raises(ValueError, match=message):
        layer.fit(digits[0][:20])


def test_other_inputs_are_refused_by_name(digits):
    batch = digits[0][:20]
    layer = SpikingConvolution(4, size=3, random_state=0)
    with pytest.raises(TypeError, match="X must be a SpikeBatch; got ndarray"):
        layer.fit(np.zeros((3, 64)))
    with pytest.raises(ValueError, match="empty batch"):
        layer.fit(batch[:0])
    layer.fit(batch)
    other = SpikeBatch.from_lists([[[1.0]]], duration=30.0)
    with pytest.raises(
        ValueError, match="X has 1 features, but SpikingConvolution is expecting 64"
    ):
        layer.transform(other)
