"""Announce, sign, retire: the moments of a signing key's life (row X53, threat F07)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authserver.protocol import key_life
from authserver.protocol.key_life import KeyLife, KeyTimes, PlannedKey, TooEarly

TIMES = KeyTimes(jwks_max_age=300, longest_token=600, leeway=60)
FIRST = key_life.initial("first", "ES256", now=1_000, times=TIMES)
SECOND = key_life.announced("second", "ES256", now=5_000, times=TIMES)
STARTS, RETIRES = 5_360, 5_360 + 600 + 60


def signer_at(now: int, *lives: KeyLife) -> str | None:
    found = key_life.signing_key(lives, now=now)
    return None if found is None else found.kid


def refusal(kid: str, *lives: KeyLife, now: int) -> int | None:
    with pytest.raises(TooEarly) as early:
        key_life.check_retirement(lives, kid, now=now, times=TIMES)
    return early.value.allowed_at


def test_the_very_first_key_signs_at_once() -> None:
    """X53: nobody can hold a key set without it."""
    assert signer_at(1_000, FIRST) == "first"


def test_a_further_key_signs_once_every_copy_of_the_key_set_is_younger() -> None:
    """X53, F07: max-age and leeway after it was announced, to the second."""
    assert [signer_at(now, FIRST, SECOND) for now in (5_000, STARTS - 1, STARTS)] == ["first", "first", "second"]


def test_a_record_that_would_sign_too_early_is_no_record() -> None:
    """X53."""
    KeyLife("k", "ES256", 5_000, 5_300, jwks_max_age=300, longest_token=300)
    with pytest.raises(ValueError, match="before every verifier"):
        KeyLife("k", "ES256", 5_000, 5_299, jwks_max_age=300, longest_token=300)


def test_a_key_alone_that_waits_does_not_sign() -> None:
    """X53: even when the keys before it were lost."""
    assert (signer_at(STARTS - 1, SECOND), signer_at(STARTS, SECOND)) == (None, "second")


def test_a_clock_before_the_first_record_takes_the_first_key() -> None:
    assert signer_at(10, FIRST, SECOND) == "first"


def test_the_timeline_names_every_moment() -> None:
    """X53: what `keys plan` prints."""
    planned = key_life.plan([SECOND, FIRST], now=5_100, times=TIMES)

    assert planned == (
        PlannedKey(FIRST, "signing", signing_until=STARTS, retire_after=RETIRES),
        PlannedKey(SECOND, "waiting", signing_until=None, retire_after=5_000),
    )


@pytest.mark.parametrize(("now", "stages"), [(STARTS - 1, ["signing", "waiting"]), (STARTS, ["superseded", "signing"])])
def test_stages_follow_the_time(now: int, stages: list[str]) -> None:
    assert [key.stage for key in key_life.plan([FIRST, SECOND], now=now, times=TIMES)] == stages


def test_a_key_is_retired_when_no_token_can_carry_it_and_not_a_second_before() -> None:
    """X53."""
    assert refusal("first", FIRST, SECOND, now=RETIRES - 1) == RETIRES
    key_life.check_retirement([FIRST, SECOND], "first", now=RETIRES, times=TIMES)


def test_the_key_that_signs_cannot_be_retired() -> None:
    assert refusal("first", FIRST, now=10**9) is None
    assert refusal("second", FIRST, SECOND, now=10**9) is None


def test_a_key_that_never_signed_may_be_withdrawn_while_no_clock_has_reached_its_turn() -> None:
    key_life.check_retirement([FIRST, SECOND], "second", now=STARTS - 61, times=TIMES)
    assert refusal("second", FIRST, SECOND, now=STARTS - 60) is None


def test_a_withdrawn_key_supersedes_nobody() -> None:
    withdrawn = KeyLife("second", "ES256", 5_000, STARTS, 300, 600, retired_at=5_010)

    assert refusal("first", FIRST, withdrawn, now=RETIRES) is None
    assert signer_at(RETIRES, FIRST, withdrawn) == "first"


def test_a_longer_life_of_tokens_in_the_past_still_counts() -> None:
    """X53: the setting was lowered, tokens of the former length are still about."""
    lowered = KeyTimes(jwks_max_age=300, longest_token=10, leeway=60)

    with pytest.raises(TooEarly):
        key_life.check_retirement([FIRST, SECOND], "first", now=RETIRES - 1, times=lowered)


def test_longer_settings_postpone_what_waits_and_leave_what_signs() -> None:
    longer = KeyTimes(jwks_max_age=3_600, longest_token=900, leeway=60)

    waiting = key_life.under(SECOND, longer, now=STARTS - 1)
    signing = key_life.under(SECOND, longer, now=STARTS)

    assert (waiting.signing_since, waiting.jwks_max_age, waiting.longest_token) == (8_660, 3_600, 900)
    assert (signing.signing_since, signing.jwks_max_age, signing.longest_token) == (STARTS, 300, 900)


def test_shorter_settings_change_nothing() -> None:
    assert key_life.under(SECOND, KeyTimes(1, 1, 2), now=5_000) == SECOND


@given(
    gaps=st.lists(st.integers(0, 900), min_size=1, max_size=8),
    skew=st.integers(-30, 30),
    fetched=st.integers(0, 300),
    asked=st.integers(0, 10_000),
)
def test_no_copy_within_max_age_lacks_the_key_that_signs(gaps: list[int], skew: int, fetched: int, asked: int) -> None:
    """X53, F07: whatever the rotations, for clocks that differ by up to the leeway less the look at the folder."""
    lives, moment = [FIRST], 1_000
    for number, gap in enumerate(gaps):
        moment += gap
        lives.append(key_life.announced(str(number), "ES256", now=moment, times=TIMES))
    now = 1_000 + asked

    signs = key_life.signing_key([x for x in lives if x.initial or x.announced_at <= now + skew], now=now + skew)
    published = {life.kid for life in lives if life.announced_at + 1 <= now - fetched} | {"first"}

    assert signs is not None
    assert signs.kid in published


@given(gaps=st.lists(st.integers(0, 2_000), max_size=6), asked=st.integers(0, 20_000))
def test_no_retirement_takes_a_key_that_an_unexpired_token_carries(gaps: list[int], asked: int) -> None:
    """X53: at any moment at which a key may be retired, the last token that it signed has expired."""
    lives, moment = [FIRST], 1_000
    for number, gap in enumerate(gaps):
        moment += gap
        lives.append(key_life.announced(str(number), "ES256", now=moment, times=TIMES))
    now = 1_000 + asked
    for planned in key_life.plan(lives, now=now, times=TIMES):
        if planned.retire_after is None or now < planned.retire_after:
            continue
        recent = {signer_at(second, *lives) for second in range(max(1_000, now - 600), now + 1, 20)}
        assert planned.life.kid not in recent
