"""Run the server: sockets here, uvicorn in worker processes, and a clean end at a signal."""

import asyncio
import errno
import gc
import http.client
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import uvicorn

from authserver.adapters.sql.one_server import hold_sqlite
from authserver.cli import first_start, wsgi
from authserver.cli.asgi import Front
from authserver.cli.configuration import Configuration, Role
from authserver.cli.failures import Failure
from authserver.cli.http_protocol import Direct, Protocol, sweep
from authserver.cli.supervisor import STOP_SECONDS, Supervisor, WorkerFailed
from authserver.errors import StorageUnavailable
from authserver.settings import PREFIX, Settings

CONNECTIONS = 4_096
"""Connections that a worker serves at a time, most of them idle or sending; further ones wait to be accepted."""

THREADS = 6
"""Threads of a worker that answer requests; one core is busy with two, the others wait for databases and key sets."""

OLD_ROUNDS = 1_000
"""How often the garbage collector looks at what is young before it looks at everything: ten thousand kept clients are
half a million objects, a tenth of a second, and none of them is garbage. Python's own number is 10."""

_FIRST_INHERITED = 3  # SD_LISTEN_FDS_START


def exit_at_signals(code: int) -> None:
    """End in order at SIGTERM and SIGINT, with this exit code, so that what was started is stopped."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(code))


def require_free_port(settings: Settings) -> None:
    """Raise Failure when somebody listens there already, or when nobody may.

    The sockets of several workers share a port (SO_REUSEPORT), so a second server would take half of the requests.
    """
    if is_inherited():
        return
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


@contextmanager
def alone(loaded: Configuration, role: Role) -> Iterator[None]:
    """Be the one server on each SQLite database that is used; raises Failure when another server has one.

    The parent holds them, so that workers can be replaced.
    """
    used = [] if role == "fhir" else [loaded.settings.database_url]
    used += [] if role == "auth" else [loaded.fhir.fhir_database_url]
    first_start.make_private(loaded.settings.instance_dir)
    with ExitStack() as held:
        for url in used:
            try:
                held.enter_context(hold_sqlite(url))
            except StorageUnavailable as error:
                raise Failure(f"{error.detail}.") from error
        yield


def run(settings: Settings, role: Role, *, ready: Callable[[], None]) -> None:
    """Serve until a signal; call `ready` once when all workers serve. Raises Failure when one cannot."""
    listeners = _for_each(_inherited(), settings.workers) or [_listener(settings) for _ in range(settings.workers)]
    counts = tempfile.TemporaryDirectory(prefix="authserver-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = counts.name
    _load_for_workers(settings, role)
    try:
        Supervisor(partial(_serve, role), listeners, drain_seconds=settings.drain_seconds).run(ready=ready)
    except WorkerFailed:
        raise Failure("The server could not start; its log says why.") from None
    finally:
        counts.cleanup()
        for listener in listeners:
            listener.close()


def _load_for_workers(settings: Settings, role: Role) -> None:
    """Load what workers need and nothing has loaded yet, so that they share its memory."""
    if role != "auth":
        import authserver.cli.fhir_part
    if settings.metrics != "off":
        import authserver.adapters.metrics
    if settings.workers > 1:
        import authserver.adapters.jwks_http  # noqa: F401 -- one worker alone loads it when it first fetches
    with suppress(ImportError):  # uvicorn's loop="auto" does without, too
        import uvloop  # noqa: F401


def _listener(settings: Settings) -> socket.socket:
    """Return a listening socket of one worker; the system shares new connections out among all of them."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if settings.workers > 1:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((settings.host, settings.port))
    listener.listen(CONNECTIONS)
    listener.setblocking(False)
    return listener


def _inherited() -> list[socket.socket]:
    """Return the listening sockets that a service manager hands over (sd_listen_fds(3)); they outlive this process."""
    if not is_inherited():
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    listeners = [socket.socket(fileno=_FIRST_INHERITED + place) for place in range(count)]
    for listener in listeners:
        listener.setblocking(False)
    return listeners


def _for_each(sockets: list[socket.socket], workers: int) -> list[socket.socket]:
    """Return a socket for each worker, and each socket at least once: workers may share one."""
    return [sockets[place % len(sockets)] for place in range(max(workers, len(sockets)))] if sockets else []


def is_inherited() -> bool:
    """Say whether a service manager hands over the sockets to listen on."""
    return os.environ.get("LISTEN_PID") == str(os.getpid()) and int(os.environ.get("LISTEN_FDS", "0")) > 0


def _serve(role: Role, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve the socket until SIGTERM; runs in a worker."""
    loaded = {"both": wsgi.both, "auth": wsgi.auth, "fhir": wsgi.fhir}[role]()
    with ThreadPoolExecutor(min(THREADS, 2 * (os.cpu_count() or 2) + 1), thread_name_prefix="request") as threads:
        direct = Direct({path.encode("ascii"): endpoint for path, endpoint in loaded.direct.items()}, threads)
        config = uvicorn.Config(
            Front(loaded.application, threads=threads, large_bodies=loaded.large_bodies),
            http=partial(Protocol, direct=direct),  # type: ignore[arg-type] # called like the class
            ws="none",
            lifespan="off",
            loop="auto",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=int(STOP_SECONDS) - 1,
        )
        _Server(config, ready, drain=loaded.drain).run([listener])
    loaded.close()


class _Server(uvicorn.Server):
    """uvicorn's server as a worker: it tells when it serves, ends at SIGTERM, and cuts off slow senders."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], *, drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready, self._drain = ready, drain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        keep_for_good()
        self._sweeping = asyncio.get_running_loop().create_task(sweep(self.server_state))
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what was begun."""
        await super().shutdown(sockets)
        self._sweeping.cancel()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End at SIGTERM, be ready no more from SIGUSR1 on; every other signal is the parent's."""
        signal.signal(signal.SIGUSR1, lambda *_: self._drain())
        signal.signal(signal.SIGTERM, self.handle_exit)
        yield


def keep_for_good() -> None:
    """Let the garbage collector look no more at what is loaded by now, for it stays as long as the process does.

    Otherwise it walks through the code of every library now and then, and every request waits for that.
    """
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, OLD_ROUNDS)


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
