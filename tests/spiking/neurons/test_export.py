"""Layers as files: what is written can be read, by us and by the definition of NIR."""

import json

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from septet._core.errors import DataError
from septet.spiking import LIF, from_nir, load_layer, save_layer, to_nir

CELLS = [LIF(), LIF(13.7, 13.7, threshold=2.5), LIF(30.1, 0.3)]


@pytest.mark.parametrize("suffix", [".json", ".nir"])
@pytest.mark.parametrize("lif", CELLS)
def test_a_layer_comes_back_as_it_was(lif, suffix, tmp_path):
    weights = np.random.default_rng(0).normal(size=(3, 7)) / 3
    path = tmp_path / f"läyer{suffix}"
    save_layer(path, lif, weights)
    got, read = load_layer(path)
    assert got == lif
    np.testing.assert_allclose(read, weights, rtol=1e-15 if suffix == ".nir" else 0, atol=0)


def test_json_keeps_what_nir_cannot():
    lif = LIF(tau_s=0.0, t_ref=2.0)
    with pytest.raises(ValueError, match="no refractory period"):
        to_nir(lif, [1.0])


def test_json_is_exact_for_delta_synapses_and_refractory_periods(tmp_path):
    lif = LIF(tau_s=0.0, t_ref=2.0)
    save_layer(tmp_path / "a.json", lif, [0.1, 1 / 3])
    assert load_layer(tmp_path / "a.json")[0] == lif


def test_the_equations_of_nir_fire_when_we_do():
    """One input at 0 ms with weight 3 fires first at 1.2214094440691 ms (spec, check 2)."""
    cell = to_nir(LIF(), [3.0]).nodes["neurons"]
    current = cell.w_in[0] * 3.0 / cell.tau_syn[0]  # what a Dirac pulse of weight 3 leaves

    def flow(t, state):
        i, v = state
        return [-i / cell.tau_syn[0], (cell.v_leak[0] - v + cell.r[0] * i) / cell.tau_mem[0]]

    def fires(t, state):
        return state[1] - cell.v_threshold[0]

    fires.terminal = True
    run = solve_ivp(flow, (0, 0.05), [current, 0.0], events=fires, rtol=1e-12, atol=1e-14)
    assert 1e3 * run.t_events[0][0] == pytest.approx(1.2214094440691, abs=1e-8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "x"}, "is no layer"),
        ({"version": 2}, "of version 2"),
        ({"weights": [[1.0, "a"]]}, "damaged"),
        ({"weights": [[1.0], [1.0, 2.0]]}, "damaged"),
        ({"lif": {"tau_m": -1.0}}, "damaged"),
        ({"lif": {"tau": 1.0}}, "damaged"),
    ],
)
def test_a_file_that_is_no_layer_is_refused(change, message, tmp_path):
    path = tmp_path / "a.json"
    save_layer(path, LIF(), [[0.5]])
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=message):
        load_layer(path)


@pytest.mark.parametrize("name", ["a.json", "a.nir"])
def test_a_torn_file_is_refused(name, tmp_path):
    save_layer(tmp_path / name, LIF(), [[0.5]])
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="a\\."):
        load_layer(tmp_path / name)


def test_graphs_of_another_kind_are_refused():
    nir = pytest.importorskip("nir")
    graph = to_nir(LIF(), np.eye(2))
    graph.nodes["neurons"].v_leak[0] = 1.0
    with pytest.raises(DataError, match="rest at 0"):
        from_nir(graph)
    graph = to_nir(LIF(), np.eye(2))
    graph.nodes["neurons"].tau_mem[0] *= 2
    with pytest.raises(DataError, match="share"):
        from_nir(graph)
    graph.nodes["more"] = nir.Linear(np.eye(2))
    with pytest.raises(DataError, match="Input, Linear, CubaLIF, Output"):
        from_nir(graph)
