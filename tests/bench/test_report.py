"""The bench's tables and its way of taking turns: figures of a run must not be mixed up."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.schema import upgrade
from authserver.adapters.sql.stores import SqlStores
from authserver.adapters.sql.tables import used_jti
from authserver.protocol import client as client_protocol
from authserver.protocol.client import ClientRules
from bench import growth
from bench.bodies import new_key
from bench.machine import children, median
from bench.report import BEGIN, END, Report
from bench.runs import Series, rotated
from bench.wrk import Load


def load(*, requests: int = 1_000, p99: int = 4_000, refused: int = 0) -> Load:
    """Return what a run of a second gave."""
    return Load(duration=1_000_000, requests=requests, refused=refused, broken=0, p50=1_500, p99=p99)


def series(name: str, *loads: Load) -> Series:
    """Return a contender's runs, 100 microseconds of processor time a request."""
    return Series(name, expected=0, loads=list(loads), cpu=[100.0] * len(loads))


def test_a_contest_tells_medians_and_ratios_to_the_first() -> None:
    """Performance, "only ratios within one run are claims"."""
    report = Report()
    first = series("ours", load(requests=3_000), load(requests=9_000), load(requests=2_000, refused=2))
    second = series("other", load(requests=1_500, p99=8_000))

    report.contest("Tokens", [first, second])

    assert report.text.splitlines() == [
        "### Tokens",
        "",
        "|  | a second | first : this | p50 ms | p99 ms | server CPU µs | failed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| ours | 3,000 |  | 1.50 | 4.00 | 100 | 2 |",
        "| other | 1,500 | 2.00 | 1.50 | 8.00 | 100 | 0 |",
    ]


def test_a_page_gets_the_report_between_its_marks_alone(tmp_path: Path) -> None:
    page, report = tmp_path / "page.md", Report()
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    report.facts("Machine", {"cores": "2"})

    report.write_into(page)
    written = page.read_text()
    page.write_text("no marks")
    with pytest.raises(ValueError, match=r"page\.md has no"):
        report.write_into(page)

    table = "### Machine\n\n|  |  |\n| --- | --- |\n| cores | 2 |\n"
    assert written == f"before\n{BEGIN}\n\n{table}\n{END}\nafter\n"


def test_each_round_begins_with_another_contender() -> None:
    assert [rotated(["a", "b", "c"], number) for number in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_the_median_is_one_that_was_measured() -> None:
    assert [median([3.0, 1.0, 2.0]), median([4.0, 1.0, 3.0, 2.0])] == [2.0, 2.0]


def test_a_grown_registry_is_one_that_the_server_reads(tmp_path: Path) -> None:
    """Goal "1,000,000 jtis / 100,000 clients": what is filled in is what registering would have stored."""
    url, key = f"sqlite:///{tmp_path / 'registry.sqlite3'}", new_key("RS384")
    engine = open_engine(url)
    upgrade(engine)

    names = growth.fill(url, key=key, clients=3, jtis=7)
    stores = SqlStores(engine)
    stored = [stores.resources.get("Client", name) for name in names]
    compiled = [client_protocol.from_resource(one.body, client_id=one.id, rules=ClientRules()) for one in stored if one]
    linked = [[one.id for one in stores.resources.linked("AccessPolicy", (f"Client/{name}/1",))] for name in names]
    with engine.connect() as connection:
        jtis = connection.scalar(select(func.count()).select_from(used_jti))
    stores.close()

    assert [client.id for client in compiled] == names
    assert (linked, jtis) == ([[name] for name in names], 7)


def test_children_are_those_of_all_threads_but_of_one_that_has_ended(tmp_path: Path) -> None:
    """A server with a thread for each connection ends some while they are listed."""
    for thread, started in (("7", "30 10\n"), ("8", "20\n")):
        (tmp_path / "7" / "task" / thread).mkdir(parents=True)
        (tmp_path / "7" / "task" / thread / "children").write_text(started)
    (tmp_path / "7" / "task" / "9").mkdir()

    assert children(7, proc=tmp_path) == [10, 20, 30]
