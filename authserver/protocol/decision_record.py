"""What is kept of a decision of the policies: who asked for what, and what each policy said. PURE.

No value of a request is in a record: its path as a template, parameters by name, no header, no body, nothing of a
mismatch but its place and what the policy's author expected there. So a record tells of no patient.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from authserver.protocol.client import Client
from authserver.protocol.policy import Decision, Verdict
from authserver.protocol.policy_request import PolicyRequest, operation_of
from authserver.protocol.policy_rules import Finding
from authserver.protocol.resource_types import KNOWN_TYPES

MAX_VERDICTS = 100
MAX_MISMATCHES = 10
MAX_PARAMETERS = 20
MAX_EXPECTED = 200
"""Characters of JSON; a longer condition is named by its place alone."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_TYPES = KNOWN_TYPES | {"Client", "AccessPolicy"}
_OWN = ("fhir", "auth", "access", "v1", "evaluation", "introspect", "revoke", "register", "receipt", "verify")
_WORDS = _TYPES | {*_OWN, "test-policy", "_history", "_search", "metadata", "$matcho", "$explain", "$impact", "$keys"}
_WORDS |= {"$revoke-tokens", "$revoke-token", "$tokens", "$flush-keys", "$everything", "$validate", "$export"}
_WORDS |= {"assertion", "$diagnose"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:\-]{0,63}", re.ASCII)
_NAMED = ("params", "headers")


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One decision. `id` of a refusal is the request id of its answer; `at` and `until` are epoch seconds.

    `path` is a template such as `/fhir/Patient/{id}`, `parameters` are names. `verdicts` are JSON objects, one for each
    candidate: `id`, `version`, `engine`, `eval-result`, perhaps `mode`, `failed`, `mismatches`, `parts`.
    """

    id: str
    at: int
    until: int
    client_id: str
    method: str
    path: str
    operation: str | None
    resource_type: str | None
    parameters: Sequence[str]
    allowed: bool
    policy: str | None
    verdicts: Sequence[Mapping[str, Any]] = field(default=(), hash=False)

    @property
    def reason(self) -> str:
        """Which kind of decision this is: a flood of one kind may not push out the others."""
        return f"{'allowed' if self.allowed else 'refused'} {self.client_id}"

    def as_json(self) -> dict[str, Any]:
        """Return the record as a JSON object; from_json() reads it."""
        return asdict(self)


def from_json(document: Mapping[str, Any]) -> DecisionRecord:
    """Return the record that as_json() wrote."""
    lists = {name: tuple(document[name]) for name in ("parameters", "verdicts")}
    return DecisionRecord(**{**document, **lists})


def record(
    decision: Decision,
    verdicts: Sequence[Verdict],
    *,
    client: Client,
    request: PolicyRequest,
    record_id: str,
    at: int,
    keep: int,
) -> DecisionRecord:
    """Return the record of a decision made at `at` (epoch seconds), to be kept for `keep` seconds."""
    return DecisionRecord(
        id=record_id,
        at=at,
        until=at + keep,
        client_id=client.id,
        method=request.method if request.method in _METHODS else "other",
        path=template(request.path),
        operation=operation_of(request),
        resource_type=request.resource_type if request.resource_type in _TYPES else None,
        parameters=_names(name for name, _ in request.parameters),
        allowed=decision.allowed,
        policy=decision.policy,
        verdicts=tuple(_verdict(one) for one in verdicts[:MAX_VERDICTS]),
    )


def template(path: str) -> str:
    """Return the path with `{id}` for each segment that is no word of FHIR's or of this server's own paths."""
    return "/".join(part if part in _WORDS or not part else "{id}" for part in path.split("/")[:12])


def _names(given: Iterable[str]) -> tuple[str, ...]:
    """Return names that can be names of parameters, each once, in order."""
    return tuple(sorted({name for name in given if _NAME.fullmatch(name)})[:MAX_PARAMETERS])


def _verdict(verdict: Verdict) -> dict[str, Any]:
    told: dict[str, Any] = {"id": verdict.policy, "version": verdict.version, "engine": verdict.engine}
    if verdict.shadow:
        told["mode"] = "shadow"
    if verdict.finding is None:
        return {**told, "eval-result": False, "failed": True}
    return {**told, **_finding(verdict.finding)}


def _finding(finding: Finding) -> dict[str, Any]:
    told: dict[str, Any] = {"engine": finding.engine, "eval-result": finding.allowed}
    if finding.mismatches:
        told["mismatches"] = [
            {"expected": _expected(one.expected), "path": _place(one.path)}
            for one in finding.mismatches[:MAX_MISMATCHES]
        ]
    if finding.parts:
        told["parts"] = [_finding(part) for part in finding.parts]
    return told


def _expected(expected: Any) -> Any:
    return expected if len(json.dumps(expected)) <= MAX_EXPECTED else "…"


def _place(path: Sequence[str | int]) -> list[str | int]:
    """Return the place as far as the request itself gave no names on the way."""
    root = path[0] if path else ""
    if root == "body":
        return ["body"]
    if root in _NAMED:
        return [root, *(name for name in path[1:2] if isinstance(name, str) and _is_name(name))]
    return list(path)


def _is_name(name: str) -> bool:
    return name in ("resource/type", "resource/id") or _NAME.fullmatch(name) is not None
