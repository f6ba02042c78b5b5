"""Hostile values in the search parameters of registry, histories and audit, on real databases. Threat G11."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from sqlalchemy import select

from authserver import clock
from authserver.adapters.secret_hashes import Argon2Hasher
from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.schema import upgrade
from authserver.adapters.sql.stores import SqlStores
from authserver.adapters.sql.tables import audit_event, resource, resource_link, resource_version, revoked_jti
from tests.builders import CLIENT_ID, ROOT_SECRET, make_parts, make_settings
from tests.http import Server, basic, make_app
from tests.injections import HOSTILE
from tests.postgres import PostgresCluster

REGISTRY = ("_id", "_lastUpdated", "type", "_sort", "_count", "_page", "_total")
HISTORY = ("_count", "_page", "_since", "_cursor")
AUDIT = ("date", "type", "subtype", "outcome", "agent", "agent:identifier", "entity", "entity:identifier", "policy")
SEARCHED = {
    "/Client": (*REGISTRY, "active", "scope", "name"),
    "/AccessPolicy": (*REGISTRY, "engine", "link"),
    "/AuditEvent": (*AUDIT, "_id", "_count", "_sort", "_cursor"),
    "/Client/_history": HISTORY,
    "/AccessPolicy/_history": HISTORY,
    f"/Client/{CLIENT_ID}/_history": HISTORY,
    f"/Client/{CLIENT_ID}/$tokens": ("_count", "_cursor"),
}
CASES = [(path, name) for path, names in SEARCHED.items() for name in names]


class Stocked:
    """A server over a real database with a client, a policy, two tokens and a revocation."""

    def __init__(self, server: Server, stores: SqlStores) -> None:
        self.server, self.stores = server, stores

    def get(self, path: str) -> Any:
        """Ask as root."""
        return self.server.request("GET", path, headers=basic())

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return what must stay: the registry, the revocations, and the audit up to now."""
        kept = (resource, resource_version, resource_link, revoked_jti)
        with self.stores.database.reading() as connection:
            found = {table.name: sorted(map(tuple, connection.execute(select(table)))) for table in kept}
            audited = connection.execute(select(audit_event.c.hash).order_by(audit_event.c.sequence))
            return {**found, audit_event.name: list(map(tuple, audited))}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def stocked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stocked]:
    """One for the module on each kind of database: nothing here may change it."""
    folder = tmp_path_factory.mktemp("injection")
    if request.param == "sqlite":
        url = f"sqlite:///{folder}/registry.db"
    else:
        cluster: PostgresCluster = request.getfixturevalue("postgres")
        url = cluster.create_database()
    engine = open_engine(url)
    upgrade(engine)
    stores = SqlStores(engine)
    settings, parts = make_settings(folder), replace(make_parts(folder), stores=stores, hasher=Argon2Hasher())
    server = Server(make_app(settings, parts))
    server.bootstrap(settings, parts, secret=ROOT_SECRET, now=clock.now_microseconds())
    server.put_client(name="acme")
    server.put_policy()
    server.token()
    server.post_form("/auth/revoke", {"token": server.token()}, headers=basic())
    yield Stocked(server, stores)
    stores.close()


def found(answer: Any) -> int:
    """Return how many entries an answer has."""
    return len(answer.json.get("entry", answer.json.get("tokens", [])))


def is_harmless(path: str, name: str, value: str, answer: Any) -> bool:
    """Say whether the value was refused, or taken for a text that nothing has."""
    if answer.status_code == 400:
        return True
    if "_history" in path and name == "_cursor":
        return answer.status_code == 200  # a place in the history: what comes before it is shown, as it should be
    return answer.status_code == 200 and found(answer) == 0


@pytest.mark.parametrize(("path", "name"), CASES, ids=lambda part: part.strip("/"))
def test_g11_a_hostile_value_is_refused_or_matches_nothing(stocked: Stocked, path: str, name: str) -> None:
    """G11: bound parameters alone reach the database; its tables are as before."""
    before = stocked.rows()

    answers = {value: stocked.get(f"{path}?{urlencode({name: value})}") for value in HOSTILE}

    after = stocked.rows()
    assert {
        value: (answer.status_code, answer.text)
        for value, answer in answers.items()
        if not is_harmless(path, name, value, answer)
    } == {}
    after[audit_event.name] = after[audit_event.name][: len(before[audit_event.name])]  # who read the audit is added
    assert after == before


@pytest.mark.parametrize("path", SEARCHED)
def test_g11_a_hostile_name_of_a_parameter_is_refused(stocked: Stocked, path: str) -> None:
    """G11: a name is looked up, and never put into a statement."""
    answers = {name: stocked.get(f"{path}?{urlencode({name: 'a'})}").status_code for name in HOSTILE}

    assert {name: status for name, status in answers.items() if status != 400} == {}


@pytest.mark.parametrize(
    "template", ["/Client/{}", "/Client/{}/_history", f"/Client/{CLIENT_ID}/_history/{{}}", "/AuditEvent/{}"]
)
def test_g11_a_hostile_id_is_nobodys(stocked: Stocked, template: str) -> None:
    """G11, G03: refused as a path, or not there."""
    answers = {value: stocked.get(template.format(quote(value, safe=""))).status_code for value in HOSTILE}

    assert {value: status for value, status in answers.items() if status not in (400, 404)} == {}


@pytest.mark.parametrize("value", HOSTILE)
def test_g11_a_cursor_behind_a_hostile_id_is_a_place_like_any_other(stocked: Stocked, value: str) -> None:
    """G11: the last part of a history's cursor is a text."""
    answer = stocked.get(f"/Client/_history?{urlencode({'_cursor': f'1.1.{value}'})}")

    assert (answer.status_code, found(answer) if answer.status_code == 200 else 0) in ((200, 0), (400, 0))


@pytest.mark.parametrize(
    ("path", "count"),
    [
        (f"/Client?_id={CLIENT_ID}", 1),
        ("/Client?name=acme&active=true&type=bulk-api-client&scope=system/*.read", 1),
        (f"/AccessPolicy?link=Client/{CLIENT_ID}&engine=allow", 1),
        ("/Client?_sort=-_id&_count=1&_page=1&_total=none&_lastUpdated=gt2020", 1),
        (f"/AuditEvent?agent={CLIENT_ID}&outcome=0&subtype=ITI-71&date=gt2020", 2),
        (f"/AuditEvent?entity=Client/{CLIENT_ID}&type=rest&_sort=-date", 1),
        ("/Client/_history?_count=1&_since=2020", 1),
        (f"/Client/{CLIENT_ID}/$tokens?_count=5", 1),
    ],
)
def test_g11_a_usual_value_is_found(stocked: Stocked, path: str, count: int) -> None:
    """G11's control: the same parameters find what is there."""
    answer = stocked.get(path)

    assert (answer.status_code, found(answer)) == (200, count)


@pytest.mark.parametrize(
    "path", ["/AccessPolicy/$explain?decision={}", "/auth/receipt/{}", "/AccessPolicy/{}/$impact", "/ApiKey/{}"]
)
def test_g11_a_hostile_name_of_a_record_is_no_records(stocked: Stocked, path: str) -> None:
    """G11: what is looked up by an id that somebody wrote."""
    answers = {value: stocked.get(path.format(quote(value, safe=""))).status_code for value in HOSTILE}

    assert {value: status for value, status in answers.items() if status not in (400, 404)} == {}


def test_g11_a_hostile_client_id_proves_nobody(stocked: Stocked) -> None:
    """G11: by Basic, and as the name of a client in an introspection's credentials."""
    answers = {
        value: stocked.server.request("GET", "/Client", headers=basic(value, ROOT_SECRET)).status_code
        for value in HOSTILE
    }

    assert {value: status for value, status in answers.items() if status != 401} == {}


def known(stocked: Stocked, path: str) -> set[str]:
    """Return the parameters that a refusal of an unknown one names."""
    (issue,) = stocked.get(f"{path}?no-parameter=1").json["issue"]
    return set(re.findall(r"(?<![\w-])_?[a-zA-Z]+", re.split("known:|Known are", issue["diagnostics"])[1])) - {
        "each",
        "once",
    }


def test_g11_every_parameter_that_there_is_is_tried(stocked: Stocked) -> None:
    """G11: a parameter that is added is added here too."""
    page = (Path(__file__).parents[2] / "docs/audit.md").read_text("utf-8").split("## Reading it")[1]
    rows = re.findall(r"^\| (`.+?) \|", page, re.MULTILINE)
    documented = {name.partition("=")[0] for row in rows for name in re.findall(r"`([a-z_:=-]+)", row)}

    assert [known(stocked, path) for path in ("/Client", "/AccessPolicy")] == [
        set(SEARCHED[path]) for path in ("/Client", "/AccessPolicy")
    ]
    assert known(stocked, "/Client/_history") - {"and", "not", "empty"} == set(HISTORY)
    assert documented | {"_cursor"} == set(SEARCHED["/AuditEvent"])
