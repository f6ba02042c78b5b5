"""Refuse references that lead nowhere, as far as the caller can see: missing, another tenant's and hidden are one.

Only what the write adds is looked at, so that a target that was deleted since does not block later changes.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from authserver.errors import InvalidResource, Issue
from authserver.fhir import exact_json
from authserver.fhir.access import AccessRules, Caller
from authserver.fhir.interactions.links import Key, Links
from authserver.fhir.store.port import FhirSession, Stored


class UnresolvedReference(InvalidResource):
    """A reference leads to nothing that the caller may read or search (row C8, threats H11 and H13)."""

    default_reason = "unresolved_reference"

    def __init__(self, resource_type: str) -> None:
        sentence = "A reference leads to no resource that this token may read or search."
        super().__init__((Issue(resource_type, sentence, "not-found"),))


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One write whose references are checked: who wrote, what is stored now, and what was before."""

    caller: Caller
    stored: Stored
    before: Stored | None


class ReferenceCheck:
    """Knows the rules of access, and how references are found."""

    def __init__(self, rules: AccessRules, links: Links) -> None:
        self._rules, self._links = rules, links

    def check(self, session: FhirSession, written: Sequence[Reviewed]) -> None:
        """Raise UnresolvedReference for the first write that adds a reference to nothing; `written` is of one caller.

        What the session itself wrote is there for every entry of it, of the same tenant.
        """
        for tenant in dict.fromkeys(one.stored.tenant for one in written):
            self._check_tenant(session, tenant, [one for one in written if one.stored.tenant == tenant])

    def _check_tenant(self, session: FhirSession, tenant: str, written: Sequence[Reviewed]) -> None:
        own = {(one.stored.resource_type, one.stored.id) for one in written}
        added = {position: self._added(one) - own for position, one in enumerate(written)}
        wanted = frozenset[Key]().union(*added.values())
        missing = wanted - self._reached(session, written[0].caller, wanted, tenant=tenant) if wanted else frozenset()
        for position, keys in added.items():
            if keys & missing or self._lead_nowhere(written[position]):
                raise UnresolvedReference(written[position].stored.resource_type)

    def _added(self, one: Reviewed) -> frozenset[Key]:
        now = self._links.local(exact_json.loads(one.stored.body))
        return now - self._links.local(exact_json.loads(one.before.body)) if one.before is not None else now

    def _lead_nowhere(self, one: Reviewed) -> bool:
        """Say whether the write adds a reference that only a Bundle could have resolved."""
        now = self._links.nowhere(exact_json.loads(one.stored.body))
        return bool(now and (one.before is None or now - self._links.nowhere(exact_json.loads(one.before.body))))

    def _reached(self, session: FhirSession, caller: Caller, wanted: frozenset[Key], *, tenant: str) -> frozenset[Key]:
        """Return which of the references of a tenant's resource lead to something that the caller sees."""
        ids: defaultdict[str, list[str]] = defaultdict(list)
        for resource_type, resource_id in sorted(wanted):
            ids[resource_type].append(resource_id)
        return frozenset(
            (resource_type, resource_id)
            for resource_type, of_type in ids.items()
            for resource_id in session.reached(
                self._rules.visible(caller, resource_type).referred_to(tenant), resource_type, of_type
            )
        )
