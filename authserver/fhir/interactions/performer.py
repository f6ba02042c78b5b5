"""Do one task in a session: find, compare, write, audit. Everything here is undone when an error passes through.

What a constraint hides is as what is not there, in every answer (docs/fhir-api.md has the table).
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from authserver.errors import BadRequest, Forbidden, NotFound
from authserver.fhir.constraint import Constraint
from authserver.fhir.interactions import patches
from authserver.fhir.interactions.audit_event import AuditWriter
from authserver.fhir.interactions.conditions import PreconditionFailed
from authserver.fhir.interactions.reference_check import ReferenceCheck, Reviewed
from authserver.fhir.interactions.task import Task, TaskReader
from authserver.fhir.store.port import FhirSession, Stored

Resource = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended: the status, and the version that is current now, if the answer tells of one.

    `shows_body` says whether the caller may see it; `before` is what was stored before the write.
    """

    task: Task
    status: int
    stored: Stored | None = None
    before: Stored | None = None
    shows_body: bool = False
    wrote: bool = False


class ReadOnly(Forbidden):
    """A tenant above shares the resource: the caller may read it, so it may know why it cannot write (row X24)."""

    default_reason = "shared_read_only"
    default_public = "The resource is shared by a tenant above; it is read-only here."


def new_id() -> str:
    """Return an id for a new resource, which nobody can guess."""
    return str(uuid.uuid4())


class Performer:
    """Does tasks; the caller's constraints are in them."""

    def __init__(self, reader: TaskReader, checks: ReferenceCheck, audit: AuditWriter, *, max_bytes: int) -> None:
        self._reader, self._checks, self._audit, self._max_bytes = reader, checks, audit, max_bytes

    def alone(self, session: FhirSession, task: Task, *, now: int, request_id: str) -> Outcome:
        """Do a task that is a request by itself; `now` is in microseconds."""
        resolved = self.resolved(session, task, resource_id=new_id())
        outcome = self.apply(session, resolved, now=now) if isinstance(resolved, Task) else resolved
        self.finish(session, [outcome], now=now, request_id=request_id)
        return outcome

    def finish(self, session: FhirSession, outcomes: Sequence[Outcome], *, now: int, request_id: str) -> None:
        """Check the references of what was written, then record what was done; last, when everything is written."""
        self._checks.check(session, [_reviewed(one) for one in outcomes if one.wrote])
        for outcome in outcomes:
            self._audit.write(
                session, outcome.task, outcome.stored, wrote=outcome.wrote, now=now, request_id=request_id
            )

    def resolved(self, session: FhirSession, task: Task, *, resource_id: str) -> Task | Outcome:
        """Return the task with the id that it is about, or its outcome when its condition leaves nothing to do.

        `resource_id` is the id that a new resource gets. Raises NotFound, PreconditionFailed, VersionConflict and
        BadRequest.
        """
        if task.match is None:
            return task.about(resource_id) if task.interaction == "create" else task
        found = self._found(session, task)
        match task.interaction:
            case "create":
                return task.about(resource_id) if found is None else self._outcome(session, task, 200, found)
            case "update":
                return self._update_of(session, task, found, resource_id=resource_id)
            case "delete" if found is None:
                return Outcome(task, 204)
        if found is None:
            raise NotFound
        return task.about(found.id, tenant=found.tenant)

    def located(self, session: FhirSession, task: Task, letter: str) -> Constraint:
        """Return the letter's constraint on the one tenant whose resource the task is about.

        A name means to a write what it means to a read by the same token, so that nothing is overwritten that was not
        read (row X24); what is not there would be the caller's own. Raises ReadOnly and InsufficientScope.
        """
        right = task.right(letter)
        if letter == "c" or (task.tenant is None and all(one.view is None for one in task.rights.values())):
            return right
        found = self._named(session, task, letter) if task.tenant is None else None
        tenant = found.tenant if found is not None else task.tenant or task.caller.tenant
        if not right.reaches_all_of(tenant):
            raise ReadOnly
        return right.only(tenant)

    def tenant_of(self, session: FhirSession, task: Task) -> str:
        """Return the tenant whose the resource of a create or update is, or will be. Raises as located() does."""
        return self.located(session, task, "c" if task.interaction == "create" else "u").tenant

    def _named(self, session: FhirSession, task: Task, letter: str) -> Stored | None:
        """Return what the task's name means: what the token reads, else what it finds, else what it may change."""
        rights = (task.rights[one] for one in ("r", "s", letter) if one in task.rights)
        read = (session.reads.read(right, task.resource_type, task.resource_id or "") for right in rights)
        return next((one for one in read if one is not None), None)

    def apply(self, session: FhirSession, task: Task, *, now: int) -> Outcome:
        """Do a task that says which resource it is about. Raises what docs/fhir-api.md says."""
        match task.interaction:
            case "create":
                return self._written(session, task, task.right("c"), _sent(task), method="POST", now=now)
            case "update":
                return self._update(session, task, now=now)
            case "patch":
                return self._patch(session, task, now=now)
        return self._delete(session, task, now=now)

    def _found(self, session: FhirSession, task: Task) -> Stored | None:
        """Return what a conditional task matches, as far as the caller may search (threat H07)."""
        assert task.match is not None
        constraint = task.right("s")
        if task.interaction == "delete":
            constraint = constraint.narrowed(task.right("d"))
        matches = session.search(constraint, task.match).matches
        if len(matches) > 1:
            raise PreconditionFailed("The condition matches several resources.", reason="several_matches")
        return matches[0] if matches else None

    def _update_of(self, session: FhirSession, task: Task, found: Stored | None, *, resource_id: str) -> Task:
        """Return the update of the match, or the creation where there is none and the token may create."""
        sent_id = _sent(task).get("id")
        if found is not None:
            if sent_id not in (None, found.id):
                raise BadRequest("The resource's id is not that of the match.", reason="id_mismatch")
            return task.about(found.id, tenant=found.tenant)
        if "c" not in task.rights:
            raise NotFound(detail="nothing matches, and the token may not create")
        task.conditions.check(None)
        if sent_id is None:
            return replace(task, interaction="create").about(resource_id)
        # Creating by name is update-as-create: for a `u` that reaches everything, and never over what is there.
        if not task.right("u").is_everything:
            raise NotFound(detail="a constraint with criteria creates nothing by name")
        named = task.about(sent_id)
        if session.read(self.located(session, named, "u"), task.resource_type, sent_id) is not None:
            raise PreconditionFailed("The resource exists already, and does not match.", reason="exists_already")
        return replace(named, interaction="create")

    def _update(self, session: FhirSession, task: Task, *, now: int) -> Outcome:
        """Update the resource of this id, or create it where the token's `u` reaches everything."""
        right = self.located(session, task, "u")
        current = session.read(right, task.resource_type, task.resource_id or "")
        if current is None and not right.is_everything:
            raise NotFound(detail="a constraint with criteria creates nothing by name")
        if current is None and right.tenant != task.caller.tenant:
            raise NotFound(detail="what is made is the caller's own")
        task.conditions.check(current.version_tag(task.caller.tenant) if current is not None else None)
        before = current.body if current is not None else None
        resource = self._reader.owned(task, _sent(task), tenant=right.tenant, before=before)
        return self._written(session, task, right, resource, method="PUT", before=current, now=now)

    def _patch(self, session: FhirSession, task: Task, *, now: int) -> Outcome:
        right = self.located(session, task, "u")
        current = session.read(right, task.resource_type, task.resource_id or "")
        if current is None:
            raise NotFound
        task.conditions.check(current.version_tag(task.caller.tenant))
        result = patches.patched(current.body, task.patch, max_bytes=self._max_bytes)
        tagged = self._reader.owned(task, result, tenant=right.tenant, before=current.body)
        self._reader.validate(tagged)
        return self._written(session, task, right, tagged, method="PATCH", before=current, now=now)

    def _delete(self, session: FhirSession, task: Task, *, now: int) -> Outcome:
        right, resource_id = self.located(session, task, "d"), task.resource_id or ""
        current = session.read(right, task.resource_type, resource_id)
        if current is None:
            # Deleting what is not there is done already; hidden and absent are one.
            return Outcome(task, 204)
        task.conditions.check(current.version_tag(task.caller.tenant))
        return Outcome(task, 204, session.delete(right, task.resource_type, resource_id, now=now), before=current)

    def _written(
        self,
        session: FhirSession,
        task: Task,
        right: Constraint,
        resource: Resource,
        *,
        method: str,
        now: int,
        before: Stored | None = None,
    ) -> Outcome:
        written = session.put(right, resource, method=method, now=now)
        outcome = self._outcome(session, task, 201 if written.created else 200, written.stored)
        return Outcome(task, outcome.status, written.stored, before, outcome.shows_body, wrote=True)

    def _outcome(self, session: FhirSession, task: Task, status: int, stored: Stored) -> Outcome:
        """Return the outcome; the body is for callers who could read it."""
        right = task.rights.get("r")
        if right is None or stored.tenant not in right.tenants:
            return Outcome(task, status, stored, shows_body=False)
        own = right.only(stored.tenant)
        everything = own.is_everything and own.reaches_all_of(stored.tenant)
        readable = everything or session.reached(own, stored.resource_type, [stored.id])
        return Outcome(task, status, stored, shows_body=bool(readable))


def _sent(task: Task) -> Resource:
    assert task.resource is not None
    return task.resource


def _reviewed(outcome: Outcome) -> Reviewed:
    assert outcome.stored is not None
    return Reviewed(outcome.task.caller, outcome.stored, outcome.before)
