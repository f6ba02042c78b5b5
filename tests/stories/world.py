"""The world of the stories: a real server, a real key host, and a foreign client that Authlib signs for."""

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from cryptography.hazmat.primitives import serialization
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from authserver.fhir import demo_data
from authserver.protocol.token_request import JWT_BEARER
from tests.builders import CLIENT_ID, ROOT_SECRET, client_resource
from tests.cli.programs import Running, run, serving
from tests.keys import KeyPair

OPERATOR = ("root", ROOT_SECRET)


@dataclass
class KeyHost:
    """A client's own web server with its key set; `fetches` are the requests that it got."""

    server: HTTPServer
    keys: list[KeyPair]
    headers: dict[str, str] = field(default_factory=lambda: {"Cache-Control": "max-age=300"})
    fetches: list[str] = field(default_factory=list)

    def open(self, path: str) -> str:
        """Serve the key set under this path; return its address."""
        self.server.expect_request(path).respond_with_handler(self._answer)
        return self.server.url_for(path)

    def _answer(self, request: Request) -> Response:
        self.fetches.append(request.path)
        document = {"keys": [pair.jwk for pair in self.keys]}
        return Response(json.dumps(document), content_type="application/json", headers=self.headers)


@dataclass
class World:
    """The operator's and the client's steps against one running server."""

    server: Running

    def url(self, path: str) -> str:
        """Return an absolute URL."""
        return f"{self.server.url}{path}"

    def put(self, path: str, body: Mapping[str, Any], **options: Any) -> requests.Response:
        """PUT as the operator."""
        return requests.put(self.url(path), json=body, auth=options.pop("auth", OPERATOR), timeout=10, **options)

    def delete(self, path: str) -> requests.Response:
        """DELETE as the operator."""
        return requests.delete(self.url(path), auth=OPERATOR, timeout=10)

    def operate(self, path: str) -> requests.Response:
        """Call an operation as the operator."""
        return requests.post(self.url(path), auth=OPERATOR, timeout=10)

    def register(self, jwks_uri: str, client_id: str = CLIENT_ID, **changes: Any) -> requests.Response:
        """Register the documented client with this key address."""
        return self.put(f"/Client/{client_id}", client_resource(jwks_uri=jwks_uri, **changes))

    def allow(self, client_id: str = CLIENT_ID) -> requests.Response:
        """Register the documented policy."""
        link = [{"id": client_id, "resourceType": "Client"}]
        return self.put(f"/AccessPolicy/{client_id}", {"engine": "allow", "link": link})

    def assertion(self, pair: KeyPair, client_id: str = CLIENT_ID, *, header: Any = None, **changes: Any) -> str:
        """Return an assertion that is valid now but for `changes`; a None leaves a claim out."""
        now = int(time.time())
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": self.url("/auth/token"),
            "jti": uuid.uuid4().hex,
            "iat": now,
            "exp": now + 300,
            **changes,
        }
        return pair.sign({name: value for name, value in claims.items() if value is not None}, header=header)

    def ask(self, assertion: str, **changes: str | None) -> requests.Response:
        """Post a token request with this assertion; a None leaves a parameter out."""
        form = {
            "grant_type": "client_credentials",
            "scope": "system/*.read",
            "client_assertion_type": JWT_BEARER,
            "client_assertion": assertion,
            **changes,
        }
        sent = {name: value for name, value in form.items() if value is not None}
        return requests.post(self.url("/auth/token"), data=sent, timeout=10)

    def introspect(self, token: str) -> dict[str, Any]:
        """Ask about a token as the operator."""
        response = requests.post(self.url("/auth/introspect"), data={"token": token}, auth=OPERATOR, timeout=10)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def fhir(self, path: str, token: str | None = None, *, method: str = "GET", **options: Any) -> requests.Response:
        """Call the FHIR API."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return requests.request(method, self.url(f"/fhir{path}"), headers=headers, timeout=10, **options)


def foreign_token(world: World, pair: KeyPair, *, scope: str, client_id: str = CLIENT_ID) -> dict[str, Any]:
    """Get a token as Authlib's client does: discovery of nothing, `kid` and a lifetime given to it."""
    pem = pair.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    token_url = world.url("/auth/token")
    method = PrivateKeyJWT(
        token_url, headers={"kid": pair.kid}, alg=pair.algorithm, claims={"exp": int(time.time()) + 299}
    )
    with OAuth2Session(client_id, pem, token_endpoint_auth_method=method, scope=scope) as session:
        return dict(session.fetch_token(token_url, grant_type="client_credentials"))


@contextmanager
def started(folder: Path, **variables: str) -> Iterator[World]:
    """Load the demo patients, start a server with both parts, stop it at the end."""
    files = []
    for number, bundle in enumerate(demo_data.bundles()):
        files.append(folder / f"bundle-{number}.json")
        files[-1].write_text(json.dumps(bundle))
    loaded = run(folder, "fhir", "load", *map(str, files), AUTHSERVER_DEV="true")
    assert loaded.returncode == 0, loaded.stderr
    with serving(folder, "--dev", variables={"AUTHSERVER_ROOT_SECRET": ROOT_SECRET, **variables}) as server:
        yield World(server)
