"""Load that remembers: threads that ask for tokens, register, revoke and introspect, each answer logged before the
next request is sent. Afterwards everything that was acknowledged is looked at again."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.faults import wire
from tests.faults.clients import Assertion, Client, make_client
from tests.faults.oracle import (
    BROKEN,
    Afterwards,
    Answered,
    Introspection,
    Registration,
    Replay,
    Revocation,
    TokenAnswer,
)
from tests.faults.servers import until

CLIENTS = 4
"""Clients that ask for tokens; one more is registered anew all the time by each writer."""

_RETRY_SECONDS = 0.05
_SAMPLE = 300
_WRITERS = 2


@dataclass
class Load:
    """Load on some ports until it is stopped. `pause` seconds lie between an answer and a thread's next request."""

    ports: Sequence[int]
    askers: int = 6
    pause: float = 0.004
    keeping: bool = True
    """Whether a thread keeps its connection, or has another for each request."""
    log: list[Answered] = field(default_factory=list)
    used: list[Assertion] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)
    newest: float = 0.0
    """When the newest request that got a token was sent."""

    _ends: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def register(self) -> None:
        """Register the clients; raises AssertionError when that fails."""
        connection = wire.Connection(self.ports[0])
        self.clients = [make_client(f"client-{number}") for number in range(CLIENTS)]
        for client in self.clients:
            answers = [connection.ask(request) for request in (client.registration(), client.policy())]
            assert all(answer.status in (200, 201) for answer in answers), answers
        connection.close()

    def start(self) -> None:
        """Begin."""
        self._ends.clear()
        work = [(self._ask, number) for number in range(self.askers)]
        work += [(self._write, number) for number in range(_WRITERS)]
        self._threads = [threading.Thread(target=target, args=(number,), daemon=True) for target, number in work]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop, after the requests under way."""
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def await_token(self, since: float, *, seconds: float = 30.0) -> bool:
        """Wait for a token that was asked for after this moment; say whether it came."""
        return until(lambda: self.newest >= since, seconds=seconds)

    def tokens(self) -> list[TokenAnswer]:
        """Return the answers that brought a token."""
        return [one for one in list(self.log) if isinstance(one, TokenAnswer) and one.status == 200]

    def _ask(self, number: int) -> None:
        connection = wire.Connection(self.ports[number % len(self.ports)], keeping=self.keeping)
        for client in itertools.cycle(self.clients):
            if self._ends.is_set():
                connection.close()
                return
            assertion = client.assertion()
            self.used.append(assertion)
            answer = connection.ask(assertion.request)
            self.log.append(as_token(assertion, answer))
            if answer.status == 200:
                self.newest = max(self.newest, answer.sent)
            time.sleep(self.pause if answer.status != BROKEN else _RETRY_SECONDS)

    def _write(self, number: int) -> None:
        """Register, revoke, ask about what was revoked and what was not, over and over."""
        connection = wire.Connection(self.ports[number % len(self.ports)], keeping=self.keeping)
        choice, client = random.Random(number), make_client(f"changing-{number}")
        for count in itertools.count():
            if self._ends.is_set():
                connection.close()
                return
            self._register(connection, client, named=str(count))
            tokens = self.tokens()[-500:]
            if tokens:
                token = choice.choice(tokens).token
                self._revoke(connection, token)
                for asked in (token, choice.choice(tokens).token):
                    self.log.append(as_introspection(asked, connection.ask(introspection(asked))))
            time.sleep(10 * self.pause)

    def _register(self, connection: wire.Connection, client: Client, *, named: str) -> None:
        answer = connection.ask(client.registration(named=named))
        version = int(answer.json()["meta"]["versionId"]) if answer.status in (200, 201) else 0
        self.log.append(
            Registration(sent=answer.sent, at=answer.at, status=answer.status, client_id=client.id, version=version)
        )

    def _revoke(self, connection: wire.Connection, token: str) -> None:
        answer = connection.ask(wire.form("/auth/revoke", {"token": token}))
        self.log.append(Revocation(sent=answer.sent, at=answer.at, status=answer.status, token=token))


@contextmanager
def running(load: Load) -> Iterator[Load]:
    """Register what the load needs, run it, stop it."""
    load.register()
    load.start()
    try:
        yield load
    finally:
        load.stop()


def introspection(token: str) -> bytes:
    """Return the question of the operator about a token."""
    return wire.form("/auth/introspect", {"token": token})


def as_token(assertion: Assertion, answer: wire.Answer) -> TokenAnswer:
    """Return the log's entry for the answer to an assertion."""
    token = answer.json()["access_token"] if answer.status == 200 else ""
    return TokenAnswer(sent=answer.sent, at=answer.at, status=answer.status, jti=assertion.jti, token=token)


def as_introspection(token: str, answer: wire.Answer) -> Introspection:
    """Return the log's entry for the answer to a question about a token."""
    active = answer.status == 200 and bool(answer.json()["active"])
    return Introspection(sent=answer.sent, at=answer.at, status=answer.status, token=token, active=active)


def look_again(load: Load, *, reasons: Callable[[], Mapping[str, str]]) -> Afterwards:
    """Return what became of everything that the load was told: each used assertion is sent again, each revoked token
    and a sample of the others asked about, each client read. `reasons` tells the reason of a refusal by request id."""
    port = load.ports[-1]
    known = {one.jti: one.status for one in load.log if isinstance(one, TokenAnswer)}
    now = time.monotonic()
    # What was not answered may be good once more: it is sent twice.
    again = [
        assertion
        for assertion in load.used
        if assertion.until > now + 30
        for _ in range(1 if known.get(assertion.jti) == 200 else 2)
    ]
    answers = _ask_all(port, [assertion.request for assertion in again])
    by_id = reasons()
    replays = [
        Replay(assertion.jti, answer.status, by_id.get(answer.request_id, "") if answer.status == 400 else "")
        for assertion, answer in zip(again, answers, strict=True)
    ]
    asked = _worth_asking(load)
    told = _ask_all(port, [introspection(token) for token in asked])
    active = {token: bool(answer.json().get("active")) for token, answer in zip(asked, told, strict=True)}
    return Afterwards(_versions(load, port), replays, active)


def _worth_asking(load: Load) -> list[str]:
    tried = {one.token for one in load.log if isinstance(one, Revocation)}
    fresh = [one.token for one in load.tokens() if one.at > time.monotonic() - 200]
    others = [token for token in fresh if token not in tried]
    return [token for token in fresh if token in tried] + random.Random(0).sample(others, min(_SAMPLE, len(others)))


def _versions(load: Load, port: int) -> dict[str, int]:
    ids = sorted({one.client_id for one in load.log if isinstance(one, Registration)})
    answers = _ask_all(port, [wire.get(f"/Client/{client_id}") for client_id in ids])
    found = zip(ids, answers, strict=True)
    return {client_id: int(answer.json()["meta"]["versionId"]) for client_id, answer in found if answer.status == 200}


def _ask_all(port: int, requests: Iterable[bytes]) -> list[wire.Answer]:
    with wire.PerThread(port) as connections, ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda request: connections.own()[0].ask(request), requests))
