"""Speak HTTP to a running server: the registry as an operator, discovery and tokens as a client.

Every refusal becomes a Failure whose lines are the server's own words.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import requests

from authserver.cli.failures import Failure, Unreachable
from authserver.services.ports import ACCESS_POLICY, CLIENT

TIMEOUT = 10.0
"""Seconds until the server must have answered."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to the server."""

    user: str
    secret: str


class Remote:
    """A running server at `url` (scheme://host[:port]); use it as a context, so that connections are closed."""

    def __init__(self, url: str, credentials: Credentials | None = None) -> None:
        self.url = url.rstrip("/")
        self._credentials = credentials
        self._session = requests.Session()
        # No proxies and no .netrc of the environment: secrets go to this address only.
        self._session.trust_env = False
        self._session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    @property
    def sends_in_clear(self) -> bool:
        """Whether credentials would cross a network unprotected."""
        address = urlsplit(self.url)
        return address.scheme == "http" and address.hostname not in _LOOPBACK

    def send(self, method: str, url: str, **options: Any) -> requests.Response:
        """Send one request and return the answer, whatever it is. Raises Unreachable when there is none."""
        target = url if "://" in url else f"{self.url}{url}"
        try:
            return self._session.request(method, target, timeout=TIMEOUT, allow_redirects=False, **options)
        except requests.RequestException as error:
            raise Unreachable(f"{target.partition('?')[0]} does not answer ({type(error).__name__}).") from error

    def as_operator(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send one request with our credentials. Raises Unreachable when there is no answer."""
        assert self._credentials is not None
        pair = (self._credentials.user.encode(), self._credentials.secret.encode())
        return self.send(method, path, auth=pair, **options)

    def find(self, resource_type: str, resource_id: str) -> dict[str, Any] | None:
        """Return the resource, or None when there is none."""
        answer = self.as_operator("GET", f"/{resource_type}/{resource_id}")
        return None if answer.status_code == 404 else read(answer)

    def search(self, resource_type: str) -> list[dict[str, Any]]:
        """Return every resource of the type, ordered by id."""
        found: list[dict[str, Any]] = []
        path = f"/{resource_type}"
        while path:
            bundle = read(self.as_operator("GET", path))
            found += (entry["resource"] for entry in bundle["entry"])
            path = _next_path(bundle)
        return found

    def create(self, resource_type: str, *, body: Mapping[str, Any]) -> dict[str, Any]:
        """Store a new resource under the body's id; the server refuses when there is one."""
        return read(self.as_operator("POST", f"/{resource_type}", json=body))

    def put(self, resource_type: str, resource_id: str, *, body: Mapping[str, Any]) -> dict[str, Any]:
        """Store the resource; one that says its version in `meta` replaces that version only."""
        version = body.get("meta", {}).get("versionId")
        headers = {"If-Match": f'W/"{version}"'} if version else {}
        return read(self.as_operator("PUT", f"/{resource_type}/{resource_id}", json=body, headers=headers))

    def delete(self, resource_type: str, resource_id: str) -> None:
        """Delete the resource; that there is none is as good."""
        answer = self.as_operator("DELETE", f"/{resource_type}/{resource_id}")
        if answer.status_code >= 400:
            raise refusal(answer)

    def operate(self, resource_type: str, resource_id: str, operation: str) -> dict[str, Any]:
        """Call an operation of one resource, for example `revoke-tokens`, and return the answer."""
        return read(self.as_operator("POST", f"/{resource_type}/{resource_id}/${operation}"))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send one JSON body to an operator's path and return the answer."""
        return read(self.as_operator("POST", path, json=body))

    def get(self, path: str, **parameters: str) -> dict[str, Any]:
        """Return what an operator's path tells."""
        return read(self.as_operator("GET", path, params=parameters))

    def live_tokens(self, client_id: str, *, count: int) -> tuple[list[dict[str, Any]], bool]:
        """Return the client's live tokens, newest first, at most `count`, and whether there may be more."""
        found: list[dict[str, Any]] = []
        path = f"/{CLIENT}/{client_id}/$tokens"
        while path and len(found) < count:
            page = read(self.as_operator("GET", path))
            found += page["tokens"]
            following = urlsplit(page["next"] or "")
            path = f"{following.path}?{following.query}" if page["next"] else ""
        return found[:count], bool(path) or len(found) > count

    def introspect(self, token: str) -> dict[str, Any]:
        """Return what the server says about the token (RFC 7662)."""
        return read(self.as_operator("POST", "/auth/introspect", data={"token": token}))

    def discover(self) -> dict[str, Any]:
        """Return the SMART discovery document."""
        return read(self.send("GET", "/.well-known/smart-configuration"))


def allow_policy(client_id: str) -> dict[str, Any]:
    """Return the AccessPolicy that allows one client whatever its scopes allow."""
    return {"engine": "allow", "link": [{"id": client_id, "resourceType": CLIENT}]}


def is_only_of(policy: Mapping[str, Any], client_id: str) -> bool:
    """Say whether the policy is linked to this client and to nobody else."""
    links = policy.get("link", [])
    names = {link.get("id") or str(link.get("reference", "")).removeprefix(f"{CLIENT}/") for link in links}
    return policy.get("resourceType") == ACCESS_POLICY and names == {client_id}


def _next_path(bundle: Mapping[str, Any]) -> str:
    """Return where a Bundle goes on, as a path: our secret goes to the server named by the user, nowhere else."""
    urls = [link["url"] for link in bundle.get("link", []) if link.get("relation") == "next"]
    following = urlsplit(urls[0]) if urls else None
    return "" if following is None else f"{following.path}?{following.query}"


def read(answer: requests.Response) -> dict[str, Any]:
    """Return the JSON object of a good answer; raises Failure with the server's words for any other."""
    if answer.status_code >= 300:
        raise refusal(answer)
    document = _object(answer)
    if not document and answer.content != b"{}":
        raise Failure(f"{answer.url} answered with something that is no JSON object.")
    return document


def refusal(answer: requests.Response) -> Failure:
    """Return a refusal as a Failure: the issues of an OperationOutcome, or OAuth's error, one a line."""
    document, lines = _object(answer), []
    for issue in document.get("issue", []):
        where = "".join(f"{path}: " for path in issue.get("expression", [])[:1])
        lines.append(f"{where}{issue.get('diagnostics', issue.get('code'))}")
    if "error" in document:
        lines.append(f"{document['error']}: {document.get('error_description', '')}")
    receipt = answer.headers.get("X-Request-Id", "none")
    lines.append(f"({answer.request.method} {answer.request.path_url}: {answer.status_code}, request id {receipt})")
    return Failure("\n".join(lines))


def _object(answer: requests.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
