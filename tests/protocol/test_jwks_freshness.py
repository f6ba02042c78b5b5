"""For how long a key set may be used: requirements A12 and A13, threat C11."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authserver.protocol.jwks_freshness import FetchedJwks, fresh_for, may_be_kept, renewed, to_keep

NOW = 1_767_225_600  # Thu, 01 Jan 2026 00:00:00 GMT
MIDNIGHT, ONE_PAST = "Thu, 01 Jan 2026 00:00:00 GMT", "Thu, 01 Jan 2026 00:01:00 GMT"


@pytest.mark.parametrize(
    ("cache_control", "expected"),
    [
        ("max-age=120", 120),
        ("MAX-AGE=120", 120),
        ("public, max-age=120", 120),
        ("max-age=120,must-revalidate", 120),
        (" , max-age=120 ,, ", 120),
        ('max-age="120"', 120),
        ("max-age=0120", 120),
        ("private, max-age=120", 120),
        ("s-maxage=90", 90),
        ("s-maxage=90, max-age=120", 90),
        ("max-age=90, s-maxage=120", 90),
        ("max-age=120, max-age=30", 30),
        ("max-age=120, stale-if-error=86400", 120),
        ('max-age=120, extension="a, b"', 120),
        ("max-age=0", 0),
        ("no-store", 0),
        ("no-cache", 0),
        ("No-Cache, max-age=120", 0),
        ('no-cache="Set-Cookie", max-age=120', 0),
        ("no-store, max-age=120", 0),
        ("max-age=86400", 3_600),
        ("max-age=99999999999999999999999", 3_600),
        ("", 60),
        ("public", 60),
        ("immutable", 60),
    ],
)
def test_cache_control_decides(cache_control: str, expected: int) -> None:
    """A12, A13."""
    assert fresh_for(cache_control, now=NOW) == expected


@pytest.mark.parametrize(
    "cache_control",
    [
        "max-age",
        "max-age=",
        "max-age=-1",
        "max-age=1.5",
        "max-age=abc",
        "max-age=120s",
        "max-age=1 2",
        "max-age = 120",
        "max-age 120",
        "max-age=١٢٠",
        'max-age="120',
        "max-age=120; public",
        "max-age=120, =",
        "public max-age=120",
        "max-age=120, max-age=x",
    ],
)
def test_a_malformed_directive_means_never_fresh(cache_control: str) -> None:
    assert fresh_for(cache_control, now=NOW) == 0


def test_without_any_header_the_default_holds() -> None:
    assert fresh_for(None, now=NOW) == 60
    assert fresh_for(None, now=NOW, default=5) == 5


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (None, 120),
        ("0", 120),
        ("20", 100),
        (" 20 ", 100),
        ("120", 0),
        ("500", 0),
        ("-1", 0),
        ("x", 0),
        ("1, 2", 0),
        ("", 0),
    ],
)
def test_age_is_taken_off(age: str | None, expected: int) -> None:
    assert fresh_for("max-age=120", age, now=NOW) == expected


def test_the_cap_is_applied_after_age() -> None:
    assert fresh_for("max-age=120", "20", now=NOW, cap=110) == 100
    assert fresh_for("max-age=120", "20", now=NOW, cap=50) == 50


@pytest.mark.parametrize(
    ("expires", "date", "expected"),
    [
        (ONE_PAST, MIDNIGHT, 60),
        (ONE_PAST, None, 60),
        (MIDNIGHT, MIDNIGHT, 0),
        (MIDNIGHT, ONE_PAST, 0),
        ("0", MIDNIGHT, 0),
        ("-1", None, 0),
        ("", None, 0),
        ("Thu, 01 Jan 99999 00:00:00 GMT", None, 0),
        (ONE_PAST, "yesterday", 0),
        ("Thursday, 01-Jan-26 00:01:00 GMT", MIDNIGHT, 60),
        ("Thu Jan  1 00:01:00 2026", MIDNIGHT, 60),
    ],
)
def test_expires_decides_without_max_age(expires: str, date: str | None, expected: int) -> None:
    """RFC 9111 section 5.3: an unreadable date is in the past."""
    assert fresh_for(None, expires=expires, date=date, now=NOW, default=7) == expected


def test_max_age_beats_expires() -> None:
    assert fresh_for("max-age=10", expires=ONE_PAST, date=MIDNIGHT, now=NOW) == 10
    assert fresh_for("public", expires=ONE_PAST, date=MIDNIGHT, now=NOW, default=7) == 60


@given(
    limit=st.integers(min_value=0, max_value=10**12),
    age=st.integers(min_value=0, max_value=10**12),
    others=st.lists(st.sampled_from(["public", "must-revalidate", "no-transform", 'x="1, max-age=9999"']), max_size=3),
)
def test_never_longer_than_the_owner_says(limit: int, age: int, others: list[str]) -> None:
    """A12, as a property."""
    found = fresh_for(", ".join([*others, f"max-age={limit}"]), str(age), now=NOW, cap=10**15)

    assert 0 <= found <= max(0, limit - age)


@given(st.text(max_size=80), st.none() | st.text(max_size=20), st.none() | st.text(max_size=40))
def test_any_text_gives_a_number_within_the_bounds(cache_control: str, age: str | None, expires: str | None) -> None:
    assert 0 <= fresh_for(cache_control, age, expires=expires, now=NOW) <= 3_600


@pytest.mark.parametrize(
    ("cache_control", "expected"),
    [
        (None, True),
        ("no-cache", True),
        ("max-age=0", True),
        ("no-store", False),
        ("x, NO-STORE", False),
        ("a b", False),
    ],
)
def test_only_no_store_forbids_to_keep_the_answer(cache_control: str | None, expected: bool) -> None:
    assert may_be_kept(cache_control) is expected


KEPT = FetchedJwks(status=200, cache_control="max-age=9", age="1", expires="e", date="d", etag='"1"', last_modified="l")


def test_a_304_without_headers_renews_all_but_the_age() -> None:
    assert renewed(KEPT, FetchedJwks(status=304, date="later")) == FetchedJwks(
        status=200, cache_control="max-age=9", expires="e", date="later", etag='"1"', last_modified="l"
    )


def test_the_headers_of_a_304_win() -> None:
    answer = FetchedJwks(
        status=304, cache_control="", age="2", expires="f", date="later", etag='"2"', last_modified="m"
    )

    assert renewed(KEPT, answer) == FetchedJwks(
        status=200, cache_control="", age="2", expires="f", date="later", etag='"2"', last_modified="m"
    )


def test_an_answer_is_kept_without_its_document() -> None:
    answer = FetchedJwks(status=200, body=b"{}", cache_control="max-age=9", etag='"1"')

    assert to_keep(answer) == FetchedJwks(status=200, cache_control="max-age=9", etag='"1"')


def test_nothing_is_kept_of_a_no_store_answer() -> None:
    answer = FetchedJwks(status=200, body=b"{}", cache_control="no-store", etag='"1"')

    assert to_keep(answer) == FetchedJwks(status=200)
