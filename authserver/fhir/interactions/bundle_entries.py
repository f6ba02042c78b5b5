"""The entries of a batch or transaction, as requests: each method, path, headers and body. PURE.

Source: http://hl7.org/fhir/R4/http.html#transaction.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from authserver.errors import AuthServerError, BadRequest, Issue, ResourceError
from authserver.fhir.interactions.bodies import JSON_TYPES

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_HEADERS = {
    "ifMatch": "If-Match",
    "ifNoneMatch": "If-None-Match",
    "ifNoneExist": "If-None-Exist",
    "ifModifiedSince": "If-Modified-Since",
}
_ORDER = {"DELETE": 0, "POST": 1, "PUT": 2, "PATCH": 2}
_LAST = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `target` is the path behind the base, `query` what follows `?`; `resource` None if there is none."""

    number: int
    full_url: str | None
    method: str
    target: str
    query: str
    headers: Mapping[str, str]
    resource: Any
    media_type: str

    @property
    def order(self) -> int:
        """When a transaction does it: DELETE, POST, PUT and PATCH, GET (http://hl7.org/fhir/R4/http.html#trules)."""
        return _ORDER.get(self.method, _LAST)


class EntryRefused(ResourceError):
    """A transaction's entry was refused, and with it the whole: the entry's error, and which entry it was."""

    def __init__(self, cause: AuthServerError, number: int) -> None:
        super().__init__(cause.public, detail=cause.detail, reason=cause.reason, headers=cause.headers)
        self.cause, self.number = cause, number
        # The status is a class's constant everywhere else; this error has its cause's.
        vars(self)["status"] = cause.status

    def issues(self) -> tuple[Issue, ...]:
        """Return the entry's findings, each below `Bundle.entry[i]`."""
        where = f"Bundle.entry[{self.number}]"
        return tuple(
            Issue(_below(where, issue.expression), issue.diagnostics, issue.code, issue.severity)
            for issue in self.cause.issues()
        )


@contextmanager
def in_entry(number: int) -> Iterator[None]:
    """Say of an error inside which entry it is about."""
    try:
        yield
    except EntryRefused:
        raise
    except AuthServerError as error:
        raise EntryRefused(error, number) from error


def bundle_type(body: Any) -> str:
    """Return `batch` or `transaction`. Raises BadRequest for anything else."""
    if not isinstance(body, dict) or body.get("resourceType") != "Bundle":
        raise BadRequest("The body must be a Bundle.", reason="bundle_malformed")
    if body.get("type") not in ("batch", "transaction"):
        raise BadRequest("The Bundle must be a batch or a transaction.", reason="bundle_malformed")
    return str(body["type"])


def raw_entries(body: Mapping[str, Any], *, limit: int) -> Sequence[Any]:
    """Return the entries as they are. Raises BadRequest when they are no list or too many (threat H08)."""
    listed = body.get("entry", [])
    if not isinstance(listed, list):
        raise BadRequest("Bundle.entry must be a list.", reason="bundle_malformed")
    if len(listed) > limit:
        raise BadRequest(f"The Bundle has more than {limit} entries.", reason="too_many_entries")
    return listed


def read_entry(raw: Any, number: int, *, base_url: str) -> Entry:
    """Return the entry. Raises BadRequest for one that is malformed, or leads outside our base."""
    request = raw.get("request") if isinstance(raw, dict) else None
    if not isinstance(request, dict) or request.get("method") not in _METHODS or not _is_text(request.get("url")):
        raise _malformed("An entry needs request.method and request.url.")
    if not all(_is_text(request[name]) for name in _HEADERS if name in request):
        raise _malformed("A condition of an entry is malformed.")
    full_url = raw.get("fullUrl")
    if full_url is not None and not _is_text(full_url):
        raise _malformed("The fullUrl of an entry is malformed.")
    target, query = _target(request["url"], base_url)
    headers = {header: request[name] for name, header in _HEADERS.items() if name in request}
    resource, media_type = raw.get("resource"), JSON_TYPES[0]
    if request["method"] == "PATCH":
        resource, media_type = _patch(resource)
    return Entry(number, full_url, request["method"], target, query, headers, resource, media_type)


def _target(url: str, base_url: str) -> tuple[str, str]:
    """Return the path behind our base, and the query. Raises BadRequest for another base, or none (threat H08)."""
    if url == base_url or "#" in url:
        raise _malformed("The url of an entry leads to no resource.")
    path, _, query = url.removeprefix(f"{base_url}/").partition("?")
    if ":" in path or path.startswith("/") or path == "":
        raise _malformed("The url of an entry must be below this server's base.")
    return path, query


def _patch(resource: Any) -> tuple[Any, str]:
    """Return the patch inside a Binary (http://hl7.org/fhir/R4/http.html#patch), as bytes, and its type."""
    binary = resource if isinstance(resource, dict) else {}
    kind, data = binary.get("contentType"), binary.get("data")
    if binary.get("resourceType") != "Binary" or not isinstance(kind, str) or not isinstance(data, str):
        raise _malformed("A PATCH of an entry needs a Binary with the patch.")
    try:
        return base64.b64decode(data, validate=True), kind
    except (binascii.Error, ValueError) as error:
        raise _malformed("A PATCH of an entry needs a Binary with the patch.") from error


def _below(where: str, expression: str) -> str:
    if not expression or expression.startswith(("http.", "[")):
        return where
    return f"{where}.resource.{expression.partition('.')[2]}".rstrip(".")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _malformed(sentence: str) -> BadRequest:
    return BadRequest(sentence, reason="entry_malformed")
