"""Work in a process of its own, which takes with it what it loaded and what it allocated."""

import os
from collections.abc import Callable

import structlog

from authserver.cli.failures import Failure, explained

_log = structlog.get_logger("authserver.server")


def apart(work: Callable[[], None]) -> None:
    """Do the work in a child of this process and wait for its end; no other thread may run here yet.

    Raises Failure with the child's own words (see explained), or without any when the log has them.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _child(work, writing)
    os.close(writing)
    with open(reading, "rb") as told:
        words = told.read().decode("utf-8", "replace")
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise Failure(words or "The server could not start; its log says why.")


def _child(work: Callable[[], None], writing: int) -> None:
    """Work, tell of a failure, and end the process whatever happens."""
    code = 1
    try:
        with explained():
            work()
        code = 0
    except Failure as failure:
        os.write(writing, failure.message.encode("utf-8", "backslashreplace"))
    except BaseException as error:  # noqa: BLE001 -- nothing may leave a child by any other way
        _log.error("start_failed", exc_info=error)
    finally:
        os._exit(code)
