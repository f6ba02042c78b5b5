"""`$tokens` and `$revoke-token`: which access tokens of a client are alive, and the end of one of them (row X5)."""

from typing import Any

from flask import Blueprint, Response, request

from authserver import clock
from authserver.errors import BadRequest
from authserver.protocol import render
from authserver.services.authorization import Authorization
from authserver.services.live_tokens import DEFAULT_COUNT, MAX_COUNT, LiveTokens
from authserver.services.ports import CLIENT
from authserver.services.registration import Registration
from authserver.web.errors import respond
from authserver.web.resource_requests import Door, json_body

_PARAMETERS = {"_count", "_cursor"}
_MAX_DIGITS = 18


def live_tokens_blueprint(
    live_tokens: LiveTokens, registration: Registration, authorization: Authorization, *, issuer: str
) -> Blueprint:
    """Return the two paths; looking needs the letter r, ending a token the letter u."""
    blueprint, door = Blueprint("live_tokens", __name__), Door(authorization)

    @blueprint.get(f"/{CLIENT}/<resource_id>/$tokens")
    def tokens(resource_id: str) -> Response:
        caller = door.require(CLIENT, resource_id, interaction="client-tokens", letter="r").client
        count, after = _asked()
        found = live_tokens.of_client(
            registration.seen_by(caller), resource_id, caller=caller, count=count, after=after, now=clock.now()
        )
        if found["next"] is not None:
            path = f"{issuer}/{CLIENT}/{resource_id}/$tokens"
            found["next"] = f"{path}?_count={count}&_cursor={found['next']}"
        return respond(render.json_answer(found))

    @blueprint.post(f"/{CLIENT}/<resource_id>/$revoke-token")
    def revoke_token(resource_id: str) -> Response:
        caller = door.require(CLIENT, resource_id, interaction="client-revoke-token", letter="u").client
        jti, seen = _named(json_body(CLIENT)), registration.seen_by(caller)
        ended = live_tokens.revoke(seen, resource_id, jti, caller=caller, now=clock.now())
        told = "The token is revoked." if ended else "The token was not active any more."
        return respond(render.informed(told))

    return blueprint


def _asked() -> tuple[int, int | None]:
    """Return how many tokens are asked for, and behind which record; raises BadRequest."""
    given = request.args.to_dict(flat=False)
    if not given.keys() <= _PARAMETERS or any(len(values) > 1 for values in given.values()):
        raise BadRequest("The parameters are _count and _cursor, each at most once.")
    count, after = _number("_count"), _number("_cursor")
    return DEFAULT_COUNT if count is None else min(max(count, 1), MAX_COUNT), after


def _number(name: str) -> int | None:
    value = request.args.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal() and len(value) <= _MAX_DIGITS):
        raise BadRequest(f"The parameter {name} must be a number.")
    return int(value)


def _named(body: dict[str, Any]) -> str:
    jti = body.get("jti")
    if not isinstance(jti, str) or body.keys() != {"jti"}:
        raise BadRequest('The body names one token, for example {"jti": "1.abc"}.')
    return jti
