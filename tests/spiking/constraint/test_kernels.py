"""The kernels of learning: compiled against plain, and plain against dense sampling."""

import numpy as np
import pytest
from spiking.patterns import desired_trains, poisson_batch

from septet.spiking import LIF, potential, simulate
from septet.spiking.constraint import _compiled, _reference
from septet.spiking.constraint._rows import BELOW, FIRE, N_ROWS, RISE, Limits, empty_rows
from septet.spiking.constraint._timeline import Targets, timeline
from septet.spiking.neurons._backend import Constants

NEURONS = (LIF(), LIF(tau_s=10.0, threshold=2.0), LIF(tau_s=20.0), LIF(t_ref=4.0))
LIMITS = Limits(0.1, 1e-3, 0.02, 1e-6, 0.0, 0.0)
by_name = pytest.mark.parametrize("lif", NEURONS, ids=lambda x: f"{x.synapse}-{x.t_ref:g}")


class Case:
    def __init__(self, lif, rng, *, n_units=25, duration=600.0):
        self.lif, self.constants = lif, Constants.of(lif)
        self.inputs = poisson_batch(rng, n_patterns=2, n_units=n_units, duration=duration)
        self.desired = desired_trains(rng, n_patterns=2, n_spikes=4, duration=duration)
        self.targets = Targets(np.concatenate(self.desired), np.array([0, 4, 8]))
        self.line = timeline(lif, self.inputs, self.targets, 2.0)

    def violations(self, kernels, w, p, q, limits=LIMITS):
        found = np.zeros((5 * q, 4))
        n = kernels.violations(w, p, self.line, self.constants, limits, np.zeros(5), q, found)
        return found[:n]


@by_name
def test_the_compiled_kernels_equal_their_plain_twins(lif, rng):
    case, n_found = Case(lif, rng), 0
    for _ in range(5):
        w = rng.normal(0.1, 0.3, 25)
        for p in range(2):
            fast, plain = np.zeros(200), np.zeros(200)
            n = _compiled.free_run(w, p, case.line, case.constants, fast)
            assert n == _reference.free_run(w, p, case.line, case.constants, plain)
            assert fast[:n] == pytest.approx(plain[:n], abs=1e-9)
            fast, plain = (case.violations(k, w, p, 3) for k in (_compiled, _reference))
            assert len(fast) == len(plain)
            n_found += len(fast)
            assert fast == pytest.approx(plain, abs=1e-8)
    assert n_found > 20
    when = np.sort(rng.uniform(0, 600, 30))
    fast, plain = np.zeros((2, 2, 30, 25))
    _compiled.psp_rows(0, case.line, case.constants, when, *fast)
    _reference.psp_rows(0, case.line, case.constants, when, *plain)
    assert fast == pytest.approx(plain, abs=1e-12)


@by_name
def test_a_free_run_equals_the_simulator(lif, rng):
    case = Case(lif, rng)
    w = rng.normal(0.15, 0.3, 25)
    spikes = np.zeros(500)
    for p in range(2):
        n = _compiled.free_run(w, p, case.line, case.constants, spikes)
        assert n > 2
        assert spikes[:n] == pytest.approx(simulate(lif, case.inputs, w)[p][0], abs=1e-9)
        assert _compiled.free_run(w, p, case.line, case.constants, spikes[: n - 1]) == -1


@by_name
def test_rows_and_bounds_are_those_of_the_forced_potential(lif, rng):
    case = Case(lif, rng)
    w = rng.normal(0.1, 0.3, 25)
    for kernels in (_compiled, _reference):
        rows = empty_rows(20, 25)
        kernels.add_targets(1, case.line, case.targets, case.constants, LIMITS, rows, w)
        assert rows.kind[:8].tolist() == [FIRE] * 4 + [RISE] * 4
        when = case.desired[1]

        def at(times):
            return potential(lif, case.inputs, w, times, pattern=1, spikes=case.desired[1])

        above = rows.matrix[:8] @ w - rows.bound[:8]
        assert above[:4] == pytest.approx(at(when) - lif.threshold, abs=1e-9)
        slope = (at(when) - at(when - 1e-6)) / 1e-6
        assert above[4:] == pytest.approx(slope - LIMITS.min_slope, abs=1e-5)
        assert rows.violation[:8] == pytest.approx(-above, abs=1e-12)
        found = np.zeros((15, 4))
        n = kernels.violations(w, 1, case.line, case.constants, LIMITS, np.zeros(5), 3, found)
        kernels.add_cuts(w, 1, case.line, case.targets, case.constants, LIMITS, found, n, rows)
        assert rows.counts[N_ROWS] == 8 + n
        assert (rows.kind[8 : 8 + n] == BELOW).all()
        excess = rows.bound[8 : 8 + n] - rows.matrix[8 : 8 + n] @ w
        assert excess == pytest.approx(found[:n, 1], abs=1e-9)
        gram = rows.matrix[: 8 + n] @ rows.matrix[: 8 + n].T
        assert rows.gram[: 8 + n, : 8 + n] == pytest.approx(gram, abs=1e-12)


@by_name
def test_no_point_of_a_dense_grid_is_worse_than_the_violations_say(lif, rng):
    case = Case(lif, rng, n_units=10)
    grid = np.linspace(0.01, 599.99, 4_001)
    desired = case.desired[0]
    for _ in range(4):
        w = rng.normal(0.1, 0.4, 10)
        v = potential(lif, case.inputs, w, grid, pattern=0, spikes=desired)
        following = np.searchsorted(desired, grid)
        ends = np.append(desired, np.inf)[following]
        guarded = grid > ends - 2.0
        ceiling = np.where(guarded, lif.threshold - 1e-3, lif.threshold - 0.1)
        found = case.violations(_compiled, w, 0, 1)
        worst = np.zeros(5)
        worst[found[:, 3].astype(int)] = found[:, 1]
        # before a desired spike a rising potential may be anywhere below its next maximum
        excess = np.where(guarded, -np.inf, v - ceiling)
        for k in range(5):
            seen = excess[following == k].max(initial=-np.inf)
            assert seen <= worst[k] + 1e-9
        at_reported = potential(lif, case.inputs, w, found[:, 0], pattern=0, spikes=desired)
        assert at_reported - found[:, 2] == pytest.approx(found[:, 1], abs=1e-9)


def test_an_input_that_turns_the_potential_down_inside_a_guard_window_makes_a_maximum(rng):
    from septet.spiking import SpikeBatch

    lif = LIF()
    inputs = SpikeBatch.from_lists([[[0.0], [9.0], [9.2]]], duration=40.0)
    targets = Targets(np.array([10.0]), np.array([0, 1]))
    line = timeline(lif, inputs, targets, 2.0)
    w = np.array([1.1, -4.0, 4.0])
    for kernels in (_compiled, _reference):
        found = np.zeros((2, 4))
        n = kernels.violations(w, 0, line, Constants.of(lif), LIMITS, np.zeros(2), 1, found)
        assert n >= 1
        assert found[0, 2] == pytest.approx(0.9)  # the boundary of the window is worse here
        assert found[0, 0] == pytest.approx(8.0)


def test_a_long_pattern_crosses_many_blocks_without_overflow(rng):
    case = Case(LIF(tau_m=4.0, tau_s=1.0), rng, duration=5000.0)
    when = np.sort(rng.uniform(0, 5000, 50))
    fast, plain = np.zeros((2, 2, 50, 25))
    _compiled.psp_rows(0, case.line, case.constants, when, *fast)
    _reference.psp_rows(0, case.line, case.constants, when, *plain)
    assert np.isfinite(fast).all()
    assert fast == pytest.approx(plain, abs=1e-12)
