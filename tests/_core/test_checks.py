import numpy as np
import pytest

from septet._core import checks


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: checks.integer("k", 2.0), TypeError, "k must be an integer; got 2.0"),
        (lambda: checks.integer("k", True), TypeError, "k must be an integer; got True"),
        (lambda: checks.integer("k", 9, low=0, high=4), ValueError, "k must be from 0 to 4; got 9"),
        (lambda: checks.integer("k", -1, low=0), ValueError, "k must be at least 0; got -1"),
        (lambda: checks.number("lr", float("nan")), ValueError, "lr must be finite; got nan"),
        (lambda: checks.number("lr", "1"), TypeError, "lr must be a number; got '1'"),
        (lambda: checks.number("lr", 0, above=0), ValueError, "lr must be greater than 0"),
        (lambda: checks.number("beta", 1, below=1), ValueError, "beta must be less than 1"),
        (lambda: checks.choice("rule", "hebs", ["hebb", "stdp"]), ValueError, "mean 'hebb'"),
        (lambda: checks.vector("x", [[1.0]]), ValueError, r"x must be 1-D; got shape \(1, 1\)"),
        (lambda: checks.vector("x", [1.0], size=2), ValueError, "x must have 2 entries; got 1"),
        (lambda: checks.vector("x", [1, np.inf, np.nan]), ValueError, r"x\[1\] = inf.*\(2 such"),
        (lambda: checks.number("lr", 10**400), ValueError, "lr must be finite; got inf"),
        (lambda: checks.vector("x", ["a"]), TypeError, "x must hold numbers only"),
        (lambda: checks.vector("x", ["0.5"]), TypeError, "x must hold numbers only: got text"),
        (
            lambda: checks.vector("x", np.array(["0.5", 1], dtype=object)),
            TypeError,
            "x must hold numbers only: got text",
        ),
        (lambda: checks.vector("x", [1 + 2j]), TypeError, "numbers only: got complex128"),
        (lambda: checks.vector("x", [10**400]), ValueError, "x holds a number beyond all doubles"),
        (lambda: checks.matrix("X", [[1, 2], [3, np.nan]]), ValueError, r"X\[1, 1\] = nan"),
        (lambda: checks.probabilities("p", [0.5, 1.5]), ValueError, r"p\[1\] = 1.5 is no prob"),
        (lambda: checks.probabilities("p", [np.nan]), ValueError, r"p\[0\] = nan .*\(1 such entry"),
    ],
)
def test_a_bad_argument_is_named_with_what_came(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_good_values_come_back_in_their_canonical_type():
    assert checks.integer("k", np.int32(3), low=0, high=3) == 3
    assert checks.number("lr", np.float32(0.5), above=0) == 0.5
    assert checks.choice("rule", "hebb", ["hebb"]) == "hebb"
    assert checks.vector("x", [1, 2]).dtype == np.float64
    assert checks.probabilities("p", [0, 1]).tolist() == [0.0, 1.0]
