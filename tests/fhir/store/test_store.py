"""One suite for every database: writing, versions, reading, tenants and constraints."""

import json
from typing import Any

import pytest

from authserver.errors import Forbidden, InvalidResource, StorageUnavailable
from authserver.fhir import exact_json
from authserver.fhir.constraint import Constraint
from authserver.fhir.search.ast import (
    IdCriterion,
    ReferenceCriterion,
    ReferenceValue,
    SearchQuery,
    TokenCriterion,
    TokenValue,
)
from authserver.fhir.store.port import WriteResult
from authserver.fhir.store.sql_store import SqlStore
from tests.fhir.builders import make_observation, make_patient

NOW = 1_724_946_665_117_806
EVERYTHING = Constraint.system("")
NOTHING = Constraint("", ())


def _token(code: str, value: str) -> TokenCriterion:
    return TokenCriterion(code, (TokenValue(value, None),))


def _ids(store: SqlStore, constraint: Constraint, query: SearchQuery) -> list[str]:
    return [match.id for match in store.search(constraint, query).matches]


def test_a_stored_resource_has_its_meta(store: SqlStore) -> None:
    """Row A20: lastUpdated, versionId and the created-at extension."""
    patient = make_patient(meta={"versionId": "99", "lastUpdated": "1999-01-01", "tag": [{"code": "t"}]})

    results = store.put(EVERYTHING, [patient], now=NOW)
    stored = store.read(EVERYTHING, "Patient", "p1")

    assert results == [WriteResult("Patient", "p1", 1, changed=True)]
    assert stored is not None
    assert (stored.version_id, stored.last_updated) == (1, NOW)
    assert json.loads(stored.body) == {
        **make_patient(),
        "meta": {
            "versionId": "1",
            "lastUpdated": "2024-08-29T15:51:05.117806Z",
            "tag": [{"code": "t"}],
            "extension": [
                {
                    "url": "https://fhir.aidbox.app/fhir/StructureDefinition/created-at",
                    "valueInstant": "2024-08-29T15:51:05.117806Z",
                }
            ],
        },
    }


def test_equal_content_makes_no_new_version(store: SqlStore) -> None:
    store.put(EVERYTHING, [make_patient()], now=NOW)
    first = store.read(EVERYTHING, "Patient", "p1")

    results = store.put(EVERYTHING, [dict(reversed(make_patient().items()))], now=NOW + 1)

    assert results == [WriteResult("Patient", "p1", 1, changed=False)]
    assert store.read(EVERYTHING, "Patient", "p1") == first


def test_what_was_read_can_be_written_back_without_a_new_version(store: SqlStore) -> None:
    store.put(EVERYTHING, [make_patient()], now=NOW)
    stored = store.read(EVERYTHING, "Patient", "p1")
    assert stored is not None

    results = store.put(EVERYTHING, [exact_json.loads(stored.body)], now=NOW + 1)

    assert results == [WriteResult("Patient", "p1", 1, changed=False)]


def test_changed_content_makes_a_version_and_replaces_the_index(store: SqlStore) -> None:
    store.put(EVERYTHING, [make_observation(status="preliminary")], now=NOW)

    results = store.put(EVERYTHING, [make_observation(status="amended")], now=NOW + 5)
    stored = store.read(EVERYTHING, "Observation", "o1")

    assert results == [WriteResult("Observation", "o1", 2, changed=True)]
    assert stored is not None
    meta = json.loads(stored.body)["meta"]
    assert (stored.version_id, meta["versionId"], meta["lastUpdated"]) == (2, "2", "2024-08-29T15:51:05.117811Z")
    assert meta["extension"][0]["valueInstant"] == "2024-08-29T15:51:05.117806Z"
    found = [
        _ids(store, EVERYTHING, SearchQuery("Observation", (_token("status", status),), 10))
        for status in ("preliminary", "amended")
    ]
    assert found == [[], ["o1"]]


def test_decimals_keep_their_digits(store: SqlStore) -> None:
    observation = exact_json.loads('{"resourceType":"Observation","id":"o","valueQuantity":{"value":1.50}}')

    store.put(EVERYTHING, [observation], now=NOW)
    stored = store.read(EVERYTHING, "Observation", "o")

    assert stored is not None
    assert b'"value":1.50}' in stored.body


def test_a_write_is_all_or_nothing(store: SqlStore) -> None:
    bad = make_patient("p2", name=[{"family": "\ud800"}])

    with pytest.raises(InvalidResource):
        store.put(EVERYTHING, [make_patient("p1"), bad], now=NOW)

    assert store.read(EVERYTHING, "Patient", "p1") is None


@pytest.mark.parametrize(
    ("resources", "expression"),
    [
        ([{"resourceType": "Nonsense", "id": "a"}], "resourceType"),
        ([{"id": "a"}], "resourceType"),
        ([{"resourceType": "Patient"}], "Patient.id"),
        ([{"resourceType": "Patient", "id": "a_b"}], "Patient.id"),
        ([make_patient("p1"), make_patient("p1")], "Patient.id"),
        ([make_patient("p1", meta=[])], "Patient.meta"),
        ([make_patient("p1", meta={"extension": ["a"]})], "Patient.meta"),
    ],
)
def test_what_could_not_be_stored_is_refused(
    sqlite_store: SqlStore, resources: list[dict[str, Any]], expression: str
) -> None:
    with pytest.raises(InvalidResource) as refused:
        sqlite_store.put(EVERYTHING, resources, now=NOW)

    assert refused.value.findings[0].expression == expression


def test_nul_characters_do_not_stop_the_index(store: SqlStore) -> None:
    store.put(EVERYTHING, [make_patient(name=[{"family": "A\0b"}], gender="x\0")], now=NOW)

    assert store.read(EVERYTHING, "Patient", "p1") is not None


def test_one_id_in_two_tenants_is_two_resources(store: SqlStore) -> None:
    """Threat H01."""
    store.put(Constraint.system("a"), [make_patient(gender="male")], now=NOW)
    store.put(Constraint.system("b"), [make_patient(gender="female")], now=NOW)

    found = [store.read(Constraint.system(tenant), "Patient", "p1") for tenant in ("a", "b", "")]

    assert [stored and json.loads(stored.body)["gender"] for stored in found] == ["male", "female", None]


def test_a_search_stays_in_its_tenant(store: SqlStore) -> None:
    store.put(Constraint.system("a"), [make_observation("a1")], now=NOW)
    store.put(Constraint.system("b"), [make_observation("b1")], now=NOW)
    queries = [
        SearchQuery("Observation", (), 10),
        SearchQuery("Observation", (_token("code", "4548-4"),), 10),
        SearchQuery("Observation", (IdCriterion(("a1", "b1")),), 10),
        SearchQuery("Observation", (ReferenceCriterion("subject", (ReferenceValue("p1", None),)),), 10),
        SearchQuery("Observation", (TokenCriterion("code", (TokenValue("x", None),), negated=True),), 10),
    ]

    assert [_ids(store, Constraint.system("a"), query) for query in queries] == [["a1"]] * 5


def test_an_id_under_another_type_is_absent(store: SqlStore) -> None:
    store.put(EVERYTHING, [make_patient()], now=NOW)

    assert store.read(EVERYTHING, "Observation", "p1") is None


def test_a_constraint_without_alternatives_reaches_nothing(store: SqlStore) -> None:
    store.put(EVERYTHING, [make_patient()], now=NOW)

    assert store.read(NOTHING, "Patient", "p1") is None
    assert store.search(NOTHING, SearchQuery("Patient", (), 10)).matches == ()


def test_alternatives_of_a_constraint_are_or_and_their_criteria_and(store: SqlStore) -> None:
    """Row X12; the letters' union of leak L13."""
    store.put(
        EVERYTHING,
        [
            make_observation("lab-final"),
            make_observation("lab-amended", status="amended"),
            make_observation("vital-final", category="vital-signs"),
            make_observation("other-final", category="survey"),
        ],
        now=NOW,
    )
    constraint = Constraint(
        "",
        ((_token("category", "laboratory"), _token("status", "final")), (_token("category", "vital-signs"),)),
    )

    found = _ids(store, constraint, SearchQuery("Observation", (), 10))
    readable = [
        resource_id
        for resource_id in ("lab-final", "lab-amended", "vital-final", "other-final")
        if store.read(constraint, "Observation", resource_id)
    ]

    assert found == readable == ["lab-final", "vital-final"]


def test_writing_under_criteria_is_refused(store: SqlStore) -> None:
    with pytest.raises(Forbidden):
        store.put(Constraint("", ((_token("status", "final"),),)), [make_observation()], now=NOW)


def test_pages_hold_every_match_once_and_in_order(store: SqlStore) -> None:
    store.put(EVERYTHING, [make_observation(f"o{number}") for number in range(7)], now=NOW)
    query = SearchQuery("Observation", (_token("code", "4548-4"),), 3)

    pages = [store.search(EVERYTHING, query)]
    while pages[-1].more:
        pages.append(store.search(EVERYTHING, query.starting_after(pages[-1].last)))

    assert [[match.id for match in page.matches] for page in pages] == [
        ["o0", "o1", "o2"],
        ["o3", "o4", "o5"],
        ["o6"],
    ]


def test_a_resource_that_matches_twice_is_found_once(store: SqlStore) -> None:
    codings = [{"system": system, "code": "same"} for system in ("a", "b", "c")]
    store.put(EVERYTHING, [make_observation(code={"coding": codings}), make_observation("o2")], now=NOW)

    page = store.search(EVERYTHING, SearchQuery("Observation", (_token("code", "same"),), 1))

    assert ([match.id for match in page.matches], page.more) == (["o1"], False)


def test_adding_creates_and_never_overwrites(store: SqlStore) -> None:
    """The records of reads: an id that is taken is a failure, not a second version."""
    store.add(EVERYTHING, [make_patient("new", gender="male")], now=NOW)

    with pytest.raises(StorageUnavailable):
        store.add(EVERYTHING, [make_patient("new", gender="other")], now=NOW + 1)

    stored = store.read(EVERYTHING, "Patient", "new")
    assert stored is not None
    assert (stored.version_id, json.loads(stored.body)["gender"]) == (1, "male")
    assert _ids(store, EVERYTHING, SearchQuery("Patient", (_token("gender", "male"),), 10)) == ["new"]


def test_what_was_put_under_any_constraint_is_what_is_read(store: SqlStore) -> None:
    """The answer of a write is the stored version, whether it was read again or not."""
    narrow = Constraint("", ((_token("gender", "male"),),))

    written = [
        store.transact(
            lambda session, constraint=constraint, name=name: session.put(  # type: ignore[misc]
                constraint, make_patient(name, gender="male"), method="POST", now=NOW
            )
        ).stored
        for name, constraint in (("wide", EVERYTHING), ("narrow", narrow))
    ]

    assert written == [store.read(EVERYTHING, "Patient", name) for name in ("wide", "narrow")]
