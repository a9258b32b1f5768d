"""The commands for speech: enhance, stream, score, bench, train, info, export."""

import io
import json
import sys

import numpy as np
import pytest
import soundfile

from septet import cli, speech


class Pipe:
    """Standard input or output that carries bytes."""

    def __init__(self, content=b""):
        self.buffer = io.BytesIO(content)

    def write(self, text):
        return len(text)

    def flush(self):
        pass


@pytest.fixture
def noisy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    samples = 0.1 * np.random.default_rng(0).normal(size=20_000)
    soundfile.write("laut ö.wav", samples, 16000)
    return samples


def printed(capsys):
    return json.loads(capsys.readouterr().out)


def test_one_command_enhances_a_file(noisy, capsys):
    assert cli.main(["speech", "enhance", "laut ö.wav", "-o", "clean.wav"]) == cli.OK
    assert capsys.readouterr().out.strip() == "clean.wav"
    found, rate = soundfile.read("clean.wav")
    assert (found.size, rate) == (20_000, 16000)
    assert np.std(found) < 0.7 * np.std(noisy)  # it is noise alone


def test_folders_keep_their_tree_and_bad_files_are_counted(noisy, tmp_path, capsys):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("in/a.wav", "in/deep/b.flac"):
        soundfile.write(name, noisy[:5000], 16000)
    (tmp_path / "in" / "bad.wav").write_bytes(b"RIFFnothing")
    assert cli.main(["speech", "enhance", "in", "-o", "out", "--json"]) == cli.DATA
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert [row["target"] for row in facts["written"]] == ["out/a.wav", "out/deep/b.flac"]
    assert "bad.wav" in facts["failed"][0]
    assert "bad.wav" in err
    assert not (tmp_path / "out" / "bad.wav").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["missing.wav", "-o", "x.wav"], cli.DATA, "does not exist"),
        (["laut ö.wav", "-o", "laut ö.wav"], cli.USAGE, "the noisy file itself"),
        (["laut ö.wav", "-o", "x.wav", "--model", "large"], cli.USAGE, "model must be small"),
        (["laut ö.wav", "-o", "x.wav", "--wet", "2"], cli.USAGE, "wet"),
        (["laut ö.wav", "no.wav", "-o", "x", "--wet", "2"], cli.USAGE, "wet must be at most 1"),
        (["laut ö.wav", "laut ö.wav", "-o", "x"], cli.USAGE, "would be written to"),
        (["laut ö.wav"], cli.USAGE, "output"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(noisy, tmp_path, capsys, words, code, message):
    assert cli.main(["speech", "enhance", *words]) == code
    captured = capsys.readouterr()
    assert message in captured.err + captured.out
    assert [path.name for path in tmp_path.iterdir()] == ["laut ö.wav"]


def test_wav_goes_through_pipes(noisy, tmp_path, monkeypatch):
    pipe = Pipe()
    monkeypatch.setattr(sys, "stdin", Pipe((tmp_path / "laut ö.wav").read_bytes()))
    monkeypatch.setattr(sys, "stdout", pipe)
    assert cli.main(["speech", "enhance", "-", "-o", "-"]) == cli.OK
    found, _ = soundfile.read(io.BytesIO(pipe.buffer.getvalue()))
    monkeypatch.undo()
    assert found.size == 20_000


@pytest.mark.parametrize("encoding", ["s16", "f32"])
def test_raw_samples_stream_as_the_file_would(noisy, monkeypatch, encoding):
    dtype, scale = ("<i2", 32768) if encoding == "s16" else ("<f4", 1)
    raw = (noisy * scale).astype(dtype)
    pipe = Pipe()
    monkeypatch.setattr(sys, "stdin", Pipe(raw.tobytes()))
    monkeypatch.setattr(sys, "stdout", pipe)
    assert cli.main(["speech", "stream", "--encoding", encoding]) == cli.OK
    found = np.frombuffer(pipe.buffer.getvalue(), dtype)
    monkeypatch.undo()
    whole = speech.Denoiser.from_pretrained().enhance(raw.astype(float) / scale, 16000)
    np.testing.assert_allclose(found / scale, whole, atol=0.51 / scale if scale > 1 else 1e-7)


def test_score_prints_intervals_and_differences_and_writes_csv(noisy, tmp_path, capsys):
    t = np.arange(32_000) / 16000
    clean = 0.1 * np.sign(np.sin(2 * np.pi * 150 * t)) * (np.sin(8 * t) > -0.3)
    for folder, level in (("clean", 0), ("a", 0.003), ("b", 0.02)):
        (tmp_path / folder).mkdir()
        soundfile.write(f"{folder}/x.wav", clean + level * np.resize(noisy, t.size) * 10, 16000)
    words = ["speech", "score", "clean", "a", "--against", "b", "-o", "rows.csv", "--json"]
    assert cli.main(words) == cli.OK
    rows = {row["measure"]: row for row in printed(capsys)["summary"]}
    assert rows["si_sdr"]["difference mean"] > 10
    assert (tmp_path / "rows.csv").read_text().startswith("name,pesq,csig")
    soundfile.write("a/x.wav", clean[:-3], 16000)
    assert cli.main(["speech", "score", "clean", "a"]) == cli.DATA
    assert "--allow-length-mismatch" in capsys.readouterr().err
    assert cli.main(["speech", "bench", ".", "--peers", "spleeter"]) in (cli.DATA, cli.USAGE)


def test_training_goes_on_and_ends_in_a_model_that_enhances(noisy, tmp_path, capsys):
    (tmp_path / "voices").mkdir()
    (tmp_path / "noise").mkdir()
    soundfile.write("voices/a.wav", np.tile(noisy, 2), 16000)
    soundfile.write("noise/n.wav", noisy, 16000)
    words = [
        "speech",
        "train",
        "-o",
        "net",
        "--speech",
        "voices",
        "--noise",
        "noise",
        "--steps",
        "2",
        "--batch-size",
        "1",
    ]
    assert cli.main([*words, "--json"]) == cli.OK
    facts = printed(capsys)
    assert facts["step"] == 2
    assert cli.main([*words, "--json"]) == cli.OK  # finished: nothing is done again
    capsys.readouterr()
    assert cli.main(["speech", "info", facts["model"], "--json"]) == cli.OK
    assert printed(capsys)["notes"]["steps"] == 2
    words = ["speech", "enhance", "laut ö.wav", "-o", "x.wav", "--model", facts["model"]]
    assert cli.main(words) == cli.OK
    assert cli.main(["speech", "train", "-o", "n2", "--speech", "voices"]) == cli.USAGE
    assert "belong together" in capsys.readouterr().err


def test_info_tells_what_the_shipped_model_is(capsys):
    assert cli.main(["speech", "info", "--json"]) == cli.OK
    facts = printed(capsys)
    assert facts["output"] == "mask"
    assert facts["parameters"] < 5_000_000


@pytest.mark.slow
def test_export_writes_a_graph_that_was_compared(tmp_path, capsys):
    path = tmp_path / "small.onnx"
    assert cli.main(["speech", "export", "small", str(path), "--json"]) == cli.OK
    facts = printed(capsys)
    assert facts["largest_difference"] < 1e-4
    assert facts["bytes"] == path.stat().st_size
