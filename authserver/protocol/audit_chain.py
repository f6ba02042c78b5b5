"""The chain of audit records: how each is bound to the one before it, and how a chain is checked against its anchors.

A hash is SHA-256 over a fixed label, the sequence number (8 bytes), the hash before (32 bytes) and the record's bytes
as they are stored, so there is one canonical encoding: the stored one. An anchor is a hash known from elsewhere: from a
signed checkpoint, or from a log line that left the machine.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from authserver.protocol import strict_json

GENESIS = bytes(32)
"""The hash before the first record."""

CHECKPOINT_TYP = "audit-checkpoint+jwt"
UNCOVERED_SECONDS = 3_600
"""How old a record may be that no signed checkpoint covers yet; a running server makes one at each purge."""

_LABEL = b"authserver.audit.1\0"
_COLUMNS = ("event", "at", "outcome", "agent", "entity", "tenant")
Columns = tuple[str, int, int, str | None, str | None, str | None, str | None]
"""What a record is found by: event, at, outcome, agent, entity, tenant, and the jti of the token that it is about."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends, and where it begins: what is pruned are the records up to `pruned_sequence`."""

    sequence: int = 0
    hash: bytes = GENESIS
    pruned_sequence: int = 0
    pruned_hash: bytes = GENESIS


@dataclass(frozen=True, slots=True)
class Link:
    """A record as it is stored: `columns` are what it is found by, and must say what the body says."""

    sequence: int
    previous: bytes
    hash: bytes
    body: bytes
    columns: "Columns"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement that the chain had this head, and was pruned up to there, at `at` (epoch seconds)."""

    at: int
    head: Head

    def claims(self) -> dict[str, object]:
        """Return the claims to be signed."""
        return {
            "iat": self.at,
            "sequence": self.head.sequence,
            "hash": self.head.hash.hex(),
            "pruned_sequence": self.head.pruned_sequence,
            "pruned_hash": self.head.pruned_hash.hex(),
        }

    @staticmethod
    def of(claims: Mapping[str, object]) -> "Checkpoint":
        """Return the checkpoint of signed claims."""
        at, sequence, pruned = (int(str(claims[name])) for name in ("iat", "sequence", "pruned_sequence"))
        ends, begins = (bytes.fromhex(str(claims[name])) for name in ("hash", "pruned_hash"))
        return Checkpoint(at, Head(sequence, ends, pruned, begins))


class Broken(Exception):
    """The first record that is not as it was written: its sequence number, and what is wrong."""

    def __init__(self, sequence: int, problem: str) -> None:
        super().__init__(f"record {sequence} {problem}")
        self.sequence, self.problem = sequence, problem


@dataclass(frozen=True, slots=True)
class Anchors:
    """What is known of a chain from elsewhere. `newest` is the latest checkpoint whose signature is good.

    `exported` are hashes by sequence number: from older checkpoints, and from the log.
    """

    newest: Checkpoint | None = None
    exported: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verified:
    """What a good chain consists of: its records' numbers, and up to which one a signed checkpoint covers it."""

    first: int
    last: int
    covered: int


def link(previous: bytes, sequence: int, body: bytes) -> bytes:
    """Return the hash of a record."""
    return hashlib.sha256(b"".join((_LABEL, sequence.to_bytes(8, "big"), previous, body))).digest()


def verify(head: Head, links: Iterable[Link], anchors: Anchors, *, now: int) -> Verified:
    """Check every record from the first that is kept to the head; raises Broken for the first that is not good.

    `links` are all records in the order of their numbers, `now` is in epoch seconds.
    """
    _check_beginning(head, anchors)
    known = _known(anchors)
    covered = anchors.newest.head.sequence if anchors.newest else 0
    last = Head(head.pruned_sequence, head.pruned_hash)
    for found in links:
        _check(found, last)
        last = Head(found.sequence, found.hash)
        if known.get(found.sequence, found.hash) != found.hash:
            raise Broken(found.sequence, "is not the record that a checkpoint was made of")
        if found.sequence > covered and found.columns[1] // 1_000_000 < now - UNCOVERED_SECONDS:
            raise Broken(found.sequence, "is older than an hour and no signed checkpoint covers it")
    _check_end(head, last, known)
    return Verified(head.pruned_sequence + 1, last.sequence, min(covered, last.sequence))


def _known(anchors: Anchors) -> dict[int, bytes]:
    known = dict(anchors.exported)
    if anchors.newest is not None:
        signed = anchors.newest.head
        known |= {signed.sequence: signed.hash, signed.pruned_sequence: signed.pruned_hash}
    return known


def _check_beginning(head: Head, anchors: Anchors) -> None:
    if head.pruned_sequence == 0:
        if head.pruned_hash != GENESIS:
            raise Broken(1, "does not begin the chain: what comes before it was changed")
        return
    signed = anchors.newest.head if anchors.newest else Head()
    if head.pruned_sequence > signed.pruned_sequence:
        raise Broken(signed.pruned_sequence + 1, "was removed, and no signed checkpoint says that it was pruned")
    if head.pruned_sequence == signed.pruned_sequence and head.pruned_hash != signed.pruned_hash:
        raise Broken(head.pruned_sequence + 1, "does not begin where the signed checkpoint says that pruning ended")


def _check(found: Link, last: Head) -> None:
    if found.sequence != last.sequence + 1:
        raise Broken(last.sequence + 1, f"is missing; record {found.sequence} follows")
    if found.previous != last.hash:
        raise Broken(found.sequence, "does not follow the record before it")
    if link(last.hash, found.sequence, found.body) != found.hash:
        raise Broken(found.sequence, "was changed: its hash is another")
    if not _is_filed(found):
        raise Broken(found.sequence, "is filed under other values than those that it says")


def _is_filed(found: Link) -> bool:
    """Say whether the columns say what the body says; no jti is told by a server of before that column."""
    said = columns(found.body)
    return said is not None and found.columns in (said, (*said[:-1], None))


def columns(body: bytes) -> Columns | None:
    """Return what a record is found by, as its body says; None when it says no such thing."""
    try:
        said = strict_json.loads(body)
        event, at, outcome, agent, entity, tenant = (said.get(name) for name in _COLUMNS)
        jti = said.get("facts", {}).get("jti")
    except (ValueError, AttributeError):
        return None
    return event, at, outcome, agent, entity, tenant, jti


def _check_end(head: Head, last: Head, known: Mapping[int, bytes]) -> None:
    later: Sequence[int] = sorted(number for number in known if number > last.sequence)
    if head.sequence > last.sequence or later:
        raise Broken(last.sequence + 1, f"is missing: the chain went on to record {max([head.sequence, *later])}")
    if (head.sequence, head.hash) != (last.sequence, last.hash):
        raise Broken(last.sequence, f"is not the head of the chain, which is said to be record {head.sequence}")
