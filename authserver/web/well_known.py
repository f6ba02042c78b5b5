"""The discovery documents and our public keys. Nothing here needs a caller."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response

from authserver.protocol import render
from authserver.protocol.render import Answer
from authserver.services.ports import Signer
from authserver.web.errors import respond

JWKS_MAX_AGE = 300
"""Seconds that a verifier may keep our key set."""


def well_known_blueprint(
    signer: Signer, *, smart_configuration: Mapping[str, Any], authorization_server: Mapping[str, Any]
) -> Blueprint:
    """Return the paths below /.well-known."""
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
        return respond(_cacheable(signer.public_jwks()))

    return blueprint


def _cacheable(document: Mapping[str, Any]) -> Answer:
    headers = {"Content-Type": render.JSON, "Cache-Control": f"public, max-age={JWKS_MAX_AGE}"}
    return Answer(200, headers, render.encode(document))
