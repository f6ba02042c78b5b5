"""The engines of policies as compiled rules: what each says of a case, and why. PURE.

A rule is read by policy_reader.py. What goes wrong inside one is no verdict: the exception reaches decide(), which
denies.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from authserver.protocol import matcho
from authserver.protocol.matcho_values import Mismatch
from authserver.protocol.policy_request import Case

if TYPE_CHECKING:
    from authserver.protocol.policy_schema import Schema

ALLOW, MATCHO, JSON_SCHEMA, COMPLEX = "allow", "matcho", "json-schema", "complex"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says of a case: its verdict, what did not fit, and the findings of its parts (`complex`)."""

    engine: str
    allowed: bool
    mismatches: tuple[Mismatch, ...] = ()
    parts: tuple["Finding", ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the finding as an explanation shows it."""
        told: dict[str, Any] = {"engine": self.engine, "eval-result": self.allowed}
        if self.mismatches:
            told["mismatches"] = [mismatch.as_json() for mismatch in self.mismatches]
        if self.parts:
            told["parts"] = [part.as_json() for part in self.parts]
        return told


class Rule(Protocol):
    """A compiled condition."""

    @property
    def engine(self) -> str:
        """The name of the engine."""

    def allows(self, case: Case) -> bool:
        """Say whether the request is allowed, looking no further than needed."""

    def explain(self, case: Case) -> Finding:
        """Say the same, and why."""


@dataclass(frozen=True, slots=True)
class Allow:
    """Everything is allowed."""

    engine: ClassVar[str] = ALLOW

    def allows(self, case: Case) -> bool:  # noqa: ARG002 -- that is the meaning of it
        """See Rule."""
        return True

    def explain(self, case: Case) -> Finding:  # noqa: ARG002 -- that is the meaning of it
        """See Rule."""
        return Finding(ALLOW, allowed=True)


@dataclass(frozen=True, slots=True)
class Matcho:
    """The request fits a pattern."""

    pattern: matcho.Node
    engine: ClassVar[str] = MATCHO

    def allows(self, case: Case) -> bool:
        """See Rule."""
        return matcho.matches(self.pattern, case.document)

    def explain(self, case: Case) -> Finding:
        """See Rule."""
        mismatches = matcho.match(self.pattern, case.document)
        return Finding(MATCHO, not mismatches, mismatches)


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """The request without its empty members is valid."""

    schema: "Schema"
    engine: ClassVar[str] = JSON_SCHEMA

    def allows(self, case: Case) -> bool:
        """See Rule."""
        return self.schema.allows(case.pruned)

    def explain(self, case: Case) -> Finding:
        """See Rule."""
        mismatches = self.schema.mismatches(case.pruned)
        return Finding(JSON_SCHEMA, not mismatches, mismatches)


@dataclass(frozen=True, slots=True)
class Complex:
    """All of the parts (`and`) or one of them (`or`) allow; asked in order, until it is clear."""

    operator: str
    parts: tuple[Rule, ...]
    engine: ClassVar[str] = COMPLEX

    def allows(self, case: Case) -> bool:
        """See Rule."""
        verdicts = (part.allows(case) for part in self.parts)
        return all(verdicts) if self.operator == "and" else any(verdicts)

    def explain(self, case: Case) -> Finding:
        """See Rule; every part is asked."""
        findings = tuple(part.explain(case) for part in self.parts)
        combined: Callable[..., bool] = all if self.operator == "and" else any
        return Finding(COMPLEX, combined(finding.allowed for finding in findings), parts=findings)
