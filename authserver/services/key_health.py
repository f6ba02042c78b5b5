"""How a client's keys are (row X49): which there are, which of them verify anything, how old what was fetched is."""

from dataclasses import dataclass
from typing import Any

from authserver.errors import JwksUnavailable
from authserver.protocol import client as client_protocol
from authserver.protocol.client import Client
from authserver.protocol.instants import instant
from authserver.protocol.jwks import JwkSet
from authserver.protocol.key_findings import findings
from authserver.services.client_key_uses import ClientKeyUses
from authserver.services.ports import CLIENT, JwksSnapshot, JwksSource, JwksWatch
from authserver.services.registration import Registration

NO_KID = "authserver.keys"
"""The kid that keys are asked for where no assertion names one."""


class Unwatched:
    """JwksWatch of a source that remembers nothing."""

    def snapshot(self, _jwks_uri: str) -> JwksSnapshot | None:
        """Know nothing."""
        return None


@dataclass(frozen=True, slots=True)
class KeyHealth:
    """The use case, over what this process has fetched; it asks the owner only when it holds nothing fresh."""

    jwks_source: JwksSource
    watch: JwksWatch
    uses: ClientKeyUses | None = None

    def of_client(self, registration: Registration, client_id: str, *, now: int) -> dict[str, Any]:
        """Return the account of the client's keys; `now` in epoch seconds.

        Raises NotFound, and InvalidResource for a registration that today's settings refuse.
        """
        stored = registration.get(CLIENT, client_id)
        client = client_protocol.from_resource(stored.body, client_id=client_id, rules=registration.rules, stored=True)
        told: dict[str, Any] = {"client": client_id, "server_time": _instant(now)}
        if client.jwks is not None:
            return told | {"source": "jwks", "keys": self._findings(client, client.jwks)}
        if client.jwks_uri is None:
            return told | {"source": None, "keys": []}
        seen = self._seen(client.jwks_uri, since=stored.last_updated, now=now)
        keys = [] if seen.keys is None else self._findings(client, seen.keys)
        return told | {"source": "jwks_uri", "jwks_uri": client.jwks_uri, **_told(seen, now), "keys": keys}

    def _findings(self, client: Client, keys: JwkSet) -> list[dict[str, Any]]:
        """Return what may be told of the keys, with the hour in which each last proved the client."""
        found = findings(keys, client.algorithms)
        used = self.uses.of(client.id, [key.thumbprint for key in keys.keys]) if self.uses is not None else {}
        return [
            one | {"last_used": _instant(used.get(one["thumbprint"]))} if "thumbprint" in one else one for one in found
        ]

    def _seen(self, jwks_uri: str, *, since: int, now: int) -> JwksSnapshot:
        seen = self.watch.snapshot(jwks_uri)
        if seen is not None and seen.keys is not None:
            return seen
        try:
            keys = self.jwks_source.keys(jwks_uri, kid=NO_KID, now=now, since=since)
        except JwksUnavailable as error:
            return self.watch.snapshot(jwks_uri) or JwksSnapshot(last_reason=error.reason)
        return self.watch.snapshot(jwks_uri) or JwksSnapshot(keys=keys)


def _told(seen: JwksSnapshot, now: int) -> dict[str, Any]:
    fresh = round(seen.fresh_seconds)
    return {
        "last_fetch": _instant(seen.last_fetch),
        "last_success": _instant(seen.last_success),
        "age_seconds": None if seen.last_success is None else max(0, now - seen.last_success),
        "fresh_seconds": fresh,
        "next_refresh": _instant(now + fresh),
        "failing_since": _instant(seen.failing_since),
        "last_reason": seen.last_reason,
        "fetches": seen.fetches,
        "failures": seen.failures,
    }


def _instant(seconds: int | None) -> str | None:
    return None if seconds is None else instant(seconds * 1_000_000)
