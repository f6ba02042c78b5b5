"""What a writing request wants, as one value: all that request and token decide, before any store is asked.

The order is: the letters of the token, the headers, the body; so a token that may not write learns nothing of its body.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from authserver.errors import BadRequest, InsufficientScope, InvalidResource, UnsupportedMediaType
from authserver.fhir import exact_json
from authserver.fhir.access import AccessRules, Caller
from authserver.fhir.constraint import Constraint
from authserver.fhir.interactions import bodies, patches
from authserver.fhir.interactions.conditions import Conditions, parse_conditions
from authserver.fhir.request import FhirRequest
from authserver.fhir.search.ast import SearchQuery
from authserver.fhir.search.parser import SearchParser
from authserver.fhir.search_rights import SearchRights
from authserver.fhir.validation.validator import Validator
from authserver.protocol import json_patch

WRITING = ("create", "update", "patch", "delete")

Resource = Mapping[str, Any]


class Message(Protocol):
    """What is read of an HTTP request, or of one entry of a Bundle."""

    @property
    def media_type(self) -> str:
        """The body's type, without parameters, in lower case."""

    @property
    def body(self) -> bytes:
        """The body."""

    def header(self, name: str) -> str | None:
        """Return a header's value, None when it was not sent."""

    def headers(self, name: str) -> list[str]:
        """Return every value of a header."""


@dataclass(frozen=True, slots=True)
class Task:
    """One write. `rights` has a Constraint for each letter that the token has on the type.

    `match` is the search of a conditional write, None for one that names its resource or creates one. `resource` is
    what a create or update sends, valid but for its references; `patch` what a patch sends. `tenant` is whose the
    resource is, once that is known: in a hierarchy a name may mean a relative's.
    """

    caller: Caller
    interaction: str
    resource_type: str
    resource_id: str | None
    rights: Mapping[str, Constraint]
    conditions: Conditions
    match: SearchQuery | None = None
    resource: Resource | None = None
    patch: json_patch.Operations = ()
    tenant: str | None = None

    def right(self, letter: str) -> Constraint:
        """Return the constraint of a letter. Raises InsufficientScope when the token has none."""
        if letter not in self.rights:
            raise InsufficientScope(f"system/{self.resource_type}.{letter}")
        return self.rights[letter]

    def with_resource(self, resource: Resource) -> "Task":
        """Return the same task with another resource."""
        return replace(self, resource=resource)

    def about(self, resource_id: str, *, tenant: str | None = None) -> "Task":
        """Return the task with its condition resolved: it is about the resource of this id, of this tenant if given."""
        resource = {**self.resource, "id": resource_id} if self.resource is not None else None
        return replace(self, resource_id=resource_id, match=None, resource=resource, tenant=tenant)


class TaskReader:
    """Reads tasks from requests that were allowed; knows rules, searches, validation and the reserved tag's system."""

    def __init__(
        self,
        rules: AccessRules,
        parser: SearchParser,
        search_rights: SearchRights,
        *,
        validator: Validator,
        tag_system: str,
    ) -> None:
        self._rules, self._parser, self._search_rights = rules, parser, search_rights
        self._validator, self._tag_system = validator, tag_system

    def read(self, caller: Caller, request: FhirRequest, message: Message) -> Task:
        """Return the task. Raises InsufficientScope, BadRequest, UnsupportedMediaType and InvalidResource."""
        resource_type = request.resource_type or ""
        rights = self._rules.rights(caller, resource_type)
        task = Task(caller, request.interaction, resource_type, request.resource_id, rights, Conditions())
        is_search = request.resource_id is None and request.interaction != "create"
        if is_search or (request.interaction == "create" and message.header("If-None-Exist") is not None):
            task.right("s")
        task = replace(task, conditions=_conditions(request, message))
        pairs = request.parameters if is_search else task.conditions.if_none_exist
        if pairs is not None:
            task = self._matching(task, pairs)
        elif any(name != "_format" for name, _ in request.parameters):
            raise BadRequest("A write takes no parameters but _format.", reason="unexpected_parameter")
        return self._with_body(task, message)

    def validate(self, resource: Resource) -> None:
        """Raise InvalidResource with every finding, if there is one."""
        findings = self._validator.findings(resource)
        if findings:
            raise InvalidResource(findings)

    def tagged(self, resource: Resource, tenant: str, *, shared: bool = False) -> dict[str, Any]:
        """Return the resource with the tenant's tag and no other of the reserved system, or the one of `shared`."""
        return bodies.with_tenant_tag(resource, tenant=tenant, system=self._tag_system, shared=shared)

    def owned(self, task: Task, resource: Resource, *, tenant: str, before: bytes | None) -> dict[str, Any]:
        """Return the resource with the tags of its tenant, as it is to be stored over what was there before.

        Whether it is shared says a caller of that tenant, if there are tenants below; with others it stays as it is.
        """
        told = resource
        if task.caller.tenant != tenant:
            told = exact_json.loads(before) if before is not None else {}
        shared = self._rules.may_share(tenant) and bodies.is_shared(told, system=self._tag_system)
        return self.tagged(resource, tenant, shared=shared)

    def _matching(self, task: Task, pairs: tuple[tuple[str, str], ...]) -> Task:
        """Return the task with the search of its condition, which finds two at most: two are one too many.

        The right to search then reaches the other types that the condition looks at, as in any search (threat H04).
        """
        criteria = tuple(self._parser.criterion(task.resource_type, n, v) for n, v in pairs if n != "_format")
        if not criteria:
            raise BadRequest("A conditional write needs search parameters.", reason="condition_malformed")
        match = SearchQuery(task.resource_type, criteria, 2)
        right = self._search_rights.of_condition(task.caller.scopes, match, tenant=task.caller.tenant)
        return replace(task, match=match, rights={**task.rights, "s": right})

    def _with_body(self, task: Task, message: Message) -> Task:
        if task.interaction == "delete":
            return task
        if task.interaction == "patch":
            asked = json_patch.operations(bodies.patch_body(message.body, message.media_type))
            if patches.tests_values(asked):
                task.right("r")
            return replace(task, patch=asked)
        resource = bodies.typed(bodies.json_body(message.body, message.media_type), task.resource_type)
        if task.interaction == "create":
            # The server chooses the id, whatever the client sent (row C7).
            resource = {name: value for name, value in resource.items() if name != "id"}
        if task.resource_id is not None:
            resource = bodies.identified(resource, task.resource_id)
        tagged = self.owned(task, resource, tenant=task.caller.tenant, before=None)
        self.validate(tagged)
        return task.with_resource(tagged)


def _conditions(request: FhirRequest, message: Message) -> Conditions:
    if message.header("Content-Encoding") not in (None, "identity"):
        raise UnsupportedMediaType(detail="Content-Encoding")
    is_create = request.interaction == "create"
    return parse_conditions(
        if_match=None if is_create else message.header("If-Match"),
        if_none_match=message.header("If-None-Match") if request.interaction == "update" else None,
        if_none_exist=message.header("If-None-Exist") if is_create else None,
        prefer=message.headers("Prefer"),
    )
