"""Known traps of policies: valid, and yet perhaps not what was meant. Warnings for the author, no refusal. PURE."""

from collections.abc import Iterator, Mapping
from typing import Any

from authserver.errors import Issue
from authserver.protocol import matcho_lint, policy
from authserver.protocol.policy_request import ROOT_MEMBERS
from authserver.protocol.policy_rules import ALLOW, COMPLEX, JSON_SCHEMA, MATCHO

_KNOWN = frozenset(
    {"resourceType", "id", "meta", "engine", "link", "description", "mode", "matcho", "schema", "and", "or"}
)
_WHOSE = ("client", "jwt", "tenant")
_NO_LINK = "without a link this is for every client"


def warnings(body: Mapping[str, Any]) -> tuple[Issue, ...]:
    """Return a warning for each trap in an AccessPolicy, at its place; raises InvalidResource for an invalid one."""
    read = policy.from_resource(body, policy_id=str(body.get("id") or "-"))
    found = [*_mode_traps(read), *_link_traps(read, body), *_unknown_members(body), *_rule_traps(body, "AccessPolicy")]
    return tuple(Issue(path, what, "informational", "warning") for path, what in found)


def _mode_traps(read: policy.AccessPolicy) -> Iterator[matcho_lint.Trap]:
    if read.shadow:
        yield "AccessPolicy.mode", "in shadow mode a policy allows nothing; $impact tells what it would allow"


def _link_traps(read: policy.AccessPolicy, body: Mapping[str, Any]) -> Iterator[matcho_lint.Trap]:
    if not read.clients and not read.operations:
        if read.engine == ALLOW:
            yield "AccessPolicy.link", f"{_NO_LINK}, and it allows everything"
        elif not _looks_at_the_caller(body):
            yield "AccessPolicy.link", f"{_NO_LINK}, and its condition looks at none of {', '.join(_WHOSE)}"
    what = "everything" if read.engine == ALLOW else "whatever the condition allows"
    operations, clients = ", ".join(sorted(read.operations)), ", ".join(sorted(read.clients))
    if clients and operations:
        # Both at once are the documented trap: entries of link are alternatives.
        said = (
            f"links are alternatives: {clients} may do {what}, and every client may do {operations}; write two policies"
        )
        yield "AccessPolicy.link", said if read.engine == ALLOW else f"{said}, or look at operation.id in the condition"
    elif operations and read.engine == ALLOW:
        yield "AccessPolicy.link", f"every client may do {operations}"


def _looks_at_the_caller(condition: Any) -> bool:
    """Say whether one of the members that tell whose request it is occurs as a name or in a path."""
    if isinstance(condition, Mapping):
        return any(name in _WHOSE or _looks_at_the_caller(inner) for name, inner in condition.items())
    if isinstance(condition, list):
        return any(map(_looks_at_the_caller, condition))
    return isinstance(condition, str) and (condition in _WHOSE or condition.startswith(tuple(f".{w}" for w in _WHOSE)))


def _unknown_members(body: Mapping[str, Any]) -> Iterator[matcho_lint.Trap]:
    for name in body:
        if name not in _KNOWN:
            yield f"AccessPolicy.{name}", "unknown member: it is kept and has no effect"


def _rule_traps(body: Mapping[str, Any], path: str) -> Iterator[matcho_lint.Trap]:
    engine = body["engine"]
    if engine == MATCHO:
        yield from matcho_lint.traps(body["matcho"], f"{path}.matcho")
    elif engine == JSON_SCHEMA:
        yield from _schema_traps(body["schema"], f"{path}.schema", place=())
    elif engine == COMPLEX:
        operator = "and" if "and" in body else "or"
        for index, part in enumerate(body[operator]):
            at = f"{path}.{operator}[{index}]"
            if part["engine"] == ALLOW:
                effect = "all of this policy allows everything" if operator == "or" else "this part has no effect"
                yield at, f"allow is always true, so {effect}"
            yield from _rule_traps(part, at)


def _schema_traps(schema: Any, path: str, *, place: tuple[str, ...]) -> Iterator[matcho_lint.Trap]:
    """Look at the schema of each member; what stands behind not, if and references is not judged."""
    if not isinstance(schema, Mapping):
        return
    named, required = schema.get("properties", {}), schema.get("required", [])
    for name, inner in named.items():
        at = f"{path}.properties.{name}"
        if not place and name not in ROOT_MEMBERS:
            yield at, "this server's requests have no such member"
        if name not in required:
            yield at, "holds also where the member is missing; add it to required"
        yield from _schema_traps(inner, at, place=(*place, name))
    if place == ("request-method",):
        yield from _method_traps(schema, path)
    if "pattern" in schema:
        found = matcho_lint.traps(f"#{schema['pattern']}", f"{path}.pattern", place=place)
        yield from found
    for keyword in ("allOf", "anyOf", "oneOf"):
        for index, inner in enumerate(schema.get(keyword, [])):
            yield from _schema_traps(inner, f"{path}.{keyword}[{index}]", place=place)


def _method_traps(schema: Mapping[str, Any], path: str) -> Iterator[matcho_lint.Trap]:
    for keyword in ("const", "enum"):
        values = schema[keyword] if keyword == "enum" and "enum" in schema else [schema.get(keyword)]
        for value in values:
            if isinstance(value, str) and (value != value.lower() or value == "head"):
                yield f"{path}.{keyword}", "methods are in small letters, and HEAD is judged as get: this never fits"
