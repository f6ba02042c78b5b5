"""Notice that the machine stopped this process for a while: what was measured then says nothing, and is done again."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

STOPPED_SECONDS = 2.0
"""A thread that waits for a tenth of a second and gets on so much later was stopped."""

ATTEMPTS = 4
"""How often something is done at most."""


Made = TypeVar("Made")


class Watch:
    """A thread that looks at the clock; `stopped` says whether this process was stopped since the context began."""

    def __init__(self) -> None:
        self.stopped = False
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Look no more."""
        self._ends.set()
        self._thread.join()

    def _look(self) -> None:
        looked = time.monotonic()
        while not self._ends.wait(0.1):
            self.stopped |= time.monotonic() - looked > STOPPED_SECONDS
            looked = time.monotonic()


def undisturbed(make: Callable[[], Made]) -> Made:
    """Return what is made, done again when this process was stopped meanwhile, whether that led to an error or not."""
    for _ in range(ATTEMPTS - 1):
        with Watch() as watch:
            try:
                made = make()
            except Exception:
                if not watch.stopped:
                    raise
                continue
        if not watch.stopped:
            return made
    return make()
