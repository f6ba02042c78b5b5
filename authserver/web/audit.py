"""Record the refusals of an application before they go out; one that cannot be recorded becomes a 503."""

from flask import Flask, Response, g, request

from authserver import clock
from authserver.errors import Unavailable
from authserver.services.audit_trail import AuditTrail
from authserver.web import errors, sources


def install(app: Flask, trail: AuditTrail) -> None:
    """Let each refusal of the application be recorded; installed last, so that all else sees what goes out."""

    @app.after_request
    def record(response: Response) -> Response:
        refusal = g.get("refusal")
        if refusal is None:
            return response
        try:
            trail.refused(refusal, path=request.path, now=clock.now(), source=sources.source(request))
        except Unavailable as error:
            g.refusal = error
            return errors.respond(errors.refusal(error, request.path))
        return response
