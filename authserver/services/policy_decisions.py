"""Ask the policies about a request, and tell an operator of those that could not be asked (threat G07)."""

from authserver.errors import Forbidden
from authserver.protocol import policy
from authserver.protocol.client import Client
from authserver.protocol.policy import Decision
from authserver.protocol.policy_request import PolicyRequest
from authserver.services.ports import AuditLog
from authserver.services.registry import Registrations


def decide(registry: Registrations, audit_log: AuditLog, client: Client, request: PolicyRequest) -> Decision:
    """Return the decision of the candidates for this client; a policy that fails allows nothing."""
    decision = policy.decide(registry.policies_for(client), client, request)
    for failed in decision.failed:
        audit_log.record("policy_failed", policy=failed, client_id=client.id, interaction=request.interaction)
    return decision


def refusal(decision: Decision, detail: str) -> Forbidden:
    """Return the error of a refused request; its reason tells whether a policy failed on the way."""
    if decision.failed:
        return Forbidden(detail=f"{detail}; failed: {', '.join(decision.failed)}", reason="policy_failed")
    return Forbidden(detail=detail)
