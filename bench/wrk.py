"""Drive one endpoint with wrk and read what it measured. Knows processes and wrk's output; knows no server."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("one_each.lua")
SAME = Path(__file__).with_name("same.lua")


class LoadFailed(Exception):
    """wrk did not run to its end, or printed no summary line."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk saw: durations and latencies in microseconds, the rest are counts."""

    requests: int
    duration: int
    p50: int
    p99: int
    refused: int
    broken: int

    @property
    def per_second(self) -> float:
        """Answers in one second, over the whole run."""
        return self.requests / (self.duration / 1e6)


def parse(output: str) -> Load:
    """The summary that `one_each.lua` prints last; raises LoadFailed when there is none."""
    for line in reversed(output.splitlines()):
        word, *numbers = line.split(" ")
        if word == "BENCH" and len(numbers) == 6:
            return Load(*map(int, numbers))
    raise LoadFailed(f"wrk printed no summary: {output[-500:]!r}")


def pinned(command: Sequence[str], *, core: int | None) -> list[str]:
    """The command bound to one core; unchanged when `core` is None or taskset is missing."""
    if core is None or shutil.which("taskset") is None:
        return list(command)
    return ["taskset", "-c", str(core), *command]


def drive(
    url: str,
    bodies: Path,
    *,
    connections: int,
    seconds: int,
    core: int | None = 1,
    authorization: str = "",
    again: bool = False,
) -> Load:
    """POST each line of `bodies` once, at most for `seconds`, by one thread; raises LoadFailed.

    The file must outlast the run: wrk waits out its duration, so a file used up early makes the rate too low. With
    `again` the lines are sent over and over.
    """
    arguments = [str(bodies), "1", authorization, "again" if again else ""]
    return _run(url, SCRIPT, arguments, connections=connections, seconds=seconds, core=core)


def repeat(
    url: str,
    *,
    connections: int,
    seconds: int,
    authorization: str,
    method: str = "GET",
    body: Path | None = None,
    core: int | None = 1,
) -> Load:
    """Send one request over and over for so many seconds, with the file's FHIR JSON as its body; raises LoadFailed."""
    arguments = [authorization, method, str(body or "")]
    return _run(url, SAME, arguments, connections=connections, seconds=seconds, core=core)


def _run(url: str, script: Path, arguments: Sequence[str], *, connections: int, seconds: int, core: int | None) -> Load:
    options = [f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    wrk = ["wrk", "-t1", *options, "--", *arguments]
    try:
        finished = subprocess.run(
            pinned(wrk, core=core), capture_output=True, text=True, timeout=seconds + 30, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise LoadFailed(f"wrk did not run: {error}") from error
    return parse(finished.stdout)
