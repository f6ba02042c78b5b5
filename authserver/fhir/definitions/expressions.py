"""Parse the part of FHIRPath that the SearchParameters of R4 use. Knows text and steps; knows no types.

The subset: path steps, `|`, `as` and `as()`, `where(x='literal')`, `where(resolve() is T)`, one index,
and `x.exists() and x != false` (http://hl7.org/fhir/R4/searchparameter-registry.html).
"""

import re
from dataclasses import dataclass


class ExpressionError(ValueError):
    """The expression is outside the subset."""


@dataclass(frozen=True, slots=True)
class Field:
    """Step into the element of this name."""

    name: str


@dataclass(frozen=True, slots=True)
class Cast:
    """Keep the values of this FHIR type (`as`, `ofType`)."""

    type_name: str


@dataclass(frozen=True, slots=True)
class Where:
    """Keep the values whose child element equals the literal."""

    name: str
    literal: str


@dataclass(frozen=True, slots=True)
class Resolves:
    """Keep the references that point at this resource type."""

    type_name: str


@dataclass(frozen=True, slots=True)
class Index:
    """Keep the value at this position, counted from 0."""

    position: int


@dataclass(frozen=True, slots=True)
class Present:
    """Turn into one boolean: there is a value, and it is not `false`."""


Step = Field | Cast | Where | Resolves | Index | Present
Path = tuple[Step, ...]

_TOKEN = re.compile(r"\s*(?:(\w+)|('[^']*')|(!=|[.()|\[\]=]))")


def parse(expression: str) -> tuple[Path, ...]:
    """Return one path per branch of the union; the first step of each names the resource type."""
    reader = _Reader(_tokens(expression))
    paths = [_branch(reader)]
    while reader.accept("|"):
        paths.append(_branch(reader))
    if reader.peek():
        raise ExpressionError(f"unexpected {reader.peek()!r} in {expression!r}")
    return tuple(paths)


def _tokens(expression: str) -> list[str]:
    tokens, position, text = [], 0, expression.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ExpressionError(f"unexpected character at {position} in {expression!r}")
        tokens.append(match[0].strip())
        position = match.end()
    return tokens


class _Reader:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._position = 0

    def peek(self) -> str:
        return self._tokens[self._position] if self._position < len(self._tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self._position += 1
        return token

    def accept(self, token: str) -> bool:
        if self.peek() != token:
            return False
        self._position += 1
        return True

    def expect(self, *tokens: str) -> None:
        for token in tokens:
            if not self.accept(token):
                raise ExpressionError(f"expected {token!r}, found {self.peek()!r}")

    def name(self) -> str:
        token = self.take()
        if not token.isidentifier():
            raise ExpressionError(f"expected a name, found {token!r}")
        return token


def _branch(reader: _Reader) -> Path:
    path = _path(reader)
    if not reader.accept("and"):
        return path
    # The one conjunction of R4, Patient.deceased: x.exists() and x != false.
    other = _path(reader)
    reader.expect("!=", "false")
    if path != (*other, Present()):
        raise ExpressionError("the only conjunction supported is x.exists() and x != false")
    return path


def _path(reader: _Reader) -> Path:
    steps: list[Step] = []
    if reader.accept("("):
        steps.extend(_path(reader))
        reader.expect(")")
    else:
        steps.append(Field(reader.name()))
    while reader.peek() in (".", "[", "as"):
        steps.append(_step(reader))
    return tuple(steps)


def _step(reader: _Reader) -> Step:
    if reader.accept("as"):
        return Cast(reader.name())
    if reader.accept("["):
        position = reader.take()
        reader.expect("]")
        return Index(int(position))
    reader.expect(".")
    name = reader.name()
    return _function(reader, name) if reader.accept("(") else Field(name)


def _function(reader: _Reader, name: str) -> Step:
    if name in ("as", "ofType"):
        step: Step = Cast(reader.name())
    elif name == "exists":
        step = Present()
    elif name == "where":
        step = _condition(reader)
    else:
        raise ExpressionError(f"the function {name}() is not supported")
    reader.expect(")")
    return step


def _condition(reader: _Reader) -> Step:
    name = reader.name()
    if name == "resolve":
        reader.expect("(", ")", "is")
        return Resolves(reader.name())
    reader.expect("=")
    return Where(name, reader.take().strip("'"))
