"""Judge a run with faults: what the server acknowledged must hold afterwards. PURE: logs in, violations out.

A driver logs each answer before it sends its next request; afterwards everything acknowledged is looked at again.
Times are seconds of one monotonic clock.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

BROKEN = 0
"""The status of a request without an answer: refused, broken off, or silent for too long."""

RECOVERY_SECONDS = 2.0
"""How long after a fault the first token may come."""

LEAST_RATE = 200.0
"""Token requests per second outside the faults, below which a run says nothing."""

GRACE_SECONDS = 0.1
"""A connection that broke may be noticed so much later, by the next request on it."""

REPLAYED = "jti_replayed"
"""The reason by which the server must refuse an assertion that was used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A request: when it was sent, when the answer was there or the connection gone, and the status."""

    sent: float
    at: float
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAnswer(Answered):
    """A token request by the assertion with this jti; `token` is what came."""

    jti: str
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration(Answered):
    """A PUT of this client; `version` is the acknowledged one."""

    client_id: str
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation(Answered):
    """A revocation of this token."""

    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Introspection(Answered):
    """A question about this token, and what was said."""

    token: str
    active: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was broken from one moment to another."""

    name: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Replay:
    """A used assertion, sent again after the faults: the status, and the logged reason where it is known."""

    jti: str
    status: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Afterwards:
    """What the server says after the faults: versions of clients, used assertions again, tokens."""

    versions: Mapping[str, int] = field(default_factory=dict)
    replays: Sequence[Replay] = ()
    active: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken: which, and how it shows."""

    kind: str
    detail: str


def check(log: Sequence[Answered], *, faults: Sequence[Fault], after: Afterwards) -> list[Violation]:
    """Return every violation; none when all promises held and the run was busy enough to say so."""
    spans = windows(log, faults)
    return [
        *_lost_registrations(log, after),
        *_accepted_twice(log, after),
        *_not_refused(log, after),
        *_tokens_of_the_wrong_kind(log, after),
        *_revived(log),
        *_failures(log, spans),
        *_late(log, faults),
        *_idle(log, spans),
    ]


def windows(log: Iterable[Answered], faults: Iterable[Fault]) -> list[tuple[float, float]]:
    """Return from when to when each fault excuses a failure: until the first token after its end, and a grace."""
    good = _good(log)
    return [(fault.began, _recovered(good, fault) + GRACE_SECONDS) for fault in faults]


def recoveries(log: Iterable[Answered], faults: Iterable[Fault]) -> list[float]:
    """Return the seconds from the end of each fault to the first token that was asked for after it."""
    good = _good(log)
    return [_recovered(good, fault) - fault.ended for fault in faults]


def rate(log: Iterable[Answered], spans: Sequence[tuple[float, float]]) -> float:
    """Return tokens per second outside the windows."""
    answers = [one for one in log if isinstance(one, TokenAnswer)]
    if not answers:
        return 0.0
    first, last = min(one.sent for one in answers), max(one.at for one in answers)
    quiet = (last - first) - _covered(spans, first, last)
    good = sum(1 for one in answers if one.status == 200 and not _excused(one, spans))
    return good / quiet if quiet > 0 else 0.0


def _good(log: Iterable[Answered]) -> list[TokenAnswer]:
    return sorted((one for one in log if isinstance(one, TokenAnswer) and one.status == 200), key=lambda one: one.sent)


def _recovered(good: Sequence[TokenAnswer], fault: Fault) -> float:
    return min((one.at for one in good if one.sent >= fault.ended), default=float("inf"))


def _covered(spans: Iterable[tuple[float, float]], first: float, last: float) -> float:
    """Return how much of the time lies within one window or more."""
    covered, reached = 0.0, first
    for began, ended in sorted(spans):
        began, ended = max(began, reached), min(ended, last)
        if ended > began:
            covered, reached = covered + ended - began, ended
    return covered


def _excused(one: Answered, spans: Iterable[tuple[float, float]]) -> bool:
    return any(one.sent <= ended and one.at >= began for began, ended in spans)


def _lost_registrations(log: Iterable[Answered], after: Afterwards) -> list[Violation]:
    acknowledged: dict[str, int] = {}
    for one in log:
        if isinstance(one, Registration) and one.status in (200, 201):
            acknowledged[one.client_id] = max(one.version, acknowledged.get(one.client_id, 0))
    return [
        Violation("registration lost", f"{client_id}: version {version} acknowledged, {present} found")
        for client_id, version in acknowledged.items()
        if (present := after.versions.get(client_id, 0)) < version
    ]


def _accepted_twice(log: Iterable[Answered], after: Afterwards) -> list[Violation]:
    accepted = Counter(one.jti for one in log if isinstance(one, TokenAnswer) and one.status == 200)
    accepted += Counter(replay.jti for replay in after.replays if replay.status == 200)
    return [
        Violation("assertion accepted twice", f"{jti}: {times} times") for jti, times in accepted.items() if times > 1
    ]


def _not_refused(log: Iterable[Answered], after: Afterwards) -> list[Violation]:
    """A used assertion gets 400 for the reason that it was used: anything else proves nothing, or is a failure."""
    used = {one.jti for one in log if isinstance(one, TokenAnswer) and one.status == 200}
    return [
        Violation("replay not refused as one", f"{replay.jti}: {replay.status} {replay.reason}")
        for replay in after.replays
        if replay.jti in used and replay.status != 200 and (replay.status != 400 or replay.reason not in ("", REPLAYED))
    ]


def _tokens_of_the_wrong_kind(log: Sequence[Answered], after: Afterwards) -> list[Violation]:
    """After an acknowledged revocation a token is inactive; one that nobody tried to revoke is active."""
    tried = {one.token for one in log if isinstance(one, Revocation)}
    revoked = {one.token for one in log if isinstance(one, Revocation) and one.status == 200}
    found = [Violation("revocation lost", token[-12:]) for token in revoked if after.active.get(token, False)]
    lost = [token for token, active in after.active.items() if not active and token not in tried]
    return found + [Violation("token lost", token[-12:]) for token in lost]


def _revived(log: Sequence[Answered]) -> list[Violation]:
    """Active in an answer to a question that was asked after the revocation was acknowledged."""
    revoked = {one.token: one.at for one in log if isinstance(one, Revocation) and one.status == 200}
    return [
        Violation("revoked token active", f"{one.token[-12:]} {one.sent - revoked[one.token]:.3f} s afterwards")
        for one in log
        if isinstance(one, Introspection) and one.active and one.sent > revoked.get(one.token, float("inf"))
    ]


def _failures(log: Iterable[Answered], spans: Sequence[tuple[float, float]]) -> list[Violation]:
    """Inside a fault 503 and broken connections, outside none; no other 5xx anywhere."""
    found = []
    for one in log:
        if one.status != BROKEN and one.status < 500:
            continue
        excused = _excused(one, spans)
        if not excused or one.status not in (BROKEN, 503):
            where = "inside" if excused else "outside"
            found.append(Violation("failure", f"{type(one).__name__} {one.status} {where} a fault, at {one.at:.3f}"))
    return found


def _late(log: Iterable[Answered], faults: Sequence[Fault]) -> list[Violation]:
    took = zip(faults, recoveries(log, faults), strict=True)
    return [
        Violation("late recovery", f"{fault.name}: {seconds:.2f} s")
        for fault, seconds in took
        if seconds > RECOVERY_SECONDS
    ]


def _idle(log: Sequence[Answered], spans: Sequence[tuple[float, float]]) -> list[Violation]:
    measured = rate(log, spans)
    return [] if measured >= LEAST_RATE else [Violation("void", f"{measured:.0f} tokens/s outside the faults")]
