"""Coins fall as published, on every machine."""

from collections import Counter
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from strategies.interleaving.coins import HashedCoins


def bits(*parts: bytes) -> str:
    return f"{int.from_bytes(sha256(bytes([0x1F]).join(parts)).digest()):0256b}"


@given(st.text(max_size=9), st.text(max_size=9), st.integers(0, 99))
def test_a_coin_is_the_next_bit_of_the_digest(salt, event, row):
    seed = salt.encode(), event.encode(), str(row).encode()
    coins = HashedCoins(salt, event, row)
    assert bits(*seed) + bits(*seed, b"1") == "".join(str(coins.pick(2)) for _ in range(512))


def test_a_choice_of_one_costs_no_bit():
    coins = HashedCoins("s", "e", 0)
    assert 0 == coins.pick(1)
    assert HashedCoins("s", "e", 0).pick(2) == coins.pick(2)


@given(st.integers(1, 10**18), st.integers(0, 50))
def test_a_choice_is_in_its_range(count, row):
    assert 0 <= HashedCoins("s", "e", row).pick(count) < count


def test_choices_are_even():
    """Chi-squared with 2 degrees of freedom, over fixed coins: 13.8 is exceeded once in a thousand."""
    found = Counter(HashedCoins("even", f"event-{n}", 0).pick(3) for n in range(30_000))
    assert sum((found[side] - 10_000) ** 2 / 10_000 for side in range(3)) < 13.8


def test_rows_and_events_have_coins_of_their_own():
    first = [HashedCoins("s", "e", row).pick(2**64) for row in range(20)]
    other = [HashedCoins("s", f"e{n}", 0).pick(2**64) for n in range(20)]
    assert 40 == len({*first, *other})
