"""The registry's history over HTTP, and conditional reads. Rows X13, X14; threat G15."""

from typing import Any

import pytest

from tests.builders import CLIENT_ID
from tests.http import Server, basic, bearer

SECRET = "canary-secret to hide"


def get(server: Server, path: str, **headers: str) -> Any:
    """Ask as root."""
    return server.request("GET", path, headers={**basic(), **headers})


def lives(server: Server) -> None:
    """Register a client, change it, delete it, register it anew; and another one."""
    server.put_client("acme", name="one", secret=SECRET, grant_types=["basic"])
    server.put_client("acme", name="two", secret=SECRET + "2", grant_types=["basic"])
    server.request("DELETE", "/Client/acme", headers=basic())
    server.put_client("acme", name="four")
    server.put_client("other")


def changes(response: Any) -> list[tuple[str, str, str]]:
    """Return method, status and version of each entry."""
    return [
        (entry["request"]["method"], entry["response"]["status"], entry["response"]["etag"])
        for entry in response.json["entry"]
    ]


def link(response: Any, relation: str) -> str | None:
    """Return a link's path and query."""
    urls = {one["relation"]: one["url"] for one in response.json["link"]}
    return urls[relation].removeprefix("https://auth.example") if relation in urls else None


def test_history_of_a_client_shows_every_version_newest_first(server: Server) -> None:
    """X14: deletions included, without a resource."""
    lives(server)

    response = get(server, "/Client/acme/_history")

    assert (response.status_code, response.json["resourceType"], response.json["type"]) == (200, "Bundle", "history")
    assert changes(response) == [
        ("PUT", "201", 'W/"4"'),
        ("DELETE", "204", 'W/"3"'),
        ("PUT", "200", 'W/"2"'),
        ("PUT", "201", 'W/"1"'),
    ]
    assert [entry.get("resource", {}).get("name") for entry in response.json["entry"]] == ["four", None, "two", "one"]
    assert {entry["fullUrl"] for entry in response.json["entry"]} == {"https://auth.example/Client/acme"}
    assert {entry["request"]["url"] for entry in response.json["entry"]} == {"Client/acme"}


def test_no_history_shows_a_secret(server: Server) -> None:
    """X14, G15: nor its hash, in no answer about former versions."""
    lives(server)

    paths = ("/Client/acme/_history", "/Client/_history", "/Client/acme/_history/1", "/Client/acme/_history/2")
    shown = "".join(get(server, path).text for path in paths)

    assert '"two"' in shown
    assert "secret" not in shown
    assert "plain:" not in shown


def test_history_of_the_type_shows_all_resources(server: Server) -> None:
    """X14: in the order of time; the other type is apart."""
    lives(server)
    server.put_policy("p", "acme")

    clients = get(server, "/Client/_history")
    policies = get(server, "/AccessPolicy/_history")

    named = [entry["request"]["url"].removeprefix("Client/") for entry in clients.json["entry"]]
    assert named == ["other", "acme", "acme", "acme", "acme", "root"]
    assert [entry["request"]["url"] for entry in policies.json["entry"]] == ["AccessPolicy/p", "AccessPolicy/root"]


@pytest.mark.parametrize("path", ["/Client/acme/_history", "/Client/_history"])
@pytest.mark.parametrize("way", ["_count=2", "_count=2&_page=1"])
def test_pages_of_history_join(server: Server, path: str, way: str) -> None:
    """X14: `_count` with the next link, by place or by number."""
    lives(server)
    whole = changes(get(server, path))

    pages, following = [], f"{path}?{way}"
    while following:
        response = get(server, following)
        pages.append(changes(response))
        following = link(response, "next") or ""

    assert [change for page in pages for change in page] == whole
    assert {len(page) for page in pages} == {2}


def test_a_page_by_place_stays_whole_while_versions_come(server: Server) -> None:
    """X14: what is stored in between moves nothing of what was not shown yet."""
    lives(server)
    first = get(server, "/Client/acme/_history?_count=2")

    server.put_client("acme", name="five")
    second = get(server, str(link(first, "next")))

    assert changes(second) == [("PUT", "200", 'W/"2"'), ("PUT", "201", 'W/"1"')]


def test_history_since_a_moment(server: Server) -> None:
    """X14, `_since`."""
    lives(server)
    moment = get(server, "/Client/acme/_history/2").json["meta"]["lastUpdated"]

    response = get(server, f"/Client/acme/_history?_since={moment}")

    assert [etag for _, _, etag in changes(response)] == ['W/"4"', 'W/"3"', 'W/"2"']
    assert changes(get(server, "/Client/acme/_history?_since=2999-01")) == []


@pytest.mark.parametrize(
    "query",
    [
        "_count=0",
        "_count=x",
        "_page=0",
        "_since=yesterday",
        "_cursor=x",
        "_cursor=1.x.a",
        "_at=2020",
        "_count=1&_count=2",
        "_page=1&_cursor=1.1.a",
        "_count=",
    ],
)
def test_a_history_parameter_that_is_not_understood_is_refused(server: Server, query: str) -> None:
    """X14: nothing is passed over; the parameter is named."""
    response = get(server, f"/Client/_history?{query}")

    assert response.status_code == 400
    assert response.json["issue"][0]["expression"][0] in query


def test_one_version_is_read_by_its_number(server: Server) -> None:
    """X14: vread; a deletion is 410, a number never given 404."""
    lives(server)

    second = get(server, "/Client/acme/_history/2")
    others = [get(server, f"/Client/acme/_history/{number}") for number in ("3", "5", "0", "x", "9" * 30)]

    assert (second.status_code, second.json["name"], second.headers["ETag"]) == (200, "two", 'W/"2"')
    assert second.json["meta"]["versionId"] == "2"
    assert [response.status_code for response in others] == [410, 404, 404, 404, 404]
    assert others[0].json["issue"][0]["code"] == "deleted"  # deleted_version


def test_there_is_no_history_of_what_never_was(server: Server) -> None:
    assert get(server, "/Client/never/_history").status_code == 404
    assert get(server, "/Client/never/_history/1").status_code == 404


@pytest.mark.parametrize(
    ("value", "status"),
    [('W/"1"', 304), ('"1"', 304), ("1", 304), ("*", 304), ('W/"7", W/"1"', 304), ('W/"2"', 200), ("yes", 200)],
)
def test_what_the_caller_has_is_not_sent_again(server: Server, value: str, status: int) -> None:
    """X13: If-None-Match, in each spelling."""
    server.put_client()

    response = get(server, f"/Client/{CLIENT_ID}", **{"If-None-Match": value})
    version = get(server, f"/Client/{CLIENT_ID}/_history/1", **{"If-None-Match": value})
    head = server.request("HEAD", f"/Client/{CLIENT_ID}", headers={**basic(), "If-None-Match": value})

    assert (response.status_code, version.status_code, head.status_code) == (status, status, status)
    assert (response.headers["ETag"], response.data == b"") == ('W/"1"', status == 304)


def test_history_needs_the_letters_of_search_and_read(server: Server) -> None:
    """What lists needs `s`, what reads one version `r`; a policy too."""
    server.put_client(scope=["system/Client.r", "system/Client.s"])
    server.put_policy()
    reads, searches = (bearer(server.token(scope=f"system/Client.{letter}")) for letter in "rs")

    def statuses(headers: dict[str, str]) -> list[int]:
        paths = ("/Client/_history", f"/Client/{CLIENT_ID}/_history", f"/Client/{CLIENT_ID}/_history/1")
        return [server.request("GET", path, headers=headers).status_code for path in paths]

    assert (statuses(reads), statuses(searches)) == ([403, 403, 200], [200, 200, 403])
    assert statuses({}) == [401, 401, 401]
    server.request("DELETE", f"/AccessPolicy/{CLIENT_ID}", headers=basic())
    assert (statuses(reads), statuses(searches)) == ([403] * 3, [403] * 3)
