"""A TCP proxy between a server and its database that can be slow, or take everything and pass on nothing."""

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_LOOPBACK = "127.0.0.1"


@dataclass
class Proxy:
    """Passes connections on to a port. Change `delay` (seconds for each piece) and `silent` at any time."""

    target: int
    delay: float = 0.0
    silent: bool = False

    port: int = field(init=False, default=0)
    _ends: threading.Event = field(init=False, default_factory=threading.Event)

    def accept(self, listener: socket.socket) -> None:
        """Take connections until told to stop."""
        while not self._ends.is_set():
            if select.select([listener], [], [], 0.1)[0]:
                client, _ = listener.accept()
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def stop(self) -> None:
        """Take no more connections, and end those that there are."""
        self._ends.set()

    def _join(self, client: socket.socket) -> None:
        with client:
            try:
                with socket.create_connection((_LOOPBACK, self.target)) as server:
                    for end in (client, server):
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # no delay but ours
                    self._pass({client: server, server: client})
            except OSError:
                return

    def _pass(self, other: dict[socket.socket, socket.socket]) -> None:
        while not self._ends.is_set():
            ready = [] if self.silent else select.select(list(other), [], [], 0.1)[0]
            if self.silent:
                time.sleep(0.05)
            for end in ready:
                data = end.recv(65_536)
                if not data:
                    return
                time.sleep(self.delay)
                while self.silent and not self._ends.is_set():  # what was under way is held back as well
                    time.sleep(0.05)
                other[end].sendall(data)


@contextmanager
def proxying(target: int) -> Iterator[Proxy]:
    """Run a proxy to the port of this host."""
    proxy = Proxy(target)
    with socket.create_server((_LOOPBACK, 0)) as listener:
        proxy.port = listener.getsockname()[1]
        thread = threading.Thread(target=proxy.accept, args=(listener,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.stop()
            thread.join()
