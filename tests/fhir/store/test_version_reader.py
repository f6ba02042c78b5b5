"""Reading versions: as many are held against the constraint for what is absent as for what it hides."""

from collections.abc import Mapping
from typing import Any

import pytest

from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.extraction import Extractor, Rows
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.search.ast import TokenCriterion, TokenValue
from authserver.fhir.store.engine import make_engine, reading
from authserver.fhir.store.port import HistoryQuery
from authserver.fhir.store.sql_store import open_store
from authserver.fhir.store.versions import VersionReader
from tests.fhir.builders import make_observation

FINAL = Constraint("mine", ((TokenCriterion("status", (TokenValue("final", None),)),),))


class CountingExtractor(Extractor):
    """Extracts, and counts what it was given."""

    def __init__(self, definitions: Definitions) -> None:
        super().__init__(definitions)
        self.extracted = 0

    def rows(self, resource: Mapping[str, Any]) -> Rows:
        """See Extractor."""
        self.extracted += 1
        return super().rows(resource)


@pytest.fixture
def reader(tmp_path: Any, definitions: Definitions) -> Any:
    """A reader over a store with one final and one amended Observation, and one of another tenant."""
    url = f"sqlite:///{tmp_path}/fhir.db"
    store = open_store(url, definitions)
    store.put(
        Constraint.system("mine"), [make_observation("seen"), make_observation("hidden", status="amended")], now=1
    )
    store.put(Constraint.system("other"), [make_observation("foreign")], now=1)
    store.close()
    engine = make_engine(url)
    with reading(engine) as connection:
        yield VersionReader(connection, CountingExtractor(definitions), {})
    engine.dispose()


def _extracted(reader: VersionReader, resource_id: str, *, version_id: int | None) -> tuple[bool, int]:
    assert isinstance(reader.extractor, CountingExtractor)
    before = reader.extractor.extracted
    found = reader.one(FINAL, "Observation", resource_id, version_id=version_id)
    return found is not None, reader.extractor.extracted - before


@pytest.mark.parametrize("version_id", [1, None])
def test_one_version_is_looked_at_whether_there_is_one_or_not(reader: VersionReader, version_id: int | None) -> None:
    """Threat H01: reading a resource and holding it against criteria is what takes the time."""
    found = [_extracted(reader, name, version_id=version_id) for name in ("seen", "hidden", "foreign", "nobody")]

    assert found == [(True, 1), (False, 1), (False, 1), (False, 1)]


def test_a_history_of_nothing_looks_at_one_version(reader: VersionReader) -> None:
    """Threat H01."""
    assert isinstance(reader.extractor, CountingExtractor)
    counts = []
    for name in ("hidden", "foreign", "nobody"):
        before = reader.extractor.extracted
        page = reader.history({"Observation": FINAL}, HistoryQuery(("Observation",), name))
        counts.append((page.versions, page.total, reader.extractor.extracted - before))

    assert counts == [((), 0, 1)] * 3


def test_who_sees_everything_is_kept_from_nothing(reader: VersionReader) -> None:
    """Nothing is hidden from that constraint but other tenants' resources, which the statement itself leaves out."""
    assert isinstance(reader.extractor, CountingExtractor)
    everything = Constraint.system("mine")

    found = [reader.one(everything, "Observation", name, version_id=1) for name in ("hidden", "nobody")]

    assert [one is not None for one in found] == [True, False]
    assert reader.extractor.extracted == 0
