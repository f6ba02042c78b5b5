"""Registering Clients and AccessPolicies. Rows A4, A6, A7, X7, X13, X19; threats G02, G15."""

import json
from typing import Any

import pytest

from authserver.errors import InvalidResource, Issue, LoginRequired, NotFound, VersionConflict
from authserver.protocol.policy import PolicyRequest
from authserver.services.ports import ACCESS_POLICY, CLIENT
from authserver.services.registration import ROOT, Registration, ensure_root, representation
from tests.builders import CLIENT_ID, NOW, client_resource
from tests.services.memory_server import SECRET, Server

MOMENT = NOW * 10**6
BASIC = {"grant_types": ["basic"], "secret": SECRET}


@pytest.fixture
def registration(server: Server) -> Registration:
    """The registration of a server where nothing but the documented client is registered."""
    return server.services.registration


def put(registration: Registration, resource_type: str, resource_id: str, body: dict[str, Any], **more: Any) -> Any:
    """Register as an actor named `admin`."""
    return registration.put(resource_type, resource_id, body, actor="admin", now=MOMENT, **more)


def test_a_resource_is_shown_as_it_was_sent_with_its_identity(registration: Registration) -> None:
    """Row A6; threat G02: meta, id and resourceType are ours."""
    sent = {**client_resource(), "id": "", "resourceType": "Client", "meta": {"versionId": "77"}, "invented": [1]}

    stored = put(registration, CLIENT, "new", sent)

    meta = {"versionId": "1", "lastUpdated": "2027-01-15T08:00:00.000000Z"}
    shown = {**client_resource(), "invented": [1], "resourceType": "Client", "id": "new", "meta": meta}
    assert representation(stored) == shown
    assert registration.get(CLIENT, "new").body == {**client_resource(), "invented": [1]}


def test_versions_grow_and_the_record_names_actor_and_version(server: Server, registration: Registration) -> None:
    """Row A4."""
    versions = [put(registration, CLIENT, "new", client_resource()).version_id for _ in range(3)]

    assert versions == [1, 2, 3]
    assert server.events[-1] == ("resource_put", {"resource": "Client/new", "version_id": 3, "actor": "admin"})


def test_a_secret_is_hashed_and_never_shown_kept_or_recorded(server: Server, registration: Registration) -> None:
    """Row X7, threat G15."""
    stored = put(registration, CLIENT, "new", client_resource(**BASIC))

    kept = registration.store.get(CLIENT, "new")
    history = registration.store.history(CLIENT, "new")
    assert kept is not None
    assert kept.secret_hash == f"plain:{SECRET}"
    assert SECRET not in json.dumps([representation(stored), *map(representation, history), server.events])
    assert "plain:" not in repr(kept)


def test_a_version_without_a_secret_keeps_the_former_one(registration: Registration) -> None:
    put(registration, CLIENT, "new", client_resource(**BASIC))

    put(registration, CLIENT, "new", client_resource(grant_types=["basic"]))

    kept = registration.store.get(CLIENT, "new")
    assert kept is not None
    assert kept.secret_hash == f"plain:{SECRET}"


@pytest.mark.parametrize(
    ("resource_type", "body"),
    [(CLIENT, {"active": "yes"}), (CLIENT, {"id": "other"}), (ACCESS_POLICY, {"engine": "sql"}), (ACCESS_POLICY, {})],
)
def test_what_is_not_valid_changes_nothing(
    server: Server, registration: Registration, resource_type: str, body: dict[str, Any]
) -> None:
    """Standard answer REG: row and version unchanged."""
    server.allow(CLIENT_ID)
    resource_id = CLIENT_ID if resource_type == CLIENT else "policy-1"
    before, events = registration.get(resource_type, resource_id), list(server.events)

    with pytest.raises(InvalidResource):
        put(registration, resource_type, resource_id, body)

    assert (registration.get(resource_type, resource_id), server.events) == (before, events)


def test_a_policy_for_unknown_clients_is_refused_and_names_them(registration: Registration) -> None:
    """Row X19."""
    link = [{"id": name, "resourceType": "Client"} for name in ("zoe", CLIENT_ID, "ann")]

    with pytest.raises(InvalidResource) as refused:
        put(registration, ACCESS_POLICY, "p", {"engine": "allow", "link": link})

    assert refused.value.findings == (Issue("AccessPolicy.link", "no such Client: ann, zoe", "not-found"),)


def test_a_policy_is_filed_under_the_life_of_each_client(server: Server, registration: Registration) -> None:
    """Threat G10."""
    server.delete()
    server.register()
    server.register("another")
    server.allow(CLIENT_ID, "another")
    server.allow(policy_id="for-all")

    found = {
        link: [stored.id for stored in registration.store.linked(ACCESS_POLICY, [link])]
        for link in (f"Client/{CLIENT_ID}/1", f"Client/{CLIENT_ID}/2", "Client/another/1", "")
    }

    assert list(found.values()) == [[], ["policy-1"], ["policy-1"], ["for-all"]]


def test_a_deleted_resource_is_returned_once_and_gone(server: Server, registration: Registration) -> None:
    deleted = registration.delete(CLIENT, CLIENT_ID, actor="admin", now=MOMENT)
    again = registration.delete(CLIENT, CLIENT_ID, actor="admin", now=MOMENT)

    assert deleted is not None
    assert (deleted.id, deleted.body, again) == (CLIENT_ID, client_resource(), None)
    events = [event for event, _ in server.events]
    assert events.count("resource_deleted") == 1
    with pytest.raises(NotFound):
        registration.get(CLIENT, CLIENT_ID)


def test_a_stale_version_changes_nothing(registration: Registration) -> None:
    """Row X13, threat G04."""
    put(registration, CLIENT, CLIENT_ID, client_resource(name="second"), if_match=1)

    with pytest.raises(VersionConflict):
        put(registration, CLIENT, CLIENT_ID, client_resource(name="third"), if_match=1)
    with pytest.raises(VersionConflict):
        registration.delete(CLIENT, CLIENT_ID, actor="admin", now=MOMENT, if_match=1)

    assert registration.get(CLIENT, CLIENT_ID).body["name"] == "second"


def test_the_resources_of_a_type_are_listed_by_id(registration: Registration) -> None:
    put(registration, CLIENT, "a", client_resource())

    assert [stored.id for stored in registration.current(CLIENT)] == ["a", CLIENT_ID]
    assert registration.current(ACCESS_POLICY) == []


def root_may(server: Server, secret: str) -> bool:
    """Say whether root, by this secret, is an operator."""
    authorization = server.services.authorization
    request = PolicyRequest("PUT", "/Client/x", (), "update", CLIENT, "x")
    return authorization.is_operator(authorization.by_secret(ROOT, secret), request)


def test_the_first_start_makes_root_an_operator(server: Server, registration: Registration) -> None:
    """The decision "who may call what"."""
    ensure_root(registration, secret=SECRET, now=MOMENT)

    assert root_may(server, SECRET) is True
    assert [event for event, _ in server.events[-2:]] == ["root_secret_set", "resource_put"]
    assert SECRET not in json.dumps(server.events)


def test_a_further_start_changes_nothing(server: Server, registration: Registration) -> None:
    ensure_root(registration, secret=SECRET, now=MOMENT)
    before = [*registration.current(CLIENT), *registration.current(ACCESS_POLICY)]

    ensure_root(registration, secret=SECRET, now=MOMENT + 1)

    assert [*registration.current(CLIENT), *registration.current(ACCESS_POLICY)] == before


def test_the_environment_decides_the_secret_and_nothing_else(server: Server, registration: Registration) -> None:
    ensure_root(registration, secret=SECRET, now=MOMENT)
    put(registration, CLIENT, ROOT, {"grant_types": ["basic"], "name": "renamed"})

    ensure_root(registration, secret="another secret", now=MOMENT)

    assert registration.get(CLIENT, ROOT).body == {"grant_types": ["basic"], "name": "renamed"}
    assert root_may(server, "another secret") is True
    with pytest.raises(LoginRequired):
        root_may(server, SECRET)


@pytest.mark.parametrize("lost", [CLIENT, ACCESS_POLICY])
def test_a_deleted_root_or_policy_is_back_at_the_next_start(
    server: Server, registration: Registration, lost: str
) -> None:
    """A root registered anew is another client, which its former policy would not let in."""
    ensure_root(registration, secret=SECRET, now=MOMENT)
    registration.delete(lost, ROOT, actor="admin", now=MOMENT)

    ensure_root(registration, secret=SECRET, now=MOMENT)

    assert root_may(server, SECRET) is True
