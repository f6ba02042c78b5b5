"""Worker processes over listening sockets that their parent holds: started, watched, replaced one after the other.

The parent imports everything, then forks, so that workers share the memory of the program. A socket outlives each of
its workers: what has connected and is not accepted yet waits for the next one.
"""

import gc
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from authserver.cli import service_manager

READY_SECONDS = 30.0
"""How long a worker may take until it serves."""

STOP_SECONDS = 10.0
"""How long a worker may finish its requests before it is killed."""

_LOOK_SECONDS = 1.0
_DRAIN_LOOK_SECONDS = 0.1
_PARENT_CHECK_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 5.0
_WATCHED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}

_log = structlog.get_logger("authserver.server")

Work = Callable[[socket.socket, Callable[[], None]], None]
"""What a worker does: serves the socket until SIGTERM, after it called its second argument once it was ready."""


Notify = Callable[[str], None]
"""Tells the service manager (sd_notify(3)) what the server is about."""


class WorkerFailed(Exception):
    """A worker ended before it was ready, at the start of the server."""


@dataclass(slots=True)
class _Worker:
    """A child: its socket, the end of a pipe that tells when it is ready, and how often it died before it was."""

    pid: int
    listener: socket.socket
    ready: int
    started: float
    deaths: int = 0

    def close(self) -> None:
        """Close the pipe, once."""
        if self.ready >= 0:
            os.close(self.ready)
        self.ready = -1


class Supervisor:
    """Keeps one worker for each socket, until SIGTERM or SIGINT. SIGHUP replaces all of them, one after the other.

    After SIGTERM the workers are told by SIGUSR1 that they are not to be sent requests any more, and serve on for
    `drain_seconds`; SIGINT, or a second SIGTERM, ends them at once.
    """

    def __init__(
        self,
        work: Work,
        listeners: Sequence[socket.socket],
        *,
        drain_seconds: float = 0.0,
        notify: Notify = service_manager.notify,
    ) -> None:
        self._work, self._listeners = work, listeners
        self._drain_seconds, self._notify = drain_seconds, notify
        self._workers: list[_Worker] = []
        self._gone: dict[int, int] = {}
        self._ends = self._hurries = self._renews = False

    def run(self, *, ready: Callable[[], None]) -> None:
        """Serve until a signal; call `ready` once when every worker serves. Raises WorkerFailed when one cannot."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        # A collection in a worker would write to, and so copy, the pages that all of them share. None is done here
        # first: it takes a tenth of a second to find the half MiB that imports leave behind.
        gc.freeze()
        gc.enable()
        try:
            self._workers = [self._started(listener) for listener in self._listeners]
            for worker in self._workers:
                if not self._comes_up(worker) and not self._ends:
                    raise WorkerFailed
            if not self._ends:
                ready()
                self._notify(service_manager.READY)
            while not self._ends:
                self._wait(_LOOK_SECONDS)
                self._respawn()
                if self._renews:
                    self._renew()
        finally:
            self._drain()
            self._stop(self._workers)

    def _started(self, listener: socket.socket, *, deaths: int = 0) -> _Worker:
        reading, writing = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            self._child(listener, writing, parent=parent)
        os.close(writing)
        return _Worker(pid, listener, reading, time.monotonic(), deaths)

    def _child(self, listener: socket.socket, writing: int, *, parent: int) -> None:
        """Work, and end the process whatever happens."""
        code = 1
        try:
            for worker in self._workers:
                worker.close()
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until the work listens to it
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent as well, which ends its workers
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
            threading.Thread(target=end_with, args=(parent,), name="parent-watch", daemon=True).start()
            self._work(listener, lambda: _tell(writing))
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException as error:  # noqa: BLE001 -- nothing may leave a child by any other way
            _log.error("worker_failed", exc_info=error)
        finally:
            os._exit(code)

    def _comes_up(self, worker: _Worker) -> bool:
        """Wait until the worker is ready; say whether it is."""
        deadline = time.monotonic() + READY_SECONDS
        while not self._ends and time.monotonic() < deadline:
            if select.select([worker.ready], [], [], 0.02)[0]:
                told = os.read(worker.ready, 1) == b"1"
                if told:
                    worker.deaths = 0
                return told
            self._wait(0)
        return False

    def _wait(self, seconds: float) -> None:
        """Take in what signals came, waiting at most so long for the first."""
        number = signal.sigtimedwait(_WATCHED, seconds)
        while number is not None:
            if number.si_signo in (signal.SIGTERM, signal.SIGINT):
                self._hurries = self._ends or number.si_signo == signal.SIGINT
                self._ends = True
            elif number.si_signo == signal.SIGHUP:
                self._renews = True
            number = signal.sigtimedwait(_WATCHED, 0)
        self._reap()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._gone[pid] = os.waitstatus_to_exitcode(status)

    def _respawn(self) -> None:
        """Start a worker in the place of each that died; one that dies at once gets longer and longer pauses."""
        for place, worker in enumerate(self._workers):
            code = self._gone.pop(worker.pid, None)
            if code is None or self._ends:
                continue
            lived = time.monotonic() - worker.started
            deaths = worker.deaths + 1 if lived < _LONGEST_PAUSE_SECONDS else 0
            _log.error("worker_died", pid=worker.pid, code=code)
            worker.close()
            pause = min(_LONGEST_PAUSE_SECONDS, 0.05 * 2**deaths) if deaths > 1 else 0.0
            self._wait(pause)
            if not self._ends:
                self._workers[place] = self._started(worker.listener, deaths=deaths)

    def _renew(self) -> None:
        """Replace each worker by a new one that serves already; where one cannot serve, the old ones go on."""
        self._renews = False
        self._notify(service_manager.reloading())
        self._replace_all()
        self._notify(service_manager.READY)

    def _replace_all(self) -> None:
        for place, old in enumerate(self._workers):
            new = self._started(old.listener)
            if not self._comes_up(new):
                if not self._ends:
                    _log.error("worker_not_replaced", pid=old.pid)
                self._stop([new])
                return
            self._workers[place] = new
            self._stop([old])
        _log.info("workers_replaced", count=len(self._workers))

    def _drain(self) -> None:
        """Let the workers answer that they are not ready, and serve until whoever sends requests here has noticed."""
        self._notify(service_manager.STOPPING)
        for worker in self._workers:
            _send(worker.pid, signal.SIGUSR1, gone=self._gone)
        deadline = time.monotonic() + self._drain_seconds
        while self._ends and not self._hurries and time.monotonic() < deadline:
            self._wait(_DRAIN_LOOK_SECONDS)

    def _stop(self, workers: Sequence[_Worker]) -> None:
        """End the workers: they finish what they are at, and are killed when that takes too long."""
        for worker in workers:
            _send(worker.pid, signal.SIGTERM, gone=self._gone)
        deadline = time.monotonic() + STOP_SECONDS
        alive = [worker for worker in workers if worker.pid not in self._gone]
        while alive and time.monotonic() < deadline:
            self._wait(0.05)
            alive = [worker for worker in alive if worker.pid not in self._gone]
        for worker in alive:
            _log.error("worker_killed", pid=worker.pid)
            _send(worker.pid, signal.SIGKILL, gone=self._gone)
            os.waitpid(worker.pid, 0)
        for worker in workers:
            self._gone.pop(worker.pid, None)
            worker.close()


def _send(pid: int, number: signal.Signals, *, gone: dict[int, int]) -> None:
    if pid not in gone:
        os.kill(pid, number)


def _tell(writing: int) -> None:
    os.write(writing, b"1")
    os.close(writing)


def end_with(parent: int, *, stop_seconds: float = STOP_SECONDS) -> None:
    """End this worker when its parent is gone: an orphan would keep the port, and answer beside the next server.

    Nobody is left to kill it when it does not end by itself in `stop_seconds`, so it does that too.
    """
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(stop_seconds)
    os.kill(os.getpid(), signal.SIGKILL)
