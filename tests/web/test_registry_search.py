"""Searches of the registry over HTTP. Rows X14, X20."""

from typing import Any

import pytest

from tests.builders import CLIENT_ID
from tests.http import Server, basic, bearer


def search(server: Server, query: str, resource_type: str = "Client") -> Any:
    """Ask as root."""
    return server.request("GET", f"/{resource_type}?{query}", headers=basic())


def ids(response: Any) -> list[str]:
    """Return the ids found."""
    assert response.status_code == 200, response.text
    return [entry["resource"]["id"] for entry in response.json["entry"]]


def link(response: Any, relation: str) -> str | None:
    """Return a link's path and query."""
    urls = {one["relation"]: one["url"] for one in response.json["link"]}
    return urls[relation].removeprefix("https://auth.example") if relation in urls else None


@pytest.fixture
def stocked(server: Server) -> Server:
    """root; a, b (inactive) and c, with policies of each engine that there is and in both forms of a link."""
    server.put_client("a", name="Zoo", scope=["system/Patient.read"])
    server.put_client("b", name="Ark", active=False, type="smart-app")
    server.put_client("c", active=None, scope=["system/Patient.read", "system/Device.rs"])
    server.put_policy("pa", "a")
    both = {"engine": "allow", "link": [{"reference": "Client/a"}, {"id": "b", "resourceType": "Client"}]}
    server.request("PUT", "/AccessPolicy/pab", json=both, headers=basic())
    return server


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("_id=a", ["a"]),
        ("_id=a,c,nobody", ["a", "c"]),
        ("_id=a&_id=a,b", ["a"]),
        ("_id=a&_id=b", []),
        ("active=true", ["a", "c", "root"]),
        ("active=false", ["b"]),
        ("type=smart-app", ["b"]),
        ("type=smart-app,bulk-api-client&active=true", ["a", "c"]),
        ("scope=system/Patient.read", ["a", "c"]),
        ("scope=system/Device.rs", ["c"]),
        ("scope=system/Device", []),
        ("name=Ark", ["b"]),
        ("_lastUpdated=gt2020", ["a", "b", "c", "root"]),
        ("_lastUpdated=lt2020", []),
        ("_sort=-_id", ["root", "c", "b", "a"]),
        ("_sort=_lastUpdated", ["root", "a", "b", "c"]),
        ("_sort=-_lastUpdated", ["c", "b", "a", "root"]),
        ("_sort=name", ["b", "a", "root", "c"]),
        ("_sort=type,-_id", ["c", "a", "b", "root"]),
        ("_count=0", []),
    ],
)
def test_a_search_finds_what_matches_in_its_order(stocked: Server, query: str, found: list[str]) -> None:
    """X14: `_id`, `active`, `type`, `scope`, `_lastUpdated`, `_sort`; a comma is or, twice is and."""
    assert ids(search(stocked, query)) == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("link=Client/a", ["pa", "pab"]),
        ("link=b", ["pab"]),
        ("link=Client/root,Client/b", ["pab", "root"]),
        ("link=Operation/a", []),
        ("engine=allow&_sort=-_id", ["root", "pab", "pa"]),
        ("engine=sql", []),
    ],
)
def test_policies_are_found_by_engine_and_link(stocked: Server, query: str, found: list[str]) -> None:
    """X14, X20: both forms of a link are one."""
    assert ids(search(stocked, query, "AccessPolicy")) == found


@pytest.mark.parametrize(
    ("prefix", "holds"),
    [
        ("", True),
        ("eq", True),
        ("ne", False),
        ("ge", True),
        ("le", True),
        ("gt", False),
        ("lt", False),
        ("sa", False),
        ("eb", False),
    ],
)
def test_a_moment_is_compared_by_its_prefix(server: Server, prefix: str, holds: bool) -> None:
    """X14: each prefix, against the very moment."""
    moment = server.put_client("a").json["meta"]["lastUpdated"]

    assert ids(search(server, f"_id=a&_lastUpdated={prefix}{moment}")) == (["a"] if holds else [])


@pytest.mark.parametrize(
    "query",
    [
        "engine=allow",
        "active=yes",
        "_count=-1",
        "_count=1e3",
        "_page=0",
        "_sort=scope",
        "_total=x",
        "_lastUpdated=ap2020",
        "_lastUpdated=soon",
        "_id=",
        "name:exact=a",
        "_count=1&_count=2",
        "_include=x",
        "x" * 100 + "=1",
        "_id=" + "a" * 1025,
    ],
)
def test_a_parameter_that_is_not_understood_is_refused(stocked: Server, query: str) -> None:
    """Passed over it would widen what the caller sees; the parameter is named, its value is not."""
    response = search(stocked, query)

    assert response.status_code == 400
    assert query.startswith(response.json["issue"][0]["expression"][0])


def test_pages_have_links_to_their_neighbours(stocked: Server) -> None:
    """X14: `_count`, total of all that matches."""
    first = search(stocked, "_count=2&_sort=-_id&_page=1")
    second = stocked.request("GET", str(link(first, "next")), headers=basic())

    assert (ids(first), ids(second)) == (["root", "c"], ["b", "a"])
    assert (first.json["total"], second.json["total"]) == (4, 4)
    assert (link(first, "self"), link(first, "previous")) == ("/Client?_count=2&_sort=-_id", None)
    assert (link(second, "previous"), link(second, "next")) == (link(first, "self"), None)


def test_a_search_counts_only_if_asked(stocked: Server) -> None:
    """X14: `_total=none` leaves it out; `_count=0` counts alone."""
    without, alone = search(stocked, "_total=none"), search(stocked, "_count=0&active=true")

    assert ("total" in without.json, len(without.json["entry"])) == (False, 4)
    assert (alone.json["total"], alone.json["entry"], link(alone, "next")) == (3, [], None)


def test_a_page_has_a_hundred_entries_if_nothing_is_said(server: Server) -> None:
    for number in range(101):
        server.request("PUT", f"/AccessPolicy/p{number:03}", json={"engine": "allow"}, headers=basic())

    found = search(server, "_id=" + ",".join(f"p{n:03}" for n in range(101)), "AccessPolicy")

    assert (len(found.json["entry"]), found.json["total"]) == (100, 101)
    assert len(search(server, "_count=1000", "AccessPolicy").json["entry"]) == 102


def test_a_search_needs_the_letter_s(server: Server) -> None:
    """The same door as ever: scope and policy."""
    server.put_client(scope=["system/Client.r", "system/Client.s"])
    server.put_policy()
    reads, searches = (bearer(server.token(scope=f"system/Client.{letter}")) for letter in "rs")

    statuses = [server.request("GET", "/Client?active=true", headers=who).status_code for who in (reads, searches, {})]

    assert statuses == [403, 200, 401]
    assert server.request("GET", f"/AccessPolicy?link={CLIENT_ID}", headers=searches).status_code == 403
