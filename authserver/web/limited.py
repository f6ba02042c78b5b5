"""Count the refusals of a piece of work, and say 429 for one too many (docs/limits.md)."""

from collections.abc import Callable
from typing import TypeVar

from authserver.errors import AuthServerError
from authserver.services.limits import Limits

T = TypeVar("T")


def counted(work: Callable[[], T], limits: Limits, *, source: str) -> T:
    """Return what the work returns; raises its AuthServerError, or TooManyRequests in place of one too many."""
    try:
        return work()
    except AuthServerError as error:
        told = limits.refusal(error, source=source)
        if told is error:
            raise
        raise told from error
