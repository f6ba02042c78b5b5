"""Faults 15 and 16: a log that cannot be written, and a closed stdout, refuse nobody."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults import wire
from tests.faults.clients import make_client
from tests.faults.oracle import Violation
from tests.faults.rounds import Outcome
from tests.faults.servers import ServerGroup, serving

REFUSALS = 12_000
"""Each leaves a line of some 250 bytes: more than a pipe holds, also one of a megabyte."""


KINDS = {
    "stdout and stderr closed": "exec >&- 2>&-",
    "stdout and stderr on a full disk": "exec >/dev/full 2>/dev/full",
    "stdout and stderr to a reader that has gone": "exec > >(exec true) 2>&1; sleep 0.2",
}


def unwritable(refusals: int = REFUSALS) -> Outcome:
    """Serve refusals, each of which writes a line, and tokens, with each kind of log that takes nothing."""
    found, figures = [], dict[str, object]()
    for name, script in KINDS.items():
        statuses = _served(script, refusals, inherited=())
        figures[name] = f"{len(statuses)} answers"
        found += [Violation(name, str(status)) for status in set(statuses) - {200, 201, 400}]
    reading, writing = os.pipe()
    try:
        statuses = _served(f"exec 2>&{writing}", refusals, inherited=(writing,))
    finally:
        os.close(reading)
        os.close(writing)
    figures["stderr to a pipe that nobody reads"] = f"{len(statuses)} answers"
    found += [Violation("pipe that nobody reads", str(status)) for status in set(statuses) - {200, 201, 400}]
    return Outcome("logs that cannot be written", figures, found)


def _served(script: str, refusals: int, *, inherited: tuple[int, ...]) -> list[int]:
    """Return the statuses of requests to a server whose output is what the script makes of it."""
    with TemporaryDirectory() as folder:
        prefix = ("bash", "-c", f'{script}; exec "$@"', "bash")
        group = ServerGroup(Path(folder), prefix=prefix, replaced=True, inherited=inherited)
        client = make_client("logged")
        with serving(group):
            connection = wire.Connection(group.port)
            statuses = [connection.ask(request).status for request in (client.registration(), client.policy())]
            used = client.assertion()
            statuses.append(connection.ask(used.request).status)
            for _ in range(refusals):
                statuses.append(connection.ask(used.request).status)
                if statuses[-1] == 0:
                    break
            statuses.append(connection.ask(client.assertion().request).status)
            connection.close()
    return statuses
