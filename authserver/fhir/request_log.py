"""Where the FHIR layer tells of its requests: one JSON line each, without a token and without a patient's data.

What is logged is the interaction and the type, never the path's id and never a parameter's value (threat H17).
"""

import sys
from typing import Protocol

import structlog


class RequestLog(Protocol):
    """Takes one event with its facts. Never gets a token, an id of a resource or a parameter's value."""

    def record(self, event: str, **facts: object) -> None:
        """Record the event."""


class JsonLinesLog:
    """Writes JSON lines to standard error."""

    def __init__(self) -> None:
        self._logger = structlog.wrap_logger(
            structlog.PrintLogger(sys.stderr),
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(),
            ],
        )

    def record(self, event: str, **facts: object) -> None:
        """See RequestLog."""
        self._logger.info(event, **facts)
