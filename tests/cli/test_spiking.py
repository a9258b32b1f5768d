"""The spiking commands: files in, files out, exit codes."""

import json

import numpy as np
import pytest

from septet import cli
from septet.spiking import LIF, SpikeBatch, load_layer, read_spikes, save_layer, write_spikes


@pytest.fixture
def task(tmp_path, monkeypatch):
    """Two inputs at 0 and 10 ms, one desired spike at 12 ms (spec, check 4)."""
    monkeypatch.chdir(tmp_path)
    write_spikes(SpikeBatch.from_lists([[[0.0], [10.0]]], duration=40.0), "éingabe.csv")
    (tmp_path / "targets.csv").write_text("time\n12\n")


def run(*words):
    return cli.main(["spiking", *words])


def test_memorized_trains_come_back_when_simulated(task, tmp_path, capsys):
    assert run("memorize", "éingabe.csv", "targets.csv", "-o", "layer.json", "--json") == cli.OK
    report = json.loads(capsys.readouterr().out)
    assert report["exact"] is True
    assert report["largest timing error (ms)"] < 1e-9
    lif, weights = load_layer("layer.json")
    assert lif == LIF()
    assert weights[0] == pytest.approx([0.81720656, 0.41836232], abs=1e-8)
    assert run("simulate", "layer.json", "éingabe.csv", "-o", "out.csv") == cli.OK
    fired = read_spikes("out.csv")
    assert fired.times == pytest.approx([12.0], abs=1e-9)
    assert fired.duration == 40.0


def test_spikes_go_to_standard_output_and_back_in(task, tmp_path, capsys):
    save_layer("layer.json", LIF(), [[3.0, 0.0], [0.0, 0.0]])
    capsys.readouterr()
    assert run("simulate", "layer.json", "éingabe.csv") == cli.OK
    (tmp_path / "again.csv").write_text(capsys.readouterr().out)
    assert read_spikes("again.csv").counts().tolist() == [[4, 0]]
    assert run("simulate", "layer.json", "éingabe.csv", "--json") == cli.OK
    facts = json.loads(capsys.readouterr().out)
    assert facts["counts"] == [[4, 0]]
    assert facts["spikes per second and neuron"] == pytest.approx(4 / 2 / 0.04)


def test_targets_out_of_reach_exit_1_with_their_proof(task, tmp_path, capsys):
    (tmp_path / "targets.csv").write_text("pattern,time\n0,12\n0,14\n0,16\n")
    words = ("memorize", "éingabe.csv", "targets.csv", "-o", "layer.json", "--json")
    assert run(*words) == cli.MISSED
    out, err = capsys.readouterr()
    assert json.loads(out)["reachable"] is False
    assert {row["kind"] for row in json.loads(out)["proof"]} & {"fire", "rise", "below"}
    assert "OUT OF REACH: Neuron 0" in err
    assert not (tmp_path / "layer.json").exists()


def test_a_recording_without_patterns_has_no_rate(task, tmp_path, capsys):
    save_layer("layer.json", LIF(), [[3.0, 0.0]])
    (tmp_path / "none.csv").write_text("# n_patterns=0 n_units=2 duration=5.0\ntime\n")
    assert run("simulate", "layer.json", "none.csv", "--json") == cli.OK
    assert json.loads(capsys.readouterr().out)["spikes per second and neuron"] is None


def test_the_largest_margin_can_be_asked_for(task, capsys):
    assert run("memorize", "éingabe.csv", "targets.csv", "--robust", "--json") == cli.OK
    robust = json.loads(capsys.readouterr().out)
    assert robust["exact"] is True


def test_pictures_are_written_whole(task, tmp_path):
    words = ("memorize", "éingabe.csv", "targets.csv", "--plot")
    assert run(*words, "picture.svg") == cli.OK
    assert (tmp_path / "picture.svg").read_text().rstrip().endswith("</svg>")
    assert run(*words, "picture.xyz") == cli.USAGE
    assert not list(tmp_path.glob("*.xyz*"))


def test_what_was_found_is_told_even_if_it_cannot_be_drawn(task, capsys):
    words = ["--inputs", "30", "--spikes", "1", "--seeds", "1", "--duration", "200"]
    assert run("capacity", *words, "--plot", "curve.xyz") == cli.USAGE
    assert "patterns learned, by seed" in capsys.readouterr().out


def test_a_pattern_that_is_not_there_is_refused_before_anything_is_done(task, tmp_path, capsys):
    words = ("memorize", "éingabe.csv", "targets.csv", "-o", "layer.json", "--plot", "p.svg")
    assert run(*words, "--pattern", "1") == cli.USAGE
    assert "pattern must be from 0 to 0; got 1" in capsys.readouterr().err
    assert not (tmp_path / "layer.json").exists()


def test_capacity_prints_a_row_for_every_rate(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--inputs", "40", "--spikes", "1", "2", "--seeds", "2", "--duration", "200"]
    assert run("capacity", *words, "--json", "--plot", "curve.svg") == cli.OK
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert [row["spikes a pattern"] for row in rows] == [1, 2]
    assert all(0 < row["capacity (spikes per input)"] < 1 for row in rows)
    assert "2 spikes a pattern" in err
    assert (tmp_path / "curve.svg").exists()


def test_a_table_is_classified_beside_logistic_regression(task, tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = [
        f"{x + 3 * c:.4f},{y:.4f},{'ab'[c]}" for c in (0, 1) for x, y in rng.normal(size=(40, 2))
    ]
    (tmp_path / "t.csv").write_text("x,y,kind\n" + "\n".join(rows) + "\n")
    words = ("classify", "t.csv", "--label", "kind", "--splits", "2", "--rule", "lcl", "tempotron")
    assert run(*words, "--json") == cli.OK
    rows = {row["method"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == ["logistic regression", "lcl", "tempotron"]
    assert rows["lcl"]["accuracy"] > 0.8
    assert rows["lcl"]["splits"] == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["simulate", "none.json", "éingabe.csv"], cli.DATA, "none.json"),
        (["simulate", "éingabe.csv", "éingabe.csv"], cli.DATA, "is damaged"),
        (["memorize", "éingabe.csv", "bad.csv"], cli.DATA, "line 3: time is no number: 'x'"),
        (["memorize", "éingabe.csv", "late.csv"], cli.DATA, "later than the duration"),
        (["memorize", "éingabe.csv", "blind.csv"], cli.DATA, "has no column 'time'"),
        (["memorize", "éingabe.csv", "zero.csv"], cli.USAGE, "must be later than 0"),
        (["memorize", "éingabe.csv", "other.csv"], cli.DATA, "is of pattern 7"),
        (["memorize", "éingabe.csv", "targets.csv", "--tau-s", "30"], cli.USAGE, "tau_s"),
        (["capacity", "--spikes", "0"], cli.USAGE, "n_spikes must be at least 1"),
        (["classify", "bad.csv"], cli.DATA, "no column 'label'"),
        (["classify", "bad.csv", "--label", "pattern"], cli.DATA, "line 3: time is no number: 'x'"),
        (["classify", "iris", "--hidden"], cli.USAGE, "needs images"),
        (["classify", "iris", "--splits", "0"], cli.USAGE, "splits must be at least 1"),
        (["classify", "iriss"], cli.USAGE, "Did you mean 'iris'"),
        (["classify", "adult"], cli.USAGE, "data must be one of 'iris'"),
        (["memorize", "none.csv", "targets.csv"], cli.DATA, "none.csv does not exist"),
        (["memorize", "empty.csv", "targets.csv"], cli.DATA, "empty.csv holds no spikes"),
        (["memorise"], cli.USAGE, "Did you mean 'memorize'"),
    ],
)
def test_mistakes_are_named_without_a_traceback(task, tmp_path, words, code, message, capsys):
    for name, text in {
        "bad.csv": "pattern,time\n0,3\n0,x\n",
        "late.csv": "time\n50\n",
        "blind.csv": "when\n5\n",
        "zero.csv": "time\n0\n",
        "empty.csv": "time\n",
        "other.csv": "pattern,time\n7,12\n",
    }.items():
        (tmp_path / name).write_text(text)
    assert run(*words) == code
    assert message in capsys.readouterr().err


def test_a_storm_of_spikes_is_refused_rather_than_cut_short(task, capsys):
    save_layer("layer.json", LIF(), [[1e5, 0.0]])
    assert run("simulate", "layer.json", "éingabe.csv") == cli.USAGE
    assert "fires more than 10000 times" in capsys.readouterr().err
