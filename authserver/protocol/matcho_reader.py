"""Read a matcho pattern: everything that does not compile is found, each at its place. PURE."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from authserver.errors import Issue
from authserver.protocol import matcho
from authserver.protocol.linear_regex import InvalidRegex, compile_regex
from authserver.protocol.matcho import Node
from authserver.protocol.policy_request import ROOT_MEMBERS

MAX_NODES, MAX_DEPTH, MAX_REGEXES = 1_000, 16, 50
PREDICATES = ("present?", "nil?", "not-blank?")
Place = tuple[str, ...] | None
"""The members that lead from the top of the request to what a pattern is about; None behind a list or a reference."""

_GIVEN = frozenset({"client", "jwt", "tenant"})
"""Members that the caller does not write: only these may say which values are allowed."""

METHOD: Place = ("request-method",)
_NEVER: Node = matcho.OneOfValues(None, ())


def compile_pattern(pattern: object, *, path: str) -> tuple[Node, tuple[Issue, ...]]:
    """Return the pattern for a request and what is wrong with it, at paths that begin with `path`.

    With an issue the node matches nothing of what could not be read: it must not be used.
    """
    reader = _Reader(ROOT_MEMBERS)
    if not isinstance(pattern, Mapping) or not pattern:
        # An empty map would match every request; the engine for that says so by its name.
        return _NEVER, (Issue(path, "must be a map with at least one member", "structure"),)
    return reader.node(pattern, path, place=(), depth=0), tuple(reader.issues)


def compile_any_pattern(pattern: object, *, path: str) -> tuple[Node, tuple[Issue, ...]]:
    """Return the pattern for any JSON value, not only for requests, and what is wrong with it."""
    reader = _Reader(None)
    return reader.node(pattern, path, place=None, depth=0), tuple(reader.issues)


class _Reader:
    """Reads one pattern. `roots`: which members the document can have at its top; None: any."""

    def __init__(self, roots: frozenset[str] | None) -> None:
        self.issues: list[Issue] = []
        self._roots, self._nodes, self._regexes = roots, 0, 0

    def node(self, pattern: Any, path: str, *, place: Place, depth: int) -> Node:
        """Read a pattern of any form."""
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            if self._nodes <= MAX_NODES + 1:
                self._found(path, f"a pattern has at most {MAX_NODES} parts and {MAX_DEPTH} levels", "too-costly")
            return _NEVER
        if isinstance(pattern, Mapping):
            return self._map(pattern, path, place=place, depth=depth)
        if isinstance(pattern, list):
            nodes = (self.node(p, f"{path}[{i}]", place=None, depth=depth + 1) for i, p in enumerate(pattern))
            return matcho.Prefix(pattern, tuple(nodes))
        if isinstance(pattern, str):
            return self._text(pattern, path, place=place)
        return matcho.Equal(pattern, pattern)

    def _found(self, path: str, diagnostics: str, code: str = "value") -> Node:
        self.issues.append(Issue(path, diagnostics, code))
        return _NEVER

    def _text(self, text: str, path: str, *, place: Place) -> Node:
        if text in PREDICATES:
            return matcho.Is(text)
        if text.startswith("#"):
            return self._regex(text, path, ignore_case=place == METHOD)
        if text.startswith("."):
            return matcho.SameAsPath(text, self._keys(text, path))
        return matcho.Equal(text, text, ignore_case=place == METHOD)

    def _regex(self, text: str, path: str, *, ignore_case: bool) -> Node:
        self._regexes += 1
        if self._regexes > MAX_REGEXES:
            return self._found(path, f"a pattern has at most {MAX_REGEXES} regular expressions", "too-costly")
        try:
            return matcho.Found(text, compile_regex(text[1:], ignore_case=ignore_case))
        except InvalidRegex as error:
            return self._found(path, f"not a regular expression that this server takes: {error}")

    def _keys(self, text: str, path: str) -> tuple[str, ...]:
        keys = tuple(text[1:].split("."))
        if not all(keys):
            self._found(path, "a path is .name.name; for text that begins with a dot write {$eq: text}")
        elif self._roots is not None:
            self._check_root(keys[0], path)
        return keys

    def _check_root(self, name: str, path: str) -> None:
        if self._roots is not None and name not in self._roots:
            near = get_close_matches(name.lower().replace("_", "-"), self._roots, n=1)
            hint = f"did you mean {near[0]}?" if near else f"they have {', '.join(sorted(self._roots))}"
            self._found(path, f"this server's requests have no such member; {hint}", "not-supported")

    def _map(self, pattern: Mapping[str, Any], path: str, *, place: Place, depth: int) -> Node:
        members: list[tuple[str, Node]] = []
        nodes: list[Node] = []
        for name, inner in pattern.items():
            at = f"{path}.{name}"
            if name.startswith("$"):
                nodes.append(self._operator(name, inner, at, place=place, depth=depth + 1))
                continue
            if place == ():
                self._check_root(name, at)
            inside = None if place is None else (*place, name)
            members.append((name, self.node(inner, at, place=inside, depth=depth + 1)))
        if "$one-of" in pattern and len(pattern) > 1:
            self._found(f"{path}.$one-of", "must be alone in its map", "business-rule")
        if members or not nodes:
            nodes.append(matcho.Members(pattern, tuple(members)))
        return nodes[0] if len(nodes) == 1 else matcho.All(tuple(nodes))

    def _operator(self, name: str, inner: Any, path: str, *, place: Place, depth: int) -> Node:
        operators: Mapping[str, Callable[..., Node]] = {
            "$enum": self._enum,
            "$eq": self._equal,
            "$one-of": self._one_of,
            "$contains": self._contains,
            "$present-all": self._contains_all,
            "$every": self._every,
            "$not": self._not,
            "$reference": self._reference,
            "$length": self._length,
        }
        if name in operators:
            return operators[name](inner, path, place=place, depth=depth)
        near = get_close_matches(name, operators, n=1)
        hint = f"did you mean {near[0]}?" if near else f"they are {', '.join(operators)}"
        return self._found(path, f"no operator of patterns; {hint}", "not-supported")

    def _enum(self, inner: Any, path: str, *, place: Place, depth: int) -> Node:  # noqa: ARG002 -- as the others
        if not isinstance(inner, list) or not inner or not all(map(_is_scalar, inner)):
            return self._found(path, "must be a list of at least one text, number, boolean or null")
        self._nodes += len(inner)
        return matcho.OneOfValues({"$enum": inner}, tuple(inner), ignore_case=place == METHOD)

    def _equal(self, inner: Any, path: str, *, place: Place, depth: int) -> Node:  # noqa: ARG002 -- as the others
        if not _is_scalar(inner):
            return self._found(path, "must be a text, a number, a boolean or null")
        return matcho.Equal({"$eq": inner}, inner, ignore_case=place == METHOD)

    def _one_of(self, inner: Any, path: str, *, place: Place, depth: int) -> Node:
        if isinstance(inner, str) and inner.startswith("."):
            return self._one_of_path(inner, path)
        return matcho.OneOf({"$one-of": inner}, self._patterns(inner, path, place=place, depth=depth))

    def _one_of_path(self, inner: str, path: str) -> Node:
        keys = self._keys(inner, path)
        if self._roots is not None and keys[0] in self._roots - _GIVEN:
            return self._found(path, f"the caller would choose what is allowed; use {', '.join(sorted(_GIVEN))}")
        return matcho.OneOfPath({"$one-of": inner}, keys)

    def _contains(self, inner: Any, path: str, *, place: Place, depth: int) -> Node:  # noqa: ARG002 -- as the others
        return matcho.Contains({"$contains": inner}, (self.node(inner, path, place=None, depth=depth),))

    def _contains_all(self, inner: Any, path: str, *, place: Place, depth: int) -> Node:  # noqa: ARG002 -- as the others
        return matcho.Contains({"$present-all": inner}, self._patterns(inner, path, place=None, depth=depth))

    def _every(self, inner: Any, path: str, *, place: Place, depth: int) -> Node:  # noqa: ARG002 -- as the others
        return matcho.Every({"$every": inner}, self.node(inner, path, place=None, depth=depth))

    def _not(self, inner: Any, path: str, *, place: Place, depth: int) -> Node:
        return matcho.Not({"$not": inner}, self.node(inner, path, place=place, depth=depth))

    def _reference(self, inner: Any, path: str, *, place: Place, depth: int) -> Node:  # noqa: ARG002 -- as the others
        return matcho.Refers({"$reference": inner}, self.node(inner, path, place=None, depth=depth))

    def _length(self, inner: Any, path: str, *, place: Place, depth: int) -> Node:  # noqa: ARG002 -- as the others
        if isinstance(inner, bool) or not isinstance(inner, int) or inner < 0:
            return self._found(path, "must be a number of elements")
        return matcho.Length({"$length": inner}, inner)

    def _patterns(self, inner: Any, path: str, *, place: Place, depth: int) -> tuple[Node, ...]:
        if not isinstance(inner, list) or not inner:
            self._found(path, "must be a list of at least one pattern")
            return ()
        return tuple(self.node(p, f"{path}[{i}]", place=place, depth=depth) for i, p in enumerate(inner))


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
