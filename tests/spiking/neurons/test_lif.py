"""The neuron's constants and kernel, against printed figures and the defining equations."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from septet.spiking import LIF


def test_the_constants_of_the_default_neuron_have_their_printed_values():
    lif = LIF()
    assert lif.psp_norm == pytest.approx(2.116534735957599299669, rel=1e-15)
    assert lif.psp_peak_time == pytest.approx(9.24196240746593746, rel=1e-15)
    assert lif.psp(lif.psp_peak_time) == pytest.approx(1.0, rel=1e-15)
    assert lif.psp(5.0) == pytest.approx(0.869729293877579614, rel=1e-14)
    assert lif.psp(10.0) == pytest.approx(0.997301381734116136, rel=1e-14)
    assert LIF(tau_s=10.0).psp_norm == pytest.approx(4.0, rel=1e-15)


@pytest.mark.parametrize("tau_s", [1.0, 5.0, 19.9, 20.0])
def test_the_potential_is_the_current_seen_through_the_membrane(tau_s):
    lif = LIF(tau_s=tau_s)
    for t in (0.3, 4.0, 25.0, 90.0):
        filtered = quad(lambda u, t=t: math.exp(-(t - u) / 20.0) * math.exp(-u / tau_s), 0, t)[0]
        at_peak = quad(
            lambda u: math.exp(-(lif.psp_peak_time - u) / 20.0) * math.exp(-u / tau_s),
            0,
            lif.psp_peak_time,
        )[0]
        assert lif.psp(t) == pytest.approx(filtered / at_peak, rel=1e-9)


@pytest.mark.parametrize("tau_s", [0.0, 2.0, 20.0])
def test_the_slope_is_the_derivative_of_the_potential(tau_s):
    lif = LIF(tau_s=tau_s)
    t = np.array([0.5, 3.0, 9.0, 40.0])
    numeric = (lif.psp(t + 1e-5) - lif.psp(t - 1e-5)) / 2e-5
    assert lif.psp_slope(t) == pytest.approx(numeric, abs=1e-9)


@pytest.mark.parametrize("tau_s", [0.0, 5.0, 20.0])
def test_nothing_is_felt_before_or_at_the_input(tau_s):
    lif = LIF(tau_s=tau_s)
    assert lif.psp([-1.0, 0.0]).tolist() == [0.0, 0.0]
    assert lif.psp_slope([-1.0, 0.0]).tolist() == [0.0, 0.0]
    assert lif.reset([-1.0, 0.0]).tolist() == [0.0, 0.0]


def test_equal_time_constants_are_the_limit_of_nearly_equal_ones():
    t = np.linspace(0.1, 100, 50)
    near, limit = LIF(tau_s=20 * (1 - 3e-6)).psp(t), LIF(tau_s=20.0).psp(t)
    assert near == pytest.approx(limit, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tau_m": 0.0}, "tau_m must be greater than 0"),
        ({"tau_s": -1.0}, "tau_s must be at least 0"),
        ({"threshold": math.nan}, "threshold must be finite"),
        ({"t_ref": -0.1}, "t_ref must be at least 0"),
        ({"tau_m": 5.0, "tau_s": 20.0}, "Exchanging them gives another neuron"),
        ({"tau_s": 20.0 * (1 - 1e-8)}, "too close to be told apart"),
    ],
)
def test_impossible_constants_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LIF(**arguments)
