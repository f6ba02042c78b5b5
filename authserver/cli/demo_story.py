"""The walk of the demo: each step one request to a real server, what was expected of it, and whether that came."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from authserver import clock
from authserver.cli.private_keys import KeyPair, make_assertion, token_form
from authserver.cli.remote import Remote, allow_policy
from authserver.protocol.token_request import CLIENT_CREDENTIALS, JWT_BEARER

SCOPE = "system/*.read"
_QUERY = "code=4548-4&_count=2"
_HEART_RATE = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4", "display": "Heart rate"}]},
}
_SECRET_MEMBERS = ("access_token", "client_assertion", "token", "secret")
_SECRET_SHOWN, _TEXT_SHOWN, _SHOWN = 16, 64, 360


@dataclass(frozen=True, slots=True)
class Step:
    """One request and its answer, in words; `held` says whether what was expected came."""

    title: str
    request: str
    expected: str
    came: str
    held: bool


@dataclass
class Story:
    """One client's life: registered, allowed, given a token, refused where it must be, revoked."""

    remote: Remote
    client_id: str
    pair: KeyPair
    jwks_uri: str
    min_matches: int
    _token: str = field(default="", init=False, repr=False)
    _assertion: str = field(default="", init=False, repr=False)
    _endpoints: dict[str, Any] = field(default_factory=dict, init=False)
    _fhir_base: str = field(default="", init=False)

    def steps(self) -> Iterator[Step]:
        """Take the steps in order; one that needs what an earlier one failed to bring fails too."""
        yield self._register()
        yield self._allow("allow it what its scopes say")
        yield self._discover()
        yield self._ask_token()
        yield self._replay()
        yield self._introspect()
        yield self._search("search with the token", status=200)
        yield self._write()
        yield self._forbid()
        yield self._search("the same token without the policy", status=403)
        yield self._allow("allow it again")
        yield self._search("and it works again", status=200)
        yield self._revoke()
        yield self._search("the revoked token is refused", status=401)
        yield self._introspect_revoked()

    def clean_up(self) -> None:
        """Delete what was registered."""
        for resource_type in ("AccessPolicy", "Client"):
            self.remote.as_operator("DELETE", f"/{resource_type}/{self.client_id}")

    def _register(self) -> Step:
        body = {
            "type": "bulk-api-client",
            "active": True,
            "auth": {"client_credentials": {"client_assertion_types": [JWT_BEARER], "access_token_expiration": 300}},
            "scope": [SCOPE],
            "jwks_uri": self.jwks_uri,
            "grant_types": [CLIENT_CREDENTIALS],
        }
        answer = self.remote.as_operator("PUT", f"/Client/{self.client_id}", json=body)
        held = answer.status_code == 201 and _document(answer).get("jwks_uri") == self.jwks_uri
        return _step(
            "register a client by its key set's address", answer, body=body, expected="201, the Client", held=held
        )

    def _allow(self, title: str) -> Step:
        body = allow_policy(self.client_id)
        answer = self.remote.as_operator("PUT", f"/AccessPolicy/{self.client_id}", json=body)
        return _step(title, answer, body=body, expected="201, the AccessPolicy", held=answer.status_code == 201)

    def _discover(self) -> Step:
        answer = self.remote.send("GET", "/.well-known/smart-configuration")
        self._endpoints = _document(answer)
        held = answer.status_code == 200 and "token_endpoint" in self._endpoints
        shown = {name: self._endpoints.get(name) for name in ("token_endpoint", "introspection_endpoint")}
        return _step("discover the endpoints", answer, expected="200, a token_endpoint", held=held, shown=shown)

    def _ask_token(self) -> Step:
        self._assertion = self._new_assertion()
        answer = self._post_assertion()
        document = _document(answer)
        self._token = str(document.get("access_token", ""))
        held = answer.status_code == 200 and document.get("token_type") == "Bearer" and bool(self._token)
        form = token_form(self._assertion, scope=SCOPE)
        title = f"get a token by an assertion signed {self.pair.algorithm}"
        return _step(title, answer, body=form, expected="200, a Bearer token", held=held)

    def _replay(self) -> Step:
        answer = self._post_assertion()
        held = answer.status_code == 400 and _document(answer).get("error") == "invalid_client"
        form = token_form(self._assertion, scope=SCOPE)
        return _step("send the same assertion again", answer, body=form, expected="400 invalid_client", held=held)

    def _introspect(self) -> Step:
        answer = self._ask_introspection()
        document = _document(answer)
        audience = document.get("aud")
        self._fhir_base = str(audience if isinstance(audience, str) else (audience or [""])[0])
        held = document.get("active") is True and document.get("client_id") == self.client_id
        expected = '200, "active": true for this client'
        return _step("introspect the token", answer, body={"token": self._token}, expected=expected, held=held)

    def _search(self, title: str, *, status: int) -> Step:
        answer = self.remote.send("GET", f"{self._fhir_base}/Observation?{_QUERY}", headers=self._bearer())
        held = answer.status_code == status
        if status != 200:
            return _step(title, answer, expected=f"{status}, an OperationOutcome", held=held)
        entries = _document(answer).get("entry", [])
        held = held and self.min_matches <= len(entries) <= 2 and all(_is_a1c(entry) for entry in entries)
        shown = {"entry": [_summary(entry["resource"]) for entry in entries]} if held else None
        return _step(title, answer, expected="200, at most two Observations of that code", held=held, shown=shown)

    def _write(self) -> Step:
        answer = self.remote.send("POST", f"{self._fhir_base}/Observation", json=_HEART_RATE, headers=self._bearer())
        held = answer.status_code == 403
        return _step("write with the token, which may read only", answer, body=_HEART_RATE, expected="403", held=held)

    def _forbid(self) -> Step:
        answer = self.remote.as_operator("DELETE", f"/AccessPolicy/{self.client_id}")
        return _step("delete the policy", answer, expected="200", held=answer.status_code == 200)

    def _revoke(self) -> Step:
        form = {
            "token": self._token,
            "client_assertion_type": JWT_BEARER,
            "client_assertion": self._new_assertion(),
        }
        answer = self.remote.send("POST", self._endpoint("revocation_endpoint"), data=form)
        return _step("revoke the token", answer, body=form, expected="200", held=answer.status_code == 200)

    def _introspect_revoked(self) -> Step:
        answer = self._ask_introspection()
        held = answer.status_code == 200 and _document(answer) == {"active": False}
        form, expected = {"token": self._token}, '200, exactly {"active": false}'
        return _step("introspection tells nothing of it", answer, body=form, expected=expected, held=held)

    def _ask_introspection(self) -> requests.Response:
        return self.remote.as_operator("POST", "/auth/introspect", data={"token": self._token})

    def _post_assertion(self) -> requests.Response:
        form = token_form(self._assertion, scope=SCOPE)
        return self.remote.send("POST", self._endpoint("token_endpoint"), data=form)

    def _new_assertion(self) -> str:
        audience = self._endpoint("token_endpoint")
        return make_assertion(self.pair, client_id=self.client_id, audience=audience, now=clock.now())

    def _endpoint(self, name: str) -> str:
        return str(self._endpoints.get(name) or f"{self.remote.url}/{name}-unknown")

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}


def _step(
    title: str,
    answer: requests.Response,
    *,
    expected: str,
    held: bool,
    body: Mapping[str, Any] | None = None,
    shown: object = None,
) -> Step:
    sent = f"{answer.request.method} {answer.request.path_url}"
    if body is not None:
        sent += f"  {_short(body)}"
    came = f"{answer.status_code}  {_short(shown or _document(answer))}"
    return Step(title, sent, expected, came, held)


def _document(answer: requests.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _is_a1c(entry: Mapping[str, Any]) -> bool:
    codings = entry["resource"]["code"]["coding"]
    return any(coding.get("code") == "4548-4" for coding in codings)


def _summary(resource: Mapping[str, Any]) -> str:
    quantity = resource.get("valueQuantity", {})
    text = resource["code"].get("text", "4548-4")
    return f"{text}: {quantity.get('value')} {quantity.get('unit')} on {resource.get('effectiveDateTime', '?')[:10]}"


def _short(document: object) -> str:
    """Return JSON for a person: secrets and tokens cut short, the whole no longer than a few lines."""
    if isinstance(document, Mapping):
        document = {name: _cut(name, value) for name, value in document.items() if value is not None}
    text = json.dumps(document, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _cut(name: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    longest = _SECRET_SHOWN if name in _SECRET_MEMBERS else _TEXT_SHOWN
    return value if len(value) <= longest else f"{value[:longest]}…"
