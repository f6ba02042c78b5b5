"""Limits over HTTP, by the door that never waits and by the other one. Rows X26 and X54; threat F03."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from freezegun import freeze_time

from authserver import clock
from authserver.app import Parts, Services, build_services, create_app, direct_endpoints
from authserver.protocol import scopes
from authserver.services.limits import LimitRules, Limits
from authserver.services.registration import ensure_root
from authserver.web.direct import DirectEndpoint, DirectRequest
from tests.builders import ROOT_SECRET, client_resource, inline_keys, make_assertion, make_settings, token_form
from tests.http import FORM, OneExchange, Server, basic
from tests.keys import key

HERE, THERE = "192.0.2.1", "192.0.2.2"
INTROSPECT, TOKEN = "/auth/introspect", "/auth/token"


@dataclass
class Limited:
    """A server with limits, spoken to from several addresses."""

    server: Server
    endpoints: dict[str, DirectEndpoint]
    services: Services
    waiting: bool

    def post(self, path: str, form: dict[str, str], *, source: str = HERE, **headers: str) -> tuple[int, str | None]:
        """Post a form; return the status, and the Retry-After of the answer."""
        lines = [("content-type", FORM), *((name.lower(), value) for name, value in headers.items())]
        request = DirectRequest("POST", path, lines, urlencode(form).encode(), source)
        if self.waiting:
            answer = self.endpoints[path].answer(request)
        else:
            exchange = OneExchange()
            self.endpoints[path].begin(request, exchange)
            (answer,) = exchange.answers
        assert (answer.status == 429) == (b'"error":"slow_down"' in answer.body)
        return answer.status, answer.headers.get("Retry-After")

    def ask(self, client_id: str = "one", *, source: str = HERE, **changes: Any) -> tuple[int, str | None]:
        """Ask for a token with a good assertion; with a `key` of another client's it proves nobody."""
        pair = changes.pop("pair", key("ES384", client_id))
        assertion = changes.pop("assertion", None) or make_assertion(pair, now=clock.now(), client_id=client_id)
        return self.post(TOKEN, token_form(assertion, **changes), source=source)

    def statuses(self, times: int, what: Callable[[], tuple[int, str | None]]) -> list[int]:
        """Do it so often; return the statuses."""
        return [what()[0] for _ in range(times)]


Open = Callable[..., Limited]


@pytest.fixture(params=["begin", "answer"])
def opened(request: pytest.FixtureRequest, parts: Parts, tmp_path: Path) -> Iterator[Open]:
    """Start a server with these limits and two clients that have keys of their own; its clock stands still."""

    def start(**limits: int) -> Limited:
        settings = make_settings(tmp_path, **limits)
        services = build_services(settings, parts)
        ensure_root(services.registration, secret=ROOT_SECRET, now=clock.now_microseconds())
        for name in ("one", "two"):
            body = client_resource(**inline_keys(key("ES384", name)))
            services.registration.put("Client", name, body, actor="test", now=clock.now_microseconds())
        endpoints = direct_endpoints(settings, parts, services)
        app = create_app(settings, parts=parts, services=services, direct=endpoints)
        return Limited(Server(app), endpoints, services, request.param == "answer")

    with freeze_time("2030-01-01"):
        yield start


def test_a_busy_client_gets_429_and_its_neighbour_sees_no_change(opened: Open) -> None:
    """X54: the same address, another client."""
    limited = opened(client_rate=3)

    busy = limited.statuses(5, limited.ask)
    told = limited.ask()
    neighbour = limited.statuses(3, lambda: limited.ask("two"))

    assert (busy, told, neighbour) == ([200, 200, 200, 429, 429], (429, "1"), [200, 200, 200])


def test_a_client_that_is_refused_for_its_rate_uses_up_no_assertion(opened: Open) -> None:
    """The jti is not claimed: the same assertion is good a moment later."""
    limited = opened(client_rate=1)
    assertion = make_assertion(key("ES384", "one"), now=clock.now(), client_id="one")
    first, refused = limited.ask(), limited.ask(assertion=assertion)
    used = limited.services.issuance.authentication.replay_guard.was_claimed

    claimed = used("one", _jti(assertion))

    assert (first[0], refused, claimed) == (200, (429, "1"), False)


def test_a_caller_that_is_refused_for_its_rate_uses_up_no_assertion(opened: Open) -> None:
    """X54: an assertion proves callers of introspection too."""
    limited = opened(client_rate=1)
    registered = limited.services.registration.put
    asking = client_resource(**inline_keys(key("ES384", "one")), scope=[scopes.INTROSPECT])
    registered("Client", "one", asking, actor="test", now=clock.now_microseconds())
    registered("AccessPolicy", "one", {"engine": "allow"}, actor="test", now=clock.now_microseconds())
    assertions = [make_assertion(key("ES384", "one"), now=clock.now(), client_id="one") for _ in range(2)]
    used = limited.services.issuance.authentication.replay_guard.was_claimed

    answers = [limited.post(INTROSPECT, {**token_form(one), "token": "made up"}) for one in assertions]

    assert [status for status, _ in answers] == [200, 429]
    assert [used("one", _jti(one)) for one in assertions] == [True, False]


def _jti(assertion: str) -> str:
    return str(jwt.decode(assertion, options={"verify_signature": False})["jti"])


def test_a_flood_of_unproven_callers_is_slowed_down_and_hurts_nobody_who_proves_himself(opened: Open) -> None:
    """X26, X54: 429 for further failures from the address; good assertions are answered, and failures elsewhere."""
    limited = opened(source_failures=3)

    flood = limited.statuses(6, lambda: limited.ask(pair=key("ES384", "two")))
    told = limited.ask(pair=key("ES384", "two"))
    proven = limited.statuses(10, limited.ask)
    elsewhere = limited.ask(pair=key("ES384", "two"), source=THERE)

    assert (flood, told) == ([400, 400, 400, 429, 429, 429], (429, "20"))
    assert (proven, elsewhere[0]) == ([200] * 10, 400)


def test_ipv6_is_counted_by_its_network(opened: Open) -> None:
    """X54: 2^64 addresses are one caller's; the next network is another's."""
    limited = opened(source_failures=3)

    same = [limited.ask("nobody", source=f"2001:db8:0:1::{n:x}", pair=key())[0] for n in range(1, 6)]
    other = limited.ask("nobody", source="2001:db8:0:2::1", pair=key())[0]
    mapped = [limited.ask("nobody", source=source, pair=key())[0] for source in (HERE, f"::ffff:{HERE}") * 2]

    assert (same, other, mapped) == ([400, 400, 400, 429, 429], 400, [400, 400, 400, 429])


def test_malformed_requests_count_too(opened: Open) -> None:
    limited = opened(source_failures=2)

    assert limited.statuses(4, lambda: limited.post(TOKEN, {"grant_type": "password"})) == [400, 400, 429, 429]


def test_a_client_that_asks_for_what_it_has_not_is_slowed_down_alone(opened: Open) -> None:
    """X54: failures of a proven client are its own, apart from its successes and from its address's."""
    limited = opened(client_failures=2, source_failures=2)

    failures = limited.statuses(4, lambda: limited.ask(scope="system/Client.r"))
    told = limited.ask(scope="system/Client.r")
    elsewhere = limited.ask(scope="system/Client.r", source=THERE)[0]
    neighbour = limited.ask("two", scope="system/Client.r")[0]
    stranger = limited.ask(pair=key("ES384", "two"))[0]

    assert (failures, told, elsewhere) == ([400, 400, 429, 429], (429, "30"), 429)
    assert (limited.ask()[0], neighbour, stranger) == (200, 400, 400)


def test_a_replayed_assertion_takes_nothing_from_its_client(opened: Open) -> None:
    """X54: whoever caught an assertion spends the budget of his own address."""
    limited = opened(client_failures=1, client_rate=3, source_failures=2)
    assertion = make_assertion(key("ES384", "one"), now=clock.now(), client_id="one")

    replays = [limited.ask(assertion=assertion, source=source)[0] for source in (HERE, THERE, THERE, THERE, THERE)]

    assert replays == [200, 400, 400, 429, 429]
    assert limited.statuses(3, limited.ask) == [200, 200, 429]


def test_introspection_has_the_same_limits(opened: Open) -> None:
    """X54: also where the answer is said again from memory."""
    limited = opened(client_rate=3, source_failures=2)
    token = {"token": "made up"}
    root = basic()["Authorization"]

    asked = limited.statuses(5, lambda: limited.post(INTROSPECT, token, authorization=root))
    guesses = limited.statuses(4, lambda: limited.post(INTROSPECT, token, authorization=basic("one")["Authorization"]))
    challenges = limited.statuses(5, lambda: limited.post(INTROSPECT, token))

    assert asked == [200, 200, 200, 429, 429]
    assert guesses == [401, 401, 429, 429]
    assert challenges == [401] * 5


def test_an_answer_said_again_is_counted(opened: Open, parts: Parts) -> None:
    """X54: a good token's answer is kept, and each time it is said it costs one."""
    limited = opened(client_rate=5)
    issued = limited.endpoints[TOKEN].answer(
        DirectRequest(
            "POST",
            TOKEN,
            [("content-type", FORM)],
            urlencode(token_form(make_assertion(key("ES384", "one"), now=clock.now(), client_id="one"))).encode(),
            HERE,
        )
    )
    token = issued.body.split(b'"access_token":"')[1].split(b'"')[0].decode()
    root = basic()["Authorization"]

    asked = limited.statuses(8, lambda: limited.post(INTROSPECT, {"token": token}, authorization=root))

    assert asked == [200] * 5 + [429] * 3


def test_the_registry_has_the_same_limits(opened: Open) -> None:
    limited = opened(client_rate=2, source_failures=2)

    def read(secret: str) -> tuple[int, str | None]:
        answer = limited.server.request("GET", "/Client/one", headers=basic(secret=secret))
        return answer.status_code, answer.headers.get("Retry-After")

    guesses = limited.statuses(4, lambda: read("a wrong secret"))
    reads = limited.statuses(4, lambda: read(ROOT_SECRET))

    assert (guesses, reads) == ([401, 401, 429, 429], [200, 200, 429, 429])


def test_a_limited_request_is_logged_with_what_was_wrong_with_it(
    opened: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    """The operator sees both: that it was one too many, and why it would have been refused."""
    limited = opened(source_failures=1)
    limited.statuses(2, lambda: limited.ask("nobody", pair=key()))

    said = capsys.readouterr().out

    assert [text in said for text in ("source_failures", f"{HERE}: client_unknown")] == [True, True]


def test_the_limits_are_those_of_the_settings(tmp_path: Path, parts: Parts) -> None:
    """One for the rate, two for failures, each for itself."""
    settings = make_settings(tmp_path, client_rate=1, client_failures=2, source_failures=3)

    limits = build_services(settings, parts).limits

    assert {name: budget.limit for name, budget in limits.budgets.items()} == {
        "client_rate": 1,
        "client_failures": 2,
        "source_failures": 3,
    }
    assert replace(LimitRules(1, 2, 3), client_rate=0) == LimitRules(0, 2, 3)
    assert Limits(LimitRules(0, 2, 3)).budgets.keys() == {"client_failures", "source_failures"}
