"""Fault 13: clients whose key hosts drip, reset, flood, redirect, fail or publish nothing, beside good clients."""

import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.builders import client_resource
from tests.faults import wire
from tests.faults.clients import Client, make_client
from tests.faults.driver import Load, running
from tests.faults.ends import percentile
from tests.faults.oracle import TokenAnswer, Violation
from tests.faults.rounds import Outcome
from tests.faults.servers import ServerGroup, serving

HOSTS_OF_A_KIND = 10
SECONDS = 10.0
MOST_GROWTH_KIB = 50 * 1024
"""How much the memory of the worker may grow."""

_ATTACKERS = 6
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"


def _drip(caller: socket.socket) -> None:
    caller.sendall(_HEAD + b"Content-Length: 100000\r\n\r\n")
    for _ in range(200):
        caller.sendall(b" ")
        time.sleep(0.1)


def _reset(caller: socket.socket) -> None:
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


def _flood(caller: socket.socket) -> None:
    caller.sendall(_HEAD + b"\r\n")
    for _ in range(2_000):
        caller.sendall(b" " * 65_536)


def _redirect(caller: socket.socket) -> None:
    caller.sendall(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def _fail(caller: socket.socket) -> None:
    caller.sendall(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def _nothing(caller: socket.socket) -> None:
    caller.sendall(_HEAD + b'Content-Length: 11\r\n\r\n{"keys":[]}')


KINDS: dict[str, Callable[[socket.socket], None]] = {
    "drip": _drip,
    "reset": _reset,
    "flood": _flood,
    "redirect": _redirect,
    "fail": _fail,
    "nothing": _nothing,
}


def hostile(seconds: float = SECONDS) -> Outcome:
    """Measure good clients alone, then beside hostile ones that ask all the time."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        group = ServerGroup(Path(folder))
        bad = [
            (make_client(f"{kind}-{number}"), stack.enter_context(_host(answer)))
            for kind, answer in KINDS.items()
            for number in range(HOSTS_OF_A_KIND)
        ]
        stack.enter_context(serving(group))
        for client, port in bad:
            _register(group, client, port)
        (pid,) = group.worker_pids()
        load = stack.enter_context(running(Load([group.port])))
        time.sleep(1.0)  # whatever is slow the first time
        before, quiet = _memory_kib(pid), _over(load, seconds)
        with _attacking(group, [client for client, _ in bad]) as seen:
            troubled = _over(load, seconds)
        grown = _memory_kib(pid) - before
    return _judged(quiet, troubled, seen, grown)


def _judged(quiet: list[TokenAnswer], troubled: list[TokenAnswer], seen: Counter[int], grown: int) -> Outcome:
    p99s = [percentile([one.at - one.sent for one in answers], 99) for answers in (quiet, troubled)]
    figures = {
        "good tokens/s alone": round(len(quiet) / SECONDS),
        "beside": round(len(troubled) / SECONDS),
        "hostile requests": sum(seen.values()),
        "p99 alone ms": round(1000 * p99s[0], 1),
        "p99 beside ms": round(1000 * p99s[1], 1),
        "ratio": round(p99s[1] / p99s[0], 1),
        "memory grown MiB": round(grown / 1024, 1),
    }
    found = [Violation("good client refused", str(one.status)) for one in quiet + troubled if one.status != 200]
    found += [
        Violation("hostile client answered otherwise", str(status)) for status in seen if status not in (400, 503)
    ]
    if grown > MOST_GROWTH_KIB:
        found.append(Violation("memory", f"{grown} KiB"))
    return Outcome("hostile key hosts", figures, found)


def _register(group: ServerGroup, client: Client, port: int) -> None:
    connection = wire.Connection(group.port)
    resource = client_resource(jwks_uri=f"http://127.0.0.1:{port}/jwks.json")
    assert connection.ask(wire.put(f"/Client/{client.id}", resource)).status == 201
    connection.close()


def _over(load: Load, seconds: float) -> list[TokenAnswer]:
    """Return the answers to token requests of the time to come."""
    began = time.monotonic()
    time.sleep(seconds)
    return [one for one in list(load.log) if isinstance(one, TokenAnswer) and one.sent >= began]


def _memory_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


@contextmanager
def _host(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Run a key host that answers in its way; yield its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=speak, args=(caller,), daemon=True).start()

    def speak(caller: socket.socket) -> None:
        with caller:
            try:
                caller.recv(4096)
                answer(caller)
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@contextmanager
def _attacking(group: ServerGroup, clients: list[Client]) -> Iterator[Counter[int]]:
    """Ask for tokens as the hostile clients all the time; yield the statuses."""
    ends, seen = threading.Event(), Counter[int]()

    def ask(first: int) -> None:
        connection = wire.Connection(group.port, seconds=30)
        for client in itertools.islice(itertools.cycle(clients), first, None):
            if ends.is_set():
                connection.close()
                return
            seen[connection.ask(client.assertion().request).status] += 1
            time.sleep(0.01)

    threads = [threading.Thread(target=ask, args=(number * HOSTS_OF_A_KIND,)) for number in range(_ATTACKERS)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        ends.set()
        for thread in threads:
            thread.join()
