"""Try a policy on a made-up request, for operators: what it would say and why (row X22). Changes and allows nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authserver.errors import BadRequest, InvalidResource, Issue
from authserver.protocol import client as client_protocol
from authserver.protocol import forwarded_request, policy, policy_lint
from authserver.protocol.client import RESOURCE_ID, Client, ClientRules
from authserver.protocol.policy_request import PolicyRequest, as_document, from_description, operation_of
from authserver.services.registry import Registrations

_TEXTS = ("uri", "request-method", "query-string", "remote-addr", "scheme", "client-id")
_MEMBERS = frozenset({*_TEXTS, "headers", "body", "jwt", "client"})


@dataclass(frozen=True, slots=True)
class PolicyTrial:
    """Judges described requests by one policy that need not be registered. `fhir_bases` as for forward-auth."""

    registry: Registrations
    rules: ClientRules
    fhir_bases: tuple[str, ...]

    def judge(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return `{request, operation, policy, result}` for a body `{request, policy}`.

        `request` in the answer is what the policy sees; `result` has `eval-result`, whether the links make the policy
        a `candidate`, what did not fit, and the `warnings` about the policy. Raises InvalidResource or BadRequest.
        """
        given, described = body.get("policy"), body.get("request")
        if not isinstance(given, Mapping) or not isinstance(described, Mapping):
            raise InvalidResource((Issue("", "must have a request and a policy, both maps", "structure"),))
        read = policy.from_resource(given, policy_id=str(given.get("id") or "-"))
        _check_members(described)
        client, request = self._client(described), self._request(described)
        operation = operation_of(request)
        (verdict,) = policy.explain([policy.AccessPolicy(read.id, read.rule)], client, request)
        warnings = [
            {"expression": one.expression, "diagnostics": one.diagnostics} for one in policy_lint.warnings(given)
        ]
        candidate = read.is_candidate(client, operation)
        return {
            "request": as_document(client, request),
            "operation": None if operation is None else {"id": operation},
            "policy": given,
            "result": {**verdict.as_json(), "candidate": candidate, "warnings": warnings},
        }

    def _client(self, described: Mapping[str, Any]) -> Client:
        """Return the registered client that is named, or the one that is written out."""
        inline = described.get("client")
        if isinstance(inline, Mapping):
            name = str(inline.get("id") or "-")
            return client_protocol.from_resource(inline, client_id=name, rules=self.rules)
        client_id = described.get("client-id", "")
        client = self.registry.client(client_id) if RESOURCE_ID.fullmatch(client_id) else None
        if client is None:
            raise InvalidResource((Issue("request.client-id", "must name a registered Client", "not-found"),))
        return client

    def _request(self, described: Mapping[str, Any]) -> PolicyRequest:
        query = described.get("query-string")
        target = described.get("uri", "") + (f"?{query}" if query else "")
        forwarded = forwarded_request.parse(described.get("request-method", "GET").upper(), target)
        found = forwarded_request.fhir_interaction(forwarded, self.fhir_bases)
        request = forwarded_request.policy_request(forwarded, found)
        whole = {
            "method": request.method,
            "path": request.path,
            "parameters": request.parameters,
            "interaction": request.interaction,
            "resource_type": request.resource_type,
            "resource_id": request.resource_id,
            "scheme": described.get("scheme"),
            "remote_addr": described.get("remote-addr"),
            "headers": described.get("headers", {}),
            "body": described.get("body"),
        }
        return from_description(whole, claims=described.get("jwt"))


def _check_members(described: Mapping[str, Any]) -> None:
    """Refuse members that would have no effect, and texts that are none."""
    issues = [
        Issue(f"request.{n}", "requests have no such member", "structure") for n in described if n not in _MEMBERS
    ]
    for name in _TEXTS:
        if not isinstance(described.get(name, ""), str):
            issues.append(Issue(f"request.{name}", "must be text", "structure"))
    for name in ("jwt", "client", "headers"):
        if not isinstance(described.get(name, {}), Mapping):
            issues.append(Issue(f"request.{name}", "must be a map", "structure"))
    if issues:
        raise InvalidResource(tuple(issues))
    if "uri" not in described:
        raise BadRequest("The request must have a uri.")
