"""The demo data: enough of it, the same every time, and sound."""

from collections import Counter

from authserver.fhir import demo_data, exact_json
from authserver.fhir.constraint import Constraint
from authserver.fhir.loading import load_bundle
from authserver.fhir.search.ast import SearchQuery
from authserver.fhir.store.sql_store import SqlStore
from tests.fhir.builders import demo_resources


def test_the_data_are_the_same_every_time() -> None:
    first, second = (exact_json.dumps(list(demo_data.bundles())) for _ in range(2))

    assert first == second


def test_there_is_enough_of_each_kind() -> None:
    types = Counter(resource["resourceType"] for resource in demo_resources())
    codes = Counter(
        resource["code"]["coding"][0]["code"]
        for resource in demo_resources()
        if resource["resourceType"] == "Observation"
    )

    assert types["Patient"] >= 20
    assert min(types[name] for name in ("Encounter", "Condition", "Observation")) >= 20
    assert (types["Practitioner"], types["Organization"], types["Group"]) == (2, 1, 1)
    assert set(codes) == {"4548-4", "8867-4", "85354-9", "29463-7", "8302-2"}


def test_every_reference_has_its_resource() -> None:
    resources = demo_resources()
    there = {f"{resource['resourceType']}/{resource['id']}" for resource in resources}

    text = exact_json.dumps(resources).decode()
    referred = {part.partition('"')[0] for part in text.split('"reference":"')[1:]}

    assert referred <= there
    assert len(there) == len(resources)


def test_values_are_plausible() -> None:
    a1c = [
        resource["valueQuantity"]["value"]
        for resource in demo_resources()
        if resource["resourceType"] == "Observation" and resource["code"]["coding"][0]["code"] == "4548-4"
    ]

    assert 4 < min(a1c) < 5.7 < 6.5 < max(a1c) < 10


def test_loading_twice_changes_nothing(sqlite_store: SqlStore) -> None:
    for bundle in demo_data.bundles():
        load_bundle(sqlite_store, bundle, tenant="demo")

    again = [result for b in demo_data.bundles() for result in load_bundle(sqlite_store, b, tenant="demo")]

    assert not any(result.changed for result in again)
    page = sqlite_store.search(Constraint.system("demo"), SearchQuery("Patient", (), 1000))
    assert len(page.matches) == demo_data.PATIENTS
