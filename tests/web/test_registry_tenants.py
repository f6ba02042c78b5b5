"""A caller that belongs to a tenant sees and changes that tenant's registrations alone. Rows X14, B2; threats E, G."""

from typing import Any

import pytest

from tests.builders import client_resource
from tests.http import Server, basic

SECRET = "canary-secret of eight or more"
ADMIN = basic("admin-a", SECRET)


@pytest.fixture
def shared(server: Server) -> Server:
    """Tenants a and b with an administrator and a client each, and what is nobody's; every version twice."""
    for tenant in "ab":
        server.put_client(f"admin-{tenant}", tenant=tenant, secret=SECRET, grant_types=["basic"], scope=None)
        server.put_policy(f"admin-{tenant}", f"admin-{tenant}")
        for _ in range(2):
            server.put_client(f"client-{tenant}", tenant=tenant)
            server.put_policy(f"client-{tenant}", f"client-{tenant}")
    both = {"engine": "allow", "link": [{"reference": "Client/client-a"}, {"reference": "Client/client-b"}]}
    server.request("PUT", "/AccessPolicy/both", json=both, headers=basic())
    server.request("PUT", "/AccessPolicy/open-later", json={"engine": "allow"}, headers=basic())
    server.request("DELETE", "/AccessPolicy/open-later", headers=basic())
    server.put_client("nobodys")
    return server


def send(server: Server, method: str, path: str, body: object = None, **headers: str) -> Any:
    """Send as the administrator of tenant a."""
    return server.request(method, path, json=body, headers={**ADMIN, **headers})


def named(response: Any) -> list[str]:
    """Return what the entries of a Bundle are about."""
    assert response.status_code == 200, response.text
    return sorted(entry["fullUrl"].removeprefix("https://auth.example/") for entry in response.json["entry"])


def test_searches_find_the_tenants_own(shared: Server) -> None:
    """Totals count nothing else; criteria reach nothing else. root sees all: the control."""
    clients, policies = send(shared, "GET", "/Client"), send(shared, "GET", "/AccessPolicy")

    assert (named(clients), clients.json["total"]) == (["Client/admin-a", "Client/client-a"], 2)
    assert named(policies) == ["AccessPolicy/admin-a", "AccessPolicy/client-a"]
    assert named(send(shared, "GET", "/Client?_id=client-a,client-b,nobodys")) == ["Client/client-a"]
    assert named(send(shared, "GET", "/AccessPolicy?link=client-b")) == []
    assert shared.request("GET", "/Client", headers=basic()).json["total"] == 6


def test_histories_show_the_tenants_own(shared: Server) -> None:
    """Deletions too: who could see the version before sees the deletion; pages are full."""
    shared.put_client("gone-a", tenant="a")
    shared.put_client("gone-b", tenant="b")
    for name in ("gone-a", "gone-b"):
        shared.request("DELETE", f"/Client/{name}", headers=basic())

    found = send(shared, "GET", "/Client/_history")
    first = send(shared, "GET", "/Client/_history?_count=2")
    paths = (
        "/Client/client-b/_history",
        "/Client/client-b/_history/1",
        "/Client/gone-b/_history",
        "/Client/nobodys/_history",
    )

    assert named(found) == ["Client/admin-a", "Client/client-a", "Client/client-a", "Client/gone-a", "Client/gone-a"]
    assert [len(first.json["entry"]), first.json["link"][1]["relation"]] == [2, "next"]
    assert [send(shared, "GET", path).status_code for path in paths] == [404] * 4
    assert send(shared, "GET", "/Client/client-a/_history/1").status_code == 200
    assert len(send(shared, "GET", "/Client/_history?_count=2&_page=3").json["entry"]) == 1


@pytest.mark.parametrize("client_id", ["client-b", "nobodys", "root", "never"])
def test_what_is_anothers_is_not_there(shared: Server, client_id: str) -> None:
    """404 alike for another tenant's, the operator's and what never was; nothing changes."""
    path = f"/Client/{client_id}"
    before = shared.request("GET", path, headers=basic()).json

    answers = [
        send(shared, "GET", path),
        send(shared, "GET", f"{path}/$keys"),
        send(shared, "POST", f"{path}/$revoke-tokens"),
        send(shared, "POST", f"{path}/$flush-keys"),
        shared.request("POST", f"{path}/$validate", headers=ADMIN),
        shared.request("PATCH", path, data="[]", content_type="application/json-patch+json", headers=ADMIN),
    ]
    deleted = send(shared, "DELETE", path)
    matched = send(shared, "DELETE", path, **{"If-Match": "1"})

    assert [answer.status_code for answer in answers] == [404] * 6
    assert len({answer.data for answer in answers}) == 1
    assert (deleted.status_code, matched.status_code) == (204, 412)
    assert shared.request("GET", path, headers=basic()).json == before


@pytest.mark.parametrize("client_id", ["client-b", "nobodys", "root"])
def test_nobody_takes_an_id_of_another(shared: Server, client_id: str) -> None:
    """Ids are one space: 409, or 412 with a precondition."""
    body = client_resource(tenant="a")
    before = shared.request("GET", f"/Client/{client_id}", headers=basic()).json

    put = send(shared, "PUT", f"/Client/{client_id}", body)
    posted = send(shared, "POST", "/Client", {"id": client_id, **body})
    conditional = send(shared, "PUT", f"/Client?_id={client_id}", body)
    matched = send(shared, "PUT", f"/Client/{client_id}", body, **{"If-Match": 'W/"1"'})

    assert [one.status_code for one in (put, posted, conditional, matched)] == [409, 409, 409, 412]
    assert shared.request("GET", f"/Client/{client_id}", headers=basic()).json == before


@pytest.mark.parametrize("tenant", ["b", None, ""])
def test_nobody_registers_for_another_tenant(shared: Server, tenant: str | None) -> None:
    """Neither by PUT of a new id, nor by moving its own client; and $validate says so before."""
    body = client_resource(tenant=tenant)

    answers = [send(shared, "PUT", f"/Client/{client_id}", body) for client_id in ("new", "client-a")]
    told = send(shared, "POST", "/Client/$validate", body).json["issue"][0]

    assert [answer.status_code for answer in answers] == [422, 422]
    assert (told["severity"], told["expression"]) == ("error", ["Client.tenant"])
    assert named(send(shared, "GET", "/Client")) == ["Client/admin-a", "Client/client-a"]


@pytest.mark.parametrize(
    ("link", "status"),
    [
        ([{"reference": "Client/client-a"}], 200),
        ([], 422),
        ([{"reference": "Client/client-b"}], 422),
        ([{"reference": "Client/client-a"}, {"reference": "Client/client-b"}], 422),
        ([{"reference": "Client/root"}], 422),
    ],
)
def test_a_policy_is_for_the_tenants_own_clients(shared: Server, link: list[Any], status: int) -> None:
    """One without links would be for every client of every tenant."""
    response = send(shared, "PUT", "/AccessPolicy/client-a", {"engine": "allow", "link": link})

    assert response.status_code == status
    if status == 422:
        assert response.json["issue"][0]["expression"] == ["AccessPolicy.link"]


def test_a_tenant_administers_its_own(shared: Server) -> None:
    """The control: create, change, patch, revoke, validate, delete, by the same paths."""
    body = client_resource(tenant="a")

    statuses = [
        send(shared, "PUT", "/Client/new-a", body).status_code,
        send(shared, "PUT", "/Client/new-a", {**body, "name": "x"}).status_code,
        send(shared, "PUT", "/Client/new-a", body, **{"If-Match": 'W/"2"'}).status_code,
        send(shared, "GET", "/Client/new-a/_history").status_code,
        send(shared, "GET", "/Client/new-a/$keys").status_code,
        send(shared, "POST", "/Client/new-a/$revoke-tokens").status_code,
        send(shared, "POST", "/Client/new-a/$validate", body).status_code,
        send(
            shared, "PUT", "/AccessPolicy/new-a", {"engine": "allow", "link": [{"reference": "Client/new-a"}]}
        ).status_code,
        send(shared, "DELETE", "/AccessPolicy?link=new-a").status_code,
        send(shared, "DELETE", "/Client/new-a").status_code,
        send(shared, "POST", "/Client", {"id": "new-a", **body}).status_code,
    ]

    assert statuses == [201, 200, 200, 200, 200, 200, 200, 201, 200, 200, 201]


def test_a_policy_for_everybody_is_the_operators(shared: Server) -> None:
    """It counts for the tenant's clients, and is nobody's to see, to change or to delete; nor is its deletion."""
    shared.request("PUT", "/AccessPolicy/open", json={"engine": "allow"}, headers=basic())

    listed = named(send(shared, "GET", "/AccessPolicy"))
    history = named(send(shared, "GET", "/AccessPolicy/_history"))
    read, deleted = (send(shared, method, "/AccessPolicy/open").status_code for method in ("GET", "DELETE"))

    assert (listed, read, deleted) == (["AccessPolicy/admin-a", "AccessPolicy/client-a"], 404, 204)
    assert set(history) == {"AccessPolicy/admin-a", "AccessPolicy/client-a"}
    assert shared.request("GET", "/AccessPolicy/open", headers=basic()).status_code == 200


def test_a_policy_of_two_tenants_is_the_operators(shared: Server) -> None:
    """Neither of them sees or deletes it."""
    for who in (ADMIN, basic("admin-b", SECRET)):
        assert shared.request("GET", "/AccessPolicy/both", headers=who).status_code == 404
        assert shared.request("DELETE", "/AccessPolicy/both", headers=who).status_code == 204

    assert shared.request("GET", "/AccessPolicy/both", headers=basic()).status_code == 200
