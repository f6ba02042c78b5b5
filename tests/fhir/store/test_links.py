"""Chains, `_has`, includes, order, totals: what other resources have to do with a search."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

import pytest

from authserver.fhir import exact_json
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.search.parser import SearchParser
from authserver.fhir.store.including import MAX_INCLUDED
from authserver.fhir.store.port import Page
from authserver.fhir.store.sql_store import SqlStore
from tests.fhir.builders import BASE, make_observation, make_patient

EVERYTHING = Constraint.system("")


def _reference(target: str) -> dict[str, str]:
    return {"reference": target}


def _organization(resource_id: str, name: str, **members: Any) -> dict[str, Any]:
    return {"resourceType": "Organization", "id": resource_id, "name": name, **members}


def _patient(resource_id: str, family: str, **members: Any) -> dict[str, Any]:
    return make_patient(resource_id, name=[{"family": family}], **members)


WORLD = [
    _organization("north", "North"),
    _organization("ward", "Ward", partOf=_reference("Organization/north")),
    _patient("anna", "Smith", birthDate="1950-01-02", managingOrganization=_reference("Organization/ward")),
    _patient("bert", "Jones", birthDate="1940-01-02", managingOrganization=_reference("Organization/north")),
    _patient("carl", "Smith"),
    make_observation("a1", subject=_reference("Patient/anna"), effectiveDateTime="2020-01-01"),
    make_observation("a2", subject=_reference("Patient/anna"), effectiveDateTime="2022-01-01", status="amended"),
    make_observation("b1", subject=_reference("Patient/bert"), effectiveDateTime="2021-01-01"),
    make_observation("g1", subject=_reference("Group/anna")),
    make_observation(
        "m1", subject={"identifier": {"system": "urn:mrn", "value": "7"}}, hasMember=[_reference("Observation/a1")]
    ),
    make_observation("m2", subject={"display": "?"}, hasMember=[_reference("Observation/m1")]),
    {
        "resourceType": "Provenance",
        "id": "v1",
        "target": [_reference("Observation/a1"), _reference("Observation/b1")],
        "recorded": "2024-01-01T00:00:00Z",
        "agent": [{"who": _reference("Organization/north")}],
    },
]


@pytest.fixture
def world(store: SqlStore) -> SqlStore:
    """A store with these resources, and with the same ones of another tenant."""
    store.put(EVERYTHING, WORLD, now=1_700_000_000_000_000)
    other = [{**resource, "id": f"x{resource['id']}"} for resource in WORLD]
    store.put(Constraint.system("other"), [*WORLD, *other], now=1_700_000_000_000_000)
    return store


def _page(
    store: SqlStore, definitions: Definitions, url: str, constraint: Constraint = EVERYTHING, *, after: Any = ()
) -> Page:
    resource_type, _, query = url.partition("?")
    parsed = SearchParser(definitions, base_url=BASE).query(resource_type, parse_qsl(query, keep_blank_values=True))
    return store.search(constraint, parsed.query.starting_after(after))


def _ids(resources: Sequence[Any]) -> list[str]:
    return [one.id for one in resources]


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("Observation?subject:Patient.name=smi", ["a1", "a2"]),
        ("Observation?patient.name=smi", ["a1", "a2"]),
        ("Observation?patient.name:exact=Jones", ["b1"]),
        ("Observation?patient.birthdate=lt1945", ["b1"]),
        ("Observation?patient._id=anna,bert&status=final", ["a1", "b1"]),
        ("Observation?patient.organization.name=ward", ["a1", "a2"]),
        ("Observation?patient.organization.partof.name=north", ["a1", "a2"]),
        ("Observation?patient.organization=north", ["b1"]),
        ("Observation?patient.name=nobody", []),
        ("Observation?patient.gender:missing=true", ["a1", "a2", "b1"]),
        ("Observation?has-member.has-member=a1", ["m2"]),
        ("Observation?patient._has:Observation:patient:status=amended", ["a1", "a2"]),
        ("Observation?subject:identifier=urn:mrn|7", ["m1"]),
        ("Observation?subject:identifier=8", []),
        ("Observation?subject:missing=true", []),
        ("Observation?patient:missing=true", ["g1", "m1", "m2"]),
        ("Observation?has-member:missing=false", ["m1", "m2"]),
        ("Observation?subject=anna", ["a1", "a2", "g1"]),
        ("Patient?_has:Observation:patient:status=amended", ["anna"]),
        ("Patient?_has:Observation:patient:code=4548-4", ["anna", "bert"]),
        ("Patient?_has:Observation:subject:code=4548-4", ["anna", "bert"]),
        ("Patient?_has:Observation:patient:code:not=4548-4", []),
        ("Patient?_has:Observation:patient:_has:Provenance:target:agent=north", ["anna", "bert"]),
        ("Patient?_has:Observation:patient:_has:Provenance:target:agent=ward", []),
        ("Patient?_has:Observation:patient:status=amended&name=jones", []),
        ("Organization?_has:Patient:organization:name=smi", ["ward"]),
        ("Organization?_has:Patient:organization:_has:Observation:patient:date=2021", ["north"]),
    ],
)
def test_chains_and_has_follow_references(
    world: SqlStore, definitions: Definitions, url: str, found: list[str]
) -> None:
    """Row B11; http://hl7.org/fhir/R4/search.html, chaining and `_has`."""
    assert _ids(_page(world, definitions, url).matches) == found


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("Observation?patient.name=smi", []),
        ("Patient?_has:Observation:patient:code=4548-4", []),
        ("Observation?_id=a1&_include=Observation:patient&_revinclude=Provenance:target", ["a1"]),
    ],
)
def test_other_types_are_not_looked_at_unless_the_constraint_says_so(
    world: SqlStore, definitions: Definitions, url: str, found: list[str]
) -> None:
    """Leaks L1, L2 and L5: the store denies by default."""
    page = _page(world, definitions, url, Constraint("", ((),)))

    assert (_ids(page.matches), page.included) == (found, ())


def test_a_hop_sees_what_its_own_constraint_reaches(world: SqlStore, definitions: Definitions) -> None:
    """Threat H04: the criterion holds for a Patient that is not reached, and tells nothing."""
    jones = SearchParser(definitions, base_url=BASE).criterion("Patient", "name", "jones")
    constraint = Constraint("", ((),), looked_through=(("Patient", ((jones,),)),))

    pages = [_page(world, definitions, f"Observation?patient.name={name}", constraint) for name in ("smi", "jo")]

    assert [_ids(page.matches) for page in pages] == [[], ["b1"]]


@pytest.mark.parametrize(
    ("url", "matches", "included"),
    [
        ("Observation?_id=a1,b1&_include=Observation:patient", ["a1", "b1"], ["anna", "bert"]),
        ("Observation?_id=a1,a2&_include=Observation:subject:Patient", ["a1", "a2"], ["anna"]),
        ("Observation?_id=a1&_include=Observation:subject:Group", ["a1"], []),
        ("Observation?_id=g1&_include=Observation:subject", ["g1"], []),
        ("Observation?_id=a1&_include=*", ["a1"], ["anna"]),
        ("Observation?_id=a1&_include=Observation:*", ["a1"], ["anna"]),
        ("Patient?_id=anna&_include=Patient:organization", ["anna"], ["ward"]),
        ("Patient?_id=anna&_include=Patient:organization&_include=Organization:partof&_count=5", None, None),
        (
            "Patient?_id=anna&_include=Patient:organization&_include:iterate=Organization:partof",
            ["anna"],
            ["ward", "north"],
        ),
        ("Observation?_id=m2&_include:iterate=Observation:has-member", ["m2"], ["m1", "a1"]),
        ("Observation?_id=m2&_include:recurse=Observation:has-member", ["m2"], ["m1", "a1"]),
        ("Patient?_id=anna&_revinclude=Observation:patient", ["anna"], ["a1", "a2"]),
        ("Patient?_id=anna&_revinclude=Observation:*", ["anna"], ["a1", "a2"]),
        (
            "Patient?_id=anna&_revinclude=Observation:patient&_revinclude:iterate=Provenance:target",
            ["anna"],
            ["a1", "a2", "v1"],
        ),
        ("Observation?_id=a1&_include=Observation:patient&_revinclude=Provenance:target", ["a1"], ["anna", "v1"]),
    ],
)
def test_includes_bring_what_matches_refer_to_and_what_refers_to_them(
    world: SqlStore, definitions: Definitions, url: str, matches: list[str] | None, included: list[str] | None
) -> None:
    """Threat H03, the positive side; each resource comes once."""
    if matches is None:
        with pytest.raises(Exception, match="malformed"):
            _page(world, definitions, url)
        return

    page = _page(world, definitions, url)

    assert (_ids(page.matches), _ids(page.included), page.all_included) == (matches, included, True)


def test_a_limit_cuts_what_is_included_and_says_so(store: SqlStore, definitions: Definitions) -> None:
    many = [make_observation(f"o{number}") for number in range(MAX_INCLUDED + 5)]
    store.put(EVERYTHING, [make_patient(), *many], now=0)

    page = _page(store, definitions, "Patient?_revinclude=Observation:patient")

    assert (len(page.included), page.all_included) == (MAX_INCLUDED, False)
    assert _ids(page.included[:2]) == ["o0", "o1"]


def test_more_candidates_than_are_named_are_probed(store: SqlStore, definitions: Definitions) -> None:
    """Beyond the limit of candidates the near side leads; the answer is the same."""
    many = [make_observation(f"o{n}", subject=_reference(f"Patient/p{n % 1100}")) for n in range(1_200)]
    patients = [make_patient(f"p{n}", active=n == 1_099) for n in range(1_100)]
    store.put(EVERYTHING, [*patients, *many], now=0)

    has = _page(store, definitions, "Patient?_has:Observation:patient:code=4548-4&active=true")
    chain = _page(store, definitions, "Observation?patient.name=smi&_id=o7,o1099&_sort=-_id")

    assert (_ids(has.matches), _ids(chain.matches)) == (["p1099"], ["o7", "o1099"])


def test_a_probe_sees_what_its_own_constraint_reaches(store: SqlStore, definitions: Definitions) -> None:
    """Threat H04, where candidates are too many to be named: what is hidden makes nothing match."""
    parser = SearchParser(definitions, base_url=BASE)
    patients = [make_patient(f"p{n}", gender="female") for n in range(1_100)]
    many = [make_observation(f"o{n}", subject=_reference(f"Patient/p{n % 1100}")) for n in range(1_100)]
    hidden = make_observation("hidden", status="amended", subject=_reference("Patient/m"))
    store.put(EVERYTHING, [*patients, *many, make_patient("m", gender="male"), hidden], now=0)
    women, final = parser.criterion("Patient", "gender", "female"), parser.criterion("Observation", "status", "final")
    reach = (("Patient", ((women,),)), ("Observation", ((final,),)))
    urls = [
        "Observation?patient.name=smi&_id=hidden,o1",
        "Patient?_has:Observation:patient:code=4548-4&_id=m,p1",
    ]

    seen = [_ids(_page(store, definitions, url, Constraint("", ((),), reach)).matches) for url in urls]
    all_of_it = [_ids(_page(store, definitions, url).matches) for url in urls]

    assert seen == [["o1"], ["p1"]]
    assert all_of_it == [["o1", "hidden"], ["p1", "m"]]


def _paged(store: SqlStore, definitions: Definitions, url: str) -> list[str]:
    page = _page(store, definitions, url)
    found = _ids(page.matches)
    while page.more:
        page = _page(store, definitions, url, after=page.last)
        found.extend(_ids(page.matches))
    return found


@pytest.mark.parametrize("count", [1, 2, 100])
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("Observation?_sort=date", ["a1", "b1", "a2", "g1", "m1", "m2"]),
        ("Observation?_sort=-date", ["g1", "m1", "m2", "a2", "b1", "a1"]),
        ("Observation?_sort=status,-_id", ["a2", "m2", "m1", "g1", "b1", "a1"]),
        ("Observation?_sort=-_lastUpdated,_id", ["a1", "a2", "b1", "g1", "m1", "m2"]),
        ("Observation?_sort=subject,-date", ["g1", "a2", "a1", "b1", "m1", "m2"]),
        ("Patient?_sort=birthdate", ["bert", "anna", "carl"]),
        ("Patient?_sort=-birthdate", ["anna", "bert", "carl"]),
        ("Patient?_sort=family,-birthdate", ["bert", "anna", "carl"]),
        ("Patient?name=smi&_sort=-_id", ["carl", "anna"]),
        ("Observation?_sort=-value-quantity,_id", ["a1", "a2", "b1", "g1", "m1", "m2"]),
    ],
)
def test_pages_of_a_sorted_search_hold_every_match_once_and_in_order(
    world: SqlStore, definitions: Definitions, query: str, found: list[str], count: int
) -> None:
    """http://hl7.org/fhir/R4/search.html#sort; what has no value comes last in both directions."""
    assert _paged(world, definitions, f"{query}&_count={count}") == found


def test_an_order_by_quantity_and_by_the_highest_of_several(store: SqlStore, definitions: Definitions) -> None:
    patients = [
        make_patient("p1", name=[{"given": ["B", "Y"]}]),
        make_patient("p2", name=[{"given": ["A", "X"]}]),
        make_patient("p3", name=[{"given": ["C"]}]),
    ]
    values = [make_observation(f"o{number}", valueQuantity={"value": number / 2}) for number in (3, 1, 2)]
    store.put(EVERYTHING, [*patients, *values], now=0)

    answers = [
        _paged(store, definitions, f"{query}&_count=2")
        for query in ("Patient?_sort=given", "Patient?_sort=-given", "Observation?_sort=-value-quantity")
    ]

    assert answers == [["p2", "p1", "p3"], ["p1", "p2", "p3"], ["o3", "o2", "o1"]]


@pytest.mark.parametrize(
    ("url", "total"),
    [
        ("Observation?_total=accurate&_count=1", 6),
        ("Observation?_total=estimate&patient.name=smi", 2),
        ("Observation?_summary=count", 6),
        ("Observation?_count=0&status=amended", 1),
        ("Observation?status=nonsense&_total=accurate", 0),
        ("Observation?_total=none", None),
        ("Observation", None),
    ],
)
def test_a_total_counts_the_matches_of_all_pages(
    world: SqlStore, definitions: Definitions, url: str, total: int | None
) -> None:
    """Row B4: other tenants' resources are not counted."""
    assert _page(world, definitions, url).total == total


def test_types_are_searched_together_in_one_order(world: SqlStore, definitions: Definitions) -> None:
    parser = SearchParser(definitions, base_url=BASE)
    types = ["Observation", "Patient", "Slot"]
    seen: list[list[str]] = []
    after: Any = ()
    for _ in range(3):
        queries = parser.system_query([("_sort", "-_id"), ("_count", "4"), ("_total", "accurate")], types=types).queries
        page = world.search_types([(EVERYTHING, query.starting_after(after)) for query in queries])
        seen.append(_ids(page.matches))
        after = page.last

    assert (seen, page.more, page.total) == (
        [["m2", "m1", "g1", "carl"], ["bert", "b1", "anna", "a2"], ["a1"]],
        False,
        9,
    )


def test_a_search_of_very_many_types_looks_at_those_that_are_there(world: SqlStore, definitions: Definitions) -> None:
    parser = SearchParser(definitions, base_url=BASE)
    queries = parser.system_query([("_count", "3")], types=sorted(definitions.resource_types)).queries

    page = world.search_types([(EVERYTHING, query) for query in queries])

    assert (_ids(page.matches), page.more) == (["north", "ward", "anna"], True)


def test_a_long_type_is_paged_by_date_without_a_gap(store: SqlStore, definitions: Definitions) -> None:
    """Beyond the window in which a page is first looked for; ties, several values and none at its edges."""
    many = [
        make_observation(f"o{n:04}", effectiveDateTime=f"20{n % 20:02}-01-01", status="final" if n % 7 else "amended")
        for n in range(2_300)
    ]
    none = [make_observation(f"z{n}", effectiveDateTime=None) for n in range(3)]
    store.put(EVERYTHING, [*many, *none], now=0)
    expected = {
        "date": sorted(many, key=lambda one: one["effectiveDateTime"]),
        "-date": sorted(many, key=lambda one: one["effectiveDateTime"], reverse=True),
    }

    for sort, order in expected.items():
        assert _paged(store, definitions, f"Observation?_sort={sort}&_count=400") == [o["id"] for o in [*order, *none]]
        amended = [one["id"] for one in order if one["status"] == "amended"]
        assert _paged(store, definitions, f"Observation?status:not=final&_sort={sort}&_count=100") == amended


def test_a_number_of_many_digits_finds_itself(store: SqlStore, definitions: Definitions) -> None:
    """Precision implies a range, http://hl7.org/fhir/R4/search.html#number, also beyond what a float can tell apart."""
    texts = ("101.14785889055251", "0.9304906576748344", "1e-30")
    values = [{"value": exact_json.loads(text)} for text in texts]
    store.put(EVERYTHING, [make_observation(f"o{n}", valueQuantity=value) for n, value in enumerate(values)], now=0)

    answers = [
        _ids(_page(store, definitions, f"Observation?value-quantity={prefix}{text}&_id=o{number}").matches)
        for number, text in enumerate(texts)
        for prefix in ("", "ge", "le", "ne", "gt", "lt")
    ]

    assert answers == [answer for n in range(3) for answer in ([f"o{n}"], [f"o{n}"], [f"o{n}"], [], [], [])]
