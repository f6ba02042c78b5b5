"""Changes of the registry that say their resource by criteria, and changes of a part of one."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from authserver.errors import VersionConflict
from authserver.protocol import json_patch
from authserver.protocol.registry_search import RegistrySearch
from authserver.services.ports import StoredResource
from authserver.services.registration import Registration
from authserver.services.registry_view import RegistryView


def _random_id() -> str:
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class ConditionalChanges:
    """The use cases, over the registration. `now` in microseconds, `actor` as there."""

    registration: Registration
    new_id: Callable[[], str] = _random_id

    def create(self, resource_type: str, body: Mapping[str, Any], *, actor: str, now: int) -> StoredResource:
        """Store a new resource under the body's id, or under a random one. Raises AlreadyExists, InvalidResource."""
        resource_id = _id_of(body) or self.new_id()
        return self.registration.create(resource_type, resource_id, body, actor=actor, now=now)

    def put(
        self, resource_type: str, search: RegistrySearch, body: Mapping[str, Any], *, actor: str, now: int
    ) -> StoredResource:
        """Change the one resource that matches, or create one when none does.

        What is created has the body's id, else the one that `_id` alone names, else a random one. Raises
        VersionConflict when several match, or when the one was changed meanwhile.
        """
        found = self._at_most_one(resource_type, search)
        if found is not None:
            return self.registration.put(resource_type, found.id, body, actor=actor, now=now, if_match=found.version_id)
        named = _id_of(body) or (next(iter(search.ids)) if search.ids and len(search.ids) == 1 else None)
        return self.registration.create(resource_type, named or self.new_id(), body, actor=actor, now=now)

    def delete(self, resource_type: str, search: RegistrySearch, *, actor: str, now: int) -> StoredResource | None:
        """Delete the one resource that matches and return its last version; None when none does.

        Raises VersionConflict when several match, or when the one was changed meanwhile.
        """
        found = self._at_most_one(resource_type, search)
        if found is None:
            return None
        return self.registration.delete(resource_type, found.id, actor=actor, now=now, if_match=found.version_id)

    def patch(
        self, resource_type: str, resource_id: str, patch: object, *, actor: str, now: int, if_match: int | None
    ) -> StoredResource:
        """Apply a JSON Patch to the current version and store the result as the next.

        Raises NotFound, BadRequest, InvalidResource, and VersionConflict also when somebody was faster.
        """
        before = self.registration.get(resource_type, resource_id)
        if if_match is not None and if_match != before.version_id:
            raise VersionConflict(detail=f"{before.version_id} is not {if_match}")
        body = json_patch.apply(before.body, patch)
        return self.registration.put(resource_type, resource_id, body, actor=actor, now=now, if_match=before.version_id)

    def _at_most_one(self, resource_type: str, search: RegistrySearch) -> StoredResource | None:
        found = RegistryView(self.registration.store).search(resource_type, search)
        if len(found) > 1:
            raise VersionConflict("More than one resource matches.", detail=resource_type, reason="several_match")
        return found[0] if found else None


def _id_of(body: Mapping[str, Any]) -> str | None:
    """Return the id that the body names; what is no text is left to the rules of the resource."""
    named = body.get("id")
    return named if isinstance(named, str) and named else None
