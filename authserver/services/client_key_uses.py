"""When each key of a client last proved it (row X49): to the hour, written beside the requests, forgotten in time.

A key is named by its RFC 7638 thumbprint, because a kid can come again with another key.
"""

from collections.abc import Iterable, Mapping

from authserver.services.key_uses import KeyUses
from authserver.services.notes import KeyUseStore

KEPT_SECONDS = 400 * 86_400
"""For how long a use is known: longer than a year, so that a key that is used once a year is seen."""

_DAY = 86_400


class ClientKeyUses:
    """Notes of one process over a store that all share; noting waits for nothing and writes nothing."""

    def __init__(self, store: KeyUseStore) -> None:
        self._store, self._uses = store, KeyUses(store)
        self._purged_on: int | None = None

    def note(self, client_id: str, thumbprint: str, *, now: int) -> None:
        """Note that the key proves the client now (epoch seconds)."""
        self._uses.note(_name(client_id, thumbprint), now=now)

    def of(self, client_id: str, thumbprints: Iterable[str]) -> Mapping[str, int]:
        """Return the hour (its first second) of each key's last use, by thumbprint, without keys never used."""
        names = {_name(client_id, thumbprint): thumbprint for thumbprint in thumbprints}
        return {names[name]: hour for name, hour in self._uses.last_used(list(names)).items()}

    def tend(self, *, now: int) -> None:
        """Write what was noted; once a day forget what is old. Raises StorageUnavailable, and it stays noted."""
        self._uses.flush()
        today = now // _DAY
        if self._purged_on != today:
            self._store.purge(before=now - KEPT_SECONDS)
            self._purged_on = today


def _name(client_id: str, thumbprint: str) -> str:
    return f"{client_id}/{thumbprint}"  # neither of them has a slash
