"""Two stores that differ only in what a token must not see give it the same bytes.

This one property catches leaks between tenants and around scopes, whichever feature they come from.
"""

from pathlib import Path
from typing import Any

import pytest

from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.store.sql_store import SqlStore, open_store
from tests.fhir.builders import (
    FakeIntrospection,
    bearer,
    make_answer,
    make_app,
    make_observation,
    make_patient,
)

SCOPE = "system/Observation.rs?category=laboratory system/Patient.rs?gender=female"

VISIBLE = [
    *(make_observation(f"lab-{n}", subject={"reference": f"Patient/w{n % 2}"}) for n in range(5)),
    *(make_patient(f"w{n}", gender="female", birthDate=f"195{n}-01-01") for n in range(2)),
]
HIDDEN = [
    *(make_observation(f"vital-{n}", category="vital-signs", status="amended") for n in range(5)),
    *(make_patient(f"m{n}", gender="male", identifier=[{"value": "x"}]) for n in range(3)),
    {"resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"code": "AMB"}},
]
OTHER_TENANT = [*VISIBLE[:3], make_observation("foreign"), make_patient("foreign", gender="female")]

PATHS = [
    "Observation", "Observation?_count=2", "Observation?code=4548-4&_count=3", "Observation?code:not=4548-4",
    "Observation?status=amended", "Observation?status=final", "Observation?category=vital-signs",
    "Observation?category=laboratory", "Observation?subject=p1", "Observation?patient=w0", "Observation?date=2024",
    "Observation?_id=vital-1,lab-1,foreign", "Observation?_id=vital-1", "Observation?_lastUpdated=gt2000",
    "Observation?_tag=x", "Observation?nonsense=1", "Observation?date=soon", "Observation?_cursor=abc",
    "Observation?status:not=final", "Observation?_sort=date", "Observation?_include=Observation:subject",
    "Patient", "Patient?gender=male", "Patient?gender=female", "Patient?gender:not=female", "Patient?name=smi",
    "Patient?identifier=x", "Patient?birthdate=lt1960", "Patient?_has:Observation:patient:code=4548-4",
    "Observation/lab-1", "Observation/vital-1", "Observation/foreign", "Observation/nobody", "Patient/m1",
    "Patient/w1", "Patient/foreign", "Encounter", "Encounter/e1", "Encounter/nobody", "Observation/vital-1/_history",
    "Patient/m1/$everything", "Nonsense", "",
]  # fmt: skip


def _filled(url: str, definitions: Definitions, *, with_hidden: bool) -> SqlStore:
    store = open_store(url, definitions)
    hidden = HIDDEN if with_hidden else []
    # Hidden resources come first and last, so that they shift every position.
    for resources in (hidden[:6], VISIBLE, hidden[6:]):
        if resources:
            store.put(Constraint.system("mine"), resources, now=1_700_000_000_000_000)
        if with_hidden:
            store.put(Constraint.system("other"), OTHER_TENANT, now=1_700_000_000_000_000)
    return store


def _answers(store: SqlStore, definitions: Definitions) -> list[tuple[Any, ...]]:
    introspection = FakeIntrospection({"good": make_answer(tenant="mine", scope=SCOPE)})
    client = make_app(store, definitions, introspection=introspection).test_client()
    answers: list[tuple[Any, ...]] = []
    for path in PATHS:
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
            target = f"/fhir/{path}" if path else "/fhir"
            answers.extend(_walk(client, method, target))
    return answers


def _walk(client: Any, method: str, target: str) -> list[tuple[Any, ...]]:
    """The answer and, for a search, the answers of all further pages, without what differs by chance."""
    seen: list[tuple[Any, ...]] = []
    while target:
        response = client.open(target, method=method, headers=bearer())
        body, following = response.data.decode(), ""
        for link in (response.get_json() or {}).get("link", []) if response.status_code == 200 and body else []:
            if link["relation"] == "next":
                following = link["url"].removeprefix("https://fhir.example")
                body = body.replace(following.partition("_cursor=")[2], "CURSOR")
        headers = sorted((k, v) for k, v in response.headers.items() if k != "X-Request-Id")
        seen.append((method, target.partition("_cursor=")[0], response.status_code, headers, body))
        target = following
    return seen


@pytest.fixture
def answers(tmp_path: Path, definitions: Definitions) -> list[list[tuple[Any, ...]]]:
    """What the token gets from a store without, and from one with, what it must not see."""
    collected = []
    for with_hidden in (False, True):
        store = _filled(f"sqlite:///{tmp_path}/{with_hidden}.db", definitions, with_hidden=with_hidden)
        collected.append(_answers(store, definitions))
        store.close()
    return collected


def test_what_a_token_must_not_see_changes_no_byte(answers: list[list[tuple[Any, ...]]]) -> None:
    """Threats H01, H02, H04, H09, H12; leaks L2, L7, L9; row X12."""
    without, with_hidden = answers

    assert without == with_hidden


def test_the_comparison_sees_resources_at_all(answers: list[list[tuple[Any, ...]]]) -> None:
    """The positive control: the visible ones are there, page by page."""
    bodies = "".join(answer[4] for answer in answers[1])

    assert all(f'"id":"{resource["id"]}"' in bodies for resource in VISIBLE)
    assert not any(f'"id":"{resource["id"]}"' in bodies for resource in HIDDEN)
    assert '"id":"foreign"' not in bodies
