"""Fault 10 and threat B14: the server's clock jumps, by a small library that shifts the clock of its process alone.

What was used and forgotten must not be good again when the clock goes back; what was revoked must not live again.
"""

import shutil
import struct
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults import wire
from tests.faults.clients import Assertion, Client, make_client
from tests.faults.driver import introspection
from tests.faults.oracle import Violation
from tests.faults.rounds import Outcome
from tests.faults.servers import ServerGroup, serving, until

SOURCE = Path(__file__).with_name("shift_clock.c")
MINUTE, DAY = 60, 86_400
_PURGE_SECONDS = 1

Seen = tuple[int, set[int], bool, bool]
"""The status of a new assertion, those of used ones, whether the kept and the revoked token are active."""


@dataclass(frozen=True, slots=True)
class Shifted:
    """A server whose wall clock is the machine's, and more or less by what stands in a file."""

    group: ServerGroup
    offset: Path

    def set(self, seconds: int) -> None:
        """Set the server's clock off by so many seconds; it counts at once."""
        with self.offset.open("r+b") as file:
            file.write(struct.pack("=q", seconds))


def jumps() -> Outcome:
    """Let the clock go forward 10 minutes and back, back 10 minutes, back a day, and to where it was."""
    name = "clock set forward and back"
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return Outcome(name, skipped="no C compiler")
    with TemporaryDirectory() as folder:
        shifted = _shifted(Path(folder), compiler)
        with serving(shifted.group):
            return _jumps(name, shifted)


def _shifted(folder: Path, compiler: str) -> Shifted:
    library, offset = folder / "shift_clock.so", folder / "offset"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl"], check=True)
    offset.write_bytes(struct.pack("=q", 0))
    variables = {
        "LD_PRELOAD": str(library),
        "SHIFT_CLOCK_FILE": str(offset),
        "AUTHSERVER_PURGE_INTERVAL": str(_PURGE_SECONDS),
    }
    return Shifted(ServerGroup(folder, variables), offset)


@dataclass
class _Story:
    """The steps of a client and of the operator, and what came of each."""

    shifted: Shifted
    client: Client
    connection: wire.Connection

    def fresh(self, offset: int) -> int:
        """Return the status of a new assertion of a client whose clock is off by so much as well."""
        return self.connection.ask(self.client.assertion(now=int(time.time()) + offset).request).status

    def again(self, assertions: Sequence[Assertion]) -> set[int]:
        """Return the statuses of used assertions."""
        return {self.connection.ask(one.request).status for one in assertions}

    def active(self, token: str) -> bool:
        """Ask about a token."""
        return bool(self.connection.ask(introspection(token)).json()["active"])


def _jumps(name: str, shifted: Shifted) -> Outcome:
    story = _Story(shifted, make_client("timely"), wire.Connection(shifted.group.port))
    for request in (story.client.registration(), story.client.policy()):
        assert story.connection.ask(request).status == 201
    used = [story.client.assertion() for _ in range(20)]
    answers = [story.connection.ask(one.request) for one in used]
    kept, revoked = (answer.json()["access_token"] for answer in answers[:2])
    story.connection.ask(wire.form("/auth/revoke", {"token": revoked}))

    def look(offset: int) -> Seen:
        return story.fresh(offset), story.again(used), story.active(kept), story.active(revoked)

    seen = {"before": look(0)}

    shifted.set(10 * MINUTE)
    forgotten = until(lambda: "used_assertions" in shifted.group.logged, seconds=10 + _PURGE_SECONDS)
    seen["10 min ahead"] = look(10 * MINUTE)
    shifted.set(0)
    seen["10 min back"] = look(0)
    shifted.set(-10 * MINUTE)
    seen["20 min back"] = look(-10 * MINUTE)
    shifted.set(-DAY)
    seen["a day back"] = look(-DAY)
    shifted.set(16 * MINUTE)
    seen["16 min ahead"] = look(16 * MINUTE)
    story.connection.close()
    found = [Violation(moment, str(what)) for moment, what in seen.items() if not _holds(moment, what)]
    if not forgotten:
        found.append(Violation("void", "nothing was forgotten, so nothing could be used again"))
    return Outcome(name, {moment: str(what) for moment, what in seen.items()}, found)


def _holds(moment: str, seen: Seen) -> bool:
    """Judge what was seen at that moment."""
    if moment == "before":
        return seen == (200, {400}, True, False)
    if "ahead" in moment:  # everything of before has expired; who has the same clock goes on
        return seen == (200, {400}, False, False)
    # Nothing is used twice, and what cannot be known to be new is refused for the time being.
    fresh, again, _, revoked = seen
    return fresh == 503 and again <= {400, 503} and not revoked
