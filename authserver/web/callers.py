"""Who is calling: read the credentials of a request and let the authorization service prove them."""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from urllib.parse import unquote_plus

from authserver.errors import BadRequest, LoginRequired
from authserver.protocol import api_key, token_request
from authserver.services.authorization import Authorization, Caller
from authserver.web.incoming import Incoming
from authserver.web.limited import counted


def authorization_header(request: Incoming) -> tuple[str, str] | None:
    """Return the scheme in lower case and the credentials; None without the header.

    Raises BadRequest when it was sent more than once (threat F09): which one would count?
    """
    value = request.header("authorization")
    if value is None:
        return None
    if "," in value:
        raise BadRequest("There must be one Authorization header.", reason="several_credentials")
    scheme, _, credentials = value.partition(" ")
    return scheme.lower(), credentials.strip()


def presented_token(request: Incoming) -> str | None:
    """Return the access token or API key that was sent as Bearer or in `x-api-key`; None when neither was.

    Raises BadRequest when there are several (threat F09).
    """
    header, key = authorization_header(request), request.header("x-api-key")
    if key is None:
        return header[1] if header is not None and header[0] == "bearer" else None
    if header is not None or "," in key:
        raise BadRequest("There must be one kind of credentials.", reason="several_credentials")
    # An access token in this header is no credential: it becomes what is refused as a key of no shape.
    return key if api_key.is_meant(key) else api_key.PREFIX


def caller_of(
    request: Incoming, authorization: Authorization, *, now: int, form: Mapping[str, str] | None = None
) -> Caller:
    """Return the proven caller, and count its request; see proven_caller()."""
    caller = proven_caller(request, authorization, now=now, form=form)
    authorization.limits.served(caller.client.id)
    return caller


def proven_caller(
    request: Incoming, authorization: Authorization, *, now: int, form: Mapping[str, str] | None = None
) -> Caller:
    """Return the proven caller, whose request is still to be counted.

    Raises LoginRequired, BadRequest, InvalidClient for an assertion in the form, or TooManyRequests.
    """
    limits = authorization.limits
    caller = counted(lambda: _caller(request, authorization, form, now=now), limits, source=request.source)
    limits.admit(caller.client.id)
    return caller


def _caller(request: Incoming, authorization: Authorization, form: Mapping[str, str] | None, *, now: int) -> Caller:
    if "access_token" in request.query_names():
        raise BadRequest("An access token belongs in the Authorization header.", reason="token_in_query")
    header = authorization_header(request)
    if request.header("x-api-key") is not None:
        return _by_api_key(request, authorization, form or {}, now=now)
    if header is None:
        if form and "client_assertion" in form:
            assertion = token_request.client_assertion(form, source=request.source)
            return authorization.by_assertion(assertion, now=now)
        raise LoginRequired(detail="no credentials")
    if form and ("client_assertion" in form or "client_secret" in form):
        raise BadRequest("There must be one kind of credentials.", reason="several_credentials")
    scheme, credentials = header
    if scheme == "bearer":
        return authorization.by_token(credentials, now=now)
    if scheme == "basic":
        return _by_basic(authorization, credentials)
    raise LoginRequired(detail=f"unknown scheme {scheme[:20]!r}")


def _by_api_key(request: Incoming, authorization: Authorization, form: Mapping[str, str], *, now: int) -> Caller:
    if "client_assertion" in form or "client_secret" in form:
        raise BadRequest("There must be one kind of credentials.", reason="several_credentials")
    return authorization.by_token(presented_token(request) or "", now=now)


def _by_basic(authorization: Authorization, credentials: str) -> Caller:
    client_id, secret = _basic_pair(credentials)
    # RFC 6749 section 2.3.1: both parts are form-encoded first. curl and others send them as they are.
    decoded = unquote_plus(client_id), unquote_plus(secret)
    try:
        return authorization.by_secret(*decoded)
    except LoginRequired:
        if decoded == (client_id, secret):
            raise
        return authorization.by_secret(client_id, secret)


def _basic_pair(credentials: str) -> tuple[str, str]:
    try:
        text = b64decode(credentials, validate=True).decode("utf-8")
    except (binascii.Error, ValueError) as error:
        raise LoginRequired(detail="Basic credentials are not base64", reason="basic_malformed") from error
    client_id, colon, secret = text.partition(":")
    if not colon:
        raise LoginRequired(detail="Basic credentials have no colon", reason="basic_malformed")
    return client_id, secret
