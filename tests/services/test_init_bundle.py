"""Registering what a document wants. Registry rule "init bundle": idempotent, all or nothing valid."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from authserver.adapters.memory import MemoryResourceStore
from authserver.errors import InvalidResource, VersionConflict
from authserver.protocol.registry_bundle import Wanted, wanted
from authserver.services import init_bundle
from authserver.services.ports import ACCESS_POLICY, CLIENT, StoredResource
from authserver.services.registration import ROOT, Registration
from tests.builders import NOW, client_resource
from tests.services.memory_server import Server

MOMENT = NOW * 10**6
SECRET = "canary-secret of eight or more"


def documents(**changes: Any) -> tuple[Wanted, ...]:
    """Return a client with changes, and its policy, the policy said first."""
    policy = {"resourceType": "AccessPolicy", "id": "p", "engine": "allow", "link": [{"reference": "Client/new"}]}
    return wanted([policy, {"resourceType": "Client", "id": "new", **client_resource(**changes)}], {})


def register(server: Server, what: tuple[Wanted, ...]) -> dict[str, int]:
    """Register and count."""
    return dict(init_bundle.register(server.services.registration, what, now=MOMENT))


def versions(server: Server) -> list[int]:
    """Return the versions of the client and of the policy."""
    store = server.parts.stores.resources
    return [len(store.history(*key)) for key in ((CLIENT, "new"), (ACCESS_POLICY, "p"))]


def test_what_is_wanted_is_registered_and_works(server: Server) -> None:
    """A policy may name a client of the same document."""
    counts = register(server, documents())

    client = server.services.authorization.registry.client("new")
    assert client is not None
    assert (counts, [policy.id for policy in server.services.authorization.registry.policies_for(client)]) == (
        {"created": 2},
        ["p"],
    )
    assert server.events[-1][1]["actor"] == "init-bundle"


def test_what_is_there_already_gets_no_new_version(server: Server) -> None:
    """Each start does it; the order of members says nothing, a secret is compared by its hash."""
    register(server, documents(secret=SECRET))

    again = register(server, documents(secret=SECRET))
    (policy, client) = (one.body for one in reversed(documents(secret=SECRET)))
    turned = [dict(reversed(body.items())) for body in (policy, client)]

    assert (again, register(server, wanted(turned, {})), versions(server)) == (
        {"unchanged": 2},
        {"unchanged": 2},
        [1, 1],
    )


@pytest.mark.parametrize("changes", [{"name": "x"}, {"active": 1 == 1, "details": {"n": True}}, {"secret": SECRET}])
def test_what_differs_gets_one_new_version(server: Server, changes: dict[str, Any]) -> None:
    """true is not 1, and another secret is another registration."""
    register(server, documents(details={"n": 1}))

    counts = register(server, documents(**{"details": {"n": 1}, **changes}))

    assert (counts, versions(server)) == ({"changed": 1, "unchanged": 1}, [2, 1])


def test_a_policy_is_filed_anew_for_a_client_that_was_registered_anew(server: Server) -> None:
    """X50: its former links belong to the former life of the id, though its body is the same."""
    register(server, documents())
    server.services.registration.delete(CLIENT, "new", actor="test", now=MOMENT)

    counts = register(server, documents())

    client = server.services.authorization.registry.client("new")
    assert client is not None
    assert (counts, len(server.services.authorization.registry.policies_for(client))) == (
        {"created": 1, "changed": 1},
        1,
    )


def test_one_finding_stops_everything_and_all_are_listed(server: Server) -> None:
    """Each at its place in the document."""
    bad = [
        {"resourceType": "Client", "id": "good", **client_resource()},
        {"resourceType": "Client", "id": "bad", **client_resource(scope=["system/Patient.rs", "x y"], active=None)},
        {"resourceType": "Client", "id": "root", "secret": SECRET, "grant_types": ["basic"]},
        {"resourceType": "AccessPolicy", "id": "p", "engine": "allow", "link": [{"reference": "Client/nobody"}]},
    ]

    with pytest.raises(InvalidResource) as refused:
        register(server, wanted(bad, {}))

    assert [issue.diagnostics.partition(": ")[0] for issue in refused.value.findings] == [
        "[1].scope[1]",
        "[2].secret",
        "[3].link",
    ]
    assert server.parts.stores.resources.get(CLIENT, "good") is None
    assert ROOT in refused.value.findings[1].diagnostics


class Hasty(MemoryResourceStore):
    """A store in which somebody else is always faster, `times` times."""

    times = 1

    def get(self, resource_type: str, resource_id: str) -> StoredResource | None:
        """Return what is there, then let somebody change it."""
        found = super().get(resource_type, resource_id)
        if self.times > 0 and resource_id == "new":
            self.times -= 1
            super().put(resource_type, resource_id, {"name": f"other {self.times}"}, now=self.times)
        return found


def test_who_was_overtaken_looks_again_and_gives_up_in_the_end(server: Server) -> None:
    """Several processes start at once."""
    what = documents()[:1]
    once, forever = Hasty(), Hasty()
    forever.times = 99

    counts = init_bundle.register(replace(server.services.registration, store=once), what, now=MOMENT)
    with pytest.raises(VersionConflict):
        init_bundle.register(replace(server.services.registration, store=forever), what, now=MOMENT)

    assert counts == {"changed": 1}


def test_starts_at_once_make_one_version(server: Server) -> None:
    """By real threads."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: register(server, documents()), range(8)))

    assert versions(server) == [1, 1]


def test_registration_is_the_only_way_in(server: Server) -> None:
    """The rules are those of PUT: what its check refuses is refused here in the same words."""
    registration: Registration = server.services.registration
    body = client_resource(grant_types=["password"])
    with pytest.raises(InvalidResource) as by_put:
        registration.put(CLIENT, "new", body, actor="test", now=MOMENT)

    with pytest.raises(InvalidResource) as by_bundle:
        register(server, wanted({"resourceType": "Client", "id": "new", **body}, {}))

    assert by_bundle.value.findings[0].diagnostics == f"grant_types[0]: {by_put.value.findings[0].diagnostics}"
