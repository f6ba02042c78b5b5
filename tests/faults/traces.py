"""Read what strace saw of a server and find answers that left before their data was on the disk. PURE.

Input are files of `strace -ff -y -ttt -T`, one for each thread, so that no call is cut in two.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CALLS = "read,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,fdatasync,fsync"
"""What strace must trace."""

TEXT_BYTES = 40
"""How much of a buffer strace must show."""

_LINE = re.compile(r"^(\d+\.\d+) (\w+)\((\d+)<([^>]*)>?(.*)\) += (-?\d+).*<(\d+\.\d+)>$")
_REQUEST = re.compile(r'"((?:POST|PUT|GET|DELETE) [^ "]*)')
_ANSWER = re.compile(r'"HTTP/1\.1 (\d\d\d)')
_SYNC = ("fdatasync", "fsync")


@dataclass(frozen=True, slots=True)
class Call:
    """A system call on a descriptor: begun and returned (seconds of one clock), what it was on, what it showed."""

    began: float
    ended: float
    name: str
    descriptor: int
    path: str
    text: str
    result: int


@dataclass(frozen=True, slots=True)
class Served:
    """A request and its answer as the kernel saw them: when it was read, when the answer began to be written."""

    request: str
    status: int
    read: float
    answered: float


def parse(lines: Iterable[str]) -> list[Call]:
    """Return the calls on descriptors, in order of their return; other lines are passed over."""
    calls = []
    for line in lines:
        found = _LINE.match(line)
        if found:
            began, name, descriptor, path, text, result, took = found.groups()
            ended = float(began) + float(took)
            calls.append(Call(float(began), ended, name, int(descriptor), path, text, int(result)))
    return sorted(calls, key=lambda call: call.ended)


def served(calls: Sequence[Call]) -> list[Served]:
    """Return every request that was answered, matched by its socket."""
    waiting: dict[int, tuple[str, float]] = {}
    found = []
    for call in calls:
        request, answer = _REQUEST.search(call.text), _ANSWER.search(call.text)
        if request and call.name in ("read", "recvfrom", "recvmsg"):
            waiting[call.descriptor] = request[1], call.ended
        elif answer and call.descriptor in waiting:
            asked, read = waiting.pop(call.descriptor)
            found.append(Served(asked, int(answer[1]), read, call.began))
    return found


def unsafe(calls: Sequence[Call]) -> list[Served]:
    """Return the acknowledged changes whose answer did not wait for the disk.

    Safe: after the request was read something was written to the write-ahead log, then a sync of the log began and
    ended, all before the answer began to be written.
    """
    writes = [call for call in calls if call.name == "pwrite64" and call.path.endswith("-wal")]
    syncs = [call for call in calls if call.name in _SYNC and call.path.endswith("-wal") and call.result == 0]
    return [one for one in acknowledged(calls) if not _is_safe(one, writes, syncs)]


def acknowledged(calls: Sequence[Call]) -> list[Served]:
    """Return the answers that promise something: tokens, registrations, revocations."""
    promising = ("POST /auth/token", "PUT /", "POST /auth/revoke")
    return [one for one in served(calls) if one.status in (200, 201) and one.request.startswith(promising)]


def _is_safe(one: Served, writes: Sequence[Call], syncs: Sequence[Call]) -> bool:
    written = [call.ended for call in writes if one.read <= call.began and call.ended <= one.answered]
    return any(
        call.began >= min(written, default=float("inf")) and call.ended <= one.answered
        for call in syncs
        if call.began >= one.read
    )
