"""The fast paths by the door that never waits: as right as the other one, whatever is kept."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from freezegun import freeze_time

from authserver import clock
from authserver.app import Parts, build_services, direct_endpoints
from authserver.protocol.audit_record import AuditChoice
from authserver.protocol.audit_search import AuditQuery
from authserver.protocol.render import Answer
from authserver.services.claim_queue import ClaimOutcome
from authserver.web.direct import DirectEndpoint, DirectRequest
from tests.builders import CLIENT_ID, make_assertion, make_settings, token_form
from tests.http import FORM, OneExchange, Server, basic
from tests.keys import key

TOKEN, INTROSPECT = "/auth/token", "/auth/introspect"


@dataclass
class Meddling:
    """A ClaimQueue that lets something happen before each claim."""

    queue: Any
    first: Callable[[], object] = lambda: None

    def submit(
        self,
        client_id: str,
        jti: str,
        *,
        until: int,
        done: Callable[[ClaimOutcome], None],
        audit: AuditChoice | None = None,
    ) -> None:
        """Let it happen, then claim."""
        self.first()
        self.queue.submit(client_id, jti, until=until, done=done, audit=audit)

    def deliver_by(self, run: Callable[[Callable[[], None]], None]) -> None:
        """As it comes."""


@dataclass
class Keys:
    """A Signer whose published keys can change."""

    signer: Any
    gone: bool = False
    set: object = field(default_factory=object)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.signer, name)

    def key_set(self) -> object:
        """Return the present set."""
        return self.set

    def verify(self, token: str, *, typ: str) -> Mapping[str, Any] | None:
        """Know the keys, or no more."""
        return None if self.gone else self.signer.verify(token, typ=typ)


@dataclass
class Fast:
    """The direct endpoints of a server whose client has inline keys; `threads` counts what had to wait."""

    server: Server
    endpoints: Mapping[str, DirectEndpoint]
    claims: Meddling
    keys: Keys
    threads: int = 0

    def post(self, path: str, form: Mapping[str, Any], **headers: str) -> tuple[int, Any]:
        """Post a form; return the status and the JSON of the answer."""
        lines = [("content-type", FORM), *((name.lower(), value) for name, value in headers.items())]
        exchange = OneExchange()
        request = DirectRequest("POST", path, lines, urlencode(form).encode(), "192.0.2.1")
        self.endpoints[path].begin(request, exchange)
        (answer,) = exchange.answers
        self.threads = exchange.threads
        return answer.status, json.loads(answer.body)

    def ask(self, assertion: str | None = None) -> tuple[int, Any]:
        """Ask for a token."""
        return self.post(TOKEN, token_form(assertion or make_assertion(now=clock.now())))

    def introspect(self, token: str, **headers: str) -> Any:
        """Introspect as root."""
        return self.post(INTROSPECT, {"token": token}, **(headers or basic()))[1]

    def operate(self, method: str, path: str, **options: Any) -> int:
        """Do something as root, as another process would."""
        return self.server.request(method, path, headers=basic(), **options).status_code


@pytest.fixture
def fast(server: Server, parts: Parts, tmp_path: Path) -> Fast:
    """Endpoints that have everything at hand, of a database that is another process."""
    fast = fast_endpoints(server, parts, tmp_path, nearby=Far())
    status, issued = fast.ask()
    assert (status, fast.threads) == (200, 1)
    assert fast.introspect(issued["access_token"])["active"]
    return fast


def fast_endpoints(server: Server, parts: Parts, folder: Path, *, nearby: Any) -> Fast:
    """Return endpoints that know nothing yet of the client that is registered."""
    settings = make_settings(folder)
    claims, keys = Meddling(parts.stores.claims), Keys(parts.signer)
    stores = _Stores(parts.stores, claims, nearby)
    fast_parts: Any = replace(parts, stores=stores, signer=keys)  # type: ignore[arg-type]
    endpoints = direct_endpoints(settings, fast_parts, build_services(settings, fast_parts))
    assert server.put_client(jwks_uri=None, jwks={"keys": [key().jwk]}).status_code == 201
    return Fast(server, endpoints, claims, keys)


class Far:
    """Nothing is near."""

    def get(self, _resource_type: str, _resource_id: str) -> None:
        """Know nothing without waiting."""


class _Stores:
    """The stores with another claim queue, and with what is near."""

    def __init__(self, stores: Any, claims: Meddling, nearby: Any) -> None:
        self._stores, self.claims, self.nearby = stores, claims, nearby

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stores, name)


def test_a_token_needs_no_waiting_for_a_client_that_is_known(fast: Fast) -> None:
    status, issued = fast.ask()

    assert (status, issued["token_type"], fast.threads) == (200, "Bearer", 0)


def test_a_client_that_is_near_needs_no_waiting_the_first_time(server: Server, parts: Parts, tmp_path: Path) -> None:
    fast = fast_endpoints(server, parts, tmp_path, nearby=parts.stores.resources)  # type: ignore[attr-defined]

    status, _ = fast.ask()

    assert (status, fast.threads) == (200, 0)


def test_a_client_that_is_near_and_ended_gets_no_token(server: Server, parts: Parts, tmp_path: Path) -> None:
    """X50."""
    fast = fast_endpoints(server, parts, tmp_path, nearby=parts.stores.resources)  # type: ignore[attr-defined]
    before = fast.ask()[0]

    fast.server.put_client(jwks_uri=None, jwks={"keys": [key().jwk]}, active=False)

    assert (before, fast.ask()[0]) == (200, 400)


def test_an_assertion_is_good_once(fast: Fast) -> None:
    """B07."""
    assertion = make_assertion(now=clock.now())

    first, second = fast.ask(assertion)[0], fast.ask(assertion)

    assert (first, second[0], second[1]["error"]) == (200, 400, "invalid_client")


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("DELETE", f"/Client/{CLIENT_ID}", {}),
        ("POST", f"/Client/{CLIENT_ID}/$revoke-tokens", {}),
    ],
)
def test_what_ends_a_client_or_its_tokens_ends_them_at_once(
    fast: Fast, method: str, path: str, options: dict[str, Any]
) -> None:
    """X46, X50: nothing that is kept survives it."""
    token = fast.ask()[1]["access_token"]
    before = [fast.introspect(token)["active"] for _ in range(2)]

    assert fast.operate(method, path, **options) in (200, 204)

    assert (before, fast.introspect(token)) == ([True, True], {"active": False})
    assert fast.ask()[0] == (400 if method == "DELETE" else 200)


def test_a_client_that_is_deactivated_gets_no_token(fast: Fast) -> None:
    """X50."""
    fast.server.put_client(jwks_uri=None, jwks={"keys": [key().jwk]}, active=False)

    assert fast.ask()[0] == 400


def test_a_client_that_ends_between_proof_and_claim_gets_no_token(fast: Fast, parts: Parts) -> None:
    """X50: the claim's transaction tells that something changed; the audit has the second decision alone (X25)."""
    fast.claims.first = lambda: fast.operate("DELETE", f"/Client/{CLIENT_ID}")

    status, answer = fast.ask()

    assert (status, answer["error"], fast.threads) == (400, "invalid_client", 1)
    assert recorded(parts) == ["token_refused"]


def test_a_change_of_something_else_between_proof_and_claim_does_no_harm(fast: Fast, parts: Parts) -> None:
    fast.claims.first = lambda: fast.operate("PUT", "/Client/other", json={"grant_types": ["basic"]})

    status, _ = fast.ask()

    assert (status, fast.threads) == (200, 1)
    assert recorded(parts) == ["token_issued"]


def recorded(parts: Parts) -> list[str]:
    """Return what the audit has of token requests since the fixture's one."""
    found = parts.stores.audit.search(AuditQuery(events=frozenset({"token_issued", "token_refused"})))
    return [str(one.said["event"]) for one in found][:-1]


def test_an_answer_is_said_again_while_it_is_true(fast: Fast) -> None:
    token = fast.ask()[1]["access_token"]

    first, again = fast.introspect(token), fast.introspect(token)

    assert (first, fast.threads) == (again, 0)


def test_an_answer_is_not_said_again_after_the_token_expired(fast: Fast) -> None:
    """F05."""
    token = fast.ask()[1]["access_token"]
    told = fast.introspect(token), fast.introspect(token)

    with freeze_time(_moment(told[0]["exp"])):
        late = fast.introspect(token)
    with freeze_time(_moment(told[0]["exp"] - 1)):
        in_time = fast.introspect(token)

    assert (late, in_time) == ({"active": False}, told[1])


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_an_answer_is_not_said_again_after_a_revocation(fast: Fast) -> None:
    """F06."""
    token = fast.ask()[1]["access_token"]
    before = [fast.introspect(token)["active"] for _ in range(2)]
    fast.server.post_form("/auth/revoke", {"token": token}, headers=basic())

    assert (before, fast.introspect(token), fast.introspect(token)) == ([True, True], *[{"active": False}] * 2)


def test_an_answer_is_not_said_again_by_other_keys(fast: Fast) -> None:
    """X53: a key that is no longer published verifies nothing."""
    token = fast.ask()[1]["access_token"]
    before = [fast.introspect(token)["active"] for _ in range(2)]

    fast.keys.gone, fast.keys.set = True, object()

    assert (before, fast.introspect(token)) == ([True, True], {"active": False})


def test_an_answer_is_said_again_to_nobody_else(fast: Fast) -> None:
    """F02: another secret, no secret, another token."""
    token = fast.ask()[1]["access_token"]
    fast.introspect(token)

    wrong = fast.post(INTROSPECT, {"token": token}, **basic(secret="wrong" * 8))[0]
    nobody = fast.post(INTROSPECT, {"token": token})[0]
    other = fast.introspect(token[:-4] + "AAAA")

    assert (wrong, nobody, other) == (401, 401, {"active": False})


@pytest.mark.parametrize("condition", [{"headers": {"x-purpose": "care"}}, {"remote-addr": "192.0.2.1"}])
def test_an_answer_is_not_said_again_where_a_policy_looks_at_more_than_the_question(
    fast: Fast, condition: dict[str, Any]
) -> None:
    """G05, X16: another header or another source is another request to a policy."""
    client = {"grant_types": ["basic"], "secret": "canary-secret of the reader"}
    fast.operate("PUT", "/Client/reader", json=client)
    link = [{"id": "reader", "resourceType": "Client"}]
    policy = {"engine": "matcho", "matcho": condition, "link": link}
    fast.operate("PUT", "/AccessPolicy/reader", json=policy)
    token, by = fast.ask()[1]["access_token"], basic("reader", "canary-secret of the reader")

    told = [fast.introspect(token, **by, **{"X-Purpose": "care"}).get("active") for _ in range(2)]
    fast.operate(
        "PUT", "/AccessPolicy/reader", json={**policy, "matcho": {**condition, "headers": {"x-purpose": "care"}}}
    )
    told += [fast.introspect(token, **by, **{"X-Purpose": "care"}).get("active") for _ in range(2)]

    assert told == [True] * 4
    assert fast.post(INTROSPECT, {"token": token}, **by)[0] == 403


def test_only_so_many_answers_are_kept(fast: Fast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authserver.web.introspect.MAX_SAID", 1)
    tokens = [fast.ask()[1]["access_token"] for _ in range(2)]

    assert [fast.introspect(token)["active"] for token in [*tokens, *tokens]] == [True] * 4


READER_SECRET = "a secret of the reader"
READER = {"grant_types": ["basic"], "secret": READER_SECRET}
LINK = [{"id": "reader", "resourceType": "Client"}]


@pytest.fixture
def reader(fast: Fast) -> dict[str, str]:
    """The credentials of a caller that may introspect, and is known to the process for it."""
    by = basic("reader", READER_SECRET)
    fast.operate("PUT", "/Client/reader", json=READER)
    fast.operate("PUT", "/AccessPolicy/reader", json={"engine": "allow", "link": LINK})
    told = [fast.introspect(fast.ask()[1]["access_token"], **by)["active"] for _ in range(3)]
    assert (told, fast.threads) == ([True] * 3, 0)
    return by


@pytest.mark.parametrize(
    ("method", "path", "resource", "status"),
    [
        ("PUT", "/Client/reader", {**READER, "secret": "another secret of the reader"}, 401),
        ("PUT", "/Client/reader", {**READER, "active": False}, 401),
        ("PUT", "/Client/reader", {**READER, "scope": ["system/Patient.rs"]}, 401),
        ("DELETE", "/Client/reader", None, 401),
        ("DELETE", "/AccessPolicy/reader", None, 403),
        ("PUT", "/AccessPolicy/reader", {"engine": "matcho", "matcho": {"headers": {"x": "y"}}, "link": LINK}, 403),
        ("PUT", "/Client/other", {"grant_types": ["basic"]}, 200),
    ],
)
def test_a_caller_that_was_admitted_is_looked_at_anew_after_a_change(
    fast: Fast, reader: dict[str, str], method: str, path: str, resource: dict[str, Any] | None, status: int
) -> None:
    """F02, X50: the last case is the positive control."""
    token = fast.ask()[1]["access_token"]

    assert fast.operate(method, path, **({} if resource is None else {"json": resource})) in (200, 201, 204)
    assert fast.introspect(token)["active"]  # asked by another: all but the caller is at hand again

    assert fast.post(INTROSPECT, {"token": token}, **reader)[0] == status


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({"client_secret": "x"}, {}),
        ({"client_assertion": "x"}, {}),
        ({}, {"X-Api-Key": "x"}),
    ],
)
def test_a_caller_that_was_admitted_shows_no_other_credentials_beside(
    fast: Fast, reader: dict[str, str], form: dict[str, str], headers: dict[str, str]
) -> None:
    """F09."""
    token = fast.ask()[1]["access_token"]

    both = fast.post(INTROSPECT, {"token": token, **form}, **reader, **headers)[0]
    alone = fast.post(INTROSPECT, {"token": token}, **reader)[0]

    assert (both, alone) == (400, 200)


def test_a_secret_that_is_wrong_is_not_admitted_for_the_right_one(fast: Fast, reader: dict[str, str]) -> None:
    token = fast.ask()[1]["access_token"]

    wrong = fast.post(INTROSPECT, {"token": token}, **basic("reader", "not the secret of the reader"))[0]

    assert (wrong, fast.post(INTROSPECT, {"token": token}, **reader)[0]) == (401, 200)


def test_what_policies_allow_an_admitted_caller_leaves_its_records(
    fast: Fast, parts: Parts, reader: dict[str, str]
) -> None:
    """X52: a sample each minute, though the caller is known."""

    def noted() -> int:
        found = parts.stores.decisions.recent(100)
        return sum(one.client_id == "reader" for one in found)

    before = noted()
    with freeze_time(_moment(clock.now() + 120)):
        told = [fast.introspect(f"{number}", **reader) for number in range(3)]

    assert (told, noted() - before) == ([{"active": False}] * 3, 1)


def test_only_so_many_admitted_callers_are_kept(
    fast: Fast, reader: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authserver.web.introspect.MAX_ADMITTED", 1)
    tokens = [fast.ask()[1]["access_token"] for _ in range(4)]

    told = [fast.introspect(token, **by)["active"] for token, by in zip(tokens, [reader, {}] * 2, strict=True)]

    assert told == [True] * 4


def test_both_doors_say_the_same(fast: Fast) -> None:
    form = urlencode(token_form(make_assertion(now=0)))
    request = DirectRequest("POST", TOKEN, [("content-type", FORM)], form.encode(), None)
    exchange = OneExchange()

    fast.endpoints[TOKEN].begin(request, exchange)
    waited: Answer = fast.endpoints[TOKEN].answer(request)

    assert (exchange.answers[0].status, exchange.answers[0].body) == (waited.status, waited.body)
    assert waited.status == 400
