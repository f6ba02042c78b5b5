"""Register a client by its own request, on the strength of an initial access token (RFC 7591, row X59)."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from authserver.errors import InvalidResource
from authserver.protocol import client_metadata
from authserver.protocol.client import Client
from authserver.services.ports import CLIENT, AuditLog
from authserver.services.registration import Registration
from authserver.services.registration_audit import refused_to


def _random_id() -> str:
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class DynamicRegistration:
    """The registration endpoint's use case. `active`: whether a new client may ask for tokens at once."""

    registration: Registration
    audit_log: AuditLog
    active: bool
    new_id: Callable[[], str] = _random_id

    def register(self, body: Mapping[str, Any], *, registrar: Client, now: int) -> dict[str, Any]:
        """Store a new Client and return the client information response; `now` in microseconds.

        No policy is made, so the client can read nothing until an operator's policy lets it. Raises
        InvalidClientMetadata.
        """
        client_id = self.new_id()
        with refused_to(registrar.id):
            metadata = client_metadata.parse(body, registrar=registrar)
            resource = client_metadata.to_resource(metadata, registrar=registrar, active=self.active)
            self._create(client_id, resource, registrar=registrar, now=now)
        self.audit_log.record("client_registered", client_id=client_id, registrar=registrar.id, active=self.active)
        return client_metadata.response(metadata, client_id=client_id, issued_at=now // 1_000_000)

    def _create(self, client_id: str, resource: Mapping[str, Any], *, registrar: Client, now: int) -> None:
        try:
            self.registration.create(CLIENT, client_id, resource, actor=registrar.id, now=now)
        except InvalidResource as error:
            raise client_metadata.refused(error) from error
