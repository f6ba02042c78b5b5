"""Each refusal of the authorization server gives its reason to the log, as docs/errors.md says. Row X48."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog.testing

from authserver import clock
from authserver.errors import (
    BodyTooSlow,
    InvalidClient,
    InvalidClientMetadata,
    NotSupported,
    TooManyRequests,
    Unavailable,
    UnexpectedError,
)
from tests.builders import make_assertion, token_form
from tests.http import FORM, Server, basic, bearer

ROOT = basic()
TWO = {"Authorization": f"{ROOT['Authorization']}, {ROOT['Authorization']}"}
TOKEN, INTROSPECT, REGISTERED = "/auth/token", "/auth/introspect", "/Client/inferno-my-clinic-bulk-client"
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "query_parameter": ("POST", f"{TOKEN}?scope=x", {"data": {"grant_type": "x"}}),
    "form_malformed": ("POST", TOKEN, {"data": b"scope=%ff&grant_type=x", "content_type": FORM}),
    "content_too_large": ("POST", TOKEN, {"data": {"client_assertion": "x" * 70_000}}),
    "method_not_allowed": ("GET", TOKEN, {}),
    "method_override": ("GET", "/healthz", {"headers": {"X-HTTP-Method-Override": "DELETE"}}),
    "non_canonical_path": ("GET", "/Client;a", {}),
    "not_found": ("GET", "/Client/nobody", {"headers": ROOT}),
    "login_required": ("GET", "/Client", {}),
    "basic_malformed": ("GET", "/Client", {"headers": {"Authorization": "Basic root"}}),
    "several_credentials": ("GET", "/Client", {"headers": TWO}),
    "token_in_query": ("GET", "/Client?access_token=x", {"headers": ROOT}),
    "token_missing": ("POST", INTROSPECT, {"data": {"a": "b"}, "headers": ROOT}),
    "malformed_request": ("POST", INTROSPECT, {"data": {"token": "x", "request": "[]"}, "headers": ROOT}),
    "json_malformed": ("PUT", REGISTERED, {"data": b"{", "content_type": "application/json", "headers": ROOT}),
    "invalid_resource": ("PUT", REGISTERED, {"json": {"active": "yes"}, "headers": ROOT}),
    "version_conflict": ("PUT", REGISTERED, {"json": {}, "headers": {**ROOT, "If-Match": 'W/"9"'}}),
}


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    """What is logged meanwhile."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture(autouse=True)
def registered(server: Server) -> None:
    """Every test starts with the documented client and its policy."""
    server.put_client()
    server.put_policy()


@pytest.mark.parametrize("reason", CASES)
def test_the_log_says_the_reason_of_a_refusal(server: Server, logged: list[Any], reason: str) -> None:
    method, path, options = CASES[reason]

    answer = server.request(method, path, **options)

    assert answer.status_code >= 400
    assert [entry["reason"] for entry in logged if entry["event"] == "refused"] == [reason]


def test_a_grant_that_is_not_registered_has_its_reason(server: Server, logged: list[Any]) -> None:
    server.put_client(grant_types=["basic"])

    answer = server.ask_token()

    assert answer.status_code == 400
    assert [entry["reason"] for entry in logged if entry["event"] == "refused"] == ["grant_not_registered"]


def test_a_resource_that_is_not_registered_has_its_reason(server: Server, logged: list[Any]) -> None:
    form = {**token_form(make_assertion(now=clock.now())), "resource": "https://other.example"}

    server.post_form(TOKEN, form)

    assert [entry["reason"] for entry in logged if entry["event"] == "refused"] == ["resource_not_registered"]


def test_keys_are_flushed_only_where_there_is_an_address(server: Server, logged: list[Any]) -> None:
    server.request("PUT", "/Client/with-secret", json={"grant_types": ["basic"]}, headers=ROOT)

    server.request("POST", "/Client/with-secret/$flush-keys", headers=ROOT)

    assert [entry["reason"] for entry in logged if entry["event"] == "refused"] == ["no_jwks_uri"]


@pytest.mark.parametrize(("path", "reason"), [("/auth/verify", "token_required"), ("/auth/register", "token_required")])
def test_a_path_for_bearers_says_that_the_token_is_missing(
    server: Server, logged: list[Any], path: str, reason: str
) -> None:
    described = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/x"}

    server.request("POST" if path == "/auth/register" else "GET", path, headers=described)

    assert [entry["reason"] for entry in logged if entry["event"] == "refused"] == [reason]


def test_a_token_that_proves_nobody_has_its_reason(server: Server, logged: list[Any]) -> None:
    server.request("GET", "/Client", headers=bearer("x"))

    assert [entry["reason"] for entry in logged if entry["event"] == "refused"] == ["bearer_refused"]


def test_errors_without_a_cause_of_their_own_have_a_general_reason() -> None:
    """What a new place of the code raises without naming its cause is documented too."""
    errors = (
        InvalidClient(),
        NotSupported(),
        Unavailable(),
        UnexpectedError(),
        BodyTooSlow(),
        InvalidClientMetadata(),
        TooManyRequests(),
    )

    assert [error.reason for error in errors] == [
        "client_not_authenticated",
        "not_supported",
        "unavailable",
        "unexpected",
        "body_too_slow",
        "client_metadata",
        "too_many_requests",
    ]
