"""The discovery documents and our public keys. Nothing here needs a caller."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response

from authserver.protocol import render
from authserver.protocol.key_life import JWKS_MAX_AGE
from authserver.protocol.render import Answer
from authserver.services.ports import Signer
from authserver.web.errors import respond

METADATA_MAX_AGE = 300
"""Seconds that a discovery document may be kept."""


def well_known_blueprint(
    signer: Signer,
    *,
    smart_configuration: Mapping[str, Any],
    authorization_server: Mapping[str, Any],
    jwks_max_age: int = JWKS_MAX_AGE,
) -> Blueprint:
    """Return the paths below /.well-known; verifiers may keep our key set for `jwks_max_age` seconds."""
    blueprint = Blueprint("well_known", __name__, url_prefix="/.well-known")

    @blueprint.get("/smart-configuration")
    def smart() -> Response:
        return respond(_cacheable(smart_configuration))

    @blueprint.get("/oauth-authorization-server")
    @blueprint.get("/openid-configuration")
    def oauth() -> Response:
        return respond(_cacheable(authorization_server))

    @blueprint.get("/jwks.json")
    def jwks() -> Response:
        return respond(_cacheable(signer.public_jwks(), max_age=jwks_max_age))

    return blueprint


def _cacheable(document: Mapping[str, Any], *, max_age: int = METADATA_MAX_AGE) -> Answer:
    headers = {"Content-Type": render.JSON, "Cache-Control": f"public, max-age={max_age}"}
    return Answer(200, headers, render.encode(document))
