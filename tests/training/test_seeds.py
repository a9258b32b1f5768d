import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from septet._core.errors import CheckpointError
from septet.testing import assert_round_trip
from septet.training import Generators, SampleOrder, derive_seed, seeded


def test_derived_seeds_are_the_leading_bits_of_a_documented_hash():
    leading = hashlib.sha256(b"(0, 'epoch', 1)").hexdigest()[:16]
    assert derive_seed(0, "epoch", 1) == int(leading, 16) // 2


@given(st.integers(0, 9), st.integers(0, 9))
def test_streams_differ_by_seed_and_by_name(a, b):
    paths = {derive_seed(a, "x", b), derive_seed(b + 10, "x", a), derive_seed(a, "y", b)}
    assert len(paths) == 3


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed must be at least 0; got -1"):
        derive_seed(-1, "x")


def test_generators_do_not_depend_on_which_others_exist():
    alone, company = Generators(3), Generators(3)
    company.torch("other")
    company.numpy("a").random()
    assert torch.equal(
        torch.rand(3, generator=alone.torch("a")), torch.rand(3, generator=company.torch("a"))
    )
    assert Generators(3).numpy("b").random() == company.numpy("b").random()


def test_generators_resume_through_a_checkpoint_and_keep_their_identity(tmp_path):
    run = Generators(5)
    held_torch, held_numpy = run.torch("t"), run.numpy("n")
    torch.rand(7, generator=held_torch), held_numpy.random(7)
    saved = run.state_dict()
    assert_round_trip(saved, tmp_path)
    expected = torch.rand(2, generator=held_torch).tolist(), held_numpy.random(2).tolist()

    other = Generators(5)
    late = other.torch("not saved")
    torch.rand(1, generator=late)
    other.load_state_dict(saved)
    run.load_state_dict(saved)
    for generators in (run, other):
        assert torch.rand(2, generator=generators.torch("t")).tolist() == expected[0]
        assert generators.numpy("n").random(2).tolist() == expected[1]
        generators.load_state_dict(saved)
    assert run.torch("t") is held_torch
    assert run.numpy("n") is held_numpy
    assert torch.equal(
        torch.rand(1, generator=late), torch.rand(1, generator=Generators(5).torch("not saved"))
    )


def test_generators_of_another_seed_are_refused():
    with pytest.raises(CheckpointError, match="saved with seed 1; this run has 2"):
        Generators(2).load_state_dict(Generators(1).state_dict())


@given(st.integers(1, 12), st.integers(0, 40), st.integers(0, 30), st.integers(0, 3))
def test_the_sample_order_is_one_stream_however_it_is_cut(n, start, count, seed):
    order = SampleOrder(n, seed=seed)
    whole = SampleOrder(n, seed=seed).take(0, start + count)
    assert order.take(start, count).tolist() == whole[start:].tolist()
    for epoch in range((start + count) // n):
        assert sorted(whole[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_epochs_and_seeds_have_different_orders():
    order = SampleOrder(50, seed=0)
    assert order.epoch(0).tolist() != order.epoch(1).tolist()
    assert order.epoch(0).tolist() != SampleOrder(50, seed=1).epoch(0).tolist()
    assert SampleOrder(3, seed=0, shuffle=False).take(1, 4).tolist() == [1, 2, 0, 1]


def test_seeded_lends_the_global_generators_and_gives_them_back():
    before = torch.get_rng_state()
    with seeded(1, "dropout", 0):
        first = torch.rand(3)
    with seeded(1, "dropout", 0):
        assert torch.equal(torch.rand(3), first)
    with seeded(1, "dropout", 1):
        assert not torch.equal(torch.rand(3), first)
    assert torch.equal(torch.get_rng_state(), before)
    with seeded(None):
        torch.rand(1)
    assert not torch.equal(torch.get_rng_state(), before)


def test_numpy_global_state_is_never_touched():
    before = str(np.random.get_state())  # noqa: NPY002 - what is watched
    SampleOrder(9, seed=0).take(0, 20)
    Generators(0).numpy("x").random()
    assert str(np.random.get_state()) == before  # noqa: NPY002 - what is watched
