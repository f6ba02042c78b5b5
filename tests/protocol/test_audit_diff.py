"""A change of a resource as paths with before and after; no secret in it. Rows X25 and X55, threat G15."""

from typing import Any

import pytest

from authserver.protocol import audit_diff


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, []),
        ({"active": True}, {"active": True}, []),
        ({"active": True}, {"active": False}, [{"path": "active", "before": True, "after": False}]),
        ({}, {"scope": ["a"]}, [{"path": "scope", "after": ["a"]}]),
        ({"jwks_uri": "https://a.example"}, {}, [{"path": "jwks_uri", "before": "https://a.example"}]),
        ({"name": None}, {}, [{"path": "name", "before": None}]),
        ({}, {"name": None}, [{"path": "name", "after": None}]),
        ({"password": "canary"}, {"password": "other"}, [{"path": "password"}]),
        ({}, {"details": {"token": "canary"}}, [{"path": "details"}]),
        (
            {"auth": {"client_credentials": {"access_token_expiration": 1, "key": "canary"}}},
            {"auth": {"client_credentials": {"access_token_expiration": 2, "key": "other"}}},
            [
                {"path": "auth.client_credentials.access_token_expiration", "before": 1, "after": 2},
                {"path": "auth.client_credentials.key"},
            ],
        ),
        ({"auth": "x"}, {}, [{"path": "auth"}]),
        (
            {"jwks": {"keys": [{"kid": "a", "d": "canary"}]}},
            {"jwks": [{"kid": "b"}, "no key"]},
            [{"path": "jwks", "before": ["a"], "after": ["b"]}],
        ),
        ({"jwks": "no set"}, {"jwks": {}}, [{"path": "jwks", "before": [], "after": []}]),
        ({"jwks": 5}, {}, [{"path": "jwks", "before": []}]),
        ({"name": "x" * 3_000}, {}, [{"path": "name", "before": "(long)"}]),
        ({"y" * 100: 1}, {}, [{"path": "y" * 64}]),
    ],
)
def test_what_changed_is_named_and_only_what_is_public_is_shown(
    before: dict[str, Any], after: dict[str, Any], expected: list[dict[str, Any]]
) -> None:
    assert audit_diff.changes(before, after) == expected


def test_a_new_secret_is_named() -> None:
    assert audit_diff.changes({}, {"active": True}, secret_changed=True) == [
        {"path": "active", "after": True},
        {"path": "secret"},
    ]


def test_a_change_of_everything_is_bounded() -> None:
    after = {f"m{number:03}": number for number in range(150)}

    found = audit_diff.changes({}, after)

    assert (len(found), found[0], found[-1]) == (101, {"path": "m000"}, {"more": 50})
