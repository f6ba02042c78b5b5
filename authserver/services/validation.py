"""Judge a registration without storing it: what PUT would refuse, and what it would take though it cannot work."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from authserver.errors import InvalidResource, Issue, JwksUnavailable
from authserver.protocol import client as client_protocol
from authserver.protocol import policy as policy_protocol
from authserver.protocol import registration_advice as advice
from authserver.protocol.client import Client
from authserver.services.key_health import NO_KID
from authserver.services.ports import ACCESS_POLICY, CLIENT, UNLINKED, JwksSource
from authserver.services.registration import Registration
from authserver.services.registry import policy_link

Advisor = Callable[[Mapping[str, Any]], Iterable[Issue]]


def unlinked_policy(body: Mapping[str, Any]) -> Iterator[Issue]:
    """Warn of a policy that is for every client."""
    if not body.get("link"):
        yield advice.warning("AccessPolicy.link", "without a link this policy is for every client")


@dataclass(frozen=True, slots=True)
class Validation:
    """The use case. `policy_advice` finds the traps of a valid policy."""

    jwks_source: JwksSource
    policy_advice: Advisor = unlinked_policy

    def issues(
        self,
        registration: Registration,
        resource_type: str,
        resource_id: str | None,
        body: Mapping[str, Any],
        *,
        now: int,
    ) -> tuple[Issue, ...]:
        """Return every finding, errors first; none when PUT would take it and nothing is amiss.

        `now` in epoch seconds. Nothing is stored; of a Client's jwks_uri the keys are fetched.
        """
        named = resource_id or _id_of(body)
        try:
            registration.check(resource_type, named, body)
        except InvalidResource as error:
            return (*error.findings, *(advice.of_members(body) if resource_type == CLIENT else ()))
        found = self._of_client if resource_type == CLIENT else self._of_policy
        return tuple(found(registration, named, body, now))

    def _of_client(
        self, registration: Registration, client_id: str, body: Mapping[str, Any], now: int
    ) -> Iterator[Issue]:
        stored = registration.store.get(CLIENT, client_id)
        client = client_protocol.from_resource(body, client_id=client_id, rules=registration.rules)
        yield from advice.of_members(body)
        has_secret = "secret" in body or (stored is not None and stored.secret_hash is not None)
        yield from advice.of_client(client, has_secret=has_secret)
        yield from self._of_keys(client, now)
        links = [UNLINKED] if stored is None else [UNLINKED, policy_link(client_id, stored.generation)]
        if not registration.store.linked(ACCESS_POLICY, links):
            yield advice.warning("Client", "no AccessPolicy is linked to this client, so all its requests are refused")

    def _of_keys(self, client: Client, now: int) -> Iterator[Issue]:
        if client.jwks is not None:
            yield from advice.of_keys(client, client.jwks, "Client.jwks")
        if client.jwks_uri is None:
            return
        try:
            keys = self.jwks_source.keys(client.jwks_uri, kid=NO_KID, now=now)
        except JwksUnavailable as error:
            yield advice.warning("Client.jwks_uri", f"no key set could be had from there ({error.reason})", "transient")
            return
        yield from advice.of_keys(client, keys, "Client.jwks_uri")

    def _of_policy(
        self, registration: Registration, policy_id: str, body: Mapping[str, Any], _now: int
    ) -> Iterator[Issue]:
        yield from self.policy_advice(body)
        for client_id in sorted(policy_protocol.from_resource(body, policy_id=policy_id).clients):
            stored = registration.store.get(CLIENT, client_id)
            if stored is not None and stored.body.get("active") is False:
                yield advice.warning("AccessPolicy.link", f"the client {client_id} is inactive")


def _id_of(body: Mapping[str, Any]) -> str:
    named = body.get("id")
    return named if isinstance(named, str) and client_protocol.RESOURCE_ID.fullmatch(named) else "-"
