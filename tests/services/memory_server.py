"""A whole server in memory: real keys, rules and services; no socket, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from authserver.app import Parts, Services, build_services
from authserver.protocol import token_request
from authserver.protocol.token_request import ClientAssertion
from authserver.services.ports import ACCESS_POLICY, CLIENT
from tests.builders import (
    CLIENT_ID,
    NOW,
    RecordingAuditLog,
    client_resource,
    make_assertion,
    make_parts,
    make_settings,
    token_form,
)

SECRET = "canary-secret of a client"


@dataclass
class Server:
    """The services of one server, and the parts that a test looks into."""

    parts: Parts
    services: Services

    @property
    def events(self) -> list[tuple[str, dict[str, object]]]:
        """What the audit log was told so far."""
        assert isinstance(self.parts.audit_log, RecordingAuditLog)
        return self.parts.audit_log.events

    def register(self, client_id: str = CLIENT_ID, **changes: Any) -> None:
        """Register the documented client with changes; again for a new version."""
        body = client_resource(**changes)
        self.services.registration.put(CLIENT, client_id, body, actor="test", now=NOW * 10**6)

    def delete(self, client_id: str = CLIENT_ID) -> None:
        """Delete a client."""
        self.services.registration.delete(CLIENT, client_id, actor="test", now=NOW * 10**6)

    def allow(self, *client_ids: str, policy_id: str = "policy-1") -> None:
        """Register a policy that allows these clients everything."""
        link = [{"id": client_id, "resourceType": CLIENT} for client_id in client_ids]
        body = {"engine": "allow", "link": link}
        self.services.registration.put(ACCESS_POLICY, policy_id, body, actor="test", now=NOW * 10**6)

    def issue(
        self, assertion: str | None = None, *, now: int = NOW, resources: tuple[str, ...] = (), **form: Any
    ) -> Mapping[str, Any]:
        """Return the token response for the usual request, an assertion of its own unless one is given."""
        fields = token_form(assertion or make_assertion(now=now), **form)
        pairs = [*fields.items(), *(("resource", resource) for resource in resources)]
        return self.services.issuance.issue(token_request.parse(pairs), now=now)

    def token(self, client_id: str = CLIENT_ID, **form: Any) -> str:
        """Return an access token of the client."""
        return str(self.issue(make_assertion(client_id=client_id), **form)["access_token"])

    def authenticate(self, assertion: str, *, now: int = NOW) -> str:
        """Return the id of the client that the assertion proves."""
        request = ClientAssertion(assertion)
        return self.services.issuance.authentication.authenticate(request, now=now).id


def open_server(folder: Path, *, jwks: Mapping[str, Any] | None = None, **settings: Any) -> Server:
    """Return a server in memory."""
    parts = make_parts(folder, jwks=jwks)
    return Server(parts, build_services(make_settings(folder, **settings), parts))
