"""Explain an assertion: every check that authentication would make, issuing nothing and using up no jti (row X47).

What the registration says is told only to a caller who proved possession of the client's key, and to an operator.
Everybody else gets an account of the assertion alone, the same bytes whether the client exists or not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from authserver.errors import InvalidClient, InvalidRequest, OAuthError
from authserver.protocol import account, jose, jwks
from authserver.protocol.account import Account
from authserver.protocol.assertion import CLAIM_RULES, HEADER_RULES, Case, UnverifiedAssertion
from authserver.protocol.client import RESOURCE_ID, Client
from authserver.protocol.decoy import nobody
from authserver.protocol.jwks import JwkSet, PublicKey
from authserver.services.client_authentication import check_registration
from authserver.services.token_issuance import TokenIssuance

MAX_PROOF_AGE = 3_600
"""Seconds after its exp for which an assertion still proves that its sender has the key; older ones lie in logs."""

UNKNOWN_KID = "authserver.diagnosis"
"""The kid that a client's keys are asked for when there is no assertion that names one."""


@dataclass(slots=True)
class _Findings:
    """What is found on the way, beside the checks."""

    account: Account = field(default_factory=Account)
    client: Client | None = None
    keys: JwkSet | None = None
    key: PublicKey | None = None
    jti: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The use case, over the same parts and rules as the token endpoint."""

    issuance: TokenIssuance

    def of_assertion(
        self, token: str, *, scope: str | None = None, source: str | None = None, operator: bool, now: int
    ) -> dict[str, Any]:
        """Return the account of an assertion. `source` is who pays for a fetch of keys (see JwksSource)."""
        authentication = self.issuance.authentication
        expected, algorithms = authentication.expected, authentication.algorithms
        everybodys = account.of_token(token, algorithms=algorithms, expected=expected, now=now)
        findings, unverified = _Findings(), None
        opened = account.opened(findings.account, token, algorithms=algorithms)
        if opened is not None and "sub" in findings.account.passed:
            unverified = opened
            self._go_through(findings, unverified, source=source, now=now)
        proven = unverified is not None and _proves(findings.account, unverified, now)
        if not (proven or operator):
            return self._told(everybodys, unverified, proven=False, private=False, now=now)
        self._jti(findings, unverified)
        told = self._told(findings.account, unverified, proven=proven, private=True, now=now)
        return told | self._private(findings, scope)

    def of_client(self, client_id: str, *, scope: str | None = None, now: int) -> dict[str, Any]:
        """Return what an operator may know of a client without any assertion: registration, keys, scopes."""
        if RESOURCE_ID.fullmatch(client_id) is None:
            raise InvalidRequest("The parameter client_id is no client id.", reason="sub_malformed")
        findings = _Findings()
        self._registration(findings, client_id)
        if findings.client is not None:
            self._keys(findings, findings.client, kid=UNKNOWN_KID, source=None, now=now)
        checks = [check.shown() for check in findings.account.checks]
        return {"proven": False, "server_time": now, "checks": checks} | self._private(findings, scope)

    def _go_through(
        self, findings: _Findings, unverified: UnverifiedAssertion, *, source: str | None, now: int
    ) -> None:
        authentication = self.issuance.authentication
        self._registration(findings, unverified.client_id)
        # Threat E07: for a client that is not there, the same work with one that is nobody; its account is dropped.
        made = Account() if findings.client is None else findings.account
        client = findings.client or nobody(unverified.client_id, authentication.algorithms)
        case = Case(unverified, client, authentication.expected, now)
        made.rules(HEADER_RULES, case)
        self._signature(findings, unverified, source=source, now=now)
        made.rules(CLAIM_RULES, case)
        if findings.key is None and "alg" in findings.account.passed:
            authentication.decoys.verify(unverified.jws)

    def _registration(self, findings: _Findings, client_id: str) -> None:
        def registered() -> Client:
            client = self.issuance.authentication.registry.client(client_id)
            if client is None:
                raise InvalidClient(detail=f"client {client_id!r} is not registered", reason="client_unknown")
            return client

        client = findings.client = findings.account.step("client", registered, received=client_id)
        if client is not None:
            findings.account.step("registration", lambda: check_registration(client), expected="active, jwt-bearer")

    def _signature(self, findings: _Findings, unverified: UnverifiedAssertion, *, source: str | None, now: int) -> None:
        client = findings.client
        if client is None or not {"alg", "header", "registration", *HEADER_RULES} <= findings.account.passed:
            return  # authentication asks nobody for keys either by then
        jws, kid = unverified.jws, unverified.jws.header["kid"]
        keys = self._keys(findings, client, kid=kid, source=source, now=now)
        if keys is None:
            return
        there = ", ".join(sorted(key.kid or key.thumbprint for key in keys.keys)) or "none"
        key = findings.key = findings.account.step(
            "key",
            lambda: jwks.select(keys, kid=kid, algorithm=jws.algorithm),
            expected=f"one of the kids there: {there}",
            received=account.shown(kid),
        )
        if key is not None:
            findings.account.step("signature", lambda: jose.check_signature(jws, key.key))

    def _keys(self, findings: _Findings, client: Client, *, kid: str, source: str | None, now: int) -> JwkSet | None:
        where = client.jwks_uri or ("the registration" if client.jwks is not None else "nowhere")
        authentication = self.issuance.authentication
        keys = findings.account.step(
            "keys", lambda: authentication.keys(client, kid, now, source=source), expected="a key set", received=where
        )
        findings.keys = keys
        return keys

    def _jti(self, findings: _Findings, unverified: UnverifiedAssertion | None) -> None:
        if unverified is None or findings.client is None or "jti" not in findings.account.passed:
            return
        client_id, jti = findings.client.id, str(unverified.claims["jti"])
        used = self.issuance.authentication.replay_guard.was_claimed(client_id, jti)
        findings.jti = "used" if used else "unused"

        def unused() -> None:
            if used:
                raise InvalidClient(detail="the jti was used before", reason="jti_replayed")

        findings.account.step("jti_unused", unused, expected="a jti never used before", received=findings.jti)

    def _told(
        self, made: Account, unverified: UnverifiedAssertion | None, *, proven: bool, private: bool, now: int
    ) -> dict[str, Any]:
        checks = made.complete(account.names(private=private))
        told: dict[str, Any] = {"proven": proven, "server_time": now, "checks": [check.shown() for check in checks]}
        skew = None if unverified is None else account.skew(unverified.claims, now)
        if skew is not None:
            told["skew_seconds"] = skew
        if private:
            told["accepted"] = all(check.outcome == "passed" for check in checks)
        return told

    def _private(self, findings: _Findings, scope: str | None) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if findings.jti is not None:
            told["jti"] = findings.jti
        if findings.keys is not None:
            told["keys"] = _keys_seen(findings.keys)
        if findings.client is not None:
            told["client"] = _registered(findings.client)
            told["scope"] = self._scope(findings.client, scope)
        return told

    def _scope(self, client: Client, scope: str | None) -> dict[str, Any]:
        """Say what a token request with this scope would be granted, by the token endpoint's own rule."""
        told: dict[str, Any] = {"decisions": [one.shown() for one in self.issuance.decisions(client, scope)]}
        try:
            return {"granted": str(self.issuance.grant(client, scope)), **told}
        except OAuthError as error:
            return {"granted": "", "error": error.oauth_code, "code": error.reason, **told}


def _proves(made: Account, unverified: UnverifiedAssertion, now: int) -> bool:
    """Say whether the sender has the client's key: its signature over an assertion that is meant for us, and lately.

    One for another server proves nothing here, since that server has it too; nor does one from an old log.
    """
    expires = unverified.claims.get("exp")
    lately = isinstance(expires, int | float) and abs(expires - now) <= MAX_PROOF_AGE
    return lately and {"signature", "iss", "aud"} <= made.passed


def _keys_seen(keys: JwkSet) -> list[Mapping[str, Any]]:
    usable = [
        {"kid": key.kid, "kty": key.kty, "alg": key.algorithm, "thumbprint": key.thumbprint, "usable": True}
        for key in keys.keys
    ]
    refused = [
        {"kid": key.kid, "kty": key.kty, "usable": False, "code": key.reason, "finding": key.message}
        for key in keys.refused
    ]
    return [*usable, *refused]


def _registered(client: Client) -> dict[str, Any]:
    return {
        "id": client.id,
        "active": client.active,
        "grant_types": sorted(client.grant_types),
        "algorithms": list(client.algorithms),
        "jwks_uri": client.jwks_uri,
        "scope": str(client.scope),
    }
