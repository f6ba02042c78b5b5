"""How log lines leave the process: one JSON object a line, or readable text, always on stderr.

A line that cannot be written is lost, and the request that it tells of goes on: a full disk, a closed pipe, or one
that nobody reads, behind stderr is no reason to refuse a client. What must not be lost is audit, not a log.
"""

import fcntl
import os
import socket
import stat
import sys
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from functools import partial
from typing import Any, Literal

import orjson
import structlog
from structlog.contextvars import merge_contextvars
from structlog.processors import format_exc_info

PIPE_BYTES = 1 << 20
"""What a pipe behind stderr should hold, for a reader that is slow for a moment."""


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
    lines = Lines(sys.stderr.fileno())
    structlog.configure(processors=processors, logger_factory=lambda *_: lines, cache_logger_on_first_use=True)


class Lines:
    """A logger that writes each line by one call, so that the lines of several processes do not mix."""

    def __init__(self, descriptor: int) -> None:
        self._write, self.close = _never_waiting(descriptor)

    def msg(self, line: bytes) -> None:
        """Write the line, or lose it."""
        try:
            self._write(line)
        except OSError:
            return

    debug = info = warning = error = critical = exception = msg


def _never_waiting(descriptor: int) -> tuple[Callable[[bytes], int], Callable[[], None]]:
    """Return a write that fails where it would have to wait for a reader, since a pipe that nobody reads fills up; and
    what closes again whatever was opened for it.

    A pipe is opened anew: O_NONBLOCK on the descriptor itself would be set for every process that shares it.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        sending = socket.socket(fileno=os.dup(descriptor))
        return partial(_send, sending), sending.close
    if stat.S_ISFIFO(mode):
        with suppress(OSError):  # where there is no /proc
            opened = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with suppress(OSError, AttributeError):  # more than this user may have; not on Linux
                fcntl.fcntl(opened, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            return partial(os.write, opened), partial(os.close, opened)
    return partial(os.write, descriptor), lambda: None


def _send(to: socket.socket, line: bytes) -> int:
    return to.send(line, socket.MSG_DONTWAIT)


def _stamp() -> structlog.processors.TimeStamper:
    return structlog.processors.TimeStamper(fmt="iso", utc=True)


def _json_line(_logger: object, level: str, entry: MutableMapping[str, Any]) -> bytes:
    entry["level"] = level
    return orjson.dumps(entry, default=repr, option=orjson.OPT_APPEND_NEWLINE)


def _text_line(_logger: object, _level: str, text: str) -> bytes:
    return f"{text}\n".encode("utf-8", "backslashreplace")
