"""What is recorded before an answer, what a flood may cost, what is signed and pruned. Rows X25 and X55."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from authserver.adapters.key_files import open_signer
from authserver.adapters.memory_audit import MemoryAuditStore
from authserver.errors import (
    AuthServerError,
    Forbidden,
    InvalidClient,
    InvalidScope,
    JwksUnavailable,
    LoginRequired,
    MethodNotAllowed,
    NotFound,
    StorageUnavailable,
    Unavailable,
)
from authserver.protocol.audit_chain import Broken, Head, Verified
from authserver.protocol.audit_record import AuditRecord
from authserver.protocol.audit_search import AuditQuery
from authserver.services import audit_verification
from authserver.services.audit_trail import AuditTrail, AuditUpkeep, RefusalLimit, sign_head
from authserver.services.ports import Signer
from tests.builders import CLIENT_ID, NOW, RecordingAuditLog
from tests.services.memory_server import Server

TOKEN = "/auth/token"
DAY = 86_400


class Broke(MemoryAuditStore):
    """A store that takes nothing."""

    def append(self, records: Sequence[AuditRecord]) -> None:
        """Fail."""
        raise StorageUnavailable(detail="disk is full")


@pytest.fixture
def store() -> MemoryAuditStore:
    """An empty audit."""
    return MemoryAuditStore()


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    """The server's keys."""
    return open_signer(tmp_path / "audit-keys", algorithm="ES256")


def trail_over(server: Server, store: MemoryAuditStore | None, **options: Any) -> AuditTrail:
    """Return a trail over this store, with the registry of a server."""
    return AuditTrail(store, server.services.audit.trail.registry, lambda: "r1", **options)


def told(error: AuthServerError, client_id: str | None = CLIENT_ID) -> AuthServerError:
    """Return the error with whom it is about."""
    error.client_id = client_id
    return error


def said(store: MemoryAuditStore) -> list[dict[str, Any]]:
    """Return what was recorded, oldest first."""
    return [dict(one.said) for one in reversed(store.search(AuditQuery(count=500)))]


def test_a_proven_clients_refusal_is_recorded_with_its_tenant(server: Server, store: MemoryAuditStore) -> None:
    server.register("mine", tenant="t")

    trail_over(server, store).refused(told(InvalidScope(detail="private"), "mine"), path=TOKEN, now=NOW, source="::1")

    assert said(store) == [
        {
            "event": "token_refused",
            "at": NOW * 10**6,
            "outcome": 4,
            "agent": "mine",
            "entity": None,
            "tenant": "t",
            "request_id": "r1",
            "source": "::1",
            "facts": {"path": TOKEN, "error": "invalid_scope", "reason": "nothing_granted"},
        }
    ]


def test_a_client_that_is_gone_by_now_has_no_tenant(server: Server, store: MemoryAuditStore) -> None:
    trail_over(server, store).refused(told(InvalidScope(), "gone"), path=TOKEN, now=NOW)

    assert [(one["agent"], one["tenant"]) for one in said(store)] == [("gone", None)]


@pytest.mark.parametrize(
    ("error", "path", "event"),
    [
        (InvalidClient(), TOKEN, "token_refused"),
        (NotFound(), TOKEN, "token_refused"),
        (LoginRequired(), "/auth/introspect", "introspection_refused"),
        (InvalidClient(), "/auth/revoke", "revocation_refused"),
        (LoginRequired(), "/auth/register", "registration_refused"),
        (Forbidden(), "/Client/x/$revoke-tokens", "request_refused"),
        (Forbidden(), "/AuditEvent", "request_refused"),
        (Forbidden(), "/auth/receipt/1", "request_refused"),
        (MethodNotAllowed("POST"), TOKEN, None),
        (JwksUnavailable(), TOKEN, None),
        (NotFound(), "/Client/x", None),
        (LoginRequired(), "/elsewhere", None),
        (LoginRequired(), "/auth/verify", None),
        (LoginRequired(), "/Client/not an id", None),
    ],
)
def test_decisions_are_recorded_and_nothing_else(
    server: Server, store: MemoryAuditStore, error: AuthServerError, path: str, event: str | None
) -> None:
    trail_over(server, store).refused(error, path=path, now=NOW)

    assert [one["event"] for one in said(store)] == ([] if event is None else [event])


def test_what_a_claim_recorded_is_not_recorded_twice(server: Server, store: MemoryAuditStore) -> None:
    error, trail = told(InvalidClient(reason="jti_replayed")), trail_over(server, store)

    trail.refused(error, path=TOKEN, now=NOW)
    trail.refused(error, path=TOKEN, now=NOW)

    assert len(said(store)) == 1


def test_a_mistake_in_a_path_is_not_copied(server: Server, store: MemoryAuditStore) -> None:
    """Somebody pastes a token where an id belongs: threat G16."""
    trail = trail_over(server, store)

    trail.refused(LoginRequired(), path="/auth/receipt/a-secret", now=NOW)
    trail.refused(LoginRequired(), path="/Client/an-id", now=NOW)

    assert [(one["facts"]["path"], one["entity"]) for one in said(store)] == [
        ("/auth/receipt", None),
        ("/Client", "Client/an-id"),
    ]


def test_what_cannot_be_recorded_is_unavailable(server: Server) -> None:
    """docs/errors.md: the detail names the decision."""
    with pytest.raises(Unavailable) as caught:
        trail_over(server, Broke()).refused(LoginRequired(), path="/Client", now=NOW)

    expected = ("audit_unavailable", "not recorded: request_refused login_required: disk is full")
    assert (caught.value.reason, caught.value.detail) == expected


def test_without_a_store_nothing_is_recorded(server: Server) -> None:
    trail = trail_over(server, None)

    trail.refused(LoginRequired(), path="/Client", now=NOW)
    trail.record(AuditRecord("audit_read", NOW))
    trail.record_unlisted(now=NOW)

    assert (trail.is_on, trail.optional(AuditRecord("audit_read", NOW))) == (False, None)
    assert trail.choice(lambda _: AuditRecord("token_issued", NOW)) is None


def test_strangers_are_counted_beyond_their_share_and_the_count_is_told(
    server: Server, store: MemoryAuditStore
) -> None:
    """A share for each path, reason and minute."""
    trail = trail_over(server, store, limit=RefusalLimit(per_minute=2))
    first, other = NOW - NOW % 60, {"path": "/auth/revoke"}

    for _ in range(5):
        trail.refused(LoginRequired(), path="/Client", now=first)
    trail.refused(LoginRequired(reason="basic_refused"), path="/Client", now=first)
    trail.refused(LoginRequired(), now=first, **other)
    trail.refused(LoginRequired(), path="/Client", now=first + 59)
    trail.refused(LoginRequired(), path="/Client", now=first + 60)

    found = [(one["facts"]["path"], one["facts"]["reason"], one["facts"].get("unlisted")) for one in said(store)]
    assert found == [
        ("/Client", "login_required", None),
        ("/Client", "login_required", None),
        ("/Client", "basic_refused", None),
        ("/auth/revoke", "login_required", None),
        ("/Client", "login_required", 4),
    ]


def test_what_was_only_counted_is_recorded_at_the_next_round(
    server: Server, store: MemoryAuditStore, signer: Signer
) -> None:
    trail = trail_over(server, store, limit=RefusalLimit(per_minute=1))
    upkeep = AuditUpkeep(trail, signer, RecordingAuditLog(), 1)
    for _ in range(3):
        trail.refused(LoginRequired(), path="/Client", now=NOW)

    upkeep(now=NOW)
    upkeep(now=NOW)

    assert said(store)[1:] == [
        {**said(store)[1], "facts": {"path": "/Client", "reason": "login_required", "unlisted": 2}, "outcome": 4}
    ]


def test_a_limit_remembers_a_bounded_number_of_kinds() -> None:
    limit = RefusalLimit(per_minute=1)

    admitted = [limit.admit("/", str(number), now=NOW) for number in range(1_100)]

    assert (admitted, limit.admit("/", "0", now=NOW), limit.admit("/", "1099", now=NOW)) == ([0] * 1_100, 0, None)


def test_the_head_is_signed_once_and_exported(server: Server, store: MemoryAuditStore, signer: Signer) -> None:
    """Row X55: a checkpoint when something came, none when nothing did."""
    log = RecordingAuditLog()
    upkeep = AuditUpkeep(trail_over(server, store), signer, log, 1)
    upkeep(now=NOW)
    store.append([AuditRecord("token_issued", NOW * 10**6)])

    upkeep(now=NOW)
    upkeep(now=NOW + 60)

    head = store.head()
    assert head is not None
    assert log.events == [("audit_checkpoint", {"sequence": 1, "hash": head.hash.hex()})]
    assert len(store.checkpoints()) == 1
    assert audit_verification.verify(store, signer, exported={1: head.hash}, now=NOW) == Verified(1, 1, 1)


def test_records_past_the_retention_are_pruned_and_the_rest_is_good(
    server: Server, store: MemoryAuditStore, signer: Signer
) -> None:
    upkeep = AuditUpkeep(trail_over(server, store), signer, RecordingAuditLog(), 2)
    store.append([AuditRecord("token_issued", (NOW + day * DAY) * 10**6) for day in range(4)])

    counts = [upkeep(now=NOW + days * DAY) for days in (2, 3, 3)]

    assert counts == [0, 1, 0]
    assert audit_verification.verify(store, signer, exported={}, now=NOW + 3 * DAY) == Verified(2, 4, 4)


def test_upkeep_without_the_audit_does_nothing(server: Server, signer: Signer) -> None:
    assert AuditUpkeep(trail_over(server, None), signer, RecordingAuditLog(), 1)(now=NOW) == 0


def test_an_older_checkpoint_serves_as_an_anchor(store: MemoryAuditStore, signer: Signer, server: Server) -> None:
    """Two checkpoints: the chain written anew from the second record on meets the first one."""
    upkeep = AuditUpkeep(trail_over(server, store), signer, RecordingAuditLog(), 1)
    for number in range(3):
        store.append([AuditRecord("token_issued", NOW * 10**6 + number)])
        upkeep(now=NOW)
    forged = MemoryAuditStore()
    forged.append([AuditRecord("key_retired", NOW * 10**6)] * 3)
    for signed in reversed(store.checkpoints()):
        forged.keep_checkpoint(0, signed)

    with pytest.raises(Broken) as caught:
        audit_verification.verify(forged, signer, exported={}, now=NOW)

    assert caught.value.sequence == 1


def test_a_checkpoint_by_a_foreign_key_is_found(store: MemoryAuditStore, signer: Signer, tmp_path: Path) -> None:
    store.append([AuditRecord("token_issued", NOW * 10**6)])
    foreign = open_signer(tmp_path / "foreign", algorithm="ES256")
    store.keep_checkpoint(1, foreign.sign({"sequence": 1}, typ="audit-checkpoint+jwt"))

    with pytest.raises(Broken, match="no published key signed"):
        audit_verification.verify(store, signer, exported={}, now=NOW)


class PrunedMeanwhile(MemoryAuditStore):
    """A store that a server prunes while its records are read."""

    pruned = False

    def links(self, *, after: int, up_to: int) -> Any:
        """Prune, then read."""
        if not self.pruned:
            self.pruned = True
            self.prune(up_to=1)
        return super().links(after=after, up_to=up_to)


def test_pruning_beside_a_check_is_no_finding(signer: Signer) -> None:
    store = PrunedMeanwhile()
    store.append([AuditRecord("token_issued", (NOW + day * DAY) * 10**6) for day in range(3)])
    old = store.older_than((NOW + DAY) * 10**6)
    sign_head(store, signer, RecordingAuditLog(), now=NOW, pruned=old)

    found = audit_verification.verify(store, signer, exported={}, now=NOW)

    assert (store.pruned, found) == (True, Verified(2, 3, 3))


class SetBack(MemoryAuditStore):
    """A store whose head somebody set back by one record."""

    def head(self) -> Head | None:
        """Return the head of before the last record."""
        (before,) = self.links(after=1, up_to=2)
        return Head(before.sequence, before.hash)


def test_a_record_behind_the_head_is_found(signer: Signer) -> None:
    store = SetBack()
    store.append([AuditRecord("token_issued", NOW * 10**6)] * 3)

    with pytest.raises(Broken, match="record 3 stands behind the head"):
        audit_verification.verify(store, signer, exported={}, now=NOW)
