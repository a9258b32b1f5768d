"""The same spikes and weights as brian2, in whose environment this asks for them."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def comparison(monkeypatch):
    if not (BENCHMARKS / "spiking_plasticity.py").exists():
        pytest.skip("the benchmarks are not part of this copy")
    monkeypatch.syspath_prepend(BENCHMARKS)
    import spiking_plasticity

    yield spiking_plasticity
    for name in ("spiking_plasticity", "sidebyside", "peers", "peers.other_python"):
        sys.modules.pop(name, None)


def test_normalised_stdp_has_the_spikes_and_the_weights_of_brian2(comparison):
    python = comparison.python_of(comparison.VARIABLE)
    if python is None:
        pytest.skip(f"{comparison.VARIABLE} names no Python of an environment with brian2")
    row = comparison.agreement(python)
    assert row["same spikes"]
    assert row["largest difference of a weight"] < 1e-15


def test_without_its_environment_the_benchmark_says_so(comparison, monkeypatch, capsys):
    monkeypatch.delenv(comparison.VARIABLE, raising=False)
    assert comparison.main() == []
    assert "SEPTET_BRIAN2 does not name the Python of brian2's environment" in (
        capsys.readouterr().err
    )
    monkeypatch.setenv(comparison.VARIABLE, "/none/python")
    with pytest.raises(FileNotFoundError, match="SEPTET_BRIAN2 = /none/python is no file"):
        comparison.main()
