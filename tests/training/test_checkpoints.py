import hashlib
import json
import struct

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from septet._core.errors import CheckpointError
from septet.testing import assert_damage_is_caught, assert_round_trip, assert_same_state
from septet.training import (
    _tensors,
    checkpoint_digest,
    has_checkpoint,
    load_checkpoint,
    pack,
    save_checkpoint,
)

DTYPES = [
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint16, torch.uint32, torch.uint64, torch.float16, torch.bfloat16, torch.float32),
    *(torch.float64, torch.float8_e4m3fn, torch.float8_e5m2),
]


@st.composite
def tensors(draw):
    """A tensor of any dtype and shape, 0-d and empty ones included, with any bits at all."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    raw = draw(st.binary(min_size=n_bytes, max_size=n_bytes))
    if dtype == torch.bool:
        raw = bytes(byte & 1 for byte in raw)
    return torch.frombuffer(bytearray(raw) or bytearray(8), dtype=dtype)[
        : int(np.prod(shape))
    ].reshape(shape)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
states = st.dictionaries(
    st.text(),
    st.recursive(
        scalars | tensors(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.tuples(inner, inner)
            | st.dictionaries(st.integers() | st.text(), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


@given(state=states)
@settings(max_examples=40)
def test_any_nested_state_comes_back_bit_for_bit(state, tmp_path_factory):
    assert_round_trip(state, tmp_path_factory.mktemp("round"))


def test_structure_types_and_nan_payloads_survive(tmp_path):
    odd_nan = struct.unpack(">d", bytes.fromhex("7ff8000000000123"))[0]
    state = {
        "t": (1, 2.0, "x"),
        "d": {0: None, "0": True},
        "f": [odd_nan, -0.0, -np.inf],
        "n": 10**40,
    }
    save_checkpoint(tmp_path, state)
    loaded = load_checkpoint(tmp_path)
    assert repr({**loaded, "f": 0}) == repr({**state, "f": 0})
    assert [struct.pack(">d", f) for f in loaded["f"]] == [struct.pack(">d", f) for f in state["f"]]


def test_arrays_that_are_read_only_or_of_another_byte_order_are_stored_too(tmp_path):
    locked = np.arange(3.0)
    locked.flags.writeable = False
    save_checkpoint(tmp_path, {"locked": locked, "swapped": np.arange(3, dtype=">f8")})
    for array in load_checkpoint(tmp_path).values():
        assert np.array_equal(array, locked)


def test_numpy_arrays_complex_and_strided_tensors_survive(tmp_path):
    state = {
        "array": np.arange(6, dtype=np.int16).reshape(2, 3).T,
        "complex": torch.tensor([1 + 2j, 3 - 4j]).conj(),
        "strided": torch.arange(12.0).reshape(3, 4).T[::2],
        "expanded": torch.ones(1).expand(3),
        "same": (shared := torch.ones(2)),
        "again": shared,
    }
    save_checkpoint(tmp_path, state)
    loaded = load_checkpoint(tmp_path)
    assert isinstance(loaded["array"], np.ndarray)
    assert np.array_equal(loaded["array"], state["array"])
    for name in ("complex", "strided", "expanded", "same", "again"):
        assert torch.equal(loaded[name], state[name])


def test_bfloat16_weights_with_float32_and_integer_optimizer_state_survive(tmp_path):
    model = torch.nn.Linear(3, 2, dtype=torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, amsgrad=True)
    model(torch.ones(1, 3, dtype=torch.bfloat16)).sum().backward()
    optimizer.step()
    optimizer.state[model.weight]["sum_sq"] = torch.tensor(66.9852295)
    optimizer.state[model.weight]["basis"] = {"indices": torch.tensor([2, 0]), "kind": "topk"}
    assert_round_trip({"model": model.state_dict(), "opt": optimizer.state_dict()}, tmp_path)


def test_names_that_would_collide_are_kept_apart(tmp_path):
    one, two = torch.tensor(1), torch.tensor(2)
    state = {"a": {"b": one}, "a/b": two, "__metadata__": torch.tensor(3), "": torch.tensor(4)}
    assert_round_trip(state, tmp_path)


def test_the_tensor_file_opens_in_the_safetensors_package(tmp_path):
    state = {
        "w": torch.randn(3, 5),
        "b": torch.tensor(True),
        "h": torch.ones(3, dtype=torch.bfloat16),
    }
    save_checkpoint(tmp_path, state)
    (file,) = tmp_path.glob("*.safetensors")
    assert_same_state(safetensors.torch.load_file(file), state)


def test_equal_states_give_equal_files_and_digests(tmp_path):
    state = {"w": torch.ones(3), "step": 4}
    first = save_checkpoint(tmp_path / "a", state)
    second = save_checkpoint(tmp_path / "b", {"w": torch.ones(3), "step": 4})
    other = save_checkpoint(tmp_path / "c", {"w": torch.ones(3), "step": 5})
    assert first == second == checkpoint_digest(tmp_path / "a") != other
    assert {f.name: f.read_bytes() for f in (tmp_path / "a").iterdir()} == {
        f.name: f.read_bytes() for f in (tmp_path / "b").iterdir()
    }


def test_saving_again_leaves_the_new_checkpoint_only(tmp_path):
    save_checkpoint(tmp_path, {"w": torch.zeros(3)})
    (tmp_path / ".state.json.123.part").write_bytes(b"of a writer that was killed")
    save_checkpoint(tmp_path, {"w": torch.ones(3)})
    assert len(list(tmp_path.iterdir())) == 2
    assert load_checkpoint(tmp_path)["w"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [object()]}, "a/0 is of type object"),
        ({"a": {1.5: 1}}, r"a has the key 1\.5"),
        ({"a": {True: 1}}, "a has the key True"),
        ({"a": torch.ones(2).to_sparse()}, "a is a Tensor with layout torch.sparse_coo"),
        ({"a": np.array(["x"], dtype=object)}, "a has dtype object"),
        ({"a": len}, "a is of type builtin_function_or_method"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_name_before_anything_is_written(
    value, message, tmp_path
):
    with pytest.raises(TypeError, match=message):
        save_checkpoint(tmp_path / "new", value)
    assert not (tmp_path / "new").exists()


def test_a_missing_checkpoint_is_said_to_be_missing(tmp_path):
    assert not has_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="there is no checkpoint in"):
        load_checkpoint(tmp_path)


def sealed(folder, **changes):
    """Rewrite state.json with other entries and a hash that fits, as a forger would."""
    path = folder / "state.json"
    body = json.loads(path.read_text())
    del body["sha256"]
    text = b'",' + json.dumps(body | changes).encode()[1:]
    path.write_bytes(b'{"sha256": "' + hashlib.sha256(text).hexdigest().encode() + text)


def forged(folder, header, data):
    """Put another tensor file in place, with hashes and sizes that fit."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    raw = len(text).to_bytes(8, "little") + text + data
    digest = hashlib.sha256(raw).hexdigest()
    (folder / f"{digest[:16]}.safetensors").write_bytes(raw)
    sealed(folder, tensors={"bytes": len(raw), "sha256": digest})


def entry(begin, end, dtype="F32", shape=(1,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


GOOD = {"a": entry(0, 4), "b": entry(4, 8)}


@pytest.fixture
def folder(tmp_path):
    save_checkpoint(tmp_path, {"a": torch.ones(1), "b": torch.zeros(1)})
    return tmp_path


def test_the_forger_of_these_tests_can_make_a_sound_checkpoint(folder):
    forged(folder, GOOD, struct.pack("<2f", 5, 6))
    assert load_checkpoint(folder) == {"a": torch.tensor([5.0]), "b": torch.tensor([6.0])}


@pytest.mark.parametrize(
    ("header", "n_bytes", "message"),
    [
        ({**GOOD, "c": entry(8, 12)}, 12, "unknown tensor 'c'"),
        ({"a": entry(0, 4)}, 4, "lacks tensor 'b'"),
        ({**GOOD, "__metadata__": {"x": "y"}}, 8, "'__metadata__' is not that of a tensor"),
        (GOOD, 9, "has 1[0-9][0-9] bytes; its header accounts for"),
        (GOOD, 7, "its header accounts for"),
        ({"a": entry(0, 4), "b": entry(0, 4)}, 4, "'b' does not lie where its shape says"),
        ({"a": entry(0, 4), "b": entry(5, 9)}, 9, "'b' does not lie"),
        ({"a": entry(0, 4), "b": entry(4, 12)}, 12, "'b' does not lie"),
        ({"a": entry(0, 4), "b": entry(4, 2)}, 8, "'b' does not lie"),
        ({"a": entry(0, 4, shape=[2**62, 2**62]), "b": entry(4, 8)}, 8, "impossible shape"),
        ({"a": entry(0, 0, shape=[0, 2**62]), "b": entry(0, 4)}, 4, "impossible shape"),
        ({"a": entry(0, 4, shape=[-1]), "b": entry(4, 8)}, 8, "no valid dtype, shape or place"),
        ({"a": entry(0, 4, shape=[True]), "b": entry(4, 8)}, 8, "no valid dtype, shape"),
        ({"a": entry(0, 4, dtype="Q4"), "b": entry(4, 8)}, 8, "no valid dtype, shape"),
        ({"a": entry(0, 4, dtype=["F32"]), "b": entry(4, 8)}, 8, "no valid dtype, shape"),
        ({"a": entry(0, 4) | {"x": 1}, "b": entry(4, 8)}, 8, "not that of a tensor"),
        ([1], 0, "no table of tensors"),
        (b"{", 8, "header is damaged"),
        (b"[" * 100_000, 8, "header is damaged"),
        (json.dumps(GOOD).replace('"b"', '"a"').encode(), 8, "duplicate entry 'a'"),
    ],
)
def test_a_hostile_header_is_refused_although_every_hash_fits(folder, header, n_bytes, message):
    forged(folder, header, bytes(n_bytes))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_a_header_longer_than_the_file_is_refused_without_allocating_it(folder):
    raw = (2**62).to_bytes(8, "little") + b"{}"
    digest = hashlib.sha256(raw).hexdigest()
    (folder / f"{digest[:16]}.safetensors").write_bytes(raw)
    sealed(folder, tensors={"bytes": len(raw), "sha256": digest})
    with pytest.raises(CheckpointError, match="shorter than its header says"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "has version 2; this installation reads up to version 1. Upgrade septet"),
        ({"version": "1"}, "no checkpoint of this library"),
        ({"schema": "other"}, "no checkpoint of this library"),
        ({"extra": 1}, "has an unknown one"),
        ({"tensors": {"bytes": 1}}, "lacks an entry"),
        ({"tensors": {"bytes": 1, "sha256": "../" * 20 + "abcd"}}, "lacks an entry"),
        ({"state": {"pickle": "cos"}}, "lacks|unknown"),
        ({"state": {"dict": [["a", {"tensor": "a"}], ["b", {"tensor": "a"}]]}}, "'a' twice"),
        ({"state": {"dict": [["x", {"tensor": "a"}], ["x", {"tensor": "b"}]]}}, "unknown: "),
        ({"state": [{"tensor": "a"}, {"tensor": "b"}]}, "holds no state"),
        ({"state": {"dict": [["x", {"complex": "a"}], ["y", {"tensor": "b"}]]}}, "unknown: "),
        (
            {
                "state": {
                    "dict": [["x", {"float": "zz"}], ["y", [{"tensor": "b"}, {"tensor": "a"}]]]
                }
            },
            "unknown: ",
        ),
    ],
)
def test_a_forged_state_is_refused_although_its_hash_fits(folder, changes, message):
    sealed(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_the_seal_covers_every_byte_of_the_state_file(folder):
    path = folder / "state.json"
    whole = path.read_bytes()
    assert json.loads(whole)["version"] == 1  # and it is plain JSON
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 32]) + whole[place + 1 :])
        with pytest.raises(CheckpointError):
            load_checkpoint(folder)


@pytest.fixture
def trained(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LayerNorm(3))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(2, 4)).sum().backward()
    optimizer.step()
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": np.random.default_rng(0).bit_generator.state,
    }
    save_checkpoint(tmp_path / "checkpoint", state)
    return tmp_path / "checkpoint"


def test_three_hundred_damaged_copies_are_noticed(trained):
    assert_damage_is_caught(trained, n=300, seed=1)


@pytest.mark.slow
def test_ten_thousand_damaged_copies_are_noticed(trained):
    assert_damage_is_caught(trained, n=10_000, seed=2)


def test_the_damage_suite_notices_a_loader_that_does_not_verify(trained, monkeypatch):
    recorded = json.loads((trained / "state.json").read_text())["tensors"]["sha256"]
    monkeypatch.setattr(
        "septet.training._checkpoints.read",
        lambda file, names, like: (_tensors.read(file, names, like)[0], recorded),
    )
    with pytest.raises(AssertionError, match=r"flip_bit|replace_byte|swap|zero"):
        assert_damage_is_caught(trained, n=300, seed=1)


@pytest.mark.parametrize(
    ("like", "message"),
    [
        (
            {"weight": torch.ones(2, 3)},
            r"'m/weight' is F32 \[3, 2\] in the checkpoint and F32 \[2, 3",
        ),
        ({"weight": torch.ones(3, 2).double()}, "F64"),
        ({"weight": torch.ones(3, 2), "bias": torch.ones(1)}, "lacks tensor 'm/bias'"),
        ({}, "holds the unknown tensor 'm/weight'"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_tensor(tmp_path, like, message):
    save_checkpoint(tmp_path, {"m": {"weight": torch.ones(3, 2)}, "mm": torch.ones(1)})
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path, like={"m": like})
    load_checkpoint(tmp_path, like={"m": {"weight": torch.zeros(3, 2)}})


def test_a_fit_is_checked_before_any_data_is_read(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, {"w": torch.ones(3)})
    monkeypatch.setattr(torch, "empty", lambda *args, **kwargs: pytest.fail("memory was taken"))
    with pytest.raises(CheckpointError, match="F32"):
        load_checkpoint(tmp_path, like={"w": torch.ones(4)})


def test_a_packed_state_shares_memory_with_cpu_tensors():
    weight = torch.ones(2)
    tensors = pack({"w": weight})[1]
    assert tensors["w"].data_ptr() == weight.data_ptr()
