"""HTTP requests as the interactions read them, and requests made from the entries of a Bundle."""

import io
from collections.abc import Mapping
from dataclasses import dataclass

from flask import Request

# What an entry's request has from the Bundle's: who asks. Everything else of it is the entry's own.
_CREDENTIALS = ("HTTP_AUTHORIZATION", "HTTP_X_API_KEY")


@dataclass(frozen=True, slots=True)
class HttpMessage:
    """A Message (see `interactions/task.py`) over a Flask request."""

    http: Request

    @property
    def media_type(self) -> str:
        """See Message."""
        return self.http.mimetype

    @property
    def body(self) -> bytes:
        """See Message."""
        return self.http.get_data()

    def header(self, name: str) -> str | None:
        """See Message."""
        return self.http.headers.get(name)

    def headers(self, name: str) -> list[str]:
        """See Message."""
        return self.http.headers.getlist(name)


def inner_request(
    outer: Request, method: str, *, path: str, query: str, headers: Mapping[str, str], body: bytes, media_type: str
) -> Request:
    """Return the request that an entry of a Bundle stands for; `path` is the whole decoded path."""
    environ = {name: value for name, value in outer.environ.items() if name.startswith(("wsgi.", "SERVER_"))}
    environ |= {name: outer.environ[name] for name in _CREDENTIALS if name in outer.environ}
    environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    environ |= {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": media_type,
    }
    return Request(environ)
