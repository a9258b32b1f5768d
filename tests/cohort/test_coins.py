"""The coin stream: two independent implementations, one documented layout."""

import hashlib
import struct
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from septet.cohort._coins import Coins, coin_key, seed_text
from septet.cohort._plain_coins import PlainCoins, philox

DIGEST = hashlib.sha256(b"roster").digest()


def coins(seed="seed", digest=DIGEST):
    return Coins.from_seed(seed, digest)


def plain(seed="seed", digest=DIGEST):
    return PlainCoins(seed, digest)


def scripted(*words):
    """Coins whose next words are the ones given."""
    out = coins()
    out._buffer = np.array(words, dtype=np.uint64)
    out._cursor, out._end = 0, len(words)
    return out


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        (
            (0, 0, 0, 0),
            (0, 0),
            "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b",
        ),
        (
            (2**64 - 1,) * 4,
            (2**64 - 1,) * 2,
            "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0",
        ),
        (
            (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
            (0x452821E638D01377, 0xBE5466CF34E90C6C),
            "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
        ),
    ],
)
def test_philox_gives_the_published_test_vectors(counter, key, expected):
    assert " ".join(f"{word:016x}" for word in philox(counter, key)) == expected


def test_the_words_follow_the_documented_layout():
    key = hashlib.sha256(b"seed" + DIGEST).digest()
    k0, k1, c2, c3 = struct.unpack("<4Q", key)
    expected = [w for block in (1, 2, 3) for w in philox((block, 0, c2, c3), (k0, k1))]
    assert coins().take(12).tolist() == expected


def test_the_plain_coins_repeat_the_fast_ones():
    fast, slow = coins("Grüße"), plain("Grüße")
    assert [slow.word() for _ in range(1001)] == fast.take(1001).tolist()


def test_the_low_counter_carries_into_the_second_word():
    position = 4 * (2**64 - 2)
    fast, slow = coins(), plain()
    fast.seek(position)
    slow.position = position
    assert [slow.word() for _ in range(12)] == fast.take(12).tolist()
    assert fast.position == slow.position == position + 12


@given(st.lists(st.integers(1, 2**130) | st.integers(1, 12), max_size=30), st.integers(0, 50))
def test_fair_integers_agree_and_use_up_the_same_words(bounds, start):
    fast, slow = coins(), plain()
    fast.seek(start)
    slow.position = start
    for bound in bounds:
        value = fast.below(bound)
        assert value == slow.below(bound)
        assert 0 <= value < bound
        assert fast.position == slow.position


@given(
    st.lists(st.tuples(st.sampled_from(["peek", "advance", "take", "seek"]), st.integers(0, 700)))
)
def test_a_position_fixes_the_future_however_it_was_reached(steps):
    walker = coins()
    position = 0
    words = coins().peek(2**15)
    for kind, count in steps:
        if kind in ("peek", "take"):
            seen = getattr(walker, kind)(count)
            assert seen.tolist() == words[position : position + count].tolist()
            position += count if kind == "take" else 0
        elif kind == "advance":
            walker.advance(count)
            position += count
        else:
            walker.seek(count)
            position = count
        assert walker.position == position
        if position > 2**15 - 1500:
            return


def test_a_word_that_would_favour_small_values_is_refused_and_used_up():
    bound = 3
    limit = 2**64 - 2**64 % bound
    draw = scripted(limit, 2**64 - 1, limit - 1)
    # 2**64 mod 3 = 1: only the very last word is refused
    assert limit == 2**64 - 1
    assert draw.below(bound) == (limit - 1) % bound
    assert draw.position == 3


def test_a_power_of_two_refuses_nothing_and_a_certain_coin_still_takes_a_word():
    assert scripted(2**64 - 1).below(2**64) == 2**64 - 1
    certain = scripted(7, 8)
    assert certain.below(1) == 0
    assert certain.position == 1


def test_a_large_bound_takes_its_words_lowest_first():
    assert scripted(5, 1).below(2**65) == 5 + 2**64


def test_fair_integers_are_uniform():
    draw = coins()
    counts = Counter(draw.below(6) for _ in range(60_000))
    chi_square = sum((counts[face] - 10_000) ** 2 / 10_000 for face in range(6))
    assert chi_square < 25.7  # 5 degrees of freedom, p = 1e-4; the seed is fixed


def test_another_seed_or_digest_is_another_stream():
    streams = {
        tuple(coins(seed, digest).peek(4).tolist())
        for seed in ("a", "b", "1")
        for digest in (DIGEST, bytes(32))
    }
    assert len(streams) == 6


def test_an_integer_seed_is_its_digits():
    assert coin_key(17, DIGEST) == coin_key("17", DIGEST)
    assert seed_text(np.int64(17)) == "17"


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        ("", ValueError, "seed must not be empty"),
        ("\ud800", ValueError, "encodable as UTF-8"),
        (1.5, TypeError, "seed must be a string or an integer; got float"),
        (True, TypeError, "seed must be a string or an integer; got bool"),
        (None, TypeError, "seed must be a string or an integer; got NoneType"),
    ],
)
def test_a_seed_that_nobody_could_repeat_is_refused(seed, error, message):
    with pytest.raises(error, match=message):
        Coins.from_seed(seed, DIGEST)


def test_wrong_lengths_and_bounds_are_refused():
    with pytest.raises(ValueError, match="digest must be 32 bytes"):
        Coins.from_seed("x", b"short")
    with pytest.raises(ValueError, match="key must be 32 bytes"):
        Coins(b"short")
    with pytest.raises(ValueError, match="bound must be at least 1; got 0"):
        coins().below(0)
    with pytest.raises(ValueError, match="position must be at least 0"):
        coins().seek(-1)
    with pytest.raises(ValueError, match="count must be at least 0"):
        coins().advance(-1)
