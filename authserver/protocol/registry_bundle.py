"""Documents that say what shall be registered: one resource, a list, or a Bundle `transaction` of PUTs. PURE.

`${NAME}` in a text stands for a variable, `$${NAME}` for itself. A value is filled in after the document was parsed, so
whatever it holds stays one text.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from authserver.errors import InvalidResource, Issue
from authserver.protocol import strict_json
from authserver.protocol.client import RESOURCE_ID

MAX_BYTES = 1_048_576
TYPES = ("Client", "AccessPolicy")
"""In this order they are stored: a policy names clients."""

_VARIABLE = re.compile(r"(\$?)\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A resource that shall be registered; `place` is where the document says so, for example `entry[2].resource`."""

    resource_type: str
    id: str
    body: Mapping[str, Any]
    place: str

    def located(self, issue: Issue) -> str:
        """Return a finding about the resource as one line that begins with its place in the document."""
        path = issue.expression.removeprefix(self.resource_type)
        return f"{self.place}{path}: {issue.diagnostics}".removeprefix(".")


def parse(data: bytes, *, name: str) -> Any:
    """Return the value of a document: YAML, or JSON when the file's name ends in .json.

    Raises InvalidResource with one issue that says why it is none.
    """
    return _from_json(data) if name.endswith(".json") else _from_yaml(data)


def _from_json(data: bytes) -> Any:
    try:
        return strict_json.loads(data)
    except strict_json.MalformedJson as error:
        raise InvalidResource((Issue("", str(error), "structure"),)) from error


def _from_yaml(data: bytes) -> Any:
    from authserver.protocol import strict_yaml  # most servers never read any

    try:
        return strict_yaml.loads(data, max_bytes=MAX_BYTES)
    except strict_yaml.MalformedYaml as error:
        raise InvalidResource((Issue("", str(error), "structure"),)) from error


def wanted(document: Any, variables: Mapping[str, str], *, bundle_only: bool = False) -> tuple[Wanted, ...]:
    """Return what the document says, clients first. Raises InvalidResource with every finding and its path."""
    issues: list[Issue] = []
    filled = _filled(document, variables, "", issues)
    found = [_read(value, place, issues) for value, place in _resources(filled, issues, bundle_only=bundle_only)]
    read = [one for one in found if one is not None]
    seen: set[tuple[str, str]] = set()
    for one in read:
        if (one.resource_type, one.id) in seen:
            issues.append(Issue(one.place, f"{one.resource_type}/{one.id} is there twice", "duplicate"))
        seen.add((one.resource_type, one.id))
    if issues:
        raise InvalidResource(tuple(issues))
    return tuple(sorted(read, key=lambda one: TYPES.index(one.resource_type)))


def escaped(value: Any) -> Any:
    """Return the value such that wanted() reads it as it is, whatever looks like a variable in its texts."""
    if isinstance(value, dict):
        return {name: escaped(member) for name, member in value.items()}
    if isinstance(value, list):
        return [escaped(member) for member in value]
    return _VARIABLE.sub(lambda match: f"${match[0]}", value) if isinstance(value, str) else value


def _filled(value: Any, variables: Mapping[str, str], place: str, issues: list[Issue]) -> Any:
    """Return the value with its variables; one that is not set is a finding."""
    if isinstance(value, dict):
        return {
            name: _filled(member, variables, f"{place}.{name}".removeprefix("."), issues)
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [_filled(member, variables, f"{place}[{index}]", issues) for index, member in enumerate(value)]
    if not isinstance(value, str):
        return value

    def substitute(match: re.Match[str]) -> str:
        escaped, name = match.groups()
        if escaped:
            return match[0][1:]
        if name not in variables:
            issues.append(Issue(place, f"the variable {name} is not set", "not-found"))
        return variables.get(name, "")

    return _VARIABLE.sub(substitute, value)


def _resources(document: Any, issues: list[Issue], *, bundle_only: bool) -> Iterator[tuple[Any, str]]:
    is_bundle = isinstance(document, dict) and document.get("resourceType") == "Bundle"
    if bundle_only and not is_bundle:
        issues.append(Issue("", "must be a Bundle of the type transaction", "structure"))
    elif is_bundle:
        yield from _entries(document, issues)
    elif isinstance(document, list):
        yield from ((resource, f"[{index}]") for index, resource in enumerate(document))
    else:
        yield document, ""


def _entries(bundle: Mapping[str, Any], issues: list[Issue]) -> Iterator[tuple[Any, str]]:
    if bundle.get("type") != "transaction":
        issues.append(Issue("type", "must be transaction", "value"))
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        issues.append(Issue("entry", "must be a list", "structure"))
        return
    for index, entry in enumerate(entries):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict):
            issues.append(Issue(f"entry[{index}].resource", "must be a resource", "structure"))
            continue
        identity = _target(entry.get("request"))
        if identity is None:
            what = "must be {method: PUT, url: TYPE/ID} with the type Client or AccessPolicy"
            issues.append(Issue(f"entry[{index}].request", what, "value"))
            continue
        yield {"resourceType": identity[0], "id": identity[1], **resource}, f"entry[{index}].resource"
        for name, said in zip(("resourceType", "id"), identity, strict=True):
            if resource.get(name, said) != said:
                issues.append(Issue(f"entry[{index}].resource.{name}", f"is not the {said} of the request", "value"))


def _target(request: Any) -> tuple[str, str] | None:
    """Return type and id of a PUT, or None."""
    if not isinstance(request, dict) or request.get("method") != "PUT" or not isinstance(request.get("url"), str):
        return None
    resource_type, _, resource_id = request["url"].removeprefix("/").partition("/")
    return (resource_type, resource_id) if resource_type in TYPES and RESOURCE_ID.fullmatch(resource_id) else None


def _read(resource: Any, place: str, issues: list[Issue]) -> Wanted | None:
    if not isinstance(resource, dict) or resource.get("resourceType") not in TYPES:
        issues.append(Issue(place, f"must be a resource with the resourceType {' or '.join(TYPES)}", "structure"))
        return None
    resource_id = resource.get("id")
    if not isinstance(resource_id, str) or RESOURCE_ID.fullmatch(resource_id) is None:
        issues.append(Issue(f"{place}.id".removeprefix("."), "an id is 1 to 64 of A-Z a-z 0-9 - .", "value"))
        return None
    return Wanted(resource["resourceType"], resource_id, resource, place)
