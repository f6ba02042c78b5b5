"""The two readings of a constraint, SQL and rows, agree on every resource of the demo data. Leak L8's prevention."""

from typing import Any

import pytest

from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.extraction import Extractor
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.matching import matches
from authserver.fhir.search.ast import SearchQuery
from authserver.fhir.search.parser import SearchParser
from authserver.fhir.store.sql_store import SqlStore
from tests.fhir.builders import BASE, make_observation

QUERIES = {
    "Observation": """
        category=laboratory category=vital-signs,laboratory code=http://loinc.org|4548-4 code=|x code:not=4548-4
        status=final status:not=final date=2024 date=ne2024 date=gt2023-06 date=lt2023-06 date=ge2023 date=le2023
        date=sa2023-06 date=eb2023-06 value-quantity=gt6 value-quantity=lt6 value-quantity=6.5 value-quantity=ne6.5
        value-quantity=ge6.5 value-quantity=le6.5 value-quantity=sa6 value-quantity=eb6 value-quantity=6.5||%
        subject=Patient/nobody _lastUpdated=gt2020 _lastUpdated=lt2020 _id=nobody
        """.split(),
    "Patient": """
        gender=female name=a name:exact=Smith name:contains=an birthdate=lt1970 family=s identifier=x active=true
        _profile=http://x organization=Organization/x
        """.split(),
}
CASES = [(resource_type, query) for resource_type, queries in QUERIES.items() for query in queries]


@pytest.mark.parametrize(("resource_type", "query"), CASES)
def test_rows_and_sql_say_the_same(
    demo_store: SqlStore, demo: list[dict[str, Any]], definitions: Definitions, resource_type: str, query: str
) -> None:
    """Model of the enforcement: the same criteria run two ways."""
    name, _, value = query.partition("=")
    criterion = SearchParser(definitions, base_url=BASE).criterion(resource_type, name, value)
    constraint, extractor = Constraint("", ((criterion,),)), Extractor(definitions)

    by_sql = {found.id for found in demo_store.search(constraint, SearchQuery(resource_type, (), 1_000)).matches}
    stored = demo_store.search(Constraint.system(""), SearchQuery(resource_type, (), 1_000)).matches
    moment = stored[0].last_updated
    by_rows = {
        one["id"]
        for one in demo
        if one["resourceType"] == resource_type
        if matches(constraint, extractor.rows(one), resource_id=one["id"], last_updated=moment)
    }

    assert by_rows == by_sql


def test_some_queries_find_some_and_not_all(demo_store: SqlStore, definitions: Definitions) -> None:
    """The positive control: the comparison is not one of empty sets."""
    parser = SearchParser(definitions, base_url=BASE)
    sizes = {
        len(
            demo_store.search(
                Constraint("", ((parser.criterion(t, *q.split("=", 1)),),)), SearchQuery(t, (), 999)
            ).matches
        )
        for t, q in CASES
    }

    assert len(sizes) > 8


def test_a_criterion_of_an_unknown_kind_opens_nothing(definitions: Definitions) -> None:
    """Leak L12."""
    rows = Extractor(definitions).rows(make_observation())

    unknown: Any = object()

    assert matches(Constraint("", ((unknown,),)), rows, resource_id="o1", last_updated=0) is False
    assert matches(Constraint("", ((),)), rows, resource_id="o1", last_updated=0) is True
    assert matches(Constraint("", ()), rows, resource_id="o1", last_updated=0) is False
