"""What the audit keeps of a change of the registry: who made it, and what was before and after, without any secret."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from authserver.errors import AuthServerError
from authserver.protocol import audit_diff
from authserver.protocol.audit_record import AuditRecord
from authserver.services.audit_trail import AuditTrail
from authserver.services.ports import CLIENT, ChangeRecord, StoredResource


def change_record(
    trail: AuditTrail, actor: str, now: int, *, secret_changed: bool = False, revoked: bool = False
) -> ChangeRecord | None:
    """Return what makes the record of a new version; None where nothing is recorded. `now` in microseconds."""
    if not trail.is_on:
        return None

    def made(before: StoredResource | None, after: StoredResource) -> AuditRecord:
        old = {} if before is None else before.body
        facts: dict[str, object] = {
            "version_id": after.version_id,
            "changes": audit_diff.changes(old, after.body, secret_changed=secret_changed),
        }
        if revoked:
            facts["tokens_revoked"] = True
        event = "resource_created" if before is None else "resource_updated"
        return trail.of_this_request(_changed(event, actor, after, now=now, facts=facts))

    return made


def deletion_record(trail: AuditTrail, actor: str, now: int) -> ChangeRecord | None:
    """Return what makes the record of a deletion; None where nothing is recorded. `now` in microseconds."""
    if not trail.is_on:
        return None

    def made(_before: StoredResource | None, last: StoredResource) -> AuditRecord:
        facts = {"version_id": last.version_id, "changes": audit_diff.changes(last.body, {})}
        return trail.of_this_request(_changed("resource_deleted", actor, last, now=now, facts=facts))

    return made


def _changed(event: str, actor: str, stored: StoredResource, *, now: int, facts: Mapping[str, object]) -> AuditRecord:
    entity, tenant = f"{stored.resource_type}/{stored.id}", stored.body.get("tenant")
    own = tenant if stored.resource_type == CLIENT else None
    return AuditRecord(event, now, agent=actor, entity=entity, tenant=own, facts=facts)


@contextmanager
def refused_to(actor: str) -> Iterator[None]:
    """Let a refusal say whom it was told: this proven client."""
    try:
        yield
    except AuthServerError as error:
        error.client_id = actor
        raise
