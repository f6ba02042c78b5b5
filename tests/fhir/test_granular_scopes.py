"""Granular scopes from the token request to the patient's data: granted, introspected and enforced by the real parts.

Requirement K4: the categories of Condition and Observation that US Core 9 names, each from a code system of its own.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from authserver import clock
from authserver.cli.fhir_part import direct_introspection
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.loading import load_bundle
from authserver.fhir.store.sql_store import open_store
from tests.builders import CLIENT_ID, make_assertion
from tests.fhir.builders import BASE, ISSUER, bearer, entry_ids, make_app
from tests.services.memory_server import Server, open_server

CONDITION = "http://terminology.hl7.org/CodeSystem/condition-category"
CONDITION_US = "http://hl7.org/fhir/us/core/CodeSystem/condition-category"
OBSERVATION = "http://terminology.hl7.org/CodeSystem/observation-category"
OBSERVATION_US = "http://hl7.org/fhir/us/core/CodeSystem/us-core-category"
US_CORE = [
    ("Condition", CONDITION, "encounter-diagnosis"),
    ("Condition", CONDITION, "problem-list-item"),
    ("Condition", CONDITION_US, "health-concern"),
    ("Observation", OBSERVATION, "laboratory"),
    ("Observation", OBSERVATION, "vital-signs"),
    ("Observation", OBSERVATION, "survey"),
    ("Observation", OBSERVATION, "social-history"),
    ("Observation", OBSERVATION_US, "sdoh"),
]


def resource(resource_type: str, resource_id: str, *codings: tuple[str, str]) -> dict[str, Any]:
    """Return a resource with one category for each coding."""
    return {
        "resourceType": resource_type,
        "id": resource_id,
        "subject": {"reference": "Patient/p1"},
        "category": [{"coding": [{"system": system, "code": code}]} for system, code in codings],
    }


RESOURCES = [
    *(resource(resource_type, code, (system, code)) for resource_type, system, code in US_CORE),
    resource("Observation", "two-categories", (OBSERVATION, "laboratory"), (OBSERVATION_US, "sdoh")),
    resource("Observation", "foreign-system", ("http://elsewhere.example", "laboratory")),
    resource("Observation", "no-category"),
    resource("Condition", "no-category"),
]


class World:
    """An authorization server and the FHIR layer that asks it about tokens, in memory and on SQLite."""

    def __init__(self, server: Server, client: FlaskClient) -> None:
        self.server, self.client = server, client

    def token(self, scope: str) -> str:
        """Return an access token for the scope, got with an assertion."""
        now = clock.now()
        return str(self.server.issue(make_assertion(now=now), now=now, scope=scope)["access_token"])

    def search(self, resource_type: str, scope: str) -> set[str]:
        """Return the ids that a search of the whole type finds under this scope."""
        answer = self.client.get(f"/fhir/{resource_type}", headers=bearer(self.token(scope)))
        assert answer.status_code == 200, answer.text
        return set(entry_ids(answer.get_json()))

    def read(self, path: str, scope: str) -> int:
        """Return the status of a read."""
        return int(self.client.get(f"/fhir/{path}", headers=bearer(self.token(scope))).status_code)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, definitions: Definitions) -> Iterator[World]:
    """Both parts; for reading only."""
    folder: Path = tmp_path_factory.mktemp("granular")
    server = open_server(folder, issuer=ISSUER, fhir_base_url=BASE)
    server.register()
    server.allow(CLIENT_ID)
    store = open_store(f"sqlite:///{folder}/fhir.db", definitions)
    entries = [
        {"request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"}, "resource": r} for r in RESOURCES
    ]
    load_bundle(store, {"resourceType": "Bundle", "type": "transaction", "entry": entries}, tenant="")
    app = make_app(store, definitions, introspection=direct_introspection(server.services.introspection))
    yield World(server, app.test_client())
    store.close()


def matching(resource_type: str, system: str, code: str) -> set[str]:
    """Return the ids that have the category, by another route than the code."""
    return {
        one["id"]
        for one in RESOURCES
        if one["resourceType"] == resource_type and {"coding": [{"system": system, "code": code}]} in one["category"]
    }


@pytest.mark.parametrize(("resource_type", "system", "code"), US_CORE)
def test_a_category_of_us_core_opens_what_has_it_and_nothing_else(
    world: World, resource_type: str, system: str, code: str
) -> None:
    """K4: any category of the resource may match; read and search alike."""
    scope = f"system/{resource_type}.rs?category={system}|{code}"

    found = world.search(resource_type, scope)
    reads = {
        one["id"]: world.read(f"{resource_type}/{one['id']}", scope)
        for one in RESOURCES[:3] + RESOURCES[-4:]
        if one["resourceType"] == resource_type
    }

    assert found == matching(resource_type, system, code)
    assert reads == {name: 200 if name in found else 404 for name in reads}


def test_several_categories_add_up(world: World) -> None:
    """K4, requirement @132."""
    scope = (
        f"system/Observation.rs?category={OBSERVATION}|survey system/Observation.rs?category={OBSERVATION}|vital-signs"
    )

    assert world.search("Observation", scope) == {"survey", "vital-signs"}


def test_two_parameters_of_one_scope_both_narrow(world: World) -> None:
    """Requirement @132."""
    both = f"system/Observation.rs?category={OBSERVATION}|laboratory&category={OBSERVATION_US}|sdoh"

    assert world.search("Observation", both) == {"two-categories"}


def test_the_whole_type_is_open_without_a_category(world: World) -> None:
    """The positive control."""
    everything = {one["id"] for one in RESOURCES if one["resourceType"] == "Observation"}

    assert world.search("Observation", "system/Observation.rs") == everything


def test_a_category_opens_no_other_type(world: World) -> None:
    """Threat E08."""
    scope = f"system/Observation.rs?category={OBSERVATION}|survey"

    assert world.read("Condition/health-concern", scope) == 403


def test_the_letters_of_a_granular_scope_are_judged_apart(world: World) -> None:
    """Threat H18: search without read, read without search."""
    by_search, by_read = (f"system/Observation.{x}?category={OBSERVATION}|survey" for x in "sr")

    assert world.search("Observation", by_search) == {"survey"}
    assert world.read("Observation/survey", by_search) == 403
    assert world.read("Observation/survey", by_read) == 200
    assert world.read("Observation?", by_read) == 403
