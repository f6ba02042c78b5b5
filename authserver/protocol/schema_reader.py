"""Read a JSON Schema before it is compiled: the keywords, the references and the cost of it. PURE."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from authserver.errors import Issue
from authserver.protocol.linear_regex import InvalidRegex, compile_regex

DRAFT_7, DRAFT_2020 = "draft-07", "2020-12"
_DRAFTS = {
    "http://json-schema.org/draft-07/schema": DRAFT_7,
    "https://json-schema.org/draft/2020-12/schema": DRAFT_2020,
}
MAX_DEPTH, MAX_SIZE = 16, 500
"""Levels of a schema, and its subschemas when every reference is written out."""

_ONE = frozenset({"not", "if", "then", "else", "contains", "propertyNames", "additionalProperties"})
_MANY = frozenset({"allOf", "anyOf", "oneOf"})
_NAMED = frozenset({"properties", "patternProperties", "definitions", "$defs"})
_ANNOTATIONS = frozenset({"$schema", "$comment", "title", "description", "default", "examples", "deprecated"})
_VALUES = frozenset(
    {"type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"}
    | {"maxLength", "minLength", "pattern", "maxItems", "minItems", "maxProperties", "minProperties", "required"}
)
_DRAFT_KEYWORDS = {
    DRAFT_7: frozenset({"items", "additionalItems", "dependencies"}),
    DRAFT_2020: frozenset(
        {"items", "prefixItems", "dependentSchemas", "dependentRequired", "minContains", "maxContains"}
    ),
}
_REASONS = {
    "format": "it would not be checked; write pattern, enum or const",
    "uniqueItems": "its cost is the square of the list",
    "$id": "references are resolved within this schema alone",
    "$anchor": "refer by #/definitions/name or #/$defs/name",
}


def read(schema: Mapping[str, Any], *, path: str) -> tuple[str, tuple[Issue, ...]]:
    """Return the draft (`draft-07` unless `$schema` says 2020-12) and what this server does not take."""
    draft = _DRAFTS.get(str(schema.get("$schema", "http://json-schema.org/draft-07/schema")).removesuffix("#"))
    if draft is None:
        return DRAFT_7, (Issue(f"{path}.$schema", "this server knows draft-07 and 2020-12", "not-supported"),)
    reader = _Reader(schema, draft)
    issues = tuple(reader.issues_of(schema, path, depth=0))
    return draft, issues or tuple(_cost_issues(schema, path))


def regexes(schema: Any) -> Iterator[str]:
    """Yield each regular expression of a schema that was read without issues."""
    for inner in subschemas(schema):
        if isinstance(inner.get("pattern"), str):
            yield inner["pattern"]
        yield from inner.get("patternProperties", {})


def subschemas(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the schema and every schema in it, but for those that are just true or false."""
    if isinstance(schema, Mapping):
        yield schema
        for _, child in _children(schema):
            yield from subschemas(child)


def _children(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each schema directly within this one, and how its place is spelled."""
    for name, value in schema.items():
        many = name in _MANY or name == "prefixItems" or (name == "items" and isinstance(value, list))
        if many and isinstance(value, list):
            yield from ((f"{name}[{index}]", child) for index, child in enumerate(value))
        elif (name in _NAMED or name in ("dependentSchemas", "dependencies")) and isinstance(value, Mapping):
            # In draft-07 a dependency may also be a list of names, which is no schema.
            yield from ((f"{name}.{key}", child) for key, child in value.items() if not isinstance(child, list))
        elif name in _ONE or name in ("items", "additionalItems"):
            yield name, value


class _Reader:
    """Finds what one schema has and this server does not take."""

    def __init__(self, root: Mapping[str, Any], draft: str) -> None:
        self._root, self._draft = root, draft
        self._known = _ONE | _MANY | _NAMED | _VALUES | _ANNOTATIONS | _DRAFT_KEYWORDS[draft] | {"$ref"}

    def issues_of(self, schema: Any, path: str, *, depth: int) -> Iterator[Issue]:
        """Yield what is wrong with a schema and those in it."""
        if isinstance(schema, bool):
            return
        if not isinstance(schema, Mapping):
            yield Issue(path, "must be a schema: a map, true or false", "structure")
            return
        if depth > MAX_DEPTH:
            yield Issue(path, f"a schema has at most {MAX_DEPTH} levels", "too-costly")
            return
        yield from self._keyword_issues(schema, path)
        yield from _regex_issues(schema, path)
        yield from self._reference_issues(schema, path)
        for place, child in _children(schema):
            yield from self.issues_of(child, f"{path}.{place}", depth=depth + 1)

    def _keyword_issues(self, schema: Mapping[str, Any], path: str) -> Iterator[Issue]:
        for name in schema:
            if name not in self._known:
                near = get_close_matches(name, self._known, n=1, cutoff=0.8)
                hint = _REASONS.get(name) or (f"did you mean {near[0]}?" if near else "it would have no effect")
                yield Issue(
                    f"{path}.{name}", f"this keyword is not supported in {self._draft}: {hint}", "not-supported"
                )

    def _reference_issues(self, schema: Mapping[str, Any], path: str) -> Iterator[Issue]:
        if "$ref" not in schema:
            return
        if resolve(self._root, schema["$ref"]) is None:
            yield Issue(f"{path}.$ref", "must lead to a place of this schema, as #/definitions/name does", "not-found")
        beside = schema.keys() - _ANNOTATIONS - {"$ref", "definitions"}
        if self._draft == DRAFT_7 and beside:
            # draft-07 section 8.3: "All other properties in a "$ref" object MUST be ignored."
            yield Issue(f"{path}.$ref", "in draft-07 what stands beside $ref has no effect; use allOf", "business-rule")


def resolve(root: Mapping[str, Any], reference: object) -> Mapping[str, Any] | bool | None:
    """Return the schema that `#/definitions/name` or `#/$defs/name` names; None for every other reference."""
    parts = reference.split("/") if isinstance(reference, str) else []
    if len(parts) != 3 or parts[0] != "#" or parts[1] not in ("definitions", "$defs") or "%" in parts[2]:
        return None
    named = root.get(parts[1])
    found = named.get(parts[2].replace("~1", "/").replace("~0", "~")) if isinstance(named, Mapping) else None
    return found if isinstance(found, Mapping | bool) else None


def _regex_issues(schema: Mapping[str, Any], path: str) -> Iterator[Issue]:
    by_name = schema.get("patternProperties")
    sources = {f"patternProperties.{name}": name for name in by_name} if isinstance(by_name, Mapping) else {}
    if isinstance(schema.get("pattern"), str):
        sources["pattern"] = schema["pattern"]
    for place, source in sources.items():
        try:
            compile_regex(source)
        except InvalidRegex as error:
            yield Issue(f"{path}.{place}", f"not a regular expression that this server takes: {error}", "value")


def _cost_issues(root: Mapping[str, Any], path: str) -> Iterator[Issue]:
    """Refuse references that lead back to themselves, and doublings of doublings."""
    try:
        size = _size(root, root, {}, ())
    except RecursionError:
        yield Issue(path, "a reference leads back to itself", "not-supported")
        return
    if size > MAX_SIZE:
        yield Issue(path, f"more than {MAX_SIZE} schemas when every reference is written out", "too-costly")


def _size(schema: Any, root: Mapping[str, Any], known: dict[str, int], within: tuple[str, ...]) -> int:
    """Return how many schemas this is with its references written out; RecursionError for an endless one."""
    if not isinstance(schema, Mapping):
        return 1
    children = (child for place, child in _children(schema) if not place.startswith(("definitions.", "$defs.")))
    size = 1 + sum(_size(child, root, known, within) for child in children)
    reference = schema.get("$ref")
    if reference is None:
        return size
    if reference in within:
        raise RecursionError
    if reference not in known:
        known[reference] = _size(resolve(root, reference), root, known, (*within, reference))
    return size + known[reference]
