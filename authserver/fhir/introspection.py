"""Ask the authorization server about a token and a request: over HTTP, or directly within one process.

Both ways fail closed: no clear answer is IntrospectionUnavailable, never a yes. Nothing is cached.
"""

import base64
import json
from collections.abc import Callable, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Protocol
from urllib.parse import quote_plus

import requests
from requests.adapters import HTTPAdapter

from authserver.errors import IntrospectionUnavailable

RequestDescription = Mapping[str, object]
IntrospectionAnswer = Mapping[str, object]

_MAX_ANSWER_BYTES = 64_000
_CONNECTIONS = 32


class Introspection(Protocol):
    """RFC 7662, with a description of the request so that the policies can be asked in the same call."""

    def introspect(self, token: str, request: RequestDescription) -> IntrospectionAnswer:
        """Return what is known of the token; `active` is always a boolean.

        `request` has `method`, `path`, `parameters` (pairs), `interaction`, `resource_type`, `resource_id`.
        Raises IntrospectionUnavailable when there is no clear answer.
        """


class DirectIntrospection:
    """Calls a function of the same process."""

    def __init__(self, introspect: Callable[[str, RequestDescription], object]) -> None:
        self._introspect = introspect

    def introspect(self, token: str, request: RequestDescription) -> IntrospectionAnswer:
        """See Introspection."""
        try:
            answer = self._introspect(token, request)
        except Exception as error:  # whatever fails behind the port, the answer is no
            raise IntrospectionUnavailable(detail=type(error).__name__) from error
        return _checked(answer)


class HttpIntrospection:
    """Posts to an introspection endpoint, with kept-alive connections; `timeout` is in seconds."""

    def __init__(self, url: str, client_id: str, secret: str, *, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._session = requests.Session()
        # No proxies and no .netrc of the environment: the token goes to this address and no other.
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers.update({"Accept": "application/json", "Authorization": _basic(client_id, secret)})
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))

    def introspect(self, token: str, request: RequestDescription) -> IntrospectionAnswer:
        """See Introspection."""
        form = {"token": token, "request": json.dumps(request, separators=(",", ":"))}
        try:
            return self._ask(form)
        except requests.RequestException as error:
            raise IntrospectionUnavailable(detail=type(error).__name__) from error

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _ask(self, form: Mapping[str, str]) -> IntrospectionAnswer:
        try:
            return self._post(form)
        except requests.Timeout:
            raise
        except requests.ConnectionError:
            # The server may have closed the kept-alive connection; asking twice does no harm.
            return self._post(form)

    def _post(self, form: Mapping[str, str]) -> IntrospectionAnswer:
        with self._session.post(
            self._url, data=form, timeout=self._timeout, allow_redirects=False, stream=True
        ) as response:
            return _checked(_json(response))


def _json(response: requests.Response) -> object:
    if response.status_code != 200:
        raise IntrospectionUnavailable(detail=f"status {response.status_code}")
    content = b""
    for chunk in response.iter_content(_MAX_ANSWER_BYTES):
        content += chunk
        if len(content) > _MAX_ANSWER_BYTES:
            raise IntrospectionUnavailable(detail="the answer is too large")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise IntrospectionUnavailable(detail="the answer is no JSON") from error


def _checked(answer: object) -> IntrospectionAnswer:
    if not isinstance(answer, Mapping) or not isinstance(answer.get("active"), bool):
        raise IntrospectionUnavailable(detail="the answer has no boolean active")
    return answer


def _basic(client_id: str, secret: str) -> str:
    """Return Basic credentials, form-encoded first (RFC 6749 section 2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
