"""Read a form body: one media type, UTF-8, nothing in the query, bounded. What the fields mean is not known here."""

from urllib.parse import parse_qsl

from flask import Request

from authserver.errors import InvalidRequest
from authserver.protocol.token_request import OAUTH_PARAMETERS

FORM = "application/x-www-form-urlencoded"
MAX_FIELDS = 100


def form_pairs(request: Request) -> list[tuple[str, str]]:
    """Return the decoded pairs of the form in the order sent.

    Raises InvalidRequest (`media_type`, `query_parameter`, `form_malformed`); a body that is too large is refused
    by the application's limit before it is read.
    """
    if request.mimetype != FORM or request.mimetype_params.get("charset", "utf-8").lower() != "utf-8":
        raise InvalidRequest(f"The Content-Type must be {FORM}.", reason="media_type")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise InvalidRequest("The body must not be compressed.", reason="media_type")
    if OAUTH_PARAMETERS & request.args.keys():
        # RFC 6749 section 2.3.1: credentials never travel in the request URI, where logs and proxies keep them.
        raise InvalidRequest("Parameters belong in the body, not in the query.", reason="query_parameter")
    try:
        text = request.get_data(cache=False).decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise InvalidRequest(detail=str(error)[:200], reason="form_malformed") from error
