import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from septet._core.seals import content_digest, is_sealed, sealed

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text().filter(lambda key: key != "sha256"), values, max_size=4))
def test_a_sealed_object_is_sealed_after_writing_and_reading(value):
    read = json.loads(json.dumps(sealed(value), indent=3))
    assert is_sealed(read)
    assert {k: v for k, v in read.items() if k != "sha256"} == value


def test_keys_that_are_numbers_are_sealed_as_they_are_read_back():
    assert is_sealed(json.loads(json.dumps(sealed({"a": {10: 1, 2: 2}}))))


def test_any_other_value_breaks_the_seal():
    whole = sealed({"a": 1, "b": [1.5]})
    for other in ({"a": 2}, {"b": [1.25]}, {"c": 0}, {"sha256": "0" * 64}):
        assert not is_sealed(whole | other)
    assert not is_sealed({key: item for key, item in whole.items() if key != "b"})
    assert not is_sealed([whole])


@pytest.mark.parametrize("value", [{"sha256": ""}, {"a": float("nan")}])
def test_what_cannot_be_sealed_is_refused(value):
    with pytest.raises(ValueError, match=r"sha256|JSON"):
        sealed(value)


def test_the_digest_of_content_sees_names_types_shapes_and_bits():
    array = np.arange(6, dtype=np.int32)
    others = [
        ("text", {"w": array}),
        ("", {"v": array}),
        ("", {"w": array.astype(np.int64)}),
        ("", {"w": array.reshape(2, 3)}),
        ("", {"w": array + 1}),
        ("", {}),
    ]
    digests = {content_digest(text, arrays) for text, arrays in [*others, ("", {"w": array})]}
    assert len(digests) == 7
