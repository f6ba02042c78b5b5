"""Resolve host names within a deadline, at most so many at once.

The system's resolver cannot be interrupted, so each lookup has a thread of its own and the number is bounded.
"""

import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

Resolve = Callable[[str, int], Sequence[str]]


class LookupBusy(OSError):
    """Too many lookups are under way; a resolver that does not answer holds them."""


def system_resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host as text, by the system's resolver, in its order. Raises OSError."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class NameLookup:
    """Runs `resolve` in a thread and waits no longer than told; an abandoned thread ends by itself.

    `limit` counts the abandoned ones too, so a name server that never answers costs threads up to there.
    """

    def __init__(self, resolve: Resolve = system_resolve, *, limit: int = 64) -> None:
        self._resolve = resolve
        self._free = threading.BoundedSemaphore(limit)

    def addresses(self, host: str, port: int, *, timeout: float) -> Sequence[str]:
        """Return the addresses of the host as text, one lookup made; `timeout` is in seconds.

        Raises TimeoutError, LookupBusy, or what `resolve` raises.
        """
        if not self._free.acquire(blocking=False):
            raise LookupBusy("too many name lookups are under way")
        answer: Future[Sequence[str]] = Future()
        try:
            threading.Thread(target=self._run, args=(host, port, answer), daemon=True, name="name-lookup").start()
        except RuntimeError as error:  # no thread to be had
            self._free.release()
            raise LookupBusy(str(error)) from error
        try:
            return answer.result(timeout)
        except FutureTimeoutError:
            raise TimeoutError(f"no answer about {host} in time") from None

    def _run(self, host: str, port: int, answer: Future[Sequence[str]]) -> None:
        try:
            answer.set_result(self._resolve(host, port))
        except Exception as error:  # noqa: BLE001 -- carried to the waiting thread, which raises it
            answer.set_exception(error)
        finally:
            self._free.release()
