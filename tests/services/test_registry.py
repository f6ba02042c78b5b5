"""The compiled registrations: always the current version, and nothing that cannot be read. Rows A7, X50; threat G07."""

from pathlib import Path

import pytest

from authserver.adapters.memory import MemoryResourceStore
from authserver.services.at_hand import NotAtHand, Present
from authserver.services.ports import ACCESS_POLICY, CLIENT, UNLINKED, ResourceStore, StoredResource
from authserver.services.registry import MAX_KEPT, Registry, policy_link
from tests.builders import CLIENT_ID, NOW, client_resource
from tests.services.memory_server import Server, open_server


class WatchedStore(MemoryResourceStore):
    """A store that remembers which ids it was asked for, and answers from another."""

    def __init__(self, store: ResourceStore) -> None:
        super().__init__()
        self._store = store
        self.asked: list[str] = []

    def get(self, resource_type: str, resource_id: str) -> StoredResource | None:
        """Remember and answer."""
        self.asked.append(resource_id)
        return self._store.get(resource_type, resource_id)


@pytest.fixture
def registry(server: Server) -> Registry:
    """The registry of the server."""
    return server.services.introspection.registry


def test_a_version_is_compiled_once(registry: Registry) -> None:
    assert registry.client(CLIENT_ID) is registry.client(CLIENT_ID)


def test_the_next_look_up_sees_a_new_version(server: Server, registry: Registry) -> None:
    """Threat E10."""
    before = registry.client(CLIENT_ID)

    server.register(active=False)
    after = registry.client(CLIENT_ID)
    server.delete()

    assert before is not None
    assert after is not None
    assert (before.active, after.active, registry.client(CLIENT_ID)) == (True, False, None)


def test_a_new_secret_is_seen_without_a_new_body(server: Server, registry: Registry) -> None:
    server.register(secret="the first one")
    first = registry.client(CLIENT_ID)
    server.register(secret="the second one")
    second = registry.client(CLIENT_ID)

    hashes = [one.secret_hash for one in (first, second) if one is not None]
    assert hashes == ["plain:the first one", "plain:the second one"]


@pytest.mark.parametrize("client_id", ["", "a b", "a/b", "a\u0000", "é", "a" * 65, f"{CLIENT_ID}\n"])
def test_what_is_no_id_is_nobody_and_is_not_asked_for(server: Server, client_id: str) -> None:
    """Threat G03: a database may refuse such text with an error of its own."""
    store = WatchedStore(server.parts.stores.resources)
    rules = server.services.registration.rules
    registry = Registry(store, server.parts.stores.changes, nearby=store, rules=rules, audit_log=server.parts.audit_log)

    assert registry.client(client_id) is None
    assert registry.client(CLIENT_ID) is not None
    assert store.asked == [CLIENT_ID]


def test_a_client_that_is_near_is_the_one_that_is_asked_for(server: Server, registry: Registry) -> None:
    """docs/caches.md: read without waiting it is the same value, and what is not there is not kept."""
    server.register()
    present = Present(server.parts.stores.changes)
    present.take_any()

    registry.keep_nearby(CLIENT_ID)
    near = registry.kept_clients.get(CLIENT_ID, present)
    for client_id in ("unknown", "no id"):
        registry.keep_nearby(client_id)
        with pytest.raises(NotAtHand):
            registry.kept_clients.get(client_id, present)

    assert near is registry.client(CLIENT_ID)


def test_a_client_that_the_settings_no_longer_allow_is_nobody_and_told_of(tmp_path: Path) -> None:
    """Registered with a longer life than this server's settings take."""
    server = open_server(tmp_path, max_token_lifetime=3_600)
    server.register(auth={"client_credentials": {"access_token_expiration": 3_600}})
    narrower = open_server(tmp_path / "other")
    body = server.services.registration.get(CLIENT, CLIENT_ID).body
    narrower.parts.stores.resources.put(CLIENT, CLIENT_ID, body, now=NOW)

    found = narrower.services.introspection.registry.client(CLIENT_ID)

    detail = "Client.auth.client_credentials.access_token_expiration: must be 1 to 300 seconds"
    assert found is None
    assert narrower.events == [("client_unusable", {"client_id": CLIENT_ID, "detail": detail})]


def test_candidates_are_the_unlinked_policies_and_the_clients_own_by_id(server: Server, registry: Registry) -> None:
    """Row A7."""
    server.register("another")
    server.allow(CLIENT_ID, policy_id="b")
    server.allow(policy_id="a")
    server.allow("another", policy_id="c")
    client = registry.client(CLIENT_ID)
    assert client is not None

    assert [policy.id for policy in registry.policies_for(client)] == ["a", "b"]


def test_a_policy_that_cannot_be_read_allows_nothing_and_is_told_of(server: Server, registry: Registry) -> None:
    """Threat G07: deny and alarm; the readable policy beside it goes on working."""
    server.allow(CLIENT_ID, policy_id="b")
    server.parts.stores.resources.put(ACCESS_POLICY, "a", {"engine": "of the future"}, now=NOW, links=(UNLINKED,))
    client = registry.client(CLIENT_ID)
    assert client is not None

    found = [policy.id for policy in registry.policies_for(client)]

    detail = "AccessPolicy.engine: this engine is unknown; supported: allow, matcho, json-schema, complex"
    assert found == ["b"]
    assert server.events[-1] == ("policy_unusable", {"policy": "a", "detail": detail})


def test_only_so_many_clients_are_kept(server: Server, registry: Registry) -> None:
    first = registry.client(CLIENT_ID)
    store = server.parts.stores.resources
    for number in range(3):
        store.put(CLIENT, f"c-{number}", client_resource(), now=NOW)

    rules, changes = server.services.registration.rules, server.parts.stores.changes
    kept_few = Registry(store, changes, nearby=store, rules=rules, audit_log=server.parts.audit_log, max_kept=2)
    compiled = [kept_few.client(f"c-{number}") for number in (0, 1, 2, 0)]

    assert compiled[0] is not compiled[3]
    assert kept_few.client("c-2") is compiled[2]
    assert registry.client(CLIENT_ID) is first
    assert MAX_KEPT == 10_000


def test_a_link_names_the_life_of_a_client() -> None:
    assert policy_link("a", 2) == "Client/a/2"
