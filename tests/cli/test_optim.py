"""The commands for optimizer memory: exact counts from a name or a file, and a side by side."""

import json

import pytest
import torch
from safetensors.torch import save_file

from septet import cli
from septet.recipes.optim_llama.quick import quick_comparison


def printed(capsys):
    return json.loads(capsys.readouterr().out)


def test_the_plan_of_a_named_model_is_printed_as_a_table(capsys):
    assert cli.main(["optim", "memory", "--model", "llama-1b"]) == cli.OK
    out, err = capsys.readouterr()
    line = next(line for line in out.splitlines() if "AdamSNSM srht" in line)
    assert line.split()[2:5] == ["0.962", "0.839", "16.8"]
    assert "1339082752 parameters" in err


def test_the_plan_as_json_has_the_exact_counts(capsys):
    words = ["optim", "memory", "--model", "llama-60m", "--dtype", "float32", "--json"]
    assert cli.main(words) == cli.OK
    found = printed(capsys)
    rows = {row["optimizer"]: row for row in found["rows"]}
    assert (found["parameters"], found["rank"]) == (58_073_600, 128)
    assert rows["AdamW"]["elements"] == 116_147_200
    assert rows["AdamSNSM svd"]["elements"] == 47_022_592


def test_a_checkpoint_is_counted_from_its_headers(tmp_path, capsys):
    path = tmp_path / "modèle.safetensors"
    save_file({"layer.weight": torch.zeros(64, 16), "layer.bias": torch.zeros(64)}, path)
    words = ["optim", "memory", "--model", str(path), "--rank", "4", "--json"]
    assert cli.main(words) == cli.OK
    rows = {row["optimizer"]: row["elements"] for row in printed(capsys)["rows"]}
    assert rows["RMSpropSN"] == 64 + 64  # a number for each row, and for each bias
    assert rows["AdamSNSM topk"] == 64 + 4 * 16 + 4 + 2 * 64


def test_an_unknown_model_is_refused_with_the_known_names(capsys):
    assert cli.main(["optim", "memory", "--model", "llama-2b"]) == cli.USAGE
    assert "llama-1b" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_a_matter_of_data(tmp_path, capsys):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"\xff" * 40)
    assert cli.main(["optim", "memory", "--model", str(path)]) == cli.DATA
    assert "broken.safetensors is no safetensors file" in capsys.readouterr().err


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "öde.txt"
    path.write_bytes(b"the quick brown fox jumps over the lazy dog. " * 300)
    return path


def test_optimizers_are_compared_on_a_text_of_ones_own(text, capsys):
    words = ["optim", "compare", str(text), "--methods", "adam", "rmsprop-sn", "--steps", "3"]
    assert cli.main([*words, "--json"]) == cli.OK
    adam, rmsprop = printed(capsys)
    assert (adam["optimizer"], rmsprop["optimizer"]) == ("Adam", "RMSpropSN")
    assert adam["state, bytes"] == 2_810_232
    assert (adam["% of the first"], rmsprop["% of the first"]) == (100.0, 1.9)
    assert 0 < adam["loss, nats/byte"] < 5  # guessing gives 4.6


def test_the_same_seed_gives_the_same_losses(text):
    options = {"methods": ["adam-snsm"], "steps": 2, "model": "tiny"}
    first, second, other = (quick_comparison(text, **options, seed=seed) for seed in (1, 1, 2))
    key = "loss, nats/byte"
    assert first[0][key] == second[0][key] != other[0][key]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--methods", "adamm"], "adam"),
        (["--steps", "0"], "steps must be at least 1; got 0"),
    ],
)
def test_a_bad_option_of_the_comparison_is_named(text, capsys, change, message):
    assert cli.main(["optim", "compare", str(text), *change]) == cli.USAGE
    assert message in capsys.readouterr().err


def test_a_short_text_and_a_missing_one_are_refused(tmp_path, capsys):
    short = tmp_path / "short.txt"
    short.write_text("too short")
    assert cli.main(["optim", "compare", str(short)]) == cli.USAGE
    assert "at least 10240 bytes; got 9" in capsys.readouterr().err
    assert cli.main(["optim", "compare", str(tmp_path / "none.txt")]) == cli.DATA
    assert "none.txt is no file" in capsys.readouterr().err
