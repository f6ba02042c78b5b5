"""Do what a process has to do now and then beside its requests: one daemon thread, each task once in every beat.

An error is logged, at most once a minute for a task, and the next beat tries again; a request never waits for it.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Self

import structlog

from authserver import clock

Task = Callable[[int], object]
"""Gets the moment, in epoch seconds."""

_LOG_EVERY_SECONDS = 60


class Heartbeat:
    """Calls the tasks every `interval` seconds until it is stopped; use it as a context, or start() and stop()."""

    def __init__(self, tasks: Mapping[str, Task], *, interval: float = 1.0, now: Callable[[], int] = clock.now) -> None:
        self._tasks, self._interval, self._now = tasks, interval, now
        self._logged: dict[str, int] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._log = structlog.get_logger("authserver.heartbeat")

    def start(self) -> None:
        """Begin; the first beat comes after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for a beat that is under way."""
        self._stopping.set()
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def beat(self) -> None:
        """Do every task once."""
        now = self._now()
        for name, task in self._tasks.items():
            try:
                task(now)
            except Exception as error:  # noqa: BLE001 -- a thread that dies here would end all tasks of the process
                self._failed(name, error, now)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self.beat()

    def _failed(self, name: str, error: Exception, now: int) -> None:
        if now - self._logged.get(name, 0) < _LOG_EVERY_SECONDS:
            return
        self._logged[name] = now
        self._log.error("task_failed", task=name, error=type(error).__name__, detail=str(error)[:200])
