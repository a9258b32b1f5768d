"""The audio commands: files in, tables, models and pictures out."""

import json

import numpy as np
import pytest
from audio.toy import RATE, toy

from septet._core.errors import SeptetWarning
from septet.cli import main
from septet.signal import write_audio

QUICK = ["--sample-rate", str(RATE), "--size", "tiny", "--steps", "30", "--views", "mel", "wave"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("Kläng")
    for i, (samples, label) in enumerate(zip(*toy(45)[:2], strict=True)):
        (folder / label).mkdir(exist_ok=True)
        write_audio(folder / label / f"{i}.wav", samples, RATE)
    return folder


@pytest.fixture(scope="module")
def model(clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    assert main(["audio", "train", str(clips), str(folder), *QUICK]) == 0
    return folder


def run(capsys, *words):
    code = main(["audio", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_training_leaves_a_model_a_history_and_a_report(model):
    page = (model / "report.html").read_text("utf-8")
    for words in ("How the branches learned", "trusted was", "balanced accuracy", "<svg"):
        assert words in page
    assert (model / "model" / "state.json").exists()
    assert (model / "run" / "history.jsonl").exists()


def test_predictions_tell_label_confidence_and_trusted_view(model, clips, capsys, tmp_path):
    files = sorted((clips / "tone").iterdir())[:2]
    picture = tmp_path / "views.svg"
    code, out, _ = run(capsys, "predict", model, *files, "--picture", picture, "--json")
    assert code == 0
    rows = json.loads(out)
    assert [row["file"] for row in rows] == [str(file) for file in files]
    for row in rows:
        assert row["label"] in ("tone", "noise", "clicks")
        assert row["trusted"] == max(row["contributions"], key=row["contributions"].get)
        assert set(row["heads"]) == {"mel", "wave", "joint", "ensemble"}
    assert "<svg" in picture.read_text("utf-8")
    code, out, _ = run(capsys, "predict", model, files[0])
    assert code == 0
    assert "trusted" in out


def test_a_bad_file_among_others_is_told_and_the_rest_decided(model, clips, capsys, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    good = next((clips / "tone").iterdir())
    code, out, errors = run(capsys, "predict", model, bad, good, "--json")
    assert code == 3
    assert len(json.loads(out)) == 1
    assert "bad.wav cannot be decoded" in errors


def test_evaluation_counts_what_is_right(model, clips, capsys):
    code, out, _ = run(capsys, "evaluate", model, clips, "--json")
    assert code == 0
    result = json.loads(out)
    assert result["clips"] == 45
    confusion = np.array(result["confusion"])
    assert confusion.sum() == 45
    assert result["accuracy"] == pytest.approx(np.trace(confusion) / 45)
    code, out, _ = run(capsys, "evaluate", model, clips, "--head", "ensemble")
    assert code == 0
    assert "recall" in out


def test_the_same_command_goes_on_or_refuses_other_settings(model, clips, capsys):
    words = ["train", clips, model, *QUICK]
    assert run(capsys, *words)[0] == 0
    code, _, errors = run(capsys, *words, "--policy", "uniform")
    assert code == 3
    assert "policy was 'loss' and is 'uniform'" in errors


def test_a_report_is_written_again(model, capsys):
    (model / "report.html").unlink()
    code, out, _ = run(capsys, "report", model, "--json")
    assert code == 0
    assert json.loads(out)["report"].endswith("report.html")
    assert (model / "report.html").exists()


def test_a_scan_lists_faults_and_exits_3(clips, capsys, tmp_path):
    assert run(capsys, "scan", clips)[0] == 0
    (tmp_path / "a.wav").touch()
    table = tmp_path / "faults.csv"
    code, out, _ = run(capsys, "scan", tmp_path, "-o", table, "--json")
    assert code == 3
    assert json.loads(out)[0]["kind"] == "empty"
    assert table.read_text("utf-8").startswith("path,kind,detail\n")
    code, _, errors = run(capsys, "scan", tmp_path / "nowhere")
    assert code == 3
    assert "does not exist" in errors


@pytest.mark.parametrize(("view", "bands"), [("mel", 64), ("gamma", 64), ("cqt", 82)])
def test_features_are_arrays_of_bands_and_frames(clips, capsys, tmp_path, view, bands):
    file = next((clips / "tone").iterdir())
    target = tmp_path / "one.npy"
    code, out, _ = run(
        capsys, "features", file, target, "--view", view, "--sample-rate", RATE, "--json"
    )
    assert code == 0
    image = np.load(target)
    assert image.shape == (bands, 13)
    assert json.loads(out) == [{"file": str(target), "bands": bands, "frames": 13}]


def test_features_of_a_folder_keep_its_tree(clips, capsys, tmp_path):
    code, _, _ = run(capsys, "features", clips, tmp_path / "out", "--sample-rate", RATE)
    assert code == 0
    assert len(list((tmp_path / "out" / "tone").glob("*.npy"))) == 15


def test_a_table_with_folds_is_trained_on_its_official_split(clips, capsys, tmp_path):
    rows = ["path,label,group,fold"]
    rows += [
        f"{p},{p.parent.name},{p.stem},{i % 3 + 1}" for i, p in enumerate(clips.rglob("*.wav"))
    ]
    table = tmp_path / "clips.csv"
    table.write_text("\n".join(rows), "utf-8")
    words = ["train", table, tmp_path / "m", "--kind", "csv", *QUICK, "--fold"]
    code, out, _ = run(capsys, *words, "fold 2", "--json")
    assert code == 0
    assert json.loads(out)["clips"] == {"train": 15, "validation": 15, "test": 15}
    code, _, errors = run(capsys, *words, "fold 9")
    assert code == 2
    assert "fold must be one of fold 1, fold 2, fold 3" in errors


def test_a_leak_and_a_short_clip_stop_training_unless_that_is_asked_for(clips, capsys, tmp_path):
    files = sorted(file for label in ("noise", "tone") for file in (clips / label).iterdir())
    blip = tmp_path / "blip.wav"
    write_audio(blip, np.full(40, 0.1), RATE)
    rows = [f"{p},{p.parent.name},kit {i},{i % 3 + 1}" for i, p in enumerate(files)]
    rows += [f"{files[0]},noise,kit 0,2"]
    rows += [f"{blip},tone,short {i},{i}" for i in (1, 3)]
    table = tmp_path / "clips.csv"
    table.write_text("\n".join(["path,label,group,fold", *rows]), "utf-8")
    words = ["train", table, tmp_path / "m", "--kind", "csv", *QUICK, "--min-seconds", "0.1"]
    code, _, errors = run(capsys, *words)
    assert code == 3
    assert "are in both validation and test: kit 0." in errors
    code, _, errors = run(capsys, *words, "--no-group-check")
    assert code == 3
    assert "blip.wav" in errors
    with pytest.warns(SeptetWarning, match="blip.wav"):
        code, out, _ = run(capsys, *words, "--no-group-check", "--skip-bad", "--json")
    assert code == 0
    assert json.loads(out)["left out"] == 2
    assert (tmp_path / "m" / "report.html").read_text("utf-8").count("blip.wav") >= 2
