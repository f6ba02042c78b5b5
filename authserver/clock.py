"""The only reader of the wall clock. Everything that decides gets `now` as an argument."""

import time


def now() -> int:
    """Return the current time in whole seconds since the epoch, UTC."""
    return int(time.time())


def now_microseconds() -> int:
    """Return the current time in microseconds since the epoch, UTC; the precision of a resource's lastUpdated."""
    return time.time_ns() // 1000


def ticks() -> float:
    """Return seconds of a clock that only measures how long things take."""
    return time.perf_counter()
