"""What a record says, and what it leaves out. Rows X25 and X55."""

import pytest

from authserver.errors import AuthServerError, Forbidden, InvalidClient, InvalidScope, LoginRequired
from authserver.protocol import audit_record
from authserver.protocol.audit_record import AuditChoice, AuditRecord
from tests.builders import NOW

ISSUED = AuditRecord("token_issued", NOW, 0, "acme", None, "t", "r1", "192.0.2.1", {"jti": "1.a"})


def test_the_outcome_of_a_claim_chooses_the_record() -> None:
    """Threat IC: a replay is told as one, by the same request."""
    choice = AuditChoice(ISSUED, 7)

    facts = {"path": "/auth/token", "error": "invalid_client", "reason": "jti_replayed"}
    replayed = AuditRecord("token_refused", NOW, 4, "acme", None, "t", "r1", "192.0.2.1", facts)
    assert choice.of(claimed=True, change=7) == ISSUED
    assert choice.of(claimed=False, change=7) == replayed
    assert choice.of(claimed=True, change=8) is None


@pytest.mark.parametrize(
    ("error", "client_id", "proven"),
    [
        (InvalidScope(), "acme", True),
        (InvalidScope(), None, False),
        (Forbidden(), "acme", True),
        (InvalidClient(), "acme", False),
        (InvalidClient(reason="jti_replayed"), "acme", True),
        (LoginRequired(reason="insufficient_scope"), "acme", True),
        (LoginRequired(), "acme", False),
    ],
)
def test_who_was_proven_is_the_agent(error: AuthServerError, client_id: str | None, proven: bool) -> None:
    """A client that is only named is never blamed."""
    error.client_id = client_id

    made = audit_record.refusal(error, path="/auth/token", at=NOW, tenant="t")

    claimed = made.facts.get("claimed_client")
    assert (made.agent, made.tenant) == (("acme", "t") if proven else (None, None))
    assert claimed == (None if proven else client_id)


def test_a_refusal_at_a_path_without_an_event_is_a_refused_request() -> None:
    made = audit_record.refusal(Forbidden(), path="/else/where/x", at=NOW, unlisted=3)

    facts = {"path": "/else/where", "error": "access_denied", "reason": "policy_denied", "unlisted": 3}
    assert made == AuditRecord("request_refused", NOW, 8, facts=facts)


def test_a_key_change_names_the_key() -> None:
    made = audit_record.key_change("key_retired", "k1", "ES256", at=NOW)

    facts = {"by": "command line", "algorithm": "ES256"}
    assert made == AuditRecord("key_retired", NOW, entity="SigningKey/k1", facts=facts)
