"""What the tabs of the local page do, without a page."""

import json
from pathlib import Path

import numpy as np
import pytest

from septet import cohort
from septet._core.errors import DataError
from septet.demo import _enhance, _novelty, _shortlist, _spikes
from septet.signal import read_audio, write_audio

# -- enhance --------------------------------------------------------------------------------------


def test_a_recording_comes_back_as_long_as_it_was_with_less_noise(tmp_path):
    source = _enhance.made_up_voice(tmp_path)
    target, figure = _enhance.enhance(tmp_path, source, 1.0, True)
    before, after = read_audio(source), read_audio(target)
    assert (after.sample_rate, after.samples.shape) == (16_000, before.samples.shape)
    pause = slice(4_000, 5_000)  # between two syllables there is noise only
    assert np.std(after.samples[pause]) < 0.3 * np.std(before.samples[pause])
    assert [axes.get_title() for axes in figure.axes] == ["as it came", "enhanced"]


def test_a_share_of_nothing_gives_the_recording_itself(tmp_path):
    source = _enhance.made_up_voice(tmp_path)
    target, _ = _enhance.enhance(tmp_path, source, 0.0, True)
    # but for the step of a 16-bit sample and the offset, which is taken out
    np.testing.assert_allclose(read_audio(target).samples, read_audio(source).samples, atol=3e-3)


def test_the_shortest_recording_can_be_drawn(tmp_path):
    write_audio(tmp_path / "click.wav", np.full(10, 0.1), 8_000)
    _, figure = _enhance.enhance(tmp_path, str(tmp_path / "click.wav"), 1.0, True)
    assert len(figure.axes) == 2


def test_what_is_no_recording_is_named(tmp_path):
    (tmp_path / "notes.wav").write_text("no sound")
    with pytest.raises(DataError, match=r"notes\.wav"):
        _enhance.enhance(tmp_path, str(tmp_path / "notes.wav"), 1.0, True)
    with pytest.raises(ValueError, match="first"):
        _enhance.enhance(tmp_path, None, 1.0, True)


# -- shortlist ------------------------------------------------------------------------------------


def test_exactly_k_are_chosen_and_anybody_can_check_it(tmp_path):
    source = _shortlist.made_up_candidates(tmp_path)
    assert _shortlist.columns(source) == ("id", "score", ["id", "score", "town"])
    rows, files, figure, words = _shortlist.shortlist(
        tmp_path, source, 20, "id", "score", "linear", "drawn on Monday"
    )
    assert rows.num_rows == 20
    assert "20 of 200 chosen" in words
    assert "drawn on Monday" in words
    assert figure.axes[0].get_xlabel() == "score"
    shortlist, certificate = files
    listed = cohort.read_frame(shortlist, text=["id"])["id"].to_pylist()
    stated = json.loads(Path(certificate).read_text("utf-8"))
    assert sorted(listed) == stated["selected"]
    found = cohort.verify(stated, cohort.roster_from_csv(source, score="score", id="id"))
    assert sorted(listed) == list(found.selected)


def test_without_a_seed_there_is_a_fresh_one(tmp_path):
    source = _shortlist.made_up_candidates(tmp_path)
    words = [
        _shortlist.shortlist(tmp_path, source, 5, "id", "score", "ratio", " ")[3] for _ in range(2)
    ]
    assert words[0] != words[1]


def test_columns_are_guessed_by_name_and_else_by_place(tmp_path):
    (tmp_path / "people.csv").write_text("Who,Score,Town\nAda,0.5,Corby\n")
    assert _shortlist.columns(str(tmp_path / "people.csv"))[:2] == ("Who", "Score")
    assert _shortlist.columns(None) == (None, None, [])


@pytest.mark.parametrize(
    ("table", "k", "message"),
    [
        ("id,score\na,0.5\nb,1.5\n", 1, "1.5"),
        ("id,score\na,0.5\na,0.25\n", 1, "a"),
        ("id,score\na,0.5\nb,0.25\n", 3, "k"),
        ("id,score\na,0.5\nb,0.25\n", 1.5, "whole number"),
    ],
)
def test_a_wrong_table_is_told(tmp_path, table, k, message):
    (tmp_path / "t.csv").write_text(table)
    with pytest.raises(ValueError, match=message):
        _shortlist.shortlist(tmp_path, str(tmp_path / "t.csv"), k, "id", "score", "linear", "s")


# -- spikes ---------------------------------------------------------------------------------------


def test_a_neuron_learns_and_its_first_pattern_is_drawn():
    figure, words = _spikes.learn(3, 200, 4, 0)
    assert words.startswith("**Exact**")
    assert "12 desired spikes" in words
    raster, potential = figure.axes
    assert raster.get_ylabel() == "input"
    assert potential.get_ylabel() == "potential (thresholds)"


def test_what_cannot_be_learned_comes_with_a_proof():
    figure, words = _spikes.learn(20, 10, 5, 0)
    assert figure is None
    assert "proof" in words


# -- novelty --------------------------------------------------------------------------------------


def test_other_digits_are_found():
    figure, words = _novelty.digits([0], 5, 0)
    share = float(words.split("**")[1].partition("%")[0])
    assert share > 90
    assert len(figure.get_axes()) == 11  # the scores, and five samples with their residuals


@pytest.mark.parametrize("normal", [[], list(range(10))])
def test_something_must_be_normal_and_something_not(normal):
    with pytest.raises(ValueError, match="one to nine"):
        _novelty.digits(normal, 5, 0)


def test_a_table_is_scored_row_by_row(tmp_path, rng):
    normal = rng.poisson(5 * np.array([8, 4, 2, 1, 1, 1, 1, 1]), (120, 8))
    new = np.concatenate([normal[:3] + 1, normal[3:5, ::-1]])
    for name, values in (("normal.csv", normal), ("new.csv", new)):
        np.savetxt(tmp_path / name, values, "%d", ",", header="a,b,c,d,e,f,g,h", comments="")
    rows, words = _novelty.table(str(tmp_path / "normal.csv"), str(tmp_path / "new.csv"), 1, 0)
    assert [row[2] for row in rows[3:]] == ["novel", "novel"]
    assert rows[3][3].startswith(("a ", "h "))
    assert "of 5 samples" in words


def test_tables_must_have_the_same_columns(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,z\n1,2\n")
    with pytest.raises(ValueError, match="same columns"):
        _novelty.table(str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), 1, 0)
    with pytest.raises(ValueError, match="first"):
        _novelty.table(None, str(tmp_path / "b.csv"), 1, 0)
