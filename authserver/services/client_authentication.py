"""Prove a client by its assertion: the order of the checks, cheap before costly, network late, state change last."""

from dataclasses import dataclass, field

from authserver.errors import InvalidClient, JwksUnavailable
from authserver.protocol import assertion, jose, jwks
from authserver.protocol.assertion import Case, Expected, UnverifiedAssertion, VerifiedAssertion
from authserver.protocol.client import Client
from authserver.protocol.decoy import Decoys, nobody
from authserver.protocol.jwks import JwkSet, PublicKey
from authserver.protocol.token_request import JWT_BEARER, ClientAssertion
from authserver.services.at_hand import NotAtHand
from authserver.services.client_key_uses import ClientKeyUses
from authserver.services.limits import LimitRules, Limits
from authserver.services.metering import Meter, NoMeter
from authserver.services.ports import JwksSource, ReplayGuard
from authserver.services.registry import Registrations


@dataclass(frozen=True, slots=True)
class Proof:
    """A client that is proven but for one thing: whether its assertion was used before. `source` is who sent it.

    `thumbprint` names the key by which it was proven, `at` the second in which.
    """

    client: Client
    assertion: VerifiedAssertion
    source: str | None
    thumbprint: str
    at: int


@dataclass(frozen=True, slots=True)
class ClientAuthentication:
    """Authenticates clients by private_key_jwt (RFC 7523)."""

    registry: Registrations
    jwks_source: JwksSource
    replay_guard: ReplayGuard
    expected: Expected
    algorithms: tuple[str, ...]
    decoys: Decoys = field(default_factory=Decoys, repr=False)
    check_signature: jose.SignatureCheck = jose.check_signature
    limits: Limits = field(default_factory=lambda: Limits(LimitRules()), repr=False)
    key_uses: ClientKeyUses | None = None
    meter: Meter = field(default_factory=NoMeter, repr=False)

    def authenticate(self, request: ClientAssertion, *, now: int) -> Client:
        """Return the proven client. Raises InvalidClient with the reason of the first failure, or Unavailable.

        Nothing is written before the last step, so a forged or misdirected assertion uses up no jti, nor does one of
        a proven client that asks too often: that raises TooManyRequests.
        """
        proof = self.prove(request, now=now)
        self.limits.admit(proof.client.id)
        claimed = self.replay_guard.claim(proof.client.id, proof.assertion.jti, until=proof.assertion.until)
        return self.accept(proof, claimed=claimed)

    def prove(self, request: ClientAssertion, *, now: int) -> Proof:
        """Check everything but whether the assertion was used before; accept() must follow, after its jti was claimed.

        Raises InvalidClient or Unavailable.
        """
        unverified = assertion.peek(request.assertion, algorithms=self.algorithms)
        try:
            return self._proven(unverified, request, now)
        except InvalidClient as error:
            error.client_id = unverified.client_id
            raise

    def accept(self, proof: Proof, *, claimed: bool, recorded: bool = False) -> Client:
        """Return the proven client when it was this request that claimed the jti; raises InvalidClient otherwise.

        `recorded`: the audit has the outcome of the claim.
        """
        client = proof.client
        if not claimed:
            error = InvalidClient(detail=f"{client.id}: jti was used before", reason="jti_replayed")
            error.client_id, error.recorded = client.id, recorded
            raise error
        if client.jwks_uri is not None:
            self.jwks_source.proven(client.jwks_uri, source=proof.source)
        if self.key_uses is not None:
            self.key_uses.note(client.id, proof.thumbprint, now=proof.at)
        return client

    def _proven(self, unverified: UnverifiedAssertion, request: ClientAssertion, now: int) -> Proof:
        try:
            case, key = self._prepared(unverified, request, now)
        except (InvalidClient, NotAtHand):
            # Threat E07: what has no key to be checked by takes as long as what has one.
            self.decoys.verify(unverified.jws, check=self.check_signature)
            raise
        verified = assertion.verify(case, key, check_signature=self.check_signature)
        return Proof(case.client, verified, request.source, key.thumbprint, now)

    def _prepared(self, unverified: UnverifiedAssertion, request: ClientAssertion, now: int) -> tuple[Case, PublicKey]:
        """Return what is to be verified, and by which key."""
        # RFC 7521 section 4.2: client_id is optional beside an assertion, and must then name the same client.
        if request.client_id is not None and request.client_id != unverified.client_id:
            raise InvalidClient(detail="client_id is not the assertion's sub", reason="client_id_mismatch")
        client, refusal = self._registered_or_nobody(unverified.client_id)
        case = Case(unverified, client, self.expected, now)
        try:
            kid = assertion.check_header(case)
            keys = self.keys(client, kid, now, source=request.source)
            return case, jwks.select(keys, kid=kid, algorithm=unverified.jws.algorithm)
        except InvalidClient as error:
            raise refusal or error from None

    def _registered_or_nobody(self, client_id: str) -> tuple[Client, InvalidClient | None]:
        """Return the registered client; or one without any key, to take the same way with, and why it is refused."""
        try:
            return self.registered(client_id), None
        except InvalidClient as error:
            return nobody(client_id, self.algorithms), error

    def registered(self, client_id: str) -> Client:
        """Return the registered client that may use assertions; raises InvalidClient."""
        client = self.registry.client(client_id)
        if client is None:
            raise InvalidClient(detail=f"client {client_id!r} is not registered", reason="client_unknown")
        check_registration(client)
        return client

    def keys(self, client: Client, kid: str, now: int, *, source: str | None = None) -> JwkSet:
        """Return the client's keys, registered or fetched; raises InvalidClient when there are none to be had.

        `source` is who pays for a fetch (see JwksSource); None is this server itself.
        """
        if client.jwks is not None:
            return client.jwks
        if client.jwks_uri is None:
            raise InvalidClient(detail=f"{client.id!r} registered no keys", reason="client_without_keys")
        try:
            return self.jwks_source.keys(client.jwks_uri, kid=kid, now=now, since=client.changed_at, source=source)
        except JwksUnavailable as error:
            self.meter.client_keys_failed(client.id, error.reason)
            # SMART @340: any error while authenticating, the client's own key host included, is invalid_client.
            raise InvalidClient(detail=f"{client.id}: {error.detail}", reason=error.reason) from error


def check_registration(client: Client) -> None:
    """Refuse a client that may not authenticate by assertion now."""
    if not client.active:
        raise InvalidClient(detail=f"client {client.id!r} is not active", reason="client_inactive")
    if JWT_BEARER not in client.assertion_types:
        raise InvalidClient(detail=f"{client.id!r} may not use assertions", reason="assertion_type_not_registered")
