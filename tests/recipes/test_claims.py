import pytest
from scipy import stats

from septet._core.errors import DataError
from septet.recipes import Claim, measured


def claim(**expect):
    return Claim(id="c", says="s", published="p", measure="m", expect=expect)


@pytest.mark.parametrize(
    ("condition", "value", "verdict"),
    [
        ({"at_most": 1.0}, 1.0, "holds"),
        ({"at_most": 1.0}, 1.001, "does not hold"),
        ({"at_least": 1.0, "at_most": 2.0}, 0.9, "does not hold"),
        ({"equals": 0}, 0.0, "holds"),
        ({"equals": 0}, 1e-300, "does not hold"),
        ({"about": 2.0, "within": 0.5}, 2.5, "holds"),
        ({"about": 2.0, "within": 0.5}, 2.6, "does not hold"),
        ({"about": 2.0, "untested": True}, 2.0, "not run"),
    ],
)
def test_a_verdict_follows_from_the_condition_of_the_scale(condition, value, verdict):
    assert claim(laptop=condition).judge("laptop", measured(value)) == verdict


def test_without_an_expectation_nothing_is_judged_and_without_a_measure_nothing_was_run():
    assert claim(laptop={"at_most": 1}).judge("smoke", measured(0.0)) == "not judged"
    assert claim(laptop={"at_most": 1}).judge("laptop", None) == "not run"


def test_the_interval_is_students(rng):
    values = rng.normal(size=7)
    low, high = stats.t.interval(0.95, 6, values.mean(), stats.sem(values))
    measure = measured(values.tolist())
    assert (measure.low, measure.high) == (pytest.approx(low), pytest.approx(high))
    assert measure.n == 7


def test_one_value_has_no_interval():
    assert str(measured(0.25)) == "0.25, n = 1"


@pytest.mark.parametrize("values", [[], [float("nan")], float("inf")])
def test_a_measure_of_nothing_or_of_no_number_is_refused(values):
    with pytest.raises(ValueError, match="values must be finite"):
        measured(values)


@pytest.mark.parametrize(
    "table",
    [
        {"id": "a", "says": "s", "published": "p"},
        {"id": "a", "says": "s", "published": "p", "measure": "m", "expects": {}},
        {
            "id": "a",
            "says": "s",
            "published": "p",
            "measure": "m",
            "expect": {"laptop": {"max": 1}},
        },
        {"id": "a", "says": "s", "published": "p", "measure": "m", "expect": {"laptop": {}}},
    ],
)
def test_a_claim_with_a_misspelt_key_or_no_condition_is_refused(table):
    with pytest.raises(DataError, match="here"):
        Claim.read(table, "here")
