"""What every answer has, and how the unforeseen is told."""

import pytest
from flask import Flask

from authserver.errors import StorageUnavailable
from authserver.web import errors
from authserver.web.health import health_blueprint
from tests.http import Server


@pytest.mark.parametrize("path", ["/healthz", "/nothing", "/auth/nothing", "/.well-known/jwks.json", "/Client"])
def test_every_answer_has_the_headers(server: Server, path: str) -> None:
    """X27, X48: a request id of its own, nosniff, no referrer, HSTS under https."""
    first, second = server.request("GET", path), server.request("GET", path)

    assert first.headers["X-Request-Id"] != second.headers["X-Request-Id"]
    assert first.headers["X-Content-Type-Options"] == "nosniff"
    assert first.headers["Referrer-Policy"] == "no-referrer"
    assert first.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_an_unknown_path_is_told_in_the_format_of_its_neighbours(server: Server) -> None:
    """OAuth JSON below /auth, OperationOutcome elsewhere."""
    oauth, resource = server.request("GET", "/auth/nothing"), server.request("GET", "/nothing")

    assert (oauth.status_code, sorted(oauth.json)) == (404, ["error", "error_description"])
    assert (resource.status_code, resource.json["issue"][0]["code"]) == (404, "not-found")


def failing_app(error: Exception) -> Flask:
    """Return an application whose only work fails."""
    app = Flask("failing", static_folder=None)
    errors.install(app, https=False)

    def fail() -> None:
        raise error

    app.register_blueprint(health_blueprint(fail))
    return app


def test_the_unforeseen_is_a_500_without_detail(capsys: pytest.CaptureFixture[str]) -> None:
    """The trace is in the log under the request id, and not in the answer."""
    response = failing_app(RuntimeError("password=hunter2")).test_client().get("/readyz")

    log = capsys.readouterr()
    assert response.status_code == 500
    assert response.json["issue"] == [
        {"severity": "fatal", "code": "exception", "diagnostics": "The server could not answer."}
    ]
    assert response.headers["X-Request-Id"] in log.out + log.err
    assert "RuntimeError" in log.out + log.err


def test_a_dependency_that_is_down_is_a_503_that_names_nothing() -> None:
    """Readiness goes false, with Retry-After; liveness stays."""
    client = failing_app(StorageUnavailable(detail="connection to server at 10.1.2.3 refused")).test_client()

    ready, alive = client.get("/readyz"), client.get("/healthz")

    assert (ready.status_code, ready.headers["Retry-After"], alive.status_code) == (503, "1", 200)
    assert "10.1.2.3" not in ready.text
    assert "Strict-Transport-Security" not in ready.headers


def test_readiness_is_true_when_the_store_answers(server: Server) -> None:
    """The positive control."""
    assert server.request("GET", "/readyz").json == {"status": "ready"}
