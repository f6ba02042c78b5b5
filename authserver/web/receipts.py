"""Note the refusals of an application: after the answer is made, beside its log line, under the same request id."""

from flask import Flask, Response, g, request

from authserver import clock
from authserver.services.receipts import Receipts


def install(app: Flask, receipts: Receipts) -> None:
    """Let each refusal of the application leave its receipt."""

    @app.after_request
    def note(response: Response) -> Response:
        refusal = g.pop("refusal", None)
        if refusal is not None:
            receipts.note(refusal, request_id=g.request_id, path=request.path, now=clock.now())
        return response
