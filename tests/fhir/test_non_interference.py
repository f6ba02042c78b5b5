"""Two stores that differ only in what a token must not see give it the same bytes.

This one property catches leaks between tenants and around scopes, whichever feature they come from.
"""

import random
import re
from collections.abc import Iterator, Sequence
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
    send,
)
from tests.postgres import PostgresCluster

Write = tuple[str, str, Any, dict[str, str]]
SCOPE = "system/Observation.rs?category=laboratory system/Patient.rs?gender=female"

# What a token with these scopes writes, and what it then reads: the answers tell nothing of what it must not see.
WRITING_SCOPE = (
    "system/Observation.cruds?category=laboratory system/Patient.rds?gender=female system/Encounter.c "
    "system/Composition.rs"
)
LAB, VITAL = make_observation("x", subject={"reference": "Patient/w0"}), make_observation("x", category="vital-signs")
PATCH = [{"op": "add", "path": "/issued", "value": "2024-05-11T12:00:00Z"}]
ENCOUNTER = {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}}


def _observation(resource_id: str, **members: Any) -> dict[str, Any]:
    return {**LAB, "id": resource_id, **members}


def _entry(method: str, url: str, resource: Any = None, **members: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"request": {"method": method, "url": url, **members}}
    return {**entry, "resource": resource} if resource is not None else entry


def _bundle(kind: str, *entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


IDS = ("lab-1", "vital-1", "foreign", "nobody")
TARGETS = ("w0", "m1", "foreign", "nobody")
# Each row of the decision table that writes, about a visible, a hidden, a foreign and an absent resource.
WRITES: list[Write] = [
    *(("PUT", f"Observation/{name}", _observation(name, status="amended"), {}) for name in IDS),
    *(("PUT", f"Observation/{name}", _observation(name), {"If_Match": 'W/"1"'}) for name in IDS),
    *(("PUT", f"Observation/{name}", _observation(name), {"If_None_Match": "*"}) for name in IDS),
    *(("PATCH", f"Observation/{name}", PATCH, {}) for name in IDS),
    *(("PATCH", f"Observation/{name}", PATCH, {"If_Match": 'W/"9"'}) for name in IDS),
    *(("POST", f"Observation/{name}/$validate", _observation(name), {}) for name in IDS),
    *(("POST", "Observation", {**LAB, "subject": {"reference": f"Patient/{name}"}}, {}) for name in TARGETS),
    *(("POST", "Encounter", {**ENCOUNTER, "subject": {"reference": f"Patient/{name}"}}, {}) for name in TARGETS),
    *(("POST", "Encounter", {**ENCOUNTER, "partOf": {"reference": f"Encounter/{name}"}}, {}) for name in ("e1", "e2")),
    *(("POST", "Observation", LAB, {"If_None_Exist": query}) for query in ("_id=vital-2", "_id=lab-2", "_id=foreign")),
    ("POST", "Observation", LAB, {"If_None_Exist": "category=vital-signs"}),
    ("POST", "Observation", LAB, {"If_None_Exist": "status=amended"}),
    ("POST", "Observation", VITAL, {}),
    *(("PUT", f"Observation?_id={name}", LAB | {"id": name}, {}) for name in ("lab-2", "vital-2", "foreign")),
    ("PUT", "Observation?category=vital-signs", {k: v for k, v in LAB.items() if k != "id"}, {}),
    *(("PATCH", f"Observation?_id={name}", PATCH, {}) for name in IDS),
    *(("DELETE", f"Observation?_id={name}", None, {}) for name in ("vital-3", "foreign", "nobody", "lab-3")),
    ("DELETE", "Observation?category=vital-signs", None, {}),
    *(("DELETE", f"Patient/{name}", None, {}) for name in ("m1", "foreign", "nobody", "w1")),
    *(("DELETE", f"Observation/{name}", None, {}) for name in ("vital-4", "foreign", "nobody", "lab-4")),
    *(("GET", f"Observation/{name}", None, {}) for name in ("vital-4", "lab-4", "lab-3", "nobody")),
    ("POST", "", _bundle("batch", *(_entry("GET", f"Observation/{n}") for n in IDS), _entry("GET", "Patient/m1")), {}),
    ("POST", "", _bundle("batch", *(_entry("DELETE", f"Patient/{n}") for n in ("m2", "foreign", "nobody"))), {}),
    ("POST", "", _bundle("batch", *(_entry("PUT", f"Observation/{n}", _observation(n)) for n in IDS)), {}),
    *(("POST", "", _bundle("transaction", _entry("GET", f"Observation/{n}")), {}) for n in IDS),
    *(("POST", "", _bundle("transaction", _entry("DELETE", f"Observation/{n}")), {}) for n in IDS[1:]),
    *(
        ("POST", "", _bundle("transaction", _entry("POST", "Observation", {**LAB, "subject": {"reference": text}})), {})
        for text in ("Patient?gender=male", "Patient?_id=m1", "Patient?_id=foreign", "Patient?_id=w0", "Patient/m1")
    ),
    *(("GET", f"Composition/{name}/$document", None, {}) for name in ("c1", "hidden", "nobody")),
    *(("GET", f"Patient/{name}/$summary", None, {}) for name in TARGETS),
    *(("GET", path, None, {}) for path in ("Observation", "Observation/_history", "_history", "Patient", "AuditEvent")),
]


VISIBLE = [
    *(make_observation(f"lab-{n}", subject={"reference": f"Patient/w{n % 2}"}) for n in range(5)),
    *(make_patient(f"w{n}", gender="female", birthDate=f"195{n}-01-01") for n in range(2)),
    {
        "resourceType": "Composition",
        "id": "c1",
        "section": [{"entry": [{"reference": f"Observation/{n}"} for n in ("lab-0", "vital-0", "foreign", "none")]}],
    },
    *(
        make_observation(
            name, subject={"reference": f"Patient/{who}"}, hasMember=[{"reference": f"Observation/{part}"}]
        )
        for name, who, part in (("lab-of-m0", "m0", "vital-0"), ("lab-of-w0", "w0", "lab-0"))
    ),
]
HIDDEN = [
    *(make_observation(f"vital-{n}", category="vital-signs", status="amended") for n in range(5)),
    *(make_patient(f"m{n}", gender="male", identifier=[{"value": "x"}]) for n in range(3)),
    make_observation(
        "vital-of-w0",
        category="vital-signs",
        subject={"reference": "Patient/w0"},
        hasMember=[{"reference": "Observation/lab-1"}],
        effectiveDateTime="2031-01-01",
        valueQuantity={"value": 99},
    ),
    {"resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"code": "AMB"}},
    {
        "resourceType": "Provenance",
        "id": "v1",
        "target": [{"reference": "Observation/lab-1"}, {"reference": "Patient/w0"}],
        "recorded": "2024-01-01T00:00:00Z",
        "agent": [{"who": {"reference": "Patient/m0"}}],
    },
]
FOREIGN_COMPOSITION = {"resourceType": "Composition", "id": "hidden"}
FOREIGN = [make_observation("foreign"), make_patient("foreign", gender="female"), FOREIGN_COMPOSITION]
OTHER_TENANT = [*VISIBLE[:3], *FOREIGN]

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
    "Observation/lab-1/_history", "Observation/vital-1/_history/1", "Observation/lab-1/_history/1",
    "Observation/_history", "Observation/_history?_count=3",
    "Patient/_history?_count=1", "_history", "_history?_type=Encounter", "_history?_type=Patient,Encounter",
    "Patient/$everything", "Patient/$everything?_count=1", "Patient/w0/$everything", "Patient/w0/$everything?_count=1",
    "Patient/foreign/$everything",
    "Observation/vital-1/$validate",
]  # fmt: skip

# What looks beyond the resources of one type, or orders and counts them: asked by GET and as a form.
SEARCHES = [
    "Observation?patient.name=smi", "Observation?patient.gender=male", "Observation?patient.gender=female",
    "Observation?patient.identifier=x", "Observation?patient.identifier:missing=false", "Observation?patient._id=m0,w0",
    "Observation?subject:Patient.birthdate=lt1960", "Observation?has-member.status=amended",
    "Observation?has-member.patient.gender=female", "Observation?encounter.status=finished",
    "Patient?_has:Observation:patient:status=amended", "Patient?_has:Observation:patient:category=vital-signs",
    "Patient?_has:Observation:patient:date=gt2030", "Patient?_has:Observation:patient:code:not=4548-4",
    "Patient?_has:Observation:patient:_has:Observation:has-member:category=vital-signs",
    "Patient?_has:Provenance:target:agent=m0", "Observation?patient._has:Observation:patient:value-quantity=99",
    "Observation?_include=Observation:patient", "Observation?_include=Observation:has-member", "Observation?_include=*",
    "Observation?_include:iterate=Observation:has-member&_include:iterate=Observation:patient&_count=2",
    "Observation?_include=Observation:encounter", "Patient?_revinclude=Observation:patient&_count=1",
    "Patient?_revinclude=Observation:*", "Observation?_revinclude=Observation:has-member",
    "Observation?_revinclude:iterate=Observation:has-member", "Observation?_revinclude=Provenance:target",
    "Patient?_revinclude=Observation:patient&_include:iterate=Observation:has-member",
    "Observation?_sort=-date&_count=2", "Observation?_sort=subject&_count=1",
    "Observation?_sort=-value-quantity,status",
    "Patient?_sort=-birthdate&_count=1", "Patient?_sort=identifier", "Patient?_sort=-_lastUpdated,_id&_count=1",
    "Observation?_total=accurate", "Observation?_summary=count", "Patient?_count=0", "Patient?_total=estimate&_count=1",
    "Patient?_summary=true", "Observation?_elements=subject", "Observation?subject:missing=false",
    "Patient?identifier:missing=false", "Observation?value-quantity:missing=false",
    "Observation?code-value-quantity=4548-4$gt1", "Observation?subject:identifier=x", "Observation?value-quantity=ap99",
    "?_type=Patient,Observation&_count=2", "?_type=Patient,Encounter", "?_count=1&_sort=-_id", "?_id=m0,vital-1,lab-1",
    "?_summary=count", "?_type=Observation&_include=Observation:patient",
    "?_type=Patient&_has:Observation:patient:code=a",
]  # fmt: skip
_PARTS = [
    "code=4548-4", "status:not=final", "patient.gender:not=male", "patient=w0", "_sort=-date", "_sort=_id", "_count=1",
    "_include=Observation:patient", "_include:iterate=Observation:has-member", "_total=accurate", "date=gt2025",
    "patient._has:Observation:patient:category:not=laboratory", "_has:Observation:has-member:code=4548-4",
    "_revinclude=Observation:has-member", "_summary=text", "has-member:missing=false",
    "category=vital-signs,laboratory",
]  # fmt: skip


def _generated(number: int = 30) -> list[str]:
    """Queries put together by chance, the same ones in every run."""
    chance = random.Random(7)
    return [f"Observation?{'&'.join(chance.sample(_PARTS, chance.randint(2, 5)))}" for _ in range(number)]


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
    for path in (*SEARCHES, *_generated()):
        answers.extend(_walk(client, "GET", f"/fhir/{path}".replace("/?", "?")))
    for path in SEARCHES:
        name, _, form = path.partition("?")
        answers.extend(_walk(client, "POST", f"/fhir/{name}/_search".replace("//", "/"), form=form))
    return answers


def _walk(client: Any, method: str, target: str, *, form: str = "") -> list[tuple[Any, ...]]:
    """The answer and, for a search, the answers of all further pages, without what differs by chance."""
    seen: list[tuple[Any, ...]] = []
    while target:
        media_type = "application/x-www-form-urlencoded" if form else None
        response = client.open(target, method=method, headers=bearer(), data=form, content_type=media_type)
        body, following = response.data.decode(), ""
        for link in (response.get_json() or {}).get("link", []) if response.status_code == 200 and body else []:
            if link["relation"] == "next":
                following = link["url"].removeprefix("https://fhir.example")
                body = body.replace(following.partition("_cursor=")[2], "CURSOR")
        headers = sorted((k, v) for k, v in response.headers.items() if k != "X-Request-Id")
        seen.append((method, target.partition("_cursor=")[0], response.status_code, headers, body))
        target, method, form = following, "GET" if form else method, ""
    return seen


def _written(
    store: SqlStore, definitions: Definitions, writes: Sequence[Write] = WRITES, **settings: Any
) -> list[tuple[Any, ...]]:
    """What the writing token is answered, without what differs by chance: ids, moments, cursors."""
    introspection = FakeIntrospection({"all": make_answer(tenant="mine", scope=WRITING_SCOPE)})
    client = make_app(store, definitions, introspection=introspection, **settings).test_client()
    names: dict[str, str] = {}
    seen = []
    for method, path, body, headers in writes:
        if method == "PATCH":
            headers = {**headers, "Content_Type": "application/json-patch+json"}
        answer = send(client, method, path, body, **headers)
        kept = sorted((k, _plain(v, names)) for k, v in answer.headers.items() if k not in CHANCE)
        seen.append((method, path, answer.status_code, kept, _plain(answer.get_data(as_text=True), names)))
    return seen


CHANCE = ("X-Request-Id", "Last-Modified", "Date")
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def _plain(text: str, names: dict[str, str]) -> str:
    text = re.sub(UUID, lambda found: names.setdefault(found[0], f"id-{len(names)}"), text)
    text = re.sub(r"_cursor=[\w-]+", "_cursor=", text)
    return re.sub(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", "MOMENT", text)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, definitions: Definitions) -> list[list[tuple[Any, ...]]]:
    """What the token gets from a store without, and from one with, what it must not see."""
    collected = []
    for with_hidden in (False, True):
        folder = tmp_path_factory.mktemp("non-interference")
        store = _filled(f"sqlite:///{folder}/fhir.db", definitions, with_hidden=with_hidden)
        collected.append(_answers(store, definitions))
        store.close()
    return collected


def test_what_a_token_must_not_see_changes_no_byte(answers: list[list[tuple[Any, ...]]]) -> None:
    """Threats H01 to H04, H09, H12; leaks L1, L2, L5, L7, L9; rows B4 and X12."""
    without, with_hidden = answers

    assert without == with_hidden


def test_what_a_token_must_not_see_changes_no_answer_to_a_write(tmp_path: Path, definitions: Definitions) -> None:
    """Threats H01, H05 to H08, H10, H11 and H13; leaks L4, L8, L9, L10, L11, L13, L19; rows B5, B6 and C8."""
    collected = []
    for with_hidden in (False, True):
        store = _filled(f"sqlite:///{tmp_path}/{with_hidden}.db", definitions, with_hidden=with_hidden)
        collected.append(_written(store, definitions))
        store.close()
    without, with_hidden_ones = collected

    for one, other in zip(without, with_hidden_ones, strict=True):
        assert one == other
    assert {status for _, _, status, _, _ in without} == {200, 201, 204, 403, 404, 410, 412, 422}


def test_the_comparison_sees_resources_at_all(answers: list[list[tuple[Any, ...]]]) -> None:
    """The positive control: the visible ones are there, page by page."""
    bodies = "".join(answer[4] for answer in answers[1])

    assert all(f'"id":"{resource["id"]}"' in bodies for resource in VISIBLE if resource["id"] != "c1")
    assert not any(f'"id":"{resource["id"]}"' in bodies for resource in HIDDEN)
    assert '"id":"foreign"' not in bodies


def test_most_of_the_searches_are_answered(answers: list[list[tuple[Any, ...]]]) -> None:
    """The positive control of the searches that look at other types."""
    statuses = [answer[2] for answer in answers[1] if any(path in answer[1] for path in SEARCHES if path[0] != "?")]

    assert statuses.count(200) > 50
    assert set(statuses) == {200, 403}
    assert any('"mode":"include"' in answer[4] for answer in answers[1])


PARENTS = {"mine": "above", "beside": "above", "above": "top"}
_SHARED = {"meta": {"tag": [{"system": "https://clinikapi.com/tenant", "code": "shared"}]}}
# What a tenant above shares, and the token may see: with what it has itself, all that there is for it.
LENT = [
    make_patient("lent", gender="female", birthDate="1960-01-01", **_SHARED),
    make_observation("lent-lab", subject={"reference": "Patient/lent"}, **_SHARED),
    make_observation("lent-of-hidden", subject={"reference": "Patient/m9"}, **_SHARED),
]
# What tenants above do not share, or share outside the scopes; and a sibling's, shared below it and namesakes of all.
ABOVE = [
    make_patient("m9", gender="female"),
    make_patient("w0", gender="female", birthDate="1931-01-01"),
    make_patient("foreign", gender="female"),
    make_observation("lab-1", status="amended"),
    make_observation("above-lab", subject={"reference": "Patient/lent"}, status="amended"),
    make_observation("lent-vital", category="vital-signs", subject={"reference": "Patient/lent"}, **_SHARED),
    make_patient("lent-male", gender="male", **_SHARED),
]
BESIDE = [
    *(make_patient(name, gender="female", birthDate="1932-01-01", **_SHARED) for name in ("lent", "w1", "foreign")),
    make_observation("lent-lab", status="amended", subject={"reference": "Patient/lent"}, **_SHARED),
    make_observation("beside", subject={"reference": "Patient/w0"}, hasMember=[{"reference": "Observation/lab-1"}]),
]
LENT_PATHS = [
    "Patient/lent", "Patient/lent/_history", "Patient/lent/_history/1", "Patient/lent/$everything", "Patient/m9",
    "Patient/lent/$everything?_count=1", "Observation/lent-lab", "Observation/lent-vital", "Observation/above-lab",
    "Observation/lent-vital/_history", "Observation/above-lab/_history/1", "Observation?patient=lent",
    "Observation?patient.birthdate=lt1940", "Observation?patient.birthdate=1960", "Observation?_tag=shared",
    "Patient?_has:Observation:patient:status=amended", "Patient?_id=lent&_revinclude=Observation:patient",
    "Observation?_id=lent-of-hidden&_include=Observation:patient", "Patient/m9/$everything", "Patient/lent-male",
]  # fmt: skip
LENT_IDS = ("lent-lab", "lent-vital", "above-lab", "beside", "none")
LENT_WRITES: list[Write] = [
    *(("PUT", f"Observation/{name}", _observation(name, status="amended"), {}) for name in LENT_IDS),
    *(("PATCH", f"Observation/{name}", PATCH, {"If_Match": 'W/"1"'}) for name in LENT_IDS),
    *(("PATCH", f"Observation?_id={name}", PATCH, {}) for name in LENT_IDS),
    *(("POST", "Observation", LAB, {"If_None_Exist": f"_id={name}"}) for name in LENT_IDS),
    *(
        ("POST", "Observation", {**LAB, "subject": {"reference": f"Patient/{name}"}}, {})
        for name in ("lent", "lent-male", "m9", "none")
    ),
    *(
        ("POST", "", _bundle("transaction", _entry("POST", "Observation", {**LAB, "subject": {"reference": text}})), {})
        for text in ("Patient?_id=lent", "Patient?_id=lent-male", "Patient?_id=m9", "Patient?birthdate=lt1940")
    ),
    *(("DELETE", f"Observation/{name}", None, {}) for name in LENT_IDS),
    *(("DELETE", f"Patient/{name}", None, {}) for name in ("lent", "lent-male", "m9", "foreign")),
    *(("GET", path, None, {}) for path in ("Observation", "Observation/_history", "Patient/_history", "Patient")),
]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def relatives(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, definitions: Definitions
) -> Iterator[list[SqlStore]]:
    """Two stores on each kind of database: without, and with what a token of a hierarchy must not see."""
    stores = []
    for number in range(2):
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('relatives')}/fhir.db"
        else:
            cluster: PostgresCluster = request.getfixturevalue("postgres")
            url = cluster.create_database()
        store = _filled(url, definitions, with_hidden=bool(number))
        hidden = (("above", ABOVE), ("beside", BESIDE), ("top", [*ABOVE[:1], *BESIDE[4:]])) if number else ()
        for tenant, resources in (*hidden, ("above", LENT)):
            store.put(Constraint.system(tenant), resources, now=1_700_000_000_000_000)
        stores.append(store)
    yield stores
    for store in stores:
        store.close()


def test_what_relatives_do_not_share_changes_no_byte(relatives: list[SqlStore], definitions: Definitions) -> None:
    """Row X24; threats H01 to H04, H09; leaks L1, L2, L5, L9, L11: a parent's and a sibling's, beside what is lent."""
    collected = []
    for store in relatives:
        introspection = FakeIntrospection({"good": make_answer(tenant="mine", scope=SCOPE)})
        app = make_app(store, definitions, introspection=introspection, fhir_tenant_parents=PARENTS)
        paths = [*LENT_PATHS, *PATHS[::2], *SEARCHES[::2]]
        targets = [f"/fhir/{path}".replace("/?", "?").removesuffix("/") for path in paths]
        collected.append([answer for target in targets for answer in _walk(app.test_client(), "GET", target)])
    without, with_hidden = collected

    for one, other in zip(without, with_hidden, strict=True):
        assert one == other
    bodies = "".join(answer[4] for answer in with_hidden)
    assert all(f'"id":"{resource["id"]}"' in bodies for resource in LENT)
    assert not any(f'"id":"{name}"' in bodies for name in ("m9", "above-lab", "lent-vital", "lent-male", "beside"))


def test_what_relatives_do_not_share_changes_no_answer_to_a_write(
    relatives: list[SqlStore], definitions: Definitions
) -> None:
    """Row X24; threats H05 to H08, H11 and H13; leaks L9, L10, L11. It writes, so it comes last."""
    writes = [*LENT_WRITES, *WRITES[::2]]
    without, with_hidden = (_written(store, definitions, writes, fhir_tenant_parents=PARENTS) for store in relatives)

    for one, other in zip(without, with_hidden, strict=True):
        assert one == other
    refused = [(method, path) for method, path, status, _, body in without if status == 403 and "shared by" in body]
    assert refused == [
        ("PUT", "Observation/lent-lab"),
        ("PATCH", "Observation/lent-lab"),
        ("PATCH", "Observation?_id=lent-lab"),
        ("DELETE", "Observation/lent-lab"),
        ("DELETE", "Patient/lent"),
    ]
