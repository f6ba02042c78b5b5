"""Read a form body: one media type, UTF-8, nothing in the query, bounded. What the fields mean is not known here."""

from functools import lru_cache
from urllib.parse import unquote_to_bytes

from werkzeug.http import parse_options_header

from authserver.errors import InvalidRequest
from authserver.protocol.token_request import OAUTH_PARAMETERS
from authserver.web.incoming import Incoming

FORM = "application/x-www-form-urlencoded"
MAX_FIELDS = 100


def form_pairs(request: Incoming) -> list[tuple[str, str]]:
    """Return the decoded pairs of the form in the order sent.

    Raises InvalidRequest (`media_type`, `query_parameter`, `form_malformed`); ContentTooLarge when the body is.
    """
    if not _is_form(request.header("content-type") or ""):
        raise InvalidRequest(f"The Content-Type must be {FORM}.", reason="media_type")
    if (request.header("content-encoding") or "identity") != "identity":
        raise InvalidRequest("The body must not be compressed.", reason="media_type")
    if request.query and OAUTH_PARAMETERS & request.query_names():
        # RFC 6749 section 2.3.1: credentials never travel in the request URI, where logs and proxies keep them.
        raise InvalidRequest("Parameters belong in the body, not in the query.", reason="query_parameter")
    try:
        text = request.read_body().decode("ascii")
        return _pairs(text)
    except ValueError as error:
        raise InvalidRequest(detail=str(error)[:200], reason="form_malformed") from error


def _pairs(text: str) -> list[tuple[str, str]]:
    """Return what urllib.parse.parse_qsl() does, but look for escapes only where there are some: an assertion has none.

    Raises ValueError for too many fields, and for escapes that are no UTF-8.
    """
    fields = text.split("&")
    if len(fields) > MAX_FIELDS:
        raise ValueError(f"{len(fields)} fields")
    parts = (field.partition("=") for field in fields if field)
    return [(_decoded(name), _known(value) if name in _SAME_EACH_TIME else _decoded(value)) for name, _, value in parts]


def _decoded(part: str) -> str:
    if "%" not in part and "+" not in part:
        return part
    return unquote_to_bytes(part.replace("+", " ")).decode("utf-8")


def _known(value: str) -> str:
    return _decoded(value) if len(value) > _SHORT else _remembered(value)


_SAME_EACH_TIME = frozenset({"client_assertion_type", "scope"})
"""What a client sends alike with each request. No secret may be among it: the values are remembered."""

_SHORT = 256
"""Characters of a value that is worth remembering."""

_remembered = lru_cache(maxsize=512)(_decoded)


def _is_form(content_type: str) -> bool:
    if content_type == FORM:
        return True
    media_type, parameters = parse_options_header(content_type)
    return media_type.lower() == FORM and parameters.get("charset", "utf-8").lower() == "utf-8"
