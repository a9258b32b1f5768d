"""Bytes and element counts: the closed forms, the storages and the printed figures agree."""

import json
import struct

import pytest
import torch
from torch import nn

from septet._core.errors import DataError, SeptetWarning
from septet.optim import (
    AdagradNorm,
    AdamSN,
    AdamSNSM,
    GaLore,
    LeanOptimizer,
    RMSpropSN,
    param_groups,
    plan,
    state_bytes,
)

# hidden, feed-forward, layers, rank
SIZES = {
    "llama-60m": (512, 1376, 8, 128),
    "llama-130m": (768, 2048, 12, 256),
    "llama-350m": (1024, 2736, 24, 256),
    "llama-1b": (2048, 5461, 24, 512),
    "llama-3b": (2560, 6848, 32, 640),
    "llama-7b": (4096, 11008, 32, 1024),
}


def closed_forms(d, f, layers, rank):
    """Elements by the formulas of the paper, written out for LLaMA."""
    squares, tall = 4 * layers, 3 * layers
    rest = 32000 * d + (2 * layers + 1) * d
    linear = squares * d * d + tall * d * f + 32000 * d
    larger = squares * d + tall * f + 32000
    smaller = (squares + tall + 1) * d
    count = squares + tall + 1
    moments = 2 * rest + larger + rank * larger
    return rest + linear, {
        "AdamW": 2 * (rest + linear),
        "SGD with momentum": rest + linear,
        "AdamSN": linear + 2 * rest + larger,
        "RMSpropSN": rest + larger,
        "AdamSNSM svd, moments only": moments,
        "AdamSNSM srht": moments,
        "AdamSNSM svd": moments + rank * smaller,
        "AdamSNSM topk": 2 * rest + larger + rank * smaller + rank * count,
        "GaLore": 2 * rest + 2 * rank * larger + rank * smaller,
    }


@pytest.mark.parametrize("name", SIZES)
def test_the_plan_equals_the_closed_forms(name):
    total, expected = closed_forms(*SIZES[name])
    sizes = plan(name)
    assert sizes.parameters == total
    assert {k: sizes.row(k).elements for k in expected} == expected


def test_the_published_gigabytes_of_the_1b_model_come_out():
    sizes = plan("llama-1b", dtype="bfloat16")
    published = {"AdamW": 4.99, "AdamSN": 2.62, "AdamSNSM svd, moments only": 0.84}
    for name, gigabytes in published.items():
        assert round(sizes.row(name).paper_bytes / 2**30, 2) == gigabytes
    assert round(sizes.row("AdamSNSM svd").paper_bytes / 2**30, 2) == 1.17


def test_element_counts_of_the_60m_model():
    sizes = plan("llama-60m")
    counts = {
        "AdamW": 116_147_200, "AdamSN": 74_547_712, "RMSpropSN": 16_474_112,
        "AdamSNSM svd, moments only": 43_287_040, "AdamSNSM svd": 47_022_592,
        "AdamSNSM topk": 36_609_664,
    }  # fmt: skip
    assert {name: sizes.row(name).elements for name in counts} == counts


def test_without_a_stored_basis_adam_snsm_keeps_less_than_a_fifth_of_adam_on_the_1b_model():
    sizes = plan("llama-1b", dtype="bfloat16")
    adam = sizes.row("AdamW")
    for name in ("AdamSNSM srht", "AdamSNSM topk"):
        assert sizes.row(name).elements < 0.2 * adam.elements
        assert sizes.row(name).state_bytes < 0.2 * adam.state_bytes
    assert sizes.row("AdamSNSM svd").elements > 0.2 * adam.elements


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 24)
        self.up, self.down = nn.Linear(24, 40), nn.Linear(40, 24, bias=False)
        self.norm = nn.LayerNorm(24)
        self.head = nn.Linear(24, 50, bias=False)

    def forward(self, tokens):
        return self.head(self.norm(self.down(self.up(self.embed(tokens)).relu())))


def trained(model, optimizer, dtype):
    model.to(dtype)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    return state_bytes(optimizer)


OURS = {
    "AdamSN": (AdamSN, {}),
    "RMSpropSN": (RMSpropSN, {}),
    "AdamSNSM svd": (AdamSNSM, {"projection": "svd"}),
    "AdamSNSM srht": (AdamSNSM, {"projection": "srht"}),
    "AdamSNSM topk": (AdamSNSM, {"projection": "topk"}),
    "GaLore": (GaLore, {}),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", OURS)
def test_the_planned_bytes_are_those_that_the_optimizer_then_holds(name, dtype):
    cls, options = OURS[name]
    model = Toy().to(getattr(torch, dtype))
    optimizer = cls(param_groups(model, 0.01, rank=6), **options)
    expected = plan(model, rank=6, dtype=dtype).row(name).state_bytes
    assert trained(model, optimizer, getattr(torch, dtype)) == expected


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("AdamW", torch.optim.AdamW),
        ("Adafactor", torch.optim.Adafactor),
        ("SGD with momentum", lambda p: torch.optim.SGD(p, momentum=0.9)),
    ],
)
def test_the_planned_bytes_of_torchs_optimizers_are_those_that_they_hold(name, build, dtype):
    model = Toy().to(getattr(torch, dtype))
    optimizer = build(model.parameters())
    expected = plan(model, dtype=dtype).row(name).state_bytes
    assert trained(model, optimizer, getattr(torch, dtype)) == expected


def test_storages_count_in_full_and_once():
    weight = nn.Parameter(torch.zeros(10))
    optimizer = torch.optim.SGD([weight])
    whole = torch.zeros(100)
    optimizer.state[weight] = {"a": whole[:10], "b": [whole[50:], {"c": torch.zeros(3).double()}]}
    assert state_bytes(optimizer) == 400 + 24


@pytest.mark.parametrize("options", [{"amsgrad": True}, {"subset": -2}, {"subset": 7}])
def test_state_bytes_of_other_options_follow_the_number_of_subsets(options):
    weight = nn.Parameter(torch.zeros(30, 20))
    optimizer = LeanOptimizer([weight], momentum=None, **options)
    weight.grad = torch.ones(30, 20)
    optimizer.step()
    subsets = {"amsgrad": 60, -2: 50, 7: 86}  # 600 = 50 * 12 = 85 * 7 + 5
    expected = subsets["amsgrad" if "amsgrad" in options else options["subset"]]
    assert state_bytes(optimizer) == 4 * expected


def test_adagrad_norm_keeps_four_bytes_for_a_tensor():
    weight = nn.Parameter(torch.zeros(30, 20, dtype=torch.bfloat16))
    optimizer = AdagradNorm([weight])
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert state_bytes(optimizer) == 4


def test_a_plan_reads_configurations_mappings_and_headers_alike(tmp_path):
    from safetensors.torch import save_file

    class Config:
        hidden_size, intermediate_size, num_hidden_layers, vocab_size = 32, 64, 2, 100
        num_attention_heads, num_key_value_heads = 4, 2
        tie_word_embeddings = False

    tensors = {"model.embed_tokens.weight": (100, 32), "lm_head.weight": (100, 32)}
    for layer in range(2):
        shapes = [(32, 32), (16, 32), (16, 32), (32, 32), (64, 32), (64, 32), (32, 64)]
        for i, shape in enumerate(shapes):
            tensors[f"layers.{layer}.w{i}.weight"] = shape
        tensors |= {f"layers.{layer}.norm{i}": (32,) for i in range(2)}
    tensors["norm"] = (32,)
    from_mapping = plan(tensors)
    assert plan(Config()).rows == from_mapping.rows
    half = len(tensors) // 2
    for number, names in enumerate((list(tensors)[:half], list(tensors)[half:])):
        save_file({n: torch.zeros(tensors[n]) for n in names}, tmp_path / f"{number}.safetensors")
    assert plan(tmp_path).rows == from_mapping.rows
    assert from_mapping.rank == 8


@pytest.mark.parametrize(
    "content",
    [
        b"", b"abc", struct.pack("<Q", 1 << 60), struct.pack("<Q", 5) + b"[1,2]",
        struct.pack("<Q", 19) + json.dumps({"a": {"shape": "x"}}).encode(),
        struct.pack("<Q", 200_000) + b"[" * 200_000,
        struct.pack("<Q", 20) + json.dumps({"a": {"shape": [-1]}}).encode(),
    ],
)  # fmt: skip
def test_a_damaged_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is no safetensors file"):
        plan(path)


def test_an_empty_folder_an_unknown_name_and_a_wrong_thing_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds no .safetensors file"):
        plan(tmp_path)
    with pytest.raises(ValueError, match="model must be one of .*Did you mean 'llama-1b'"):
        plan("llama1b")
    for absent in ("runs/mödel", "model.safetensors", tmp_path / "absent"):
        with pytest.raises(DataError, match="does not exist"):
            plan(absent)
    with pytest.raises(TypeError, match="model must be a name, a module.*got int"):
        plan(3)
    with pytest.raises(ValueError, match="optimizer must be one of .*'AdamW'"):
        plan("llama-60m").row("adamw")


def names(group):
    return [name for name, _ in group["params"]]


def test_the_recipe_compresses_linear_maps_and_leaves_the_rest_dense():
    lean, rest = param_groups(Toy(), 0.01, lr_dense=0.003, rank=6)
    assert names(lean) == ["up.weight", "down.weight", "head.weight"]
    assert names(rest) == ["embed.weight", "up.bias", "norm.weight", "norm.bias"]
    assert (lean["lr"], lean["rank"]) == (0.01, 6)
    assert (rest["lr"], rest["rank"], rest["subset"]) == (0.003, None, None)


def test_both_groups_get_the_same_rate_unless_told_otherwise():
    lean, rest = param_groups(Toy(), 0.01)
    assert lean["lr"] == rest["lr"] == 0.01
    assert "rank" not in lean


def test_a_tied_head_is_dense_and_appears_once():
    model = Toy()
    model.head.weight = model.embed.weight
    with pytest.warns(SeptetWarning, match="head.weight shares its weight with an embedding"):
        lean, rest = param_groups(model, 0.01)
    assert names(lean) == ["up.weight", "down.weight"]
    assert names(rest).count("embed.weight") == 1
    AdamSNSM([lean, rest])


def test_frozen_parameters_are_left_out_and_a_frozen_model_is_refused():
    model = Toy()
    model.up.requires_grad_(False)
    assert "up.weight" not in names(param_groups(model, 0.01)[0])
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="no trainable parameters"):
        param_groups(model, 0.01)


def test_attention_inputs_count_as_linear_and_other_matrices_only_on_demand():
    model = nn.ModuleDict(
        {
            "attention": nn.MultiheadAttention(8, 2),
            "conv": nn.Conv1d(3, 4, 5),
            "rnn": nn.GRU(3, 4),
        }
    )
    lean, _ = param_groups(model, 0.01)
    assert names(lean) == ["attention.in_proj_weight", "attention.out_proj.weight"]
    lean, _ = param_groups(model, 0.01, which="matrices")
    assert set(names(lean)) == {
        "attention.in_proj_weight", "attention.out_proj.weight", "conv.weight",
        "rnn.weight_ih_l0", "rnn.weight_hh_l0",
    }  # fmt: skip
    with pytest.raises(ValueError, match="which must be one of"):
        param_groups(model, 0.01, which="all")


def test_torchs_optimizers_take_the_same_groups():
    model = Toy()
    optimizer = torch.optim.AdamW(param_groups(model, 0.003, lr_dense=0.03))
    assert [group["lr"] for group in optimizer.param_groups] == [0.003, 0.03]
