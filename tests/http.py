"""Speak to an application as its callers do: requests in, status, headers and body out."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from authserver import clock
from authserver.app import Parts, build_services, create_app, direct_endpoints
from authserver.protocol.render import Answer
from authserver.services.registration import ensure_root
from authserver.settings import Settings
from authserver.web.direct import Again, DirectEndpoint, DirectRequest, Exchange
from tests.builders import CLIENT_ID, ROOT_SECRET, client_resource, make_assertion, token_form
from tests.keys import KeyPair

FORM = "application/x-www-form-urlencoded"


def basic(client_id: str = "root", secret: str = ROOT_SECRET) -> dict[str, str]:
    """Return the header of HTTP Basic."""
    return {"Authorization": "Basic " + b64encode(f"{client_id}:{secret}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    """Return the header of a bearer token."""
    return {"Authorization": f"Bearer {token}"}


class OneExchange:
    """An Exchange of a server that has all the time in the world: what may wait runs at once, in this thread."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.again: Again | None = None
        self.threads = 0

    def reply(self, answer: Answer, again: Again | None = None) -> None:
        """Keep the answer."""
        self.answers.append(answer)
        self.again = again

    def in_thread(self, work: Callable[[], Answer]) -> None:
        """Do the work now."""
        self.threads += 1
        self.reply(work())

    def soon(self, callback: Callable[[], None]) -> None:
        """Call it now."""
        callback()


@dataclass(frozen=True)
class AsBegun:
    """A DirectEndpoint whose answer is what begin() leads to, as it is for a server with an event loop."""

    endpoint: DirectEndpoint
    repeats: dict[object, Again] = field(default_factory=dict)

    def answer(self, request: DirectRequest) -> Answer:
        """Return the one reply; to the same request as before what may be said again."""
        name = (request.method, request.target, tuple(request.headers), request.body)
        repeated = self.repeats[name]() if name in self.repeats else None
        if repeated is not None:
            return repeated
        exchange = OneExchange()
        self.endpoint.begin(request, exchange)
        (answer,) = exchange.answers
        if exchange.again is not None:
            self.repeats[name] = exchange.again
        return answer

    def begin(self, request: DirectRequest, exchange: Exchange) -> None:
        """Begin."""
        self.endpoint.begin(request, exchange)


def make_app(settings: Settings, parts: Parts) -> Flask:
    """Return the application as it is served: its fast paths by the door that never waits."""
    services = build_services(settings, parts)
    direct = direct_endpoints(settings, parts, services)
    begun = {path: AsBegun(endpoint) for path, endpoint in direct.items()}
    return create_app(settings, parts=parts, services=services, direct=begun)


@dataclass
class Server:
    """An application with the steps of the walk-through as methods."""

    app: Flask

    def bootstrap(self, settings: Settings, parts: Parts, *, secret: str, now: int) -> None:
        """Register `root`."""
        ensure_root(build_services(settings, parts).registration, secret=secret, now=now)

    def request(self, method: str, path: str, **options: Any) -> TestResponse:
        """Send one request."""
        return self.app.test_client().open(path, method=method, **options)

    def put_client(self, client_id: str = CLIENT_ID, **changes: Any) -> TestResponse:
        """Register the documented client with changes, as root."""
        return self.request("PUT", f"/Client/{client_id}", json=client_resource(**changes), headers=basic())

    def put_policy(self, policy_id: str = CLIENT_ID, client_id: str = CLIENT_ID) -> TestResponse:
        """Register the documented policy, as root."""
        policy = {"engine": "allow", "link": [{"id": client_id, "resourceType": "Client"}]}
        return self.request("PUT", f"/AccessPolicy/{policy_id}", json=policy, headers=basic())

    def post_form(self, path: str, form: Any, **options: Any) -> TestResponse:
        """Post a form."""
        return self.request("POST", path, data=form, **options)

    def ask_token(
        self, pair: KeyPair | None = None, *, client_id: str = CLIENT_ID, claims: Any = None, **form: str | None
    ) -> TestResponse:
        """Post a token request with a new assertion, valid at this moment but for `claims`."""
        now = clock.now()
        assertion = make_assertion(pair, now=now, client_id=client_id, **(claims or {}))
        return self.post_form("/auth/token", token_form(assertion, **form))

    def token(self, **form: str | None) -> str:
        """Return an access token of the registered client."""
        response = self.ask_token(**form)
        assert response.status_code == 200, response.text
        return str(response.json["access_token"])

    def introspect(self, token: str, *, headers: dict[str, str] | None = None, **form: str) -> TestResponse:
        """Introspect a token, by default as root."""
        return self.post_form("/auth/introspect", {"token": token, **form}, headers=headers or basic())
