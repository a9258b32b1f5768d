import numpy as np
import pytest

from septet._core.random import generator


def test_one_seed_gives_one_stream_and_a_generator_is_passed_through():
    assert generator(3).random() == generator(np.int64(3)).random()
    own = np.random.default_rng(0)
    assert generator(own) is own


@pytest.mark.parametrize("seed", [1.0, "1", True, np.random.RandomState(0)])
def test_other_seeds_are_refused_by_name(seed):
    with pytest.raises(TypeError, match="random_state must be an int"):
        generator(seed)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="random_state must not be negative; got -1"):
        generator(-1)
