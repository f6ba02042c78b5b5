"""How log lines leave the process: one JSON object a line, or readable text, always on stderr.

A line that cannot be written is lost, and the request that it tells of goes on: a full disk or a closed pipe behind
stderr is no reason to refuse a client. What must not be lost is audit, not a log.
"""

import os
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import orjson
import structlog
from structlog.contextvars import merge_contextvars
from structlog.processors import format_exc_info


def configure(log_format: Literal["json", "console"]) -> None:
    """Set the form of every log line of this process; a request's id comes from the context."""
    if log_format == "json":
        processors: list[Any] = [merge_contextvars, _stamp(), format_exc_info, _json_line]
    else:
        processors = [
            merge_contextvars,
            structlog.processors.add_log_level,
            _stamp(),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
            _text_line,
        ]
    structlog.configure(
        processors=processors, logger_factory=lambda *_: Lines(sys.stderr.fileno()), cache_logger_on_first_use=True
    )


class Lines:
    """A logger that writes each line by one call, so that the lines of several processes do not mix."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def msg(self, line: bytes) -> None:
        """Write the line, or lose it."""
        try:
            os.write(self._descriptor, line)
        except OSError:
            return

    debug = info = warning = error = critical = exception = msg


def _stamp() -> structlog.processors.TimeStamper:
    return structlog.processors.TimeStamper(fmt="iso", utc=True)


def _json_line(_logger: object, level: str, entry: MutableMapping[str, Any]) -> bytes:
    entry["level"] = level
    return orjson.dumps(entry, default=repr, option=orjson.OPT_APPEND_NEWLINE)


def _text_line(_logger: object, _level: str, text: str) -> bytes:
    return f"{text}\n".encode("utf-8", "backslashreplace")
