"""Read the condition of a policy: its engine and what the engine needs, nothing that it would not look at. PURE."""

from collections.abc import Mapping
from typing import Any

from authserver.errors import Issue
from authserver.protocol.matcho_reader import compile_pattern
from authserver.protocol.policy_rules import (
    ALLOW,
    COMPLEX,
    JSON_SCHEMA,
    MATCHO,
    Allow,
    Complex,
    JsonSchema,
    Matcho,
    Rule,
)

ENGINES = (ALLOW, MATCHO, JSON_SCHEMA, COMPLEX)
_CONDITIONS_OF = {ALLOW: (), MATCHO: ("matcho",), JSON_SCHEMA: ("schema",), COMPLEX: ("and", "or")}
_CONDITIONS = ("and", "clj", "matcho", "or", "roleName", "rpc", "schema", "sql", "type")
MAX_DEPTH, MAX_PARTS = 8, 100
_RPC = "this server has no RPC interface, so the engine would never be asked"
_REFUSED = {
    "sql": "this server executes no SQL that a policy brings along",
    "clj": "this server executes no code that a policy brings along",
    "allow-rpc": _RPC,
    "matcho-rpc": _RPC,
    "signed-rpc": _RPC,
    "smart-on-fhir": "SMART scopes are checked for every request, whatever the policies say",
}


def read_rule(body: Mapping[str, Any]) -> tuple[Rule | None, tuple[Issue, ...]]:
    """Return the rule of an AccessPolicy, None when it cannot be used, and what is wrong with it."""
    reader = _Reader()
    rule = reader.rule(body, "AccessPolicy", depth=0)
    return (None if reader.issues else rule), tuple(reader.issues)


class _Reader:
    """Reads one policy with all its parts."""

    def __init__(self) -> None:
        self.issues: list[Issue] = []
        self._parts = 0

    def rule(self, body: Mapping[str, Any], path: str, *, depth: int) -> Rule | None:
        """Read a policy or a part of one."""
        engine = body.get("engine")
        if engine not in ENGINES:
            self._found(f"{path}.engine", _engine_fault(engine), "not-supported")
            return None
        for name in _CONDITIONS:
            if name in body and name not in _CONDITIONS_OF[engine]:
                diagnostics = f"the engine {engine} knows no such condition, so the policy would be wider than it says"
                self._found(f"{path}.{name}", diagnostics, "not-supported")
        if engine == COMPLEX:
            return self._complex(body, path, depth=depth)
        return Allow() if engine == ALLOW else self._condition(body, path, engine=engine)

    def _condition(self, body: Mapping[str, Any], path: str, *, engine: str) -> Rule | None:
        (name,) = _CONDITIONS_OF[engine]
        if engine == MATCHO:
            node, issues = compile_pattern(body.get(name), path=f"{path}.{name}")
            self.issues.extend(issues)
            return Matcho(node)
        from authserver.protocol.policy_schema import compile_schema  # few policies need it, and it is large

        schema, issues = compile_schema(body.get(name), path=f"{path}.{name}")
        self.issues.extend(issues)
        return None if schema is None else JsonSchema(schema)

    def _complex(self, body: Mapping[str, Any], path: str, *, depth: int) -> Rule | None:
        operators = [name for name in ("and", "or") if name in body]
        if len(operators) != 1:
            self._found(path, "the engine complex needs one of and, or: never both on one level", "business-rule")
            return None
        (operator,) = operators
        given, at = body[operator], f"{path}.{operator}"
        if not isinstance(given, list) or not given:
            # An empty `and` would allow everything.
            self._found(at, "must be a list of at least one policy", "structure")
            return None
        self._parts += len(given)
        if depth >= MAX_DEPTH or self._parts > MAX_PARTS:
            self._found(at, f"a policy has at most {MAX_PARTS} parts and {MAX_DEPTH} levels", "too-costly")
            return None
        parts = [self._part(part, f"{at}[{index}]", depth=depth + 1) for index, part in enumerate(given)]
        return Complex(operator, tuple(part for part in parts if part is not None))

    def _part(self, part: Any, path: str, *, depth: int) -> Rule | None:
        if not isinstance(part, Mapping):
            self._found(path, "must be a policy: a map with an engine and its condition", "structure")
            return None
        for name in part.keys() - {"engine", "description", *_CONDITIONS}:
            self._found(f"{path}.{name}", "a part of a policy has an engine and its condition alone", "structure")
        return self.rule(part, path, depth=depth)

    def _found(self, path: str, diagnostics: str, code: str) -> None:
        self.issues.append(Issue(path, diagnostics, code))


def _engine_fault(engine: object) -> str:
    supported = ", ".join(ENGINES)
    if isinstance(engine, str) and engine in _REFUSED:
        return f"this engine is not supported: {_REFUSED[engine]}; supported: {supported}"
    return f"this engine is unknown; supported: {supported}"
