"""Decisions as structured log lines, each with the request id of the answer that it belongs to."""

import structlog


class LogAuditLog:
    """AuditLog port over structlog; the request id comes from the context that the web layer binds."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("authserver.audit")

    def record(self, event: str, **facts: object) -> None:
        """Write one line. Callers pass identifiers and reasons, never a secret, an assertion or a token."""
        self._log.info(event, **facts)


def carried_request_id() -> str | None:
    """Return the id of the request that this thread serves now; None outside of requests."""
    carried: str | None = structlog.contextvars.get_contextvars().get("request_id")
    return carried
