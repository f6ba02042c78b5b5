"""How log lines leave the process: one JSON object a line, or readable text, always on stderr."""

import sys
from typing import Any, Literal

import orjson
import structlog


def configure(log_format: Literal["json", "console"]) -> None:
    """Set the form of every log line of this process; a request's id comes from the context."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format == "json":
        structlog.configure(
            processors=[
                *shared,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(serializer=_json),
            ],
            logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
            cache_logger_on_first_use=True,
        )
    else:
        structlog.configure(
            processors=[*shared, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())],
            logger_factory=structlog.WriteLoggerFactory(sys.stderr),
            cache_logger_on_first_use=True,
        )


def _json(event: Any, **_: Any) -> bytes:
    return orjson.dumps(event, default=repr)
