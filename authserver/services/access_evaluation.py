"""Answer a policy enforcement point: may this client make this request, by the policies alone (row X57)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from authserver.protocol import access_evaluation
from authserver.protocol.client import RESOURCE_ID, Client
from authserver.services import policy_decisions
from authserver.services.token_introspection import TokenIntrospection


@dataclass(frozen=True, slots=True)
class AccessEvaluation:
    """Judges described requests. `fhir_base` is a path; `audience` that of clients which registered none."""

    introspection: TokenIntrospection
    fhir_base: str
    audience: str

    def decide(self, body: Mapping[str, Any], *, caller: Client, request_id: str) -> bool:
        """Return the decision about an Access Evaluation request; no to all that the caller may not ask about.

        Unknown clients, disabled ones and those that are none of the caller's business are told alike. May raise
        BadRequest.
        """
        question, use = access_evaluation.read(body, fhir_base=self.fhir_base), self.introspection
        known = RESOURCE_ID.fullmatch(question.client_id) is not None
        client = use.registry.client(question.client_id) if known else None
        if client is None or not client.active or not self._is_visible(client, caller):
            return False
        request = replace(question.request, id=request_id)
        decision = policy_decisions.decide(use.registry, use.audit_log, client, request, decisions=use.decisions)
        return decision.allowed

    def _is_visible(self, client: Client, caller: Client) -> bool:
        """Apply the rule about whose tokens a caller may see (threat F02) to the clients themselves."""
        limited = caller.introspection_audience
        if limited and not limited & {*(client.audience or (self.audience,))}:
            return False
        return caller.tenant is None or client.tenant == caller.tenant
