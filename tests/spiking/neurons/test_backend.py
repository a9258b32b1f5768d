"""Without numba everything works, slower, after one warning."""

import warnings

import pytest

from septet._core.errors import MissingExtraError, SeptetWarning
from septet.spiking import LIF, SpikeBatch, simulate
from septet.spiking.neurons import _backend


@pytest.fixture
def no_numba(monkeypatch):
    monkeypatch.setattr(_backend, "find_spec", lambda name: None)
    _backend._have_numba.cache_clear()
    yield
    _backend._have_numba.cache_clear()


def test_the_twins_take_over_with_one_warning(no_numba):
    inputs = SpikeBatch.from_lists([[[0.0]]], duration=50.0)
    with pytest.warns(SeptetWarning, match=r"septet\[fast\]"):
        out = simulate(LIF(), inputs, [3.0])
    assert out == simulate(LIF(), inputs, [3.0], backend="numpy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulate(LIF(), inputs, [3.0])


def test_asking_for_numba_where_there_is_none_names_the_extra(monkeypatch):
    def missing(module, **kwargs):
        raise MissingExtraError(kwargs["purpose"])

    monkeypatch.setattr(_backend, "needs", missing)
    with pytest.raises(MissingExtraError, match="backend"):
        _backend.kernels("numba")
