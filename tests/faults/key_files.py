"""Fault 11: signing keys that cannot be used. A server does not start with them; one that runs keeps what it has."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives import serialization

from tests.faults import wire
from tests.faults.clients import make_client
from tests.faults.oracle import Violation
from tests.faults.rounds import Outcome
from tests.faults.servers import ServerGroup, send, serving, start_fails, until
from tests.keys import new_key

_NOTICED_SECONDS = 1.5
"""A running server looks at its keys once a second."""

Damage = Callable[[Path], None]


def _truncate(pem: Path) -> None:
    pem.write_bytes(pem.read_bytes()[:40])


def _empty(pem: Path) -> None:
    pem.write_bytes(b"")


def _open_to_all(pem: Path) -> None:
    pem.chmod(0o644)


def _swap(pem: Path) -> None:
    """Put another key in its place, under the same name."""
    private = new_key("ES256").private
    pem.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def _remove(pem: Path) -> None:
    pem.unlink()


DAMAGES: dict[str, Damage] = {
    "truncated": _truncate,
    "empty": _empty,
    "readable by all": _open_to_all,
    "another key": _swap,
    "removed": _remove,
}


def damaged(kinds: Sequence[str] = tuple(DAMAGES)) -> Outcome:
    """Damage the key of a running server in each way, renew its worker, restart it, mend the key, start it."""
    found: list[Violation] = []
    with TemporaryDirectory() as folder:
        group = ServerGroup(Path(folder))
        with serving(group):
            (pem,) = (Path(folder) / "keys").glob("*.pem")
        good = pem.read_bytes()
        for name in kinds:
            found += [Violation(name, problem) for problem in _damaged(group, pem, DAMAGES[name])]
            pem.write_bytes(good)
            pem.chmod(0o600)
    return Outcome("signing key files", {"kinds of damage": ", ".join(kinds)}, found)


def _damaged(group: ServerGroup, pem: Path, damage: Damage) -> Iterator[str]:
    """Yield what went otherwise than it must."""
    client, connection = make_client("signed"), wire.Connection(group.port)
    with serving(group):
        for request in (client.registration(), client.policy()):
            assert connection.ask(request).status in (200, 201)
        before, kids = group.worker_pids(), connection.ask(wire.get("/.well-known/jwks.json")).json()
        damage(pem)
        time.sleep(_NOTICED_SECONDS)
        if connection.ask(client.assertion().request).status != 200:
            yield "the running server gave no token"
        if "keys_unusable" not in group.logged:
            yield "the log has no alarm"
        send(group.main, signal.SIGHUP)
        # It is told in the log before the one that failed is gone.
        refused = until(lambda: "worker_not_replaced" in group.logged, seconds=20)
        if not refused or not until(lambda: group.worker_pids() == before, seconds=5):
            yield "a worker was replaced by one with a damaged key"
        if connection.ask(client.assertion().request).status != 200:
            yield "no token after a failed renewal"
        if connection.ask(wire.get("/.well-known/jwks.json")).json() != kids:
            yield "the published keys changed"
    connection.close()
    group.log.write_bytes(b"")
    if (code := start_fails(group)) != 1:
        yield f"a start with it ended with {code}"
