"""Throw mutated requests at the whole application: any method, path, header or form, and no answer is 5xx."""

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

from flask import Flask

from authserver import clock
from tests.builders import make_assertion, token_form
from tests.fuzz import mutations
from tests.http import FORM, basic

PATHS = (
    "/auth/token /auth/introspect /auth/revoke /auth/register /auth/verify "
    "/auth/assertion/$diagnose /auth/receipt/x /Client /Client/client-1 "
    "/AccessPolicy /AccessPolicy/policy-1 /.well-known/smart-configuration /.well-known/oauth-authorization-server "
    "/.well-known/jwks.json /healthz /readyz / /fhir/Patient"
).split()
METHODS = ("POST", "POST", "POST", "GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "X")
HEADERS = (
    "Authorization Accept Accept-Encoding Content-Encoding Content-Type Content-Length Host X-Forwarded-Host Forwarded "
    "X-HTTP-Method-Override If-Match If-None-Match Range Cookie Origin Referer User-Agent X-Request-Id DPoP Prefer "
    "Transfer-Encoding Expect"
).split()
MEDIA_TYPES = (
    FORM,
    FORM,
    FORM,
    FORM,
    "application/json",
    "application/fhir+json",
    "multipart/form-data; boundary=x",
    "",
)
FIELDS = "token token_type_hint resource request audience redirect_uri code refresh_token username password".split()


@dataclass
class Report:
    """What a run saw: how many requests, and how often each status was answered."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)


def environ(random: Random) -> dict[str, Any]:
    """Return the WSGI environ of one request."""
    path = random.choice(PATHS)
    if random.random() < 0.3:
        path = mutations.text(random, path)
    body = _body(random)
    media_type = random.choice(MEDIA_TYPES)
    query = (
        urlencode({"scope": "x"}) if random.random() < 0.05 else mutations.text(random, "") * (random.random() < 0.2)
    )
    made = {
        "REQUEST_METHOD": random.choice(METHODS),
        "SCRIPT_NAME": "",
        "PATH_INFO": path.encode("utf-8", "replace").decode("latin-1"),
        "QUERY_STRING": query.encode("utf-8", "replace").decode("latin-1"),
        "SERVER_NAME": "auth.example",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": media_type,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": io.StringIO(),
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "HTTP_HOST": "auth.example",
    }
    return {**made, **_headers(random)}


def _headers(random: Random) -> dict[str, str]:
    found: dict[str, str] = {}
    if random.random() < 0.3:
        found["HTTP_AUTHORIZATION"] = basic()["Authorization"]
    for _ in range(random.choice((0, 0, 1, 2))):
        name = random.choice(HEADERS).upper().replace("-", "_")
        key = name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
        base = found.get(key, random.choice(("Basic eDp5", "Bearer a.b.c", 'W/"1"', "*/*", "gzip", "5")))
        value = mutations.text(random, base)
        # A server refuses line ends in a header before any application sees them.
        found[key] = value.encode("utf-8", "replace").decode("latin-1").translate({10: 32, 13: 32, 0: 32})
    return found


def _body(random: Random) -> bytes:
    chance = random.random()
    if chance < 0.6:
        return _form(random)
    if chance < 0.9:
        base = {"resourceType": "Client", "scope": ["system/*.read"], "grant_types": ["client_credentials"], "jwks": {}}
        names = "auth jwks jwks_uri active secret tenant id meta details link engine".split()
        return mutations.document(random, mutations.members(random, base, names=names))
    return random.randbytes(random.randint(0, 300))


def _form(random: Random) -> bytes:
    form: Mapping[str, Any] = token_form(make_assertion(now=clock.now()))
    if random.random() < 0.8:
        form = mutations.members(random, dict(form), names=FIELDS)
    pairs = [(name, member) for name, member in form.items()]
    if random.random() < 0.1:
        pairs.append(random.choice(pairs or [("a", "b")]))
    written = "&".join(f"{quote(name)}={quote(str(member).encode('utf-8', 'surrogatepass'))}" for name, member in pairs)
    return (mutations.text(random, written) if random.random() < 0.2 else written).encode("utf-8", "surrogatepass")


def run(app: Flask, count: int, *, seed: int) -> Report:
    """Send `count` requests; raises AssertionError for an answer of 500 or more, with the request that got it."""
    random, report = Random(seed), Report()
    for _ in range(count):
        send(app, environ(random), report)
    return report


def send(app: Flask, environ: dict[str, Any], report: Report) -> None:
    """Send one request and judge the answer."""
    sent = {name: value for name, value in environ.items() if not name.startswith("wsgi.")}
    body = environ["wsgi.input"].getvalue()
    status, headers = "", {}

    def start(line: str, pairs: list[tuple[str, str]], _: object = None) -> Any:
        nonlocal status, headers
        status, headers = line, dict(pairs)
        return None

    result = app(environ, start)
    answer = b"".join(result)
    close = getattr(result, "close", None)
    if close is not None:
        close()
    report.requests += 1
    code = int(status.partition(" ")[0])
    report.statuses[code] += 1
    assert code < 500, (status, sent, body, answer)
    assert "X-Request-Id" in headers, sent
