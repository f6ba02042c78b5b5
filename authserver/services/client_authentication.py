"""Prove a client by its assertion: the order of the checks, cheap before costly, network late, state change last."""

from dataclasses import dataclass

from authserver.errors import InvalidClient, JwksUnavailable
from authserver.protocol import assertion, jwks
from authserver.protocol.assertion import Expected
from authserver.protocol.client import Client
from authserver.protocol.jwks import JwkSet
from authserver.protocol.token_request import JWT_BEARER, ClientAssertion
from authserver.services.ports import JwksSource, ReplayGuard
from authserver.services.registry import Registry


@dataclass(frozen=True, slots=True)
class ClientAuthentication:
    """Authenticates clients by private_key_jwt (RFC 7523)."""

    registry: Registry
    jwks_source: JwksSource
    replay_guard: ReplayGuard
    expected: Expected
    algorithms: tuple[str, ...]

    def authenticate(self, request: ClientAssertion, *, now: int) -> Client:
        """Return the proven client. Raises InvalidClient with the reason of the first failure, or Unavailable.

        Nothing is written before the last step, so a forged or misdirected assertion uses up no jti.
        """
        unverified = assertion.peek(request.assertion, algorithms=self.algorithms)
        client = self._registered(unverified.client_id, request)
        kid = assertion.check_header(unverified, client)
        key = jwks.select(self._keys(client, kid, now), kid=kid, algorithm=unverified.jws.algorithm)
        verified = assertion.verify(unverified, key, client, expected=self.expected, now=now)
        if not self.replay_guard.claim(client.id, verified.jti, until=verified.until):
            raise InvalidClient(detail=f"{client.id}: jti was used before", reason="jti_replayed")
        return client

    def _registered(self, client_id: str, request: ClientAssertion) -> Client:
        # RFC 7521 section 4.2: client_id is optional beside an assertion, and must then name the same client.
        if request.client_id is not None and request.client_id != client_id:
            raise InvalidClient(detail="client_id is not the assertion's sub", reason="client_id_mismatch")
        client = self.registry.client(client_id)
        if client is None:
            raise InvalidClient(detail=f"client {client_id!r} is not registered", reason="client_unknown")
        if not client.active:
            raise InvalidClient(detail=f"client {client_id!r} is not active", reason="client_inactive")
        if JWT_BEARER not in client.assertion_types:
            raise InvalidClient(detail=f"{client_id!r} may not use assertions", reason="assertion_type_not_registered")
        return client

    def _keys(self, client: Client, kid: str, now: int) -> JwkSet:
        if client.jwks is not None:
            return client.jwks
        if client.jwks_uri is None:
            raise InvalidClient(detail=f"{client.id!r} registered no keys", reason="client_without_keys")
        try:
            return self.jwks_source.keys(client.jwks_uri, kid=kid, now=now)
        except JwksUnavailable as error:
            # SMART @340: any error while authenticating, the client's own key host included, is invalid_client.
            raise InvalidClient(detail=f"{client.id}: {error.detail}", reason=error.reason) from error
