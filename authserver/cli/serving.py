"""Run the server processes: granian in this process, its workers as children, and a clean end at a signal."""

import errno
import http.client
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from authserver.cli import wsgi
from authserver.cli.configuration import Role
from authserver.cli.failures import Failure
from authserver.cli.rsgi import Front
from authserver.settings import PREFIX, Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

CONNECTIONS = 4_096
"""Connections that a worker serves at a time, most of them idle or sending; further ones wait to be accepted."""

THREADS = 6
"""Threads of a worker that answer requests; one core is busy with two, the others wait for databases and key sets."""

HEADER_SECONDS = 10
MAX_HEADER_BYTES = 65_536
STOP_SECONDS = 10
"""How long a worker may finish its requests before it is killed."""

_READY_SECONDS = 30
_PARENT_CHECK_SECONDS = 0.5
_LOG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "server: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stderr"}},
    "loggers": {"_granian": {"handlers": ["stderr"], "propagate": False}},
}


def exit_at_signals(code: int) -> None:
    """End in order at SIGTERM and SIGINT, with this exit code, so that what was started is stopped."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(code))


def require_free_port(settings: Settings) -> None:
    """Raise Failure when somebody listens there already, or when nobody may.

    granian's own sockets share a port (SO_REUSEPORT), so a second server would take half of the requests.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
            probe.listen()
        except OSError as error:
            raise Failure(_bind_problem(settings, error)) from error


def _bind_problem(settings: Settings, error: OSError) -> str:
    address = f"{settings.host}:{settings.port}"
    if error.errno == errno.EADDRINUSE:
        return f"{address} is in use: stop what listens there, or choose another with --port or AUTHSERVER_PORT."
    return f"{address} cannot be listened on: {error.strerror or error}."


def pass_on(overrides: dict[str, Any]) -> None:
    """Hand the command line's options to the workers, which read their settings from the environment."""
    given = {name: value for name, value in overrides.items() if value is not None}
    os.environ.update({f"{PREFIX}{name.upper()}": str(value) for name, value in given.items()})


def run(settings: Settings, role: Role, *, ready: Callable[[], None]) -> None:
    """Serve until a signal; call `ready` once when the first answer came. Raises SystemExit when workers fail."""
    server = Server(
        f"authserver.cli.wsgi:{role}",
        settings.host,
        settings.port,
        interface=Interfaces.RSGI,
        workers=settings.workers,
        backlog=CONNECTIONS,
        backpressure=CONNECTIONS,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000, max_buffer_size=MAX_HEADER_BYTES),
        websockets=False,
        log_level=LogLevels.warning,
        log_dictconfig=_LOG,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
    )
    waiting = threading.Thread(target=_when_ready, args=(settings, ready), name="ready", daemon=True)
    server.on_startup(waiting.start)
    # A loader of our own: granian's would put the current folder first on the workers' import path.
    server.serve(target_loader=partial(_application, role), wrap_loader=False)


def _application(role: Role) -> Front:
    """Build the application; runs in a worker, before granian sets the worker's own signal handlers.

    Until then a forked worker has its parent's, which would only note the signal in the worker's own memory.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent as well, which ends its workers
    threading.Thread(target=_end_with, args=(os.getppid(),), name="parent-watch", daemon=True).start()
    application: WSGIApplication = {"both": wsgi.both, "auth": wsgi.auth, "fhir": wsgi.fhir}[role]()
    return Front(application, threads=min(THREADS, 2 * (os.cpu_count() or 2) + 1))


def _end_with(parent: int) -> None:
    """End this worker when its parent is gone: an orphan would keep the port, and answer beside the next server."""
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _when_ready(settings: Settings, ready: Callable[[], None]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.05)
        if answers(settings.host, settings.port):
            ready()
            return


def answers(host: str, port: int) -> bool:
    """Say whether GET /healthz is answered with 200 there."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 -- compared, not bound
    connection = http.client.HTTPConnection(reachable, port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
