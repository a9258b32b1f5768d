"""The commands for Hebbian neurons: tables and spikes in, verdicts out."""

import json

import numpy as np
import pytest

from septet import cli
from septet.spiking import SpikeBatch, write_spikes
from septet.spiking.hebbian._poisson import poisson_events


def run(*words):
    return cli.main(["spiking", *words])


def table(path, rows):
    head = ",".join(f"f{j}" for j in range(rows.shape[1]))
    path.write_text(head + "\n" + "\n".join(",".join(f"{v:g}" for v in row) for row in rows) + "\n")


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Forty samples about one profile; two more of which the second is another one's."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    profile = np.array([8.0, 6.0, 4.0, 1.0, 0.0, 0.0])
    table(tmp_path / "normal.csv", rng.poisson(4 * profile, (40, 6)))
    table(tmp_path / "new.csv", np.array([4 * profile, 4 * profile[::-1]]))


def test_a_detector_is_learned_kept_and_finds_what_is_novel(tables, capsys):
    words = ("novelty", "fit", "normal.csv", "détecteur.safetensors")
    assert run(*words, "--neurons", "2", "--epochs", "1", "--json") == cli.OK
    facts = json.loads(capsys.readouterr().out)
    assert facts["samples seen"] == 40
    assert facts["silent samples"] == 0
    assert run("novelty", "score", "détecteur.safetensors", "new.csv", "--json") == cli.OK
    rows = json.loads(capsys.readouterr().out)
    assert [row["novel"] for row in rows] == [False, True]
    assert rows[1]["decision"] < 0 < rows[0]["decision"]
    assert rows[1]["features"][0].startswith("f0 -")
    assert run(*words, "--more", "--json") == cli.OK
    assert json.loads(capsys.readouterr().out)["samples seen"] == 80
    assert run("novelty", "score", "détecteur.safetensors", "new.csv") == cli.OK
    assert "novel" in capsys.readouterr().out


def test_columns_are_known_by_their_names_not_by_their_places(tables, tmp_path, capsys):
    words = ("novelty", "fit", "normal.csv", "m.safetensors", "--neurons", "2", "--epochs", "1")
    assert run(*words) == cli.OK
    rows = [line.split(",")[::-1] for line in (tmp_path / "new.csv").read_text().splitlines()]
    (tmp_path / "turned.csv").write_text("\n".join(map(",".join, rows)) + "\n")
    capsys.readouterr()
    said = []
    for name in ("new.csv", "turned.csv"):
        assert run("novelty", "score", "m.safetensors", name, "--json") == cli.OK
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1]
    (tmp_path / "other.csv").write_text("a,b,c,d,e,f\n1,2,3,4,5,6\n")
    for words in (("score", "m.safetensors", "other.csv"), ("fit", "other.csv", "m.safetensors")):
        assert run("novelty", *words, *["--more"][: words[0] == "fit"]) == cli.DATA
        assert "other.csv must have the columns that the detector" in capsys.readouterr().err


def test_bad_tables_and_models_are_named(tables, tmp_path, capsys):
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n3,x\n")
    assert run("novelty", "fit", "bad.csv", "m.safetensors") == cli.DATA
    assert "line 3: b is no number: 'x'" in capsys.readouterr().err
    (tmp_path / "short.csv").write_text("a,b\n1\n")
    assert run("novelty", "fit", "short.csv", "m.safetensors") == cli.DATA
    assert "line 2: 1 cells; the header has 2" in capsys.readouterr().err
    (tmp_path / "negative.csv").write_text("a,b\n1,2\n3,-1\n")
    assert run("novelty", "fit", "negative.csv", "m.safetensors") == cli.USAGE
    assert "X[1, 1] = -1" in capsys.readouterr().err
    assert run("novelty", "fit", "negative.csv", "s.safetensors", "--neurons", "1", "--signed") == 0
    (tmp_path / "zeros.csv").write_text("a,b\n0,0\n0,0\n")
    assert run("novelty", "fit", "zeros.csv", "m.safetensors", "--neurons", "1") == cli.USAGE
    assert "no neuron fired" in capsys.readouterr().err
    assert run("novelty", "score", "none.safetensors", "new.csv") == cli.DATA
    assert not (tmp_path / "m.safetensors").exists()


def test_weights_that_converge_exit_0_and_others_1(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rates = np.linspace(0.002, 0.08, 20)
    times, ids = poisson_events(rates, 60_000.0, 3)
    spikes = SpikeBatch(times, ids, [0, times.size], n_units=20, duration=60_000.0)
    write_spikes(spikes, "spikes.csv")
    words = ("monitor", "events", "spikes.csv", "--rule", "stdp", "--learning-rate", "0.01")
    assert run(*words, "--json", "--plot", "windows.svg") == cli.OK
    report = json.loads(capsys.readouterr().out)
    assert report["converged"] is True
    assert [w["passed"] for w in report["windows"][-2:]] == [True, True]
    assert np.sum(report["weights"]) == pytest.approx(1.0, abs=0.2)
    assert (tmp_path / "windows.svg").read_text().rstrip().endswith("</svg>")
    assert run(*words[:5], "--learning-rate", "1e-5") == cli.MISSED
    assert "converged  no" in capsys.readouterr().out


def test_weights_that_run_away_are_told_in_json_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    times, ids = poisson_events(np.linspace(0.002, 0.08, 20), 20_000.0, 3)
    write_spikes(
        SpikeBatch(times, ids, [0, times.size], n_units=20, duration=20_000.0), "spikes.csv"
    )
    words = ("monitor", "events", "spikes.csv", "--rule", "stdp", "--depression", "1.5", "--json")
    with pytest.warns(UserWarning, match="outweigh"):
        assert run(*words, "--learning-rate", "1e-3") == cli.MISSED
    report = json.loads(capsys.readouterr().out)
    assert {w["statistic"] for w in report["windows"]} >= {None}
    assert run(*words[:3], "--passes", "0") == cli.USAGE
    assert "passes must be at least 1" in capsys.readouterr().err


def test_help_and_unknown_verbs(capsys):
    assert run("novelty") == cli.OK
    assert "fit" in capsys.readouterr().out
    assert run("novelty", "fti") == cli.USAGE
    assert "Did you mean 'fit'?" in capsys.readouterr().err
    assert run("monitor", "--help") == cli.OK
    assert "events" in capsys.readouterr().out
