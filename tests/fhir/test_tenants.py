"""Tenants in a hierarchy, over HTTP on both kinds of database (row X24).

A region has two clinics, one of which has a ward; what the region shares, and nothing else of it, is read below.
"""

import gzip
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient

from authserver.fhir.app import EXPORT_WORKER
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.store.engine import make_engine
from authserver.fhir.store.sql_store import SqlStore, open_store
from tests.fhir.builders import (
    FakeIntrospection,
    ListLog,
    Writable,
    all_pages,
    bearer,
    entry_ids,
    make_answer,
    make_app,
    make_observation,
    make_patient,
    send,
)
from tests.postgres import PostgresCluster

PARENTS = {"clinic-a": "region", "clinic-b": "region", "ward": "clinic-a"}
TENANTS = ("region", "clinic-a", "clinic-b", "ward", "stranger")
SYSTEM = "https://clinikapi.com/tenant"
SHARED = {"system": SYSTEM, "code": "shared"}
BEGIN = 1_700_000_000_000_000


def _tag(tenant: str) -> dict[str, str]:
    return {"system": SYSTEM, "code": tenant}


def _organization(resource_id: str, name: str, *tags: dict[str, str], **members: Any) -> dict[str, Any]:
    meta = {"meta": {"tag": list(tags)}} if tags else {}
    return {"resourceType": "Organization", "id": resource_id, "name": name, **meta, **members}


def _put(store: SqlStore, tenant: str, *resources: dict[str, Any], now: int = BEGIN) -> None:
    store.put(Constraint.system(tenant), resources, now=now)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def family(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, definitions: Definitions
) -> Iterator[Writable]:
    """An app that knows the hierarchy on each kind of database, made once; each tenant's token may do everything."""
    folder = tmp_path_factory.mktemp("family")
    if request.param == "sqlite":
        url = f"sqlite:///{folder}/fhir.db"
    else:
        cluster: PostgresCluster = request.getfixturevalue("postgres")
        url = cluster.create_database()
    tokens = {name: make_answer(tenant=name, scope="system/*.cruds system/AuditEvent.rs") for name in TENANTS}
    tokens["female"] = make_answer(tenant="region", scope="system/Patient.r?gender=female system/Patient.u")
    tokens["ward-s"] = make_answer(tenant="ward", scope="system/Organization.sud")
    tokens["ward-u"] = make_answer(tenant="ward", scope="system/Organization.u")
    store, engine, introspection, log = (
        open_store(url, definitions),
        make_engine(url),
        FakeIntrospection(tokens),
        ListLog(),
    )
    app = make_app(
        store,
        definitions,
        introspection=introspection,
        log=log,
        fhir_tenant_parents=PARENTS,
        fhir_export_dir=folder / "exports",
    )
    yield Writable(store, engine, introspection, log, app)
    app.extensions[EXPORT_WORKER].stop()
    engine.dispose()
    store.close()


@pytest.fixture
def api(family: Writable) -> FlaskClient:
    """A client of the app over an empty store."""
    family.clear()
    return family.app.test_client()


@pytest.fixture
def store(family: Writable, api: FlaskClient) -> SqlStore:
    """The store, empty."""
    return family.store


@pytest.fixture
def log(family: Writable) -> ListLog:
    """What the app logs."""
    return family.log


@pytest.fixture
def filled(store: SqlStore) -> None:
    """A Patient of each tenant, and two Organizations of the region, one of them shared."""
    for name in TENANTS:
        _put(store, name, make_patient(f"of-{name}", meta={"tag": [_tag(name)]}))
    _put(store, "region", _organization("lent", "Lent", SHARED), _organization("kept", "Kept"))


@pytest.fixture
def namesakes(store: SqlStore) -> None:
    """A Patient/1 in both clinics, each with an Observation; one shared above by the region, which is no namesake's."""
    for name, gender in (("clinic-b", "male"), ("clinic-a", "female")):
        _put(
            store,
            name,
            make_patient("1", gender=gender, meta={"tag": [_tag(name)]}),
            make_observation(f"in-{name}", subject={"reference": "Patient/1"}),
        )


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("token", "seen"),
    [
        ("region", {"of-region", "of-clinic-a", "of-clinic-b", "of-ward"}),
        ("clinic-a", {"of-clinic-a", "of-ward"}),
        ("clinic-b", {"of-clinic-b"}),
        ("ward", {"of-ward"}),
        ("stranger", {"of-stranger"}),
    ],
)
def test_a_tenant_sees_its_own_and_what_is_below(api: FlaskClient, token: str, seen: set[str]) -> None:
    """Row X24: parents see their children; siblings, parents and strangers get 404, in every way to ask."""
    ids = [f"of-{name}" for name in TENANTS]

    statuses = {one: send(api, "GET", f"Patient/{one}", token=token).status_code for one in ids}
    versions = {one: send(api, "GET", f"Patient/{one}/_history/1", token=token).status_code for one in ids}
    histories = {one: send(api, "GET", f"Patient/{one}/_history", token=token).status_code for one in ids}
    searched = set(entry_ids(send(api, "GET", "Patient?_sort=_id&name=smith", token=token).get_json()))
    by_type = set(entry_ids(send(api, "GET", "Patient/_history", token=token).get_json()))
    total = send(api, "GET", "Patient?_summary=count", token=token).get_json()["total"]

    expected = {one: 200 if one in seen else 404 for one in ids}
    assert (statuses, versions, histories) == (expected, expected, expected)
    assert (searched, by_type, total) == (seen, seen, len(seen))


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("token", ["clinic-a", "clinic-b", "ward"])
def test_what_is_shared_is_read_below(api: FlaskClient, token: str) -> None:
    """Row X24: by read, vread, both histories, search, `_tag` and count; what is not shared is absent."""
    reads = [send(api, "GET", f"Organization/{one}", token=token).status_code for one in ("lent", "kept")]
    versions = [send(api, "GET", f"Organization/{one}/_history/1", token=token).status_code for one in ("lent", "kept")]
    found = [
        entry_ids(send(api, "GET", path, token=token).get_json())
        for path in (
            "Organization", "Organization?name=lent,kept", "Organization/lent/_history", "Organization/_history",
            f"Organization?_tag={SYSTEM}|shared", "Organization?_sort=name", "Organization?_lastUpdated=gt2000",
        )
    ]  # fmt: skip

    assert (reads, versions) == ([200, 404], [200, 404])
    assert found == [["lent"]] * 7
    assert entry_ids(api.get("/fhir?_type=Organization", headers=bearer(token)).get_json()) == ["lent"]
    every = "/fhir?_count=0&_total=accurate"
    assert api.get(every, headers=bearer(token)).get_json()["total"] == {"clinic-a": 3, "clinic-b": 2, "ward": 2}[token]
    assert send(api, "GET", "Organization?_summary=count", token=token).get_json()["total"] == 1


@pytest.mark.usefixtures("filled")
def test_what_is_shared_is_for_nobody_else(api: FlaskClient) -> None:
    answers = [send(api, "GET", path, token="stranger") for path in ("Organization/lent", "Organization/nobody")]

    assert answers[0].status_code == 404
    assert answers[0].get_data() == answers[1].get_data()


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("PUT", "Organization/lent", _organization("lent", "Mine"), {}),
        ("PUT", "Organization/lent", _organization("lent", "Mine"), {"If_Match": 'W/"1"'}),
        ("PUT", "Organization?name=lent", {"resourceType": "Organization", "name": "Mine"}, {}),
        ("PUT", "Organization?name=none", _organization("lent", "Mine"), {}),
        ("PATCH", "Organization/lent", [{"op": "remove", "path": "/meta/tag/0"}],
         {"Content_Type": "application/json-patch+json"}),
        ("PATCH", "Organization?name=lent", [{"op": "remove", "path": "/name"}],
         {"Content_Type": "application/json-patch+json"}),
        ("DELETE", "Organization/lent", None, {}),
    ],
)  # fmt: skip
def test_what_is_shared_is_read_only_below(
    api: FlaskClient, log: ListLog, method: str, path: str, body: Any, headers: dict[str, str]
) -> None:
    """Row X24: shared_read_only; the same request of the tenant that owns it succeeds."""
    answer = send(api, method, path, body, token="ward", **headers)
    reason = log.events[-1]["reason"]
    unchanged = send(api, "GET", "Organization/lent", token="ward").get_json()
    owners = send(api, method, path, body, token="region", **headers)

    assert (answer.status_code, reason) == (403, "shared_read_only")
    assert answer.get_json()["issue"][0]["diagnostics"] == (
        "The resource is shared by a tenant above; it is read-only here."
    )
    assert (unchanged["name"], unchanged["meta"]["versionId"]) == ("Lent", "1")
    assert owners.status_code in (200, 204, 412)


@pytest.mark.usefixtures("filled")
def test_a_token_that_only_searches_does_not_write_over_what_it_finds(api: FlaskClient) -> None:
    """Row X24; a token that sees nothing of it makes its own, as with any name that is free."""
    searching = send(api, "PUT", "Organization/lent", _organization("lent", "Mine"), token="ward-s")
    blind = send(api, "PUT", "Organization/lent", _organization("lent", "Mine"), token="ward-u")

    assert (searching.status_code, blind.status_code) == (403, 201)
    assert send(api, "GET", "Organization/lent", token="ward").get_json()["name"] == "Mine"
    assert send(api, "GET", "Organization/lent", token="region").get_json()["name"] == "Lent"


@pytest.mark.usefixtures("filled")
def test_a_conditional_delete_and_create_see_what_is_shared_as_a_search_does(api: FlaskClient) -> None:
    """fhir-enforcement, conditional delete: matches in C(T,s) AND C(T,d); conditional create: within C(T,s)."""
    deleted = send(api, "DELETE", "Organization?name=lent", token="ward")
    new = {"resourceType": "Organization", "name": "Lent"}
    created = send(api, "POST", "Organization", new, token="ward", If_None_Exist="name=lent")
    hidden = send(api, "POST", "Organization", new, token="ward", If_None_Exist="name=kept")

    assert (deleted.status_code, created.status_code, hidden.status_code) == (204, 200, 201)
    assert created.headers["Location"].endswith("/Organization/lent/_history/1")
    assert created.get_json()["name"] == "Lent"


@pytest.mark.usefixtures("filled")
def test_what_a_parent_makes_is_its_own_and_what_it_changes_stays_its_owners(api: FlaskClient) -> None:
    """Row X24; rows B3, B6: one tag of the reserved system, the resource's tenant's."""
    made = send(api, "POST", "Patient", {"resourceType": "Patient"}, token="region").get_json()
    put = send(api, "PUT", "Patient/new", {"resourceType": "Patient", "id": "new"}, token="region")
    changed = send(api, "PUT", "Patient/of-ward", make_patient("of-ward", gender="female"), token="region")
    patch = [{"op": "add", "path": "/meta/tag/-", "value": _tag("region")}]
    patched = send(api, "PATCH", "Patient/of-ward", patch, token="clinic-a", Content_Type="application/json-patch+json")
    owners = send(api, "GET", "Patient/of-ward", token="ward").get_json()

    assert (made["meta"]["tag"], put.status_code, put.get_json()["meta"]["tag"]) == (
        [_tag("region")],
        201,
        [_tag("region")],
    )
    assert (changed.status_code, changed.get_json()["meta"]["tag"], changed.get_json()["meta"]["versionId"]) == (
        200,
        [_tag("ward")],
        "2",
    )
    assert patched.get_json()["meta"]["tag"] == [_tag("ward")]
    assert (owners["gender"], owners["meta"]["tag"]) == ("female", [_tag("ward")])
    assert send(api, "GET", "Patient/new", token="ward").status_code == 404


@pytest.mark.usefixtures("filled")
def test_a_parent_deletes_what_is_below(api: FlaskClient) -> None:
    """Row X24; a sibling's delete is as of what is not there."""
    siblings = send(api, "DELETE", "Patient/of-ward", token="clinic-b").status_code
    kept = send(api, "GET", "Patient/of-ward", token="ward").status_code
    parents = send(api, "DELETE", "Patient/of-ward", token="region").status_code

    assert (siblings, kept, parents) == (204, 200, 204)
    gone = [send(api, "GET", "Patient/of-ward", token=name).status_code for name in ("ward", "region", "clinic-b")]
    assert gone == [410, 410, 404]


def _shared_by(api: FlaskClient, token: str, resource_id: str) -> bool:
    return SHARED in send(api, "GET", f"Organization/{resource_id}", token=token).get_json()["meta"].get("tag", [])


def test_only_a_tenant_itself_shares_with_those_below(api: FlaskClient) -> None:
    """Row X24; threats H05 and H06: the reserved tag of anybody else is removed."""
    new = {"resourceType": "Organization", "name": "A", "meta": {"tag": [SHARED, _tag("clinic-b"), {"code": "x"}]}}
    owners = send(api, "POST", "Organization", new, token="region").get_json()
    leafs = send(api, "POST", "Organization", new, token="ward").get_json()
    strangers = send(api, "POST", "Organization", new, token="stranger").get_json()
    parents = send(api, "PUT", f"Organization/{leafs['id']}", {**new, "id": leafs["id"]}, token="region").get_json()

    assert [one["meta"]["tag"] for one in (owners, leafs, strangers, parents)] == [
        [{"code": "x"}, _tag("region"), SHARED],
        [{"code": "x"}, _tag("ward")],
        [{"code": "x"}, _tag("stranger")],
        [{"code": "x"}, _tag("ward")],
    ]
    assert send(api, "GET", f"Organization/{owners['id']}", token="ward").status_code == 200


def test_a_change_by_a_tenant_above_leaves_it_shared_as_it_was(api: FlaskClient) -> None:
    """Row X24: whether a resource is shared is its own tenant's decision."""
    for name, tags in (("yes", [SHARED]), ("no", [])):
        send(api, "PUT", f"Organization/{name}", _organization(name, "A", *tags), token="clinic-a")

    for name, tags in (("yes", []), ("no", [SHARED])):
        changed = send(api, "PUT", f"Organization/{name}", _organization(name, "B", *tags), token="region")
        assert changed.status_code == 200

    assert [_shared_by(api, "clinic-a", name) for name in ("yes", "no")] == [True, False]
    assert [send(api, "GET", f"Organization/{name}", token="ward").status_code for name in ("yes", "no")] == [200, 404]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("ending", ["no longer shared", "deleted"])
def test_what_is_no_longer_shared_takes_its_versions_along(api: FlaskClient, ending: str) -> None:
    """Row X24; the decision table's "as absent"."""
    if ending == "deleted":
        send(api, "DELETE", "Organization/lent", token="region")
    else:
        send(api, "PUT", "Organization/lent", _organization("lent", "Lent"), token="region")

    paths = ("Organization/lent", "Organization/lent/_history/1", "Organization/lent/_history")
    assert [send(api, "GET", path, token="ward").status_code for path in paths] == [404] * 3
    assert entry_ids(send(api, "GET", "Organization/_history", token="ward").get_json()) == []
    assert send(api, "GET", "Organization/lent/_history/1", token="region").status_code == 200


def test_versions_from_before_it_was_shared_are_not_read(api: FlaskClient, store: SqlStore) -> None:
    """Each version is matched on its own content (leak L8)."""
    _put(store, "region", _organization("o", "Secret"))
    _put(store, "region", _organization("o", "Open", SHARED), now=BEGIN + 1)

    answers = [send(api, "GET", f"Organization/o/_history/{n}", token="ward").status_code for n in (1, 2)]
    history = send(api, "GET", "Organization/o/_history", token="ward").get_json()

    assert (answers, history["total"], len(history["entry"])) == ([404, 200], 1, 1)


@pytest.mark.usefixtures("namesakes")
def test_a_name_means_the_tenants_own_then_the_nearest_below_by_name(api: FlaskClient, store: SqlStore) -> None:
    """Row X24: one order for everybody, and a search lists all with the tags of their tenants."""
    names = [send(api, "GET", "Patient/1", token=name).get_json()["gender"] for name in ("region", "clinic-b")]
    found = send(api, "GET", "Patient?_id=1", token="region").get_json()["entry"]
    _put(store, "region", make_patient("1", gender="other"))
    now_own = send(api, "GET", "Patient/1", token="region").get_json()["gender"]

    assert (names, now_own) == (["female", "male"], "other")
    assert sorted(one["resource"]["meta"]["tag"][0]["code"] for one in found) == ["clinic-a", "clinic-b"]
    narrowed = send(api, "GET", f"Patient?_id=1&_tag={SYSTEM}|clinic-b", token="region").get_json()
    assert [one["resource"]["gender"] for one in narrowed["entry"]] == ["male"]


@pytest.mark.usefixtures("namesakes")
def test_the_versions_of_a_name_are_those_of_what_is_read(api: FlaskClient, store: SqlStore) -> None:
    _put(store, "clinic-b", make_patient("1", gender="unknown"), now=BEGIN + 1)

    history = send(api, "GET", "Patient/1/_history", token="region").get_json()
    second = send(api, "GET", "Patient/1/_history/2", token="region").status_code

    assert [one["resource"]["gender"] for one in history["entry"]] == ["female"]
    assert (history["total"], second) == (1, 404)


@pytest.mark.usefixtures("namesakes")
def test_a_deleted_name_leads_on_to_the_next_tenant(api: FlaskClient) -> None:
    """What is there comes before what was there; the tenant itself knows that its own is gone."""
    send(api, "DELETE", "Patient/1", token="clinic-a")

    assert send(api, "GET", "Patient/1", token="region").get_json()["gender"] == "male"
    assert send(api, "GET", "Patient/1", token="clinic-a").status_code == 410
    send(api, "DELETE", "Patient/1", token="region")
    assert send(api, "GET", "Patient/1", token="region").status_code == 410
    assert send(api, "GET", "Patient/1", token="clinic-b").status_code == 410


@pytest.mark.usefixtures("namesakes")
def test_a_write_hits_what_the_same_token_reads(api: FlaskClient) -> None:
    """Row X24: by name, with If-Match, and by condition; the namesake stays as it was."""
    body = make_patient("1", gender="other", birthDate="2000-01-01")
    tag = send(api, "GET", "Patient/1", token="region").headers["ETag"]
    stale = send(api, "PUT", "Patient/1", body, token="region", If_Match='W/"2.clinic-a"')
    hit = send(api, "PUT", "Patient/1", body, token="region", If_Match=tag)
    several = send(api, "PUT", "Patient?_id=1", body, token="region")
    condition = f"Patient?_id=1&_tag={SYSTEM}|clinic-b"
    by_condition = send(api, "PUT", condition, make_patient("1", active=True), token="region")

    assert [one.status_code for one in (stale, hit, several, by_condition)] == [412, 200, 412, 200]
    assert (tag, hit.headers["ETag"]) == ('W/"1.clinic-a"', 'W/"2.clinic-a"')
    assert by_condition.get_json()["meta"]["tag"] == [_tag("clinic-b")]
    genders = [send(api, "GET", "Patient/1", token=name).get_json().get("gender") for name in ("clinic-a", "clinic-b")]
    assert genders == ["other", None]


@pytest.mark.usefixtures("namesakes")
@pytest.mark.parametrize("change", ["deleted", "own"])
def test_if_match_names_the_tenant_too(api: FlaskClient, store: SqlStore, change: str) -> None:
    """Row X24: when the name means another resource since, of the same version, nothing is overwritten."""
    tag = send(api, "GET", "Patient/1", token="region").headers["ETag"]
    if change == "deleted":
        send(api, "DELETE", "Patient/1", token="clinic-a")
    else:
        _put(store, "region", make_patient("1", gender="other"))

    body, headers = make_patient("1", active=True), {"If_Match": tag}
    patch = [{"op": "remove", "path": "/gender"}]
    typed = {"Content_Type": "application/json-patch+json"}
    answers = [
        send(api, "PUT", "Patient/1", body, token="region", **headers),
        send(api, "PATCH", "Patient/1", patch, token="region", **headers, **typed),
        send(api, "DELETE", "Patient/1", token="region", **headers),
    ]
    cached = send(api, "GET", "Patient/1", token="region", If_None_Match=tag)

    assert [one.status_code for one in answers] == [412] * 3
    assert cached.status_code == 200
    assert send(api, "GET", "Patient/1", token="region", If_None_Match=cached.headers["ETag"]).status_code == 304


@pytest.mark.usefixtures("namesakes")
def test_a_namesake_that_is_read_opens_no_answer(api: FlaskClient, store: SqlStore) -> None:
    """The body of a write is for who may read what was written, not for who may read another one of this name."""
    _put(store, "clinic-b", make_patient("1", gender="female"))

    hidden = send(api, "PUT", "Patient/1", make_patient("1", gender="male"), token="female")
    shown = send(api, "PUT", "Patient/1", make_patient("1", gender="female"), token="female")

    assert (hidden.status_code, hidden.headers["ETag"], hidden.get_data()) == (200, 'W/"2.clinic-a"', b"")
    assert (shown.status_code, shown.headers["ETag"]) == (200, 'W/"3.clinic-b"')
    assert shown.get_json()["gender"] == "female"


@pytest.mark.usefixtures("namesakes")
def test_entries_name_versions_as_entity_tags_do(api: FlaskClient) -> None:
    """Own versions are numbers alone, whoever else there is."""
    tags = [
        send(api, "GET", "Patient/1/_history", token=token).get_json()["entry"][0]["response"]["etag"]
        for token in ("clinic-a", "region")
    ]

    assert tags == ['W/"1"', 'W/"1.clinic-a"']


@pytest.mark.usefixtures("namesakes")
def test_a_write_follows_the_reading_letter_where_criteria_hide_a_namesake(api: FlaskClient, store: SqlStore) -> None:
    """A token that reads only female patients does not overwrite the male one of its own tenant."""
    _put(store, "region", make_patient("1", gender="male"))

    read = send(api, "GET", "Patient/1", token="female").get_json()
    written = send(api, "PUT", "Patient/1", make_patient("1", gender="female", active=True), token="female")

    assert (read["meta"]["tag"], written.status_code) == ([_tag("clinic-a")], 200)
    own = store.read(Constraint.system("region"), "Patient", "1")
    assert own is not None
    assert own.version_id == 1
    assert send(api, "GET", "Patient/1", token="clinic-a").get_json()["active"] is True


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("token", "reference", "status"),
    [
        ("ward", "Organization/lent", 201),
        ("ward", "Organization/kept", 422),
        ("ward", "Organization/nobody", 422),
        ("region", "Organization/kept", 201),
        ("stranger", "Organization/lent", 422),
    ],
)
def test_references_lead_to_what_is_shared_above(
    api: FlaskClient, log: ListLog, token: str, reference: str, status: int
) -> None:
    """Leak L11; row C8; threat H13: a reference leads where its own tenant may see."""
    body = {"resourceType": "Patient", "managingOrganization": {"reference": reference}}

    answer = send(api, "POST", "Patient", body, token=token)

    assert answer.status_code == status
    if status == 422:
        assert log.events[-1]["reason"] == "unresolved_reference"


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("token", "subject", "status"),
    [
        ("region", "of-region", 201),
        ("region", "of-ward", 422),
        ("ward", "of-clinic-a", 422),
        ("ward", "of-clinic-b", 422),
    ],
)
def test_references_never_lead_below_or_beside(api: FlaskClient, token: str, subject: str, status: int) -> None:
    """Leak L11: a parent's resource, too, means its own tenant's."""
    body = {**make_observation(), "subject": {"reference": f"Patient/{subject}"}}

    assert send(api, "POST", "Observation", body, token=token).status_code == status


@pytest.mark.usefixtures("filled")
def test_a_parents_change_of_a_childs_resource_refers_as_the_child_does(api: FlaskClient, store: SqlStore) -> None:
    """Leak L11: to the child's own, and not to what only the parent sees."""
    _put(store, "ward", make_observation("o", subject={"reference": "Patient/of-ward"}))
    _put(store, "ward", make_patient("second"))

    changes = [
        send(
            api, "PUT", "Observation/o", make_observation("o", subject={"reference": f"Patient/{one}"}), token="region"
        )
        for one in ("second", "of-region", "of-clinic-b")
    ]

    assert [one.status_code for one in changes] == [200, 422, 422]


@pytest.mark.usefixtures("namesakes")
def test_a_transaction_refers_to_its_own_entries_of_one_tenant_alone(api: FlaskClient) -> None:
    """Leak L11: what it changes below is no target for what it makes above; by search neither."""

    def transaction(reference: str, *entries: dict[str, Any]) -> Any:
        made = {**make_observation(), "subject": {"reference": reference}}
        every = [*entries, {"resource": made, "request": {"method": "POST", "url": "Observation"}}]
        return send(api, "POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": every}, token="region")

    change = {"resource": make_patient("1", active=True), "request": {"method": "PUT", "url": "Patient/1"}}
    create = {"resource": make_patient("2"), "request": {"method": "PUT", "url": "Patient/2"}}
    answers = [
        transaction("Patient/1", change),
        transaction("Patient?gender=male"),
        transaction("Patient/2", create),
        transaction("Patient?_id=2"),
    ]

    assert [one.status_code for one in answers] == [422, 412, 200, 200]


def _found(api: FlaskClient, path: str, token: str, mode: str = "match") -> list[str]:
    """The matches or what is included, as tenant (the first tag) and name."""
    entries = send(api, "GET", path, token=token).get_json().get("entry", [])
    found = [one["resource"] for one in entries if one["search"]["mode"] == mode]
    return sorted(f"{one['meta']['tag'][0]['code']}:{one['id']}" for one in found)


@pytest.fixture
def linked(store: SqlStore) -> None:
    """Namesakes everywhere: of each tenant an Observation of Patient/1, which the ward has not, and the region shares.

    So the ward's Observation is of the Patient that the nearest tenant above shares: clinic-a's.
    """
    for name, tags in (("region", [SHARED]), ("clinic-a", [SHARED]), ("clinic-b", [])):
        _put(store, name, make_patient("1", name=[{"family": name}], meta={"tag": [_tag(name), *tags]}))
    for name in ("region", "clinic-a", "clinic-b", "ward"):
        members: dict[str, Any] = {"subject": {"reference": "Patient/1"}, "meta": {"tag": [_tag(name), SHARED]}}
        _put(store, name, make_observation(f"of-{name}", **members))


@pytest.mark.usefixtures("linked")
@pytest.mark.parametrize(
    ("token", "path", "matches"),
    [
        ("region", "Observation?patient.name=region", ["region:of-region"]),
        ("region", "Observation?patient.name=clinic-a", ["clinic-a:of-clinic-a", "ward:of-ward"]),
        ("region", "Observation?patient.name=clinic-b", ["clinic-b:of-clinic-b"]),
        ("clinic-b", "Observation?patient.name=clinic-a", []),
        ("clinic-b", "Observation?patient.name=region", ["region:of-region"]),
        ("ward", "Observation?patient.name=clinic-a", ["clinic-a:of-clinic-a", "ward:of-ward"]),
        ("region", "Patient?_has:Observation:patient:_id=of-ward", ["clinic-a:1"]),
        ("region", "Patient?_has:Observation:patient:_id=of-region", ["region:1"]),
        ("clinic-b", "Patient?_has:Observation:patient:_id=of-region", ["region:1"]),
        ("clinic-b", "Patient?_has:Observation:patient:_id=of-ward", []),
    ],
)
def test_chains_and_has_follow_a_reference_to_what_it_means_to_its_own_tenant(
    api: FlaskClient, token: str, path: str, matches: list[str]
) -> None:
    """Leaks L2 and L11: never to a namesake elsewhere; the own one before that of the nearest tenant above."""
    assert _found(api, path, token) == matches


@pytest.mark.usefixtures("linked")
@pytest.mark.parametrize(
    ("token", "path", "included"),
    [
        ("region", "Observation?_id=of-ward&_include=Observation:patient", ["clinic-a:1"]),
        ("region", "Observation?_id=of-region&_include=Observation:patient", ["region:1"]),
        ("clinic-b", "Observation?_id=of-region&_include=Observation:patient", ["region:1"]),
        ("clinic-b", "Observation?_id=of-clinic-b&_include=Observation:patient", ["clinic-b:1"]),
        (
            "region",
            f"Patient?_tag={SYSTEM}|clinic-a&_revinclude=Observation:patient",
            ["clinic-a:of-clinic-a", "ward:of-ward"],
        ),
        ("region", f"Patient?_tag={SYSTEM}|region&_revinclude=Observation:patient", ["region:of-region"]),
        ("clinic-b", f"Patient?_tag={SYSTEM}|region&_revinclude=Observation:patient", ["region:of-region"]),
    ],
)
def test_includes_follow_a_reference_to_what_it_means_to_its_own_tenant(
    api: FlaskClient, token: str, path: str, included: list[str]
) -> None:
    """Leaks L5 and L11."""
    assert _found(api, path, token, "include") == included


@pytest.mark.usefixtures("linked")
@pytest.mark.parametrize(
    ("token", "found"),
    [("ward", ["clinic-a:1", "clinic-a:of-clinic-a", "ward:of-ward"]), ("region", ["region:1", "region:of-region"])],
)
def test_everything_is_of_the_patient_that_the_name_means(api: FlaskClient, token: str, found: list[str]) -> None:
    """Row B9; leak L11."""
    assert _found(api, "Patient/1/$everything", token) == found


@pytest.mark.parametrize("token", ["ward", "region"])
def test_a_document_has_what_its_composition_refers_to(api: FlaskClient, store: SqlStore, token: str) -> None:
    """Leak L11: of what a shared Composition refers to, below only what is shared itself."""
    sections = [{"reference": f"Observation/{name}"} for name in ("open", "secret", "of-ward")]
    composition = {"resourceType": "Composition", "id": "c", "section": [{"entry": sections}]}
    _put(store, "region", {**composition, "meta": {"tag": [SHARED]}})
    _put(store, "region", make_observation("open", meta={"tag": [SHARED]}), make_observation("secret"))
    _put(store, "ward", make_observation("of-ward"), make_observation("secret"))

    answer = send(api, "GET", "Composition/c/$document", token=token).get_json()

    assert entry_ids(answer) == (["c", "open"] if token == "ward" else ["c", "open", "secret"])


@pytest.mark.usefixtures("filled")
def test_a_cursor_is_for_its_own_tenant(api: FlaskClient) -> None:
    """Threat H09, row X29: not for a relative's, though both see some of the same."""
    first = send(api, "GET", "Patient?_count=1", token="region").get_json()
    (link,) = [one["url"] for one in first["link"] if one["relation"] == "next"]
    target = link.removeprefix("https://fhir.example/fhir/")

    assert send(api, "GET", target, token="region").status_code == 200
    assert send(api, "GET", target, token="clinic-a").status_code == 400


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("query", ["_count=1", "_count=1&_sort=name,-_lastUpdated", "_count=1&_sort=-birthdate"])
def test_pages_go_through_all_tenants_in_one_order(api: FlaskClient, query: str) -> None:
    pages = all_pages(api, f"/fhir/Patient?{query}", bearer("region"))

    ids = [one for page in pages for one in entry_ids(page)]
    assert sorted(ids) == ["of-clinic-a", "of-clinic-b", "of-region", "of-ward"]


@pytest.mark.usefixtures("filled")
def test_the_record_tells_whose_a_resource_is_that_is_not_the_callers(
    store: SqlStore, definitions: Definitions
) -> None:
    """Rows X24 and X25: of reads and of writes; of the caller's own nothing is added."""
    tokens = {"region": make_answer(tenant="region", scope="system/*.cruds system/AuditEvent.rs")}
    introspection = FakeIntrospection(tokens)
    app = make_app(store, definitions, introspection=introspection, fhir_audit_reads=True, fhir_tenant_parents=PARENTS)
    api = app.test_client()

    for name in ("of-ward", "of-region"):
        send(api, "GET", f"Patient/{name}", token="region")
        send(api, "GET", f"Patient/{name}/_history/1", token="region")
        send(api, "PUT", f"Patient/{name}", make_patient(name, active=True), token="region")

    events = send(api, "GET", "AuditEvent", token="region").get_json()["entry"]
    details = [one["resource"]["entity"][0].get("detail") for one in events]
    of_ward = [{"type": "tenant", "valueString": "ward"}]
    assert details == [of_ward, of_ward, of_ward, None, None, None]


def _exported(api: FlaskClient, path: str, token: str) -> list[str]:
    """Every resource that an export puts out, as tenant and name."""
    headers = {**bearer(token), "Prefer": "respond-async"}
    started = api.get(f"/fhir/{path}", headers=headers)
    status = started.headers["Content-Location"].removeprefix("https://fhir.example")
    while (answer := api.get(status, headers=bearer(token))).status_code == 202:
        pass
    files = [one["url"].removeprefix("https://fhir.example") for one in answer.get_json()["output"]]
    bodies = [api.get(file, headers={**bearer(token), "Accept-Encoding": "gzip"}).get_data() for file in files]
    lines = [line for body in bodies for line in gzip.decompress(body).splitlines()]
    found = [orjson.loads(line) for line in lines]
    return sorted(f"{one['meta']['tag'][0]['code']}:{one['id']}" for one in found)


@pytest.mark.usefixtures("linked")
@pytest.mark.parametrize(
    ("path", "token", "found"),
    [
        ("$export?_type=Patient", "region", ["clinic-a:1", "clinic-b:1", "region:1"]),
        ("$export?_type=Patient", "clinic-b", ["clinic-b:1", "region:1"]),
        ("$export?_type=Patient", "stranger", []),
        ("Patient/$export?_type=Observation", "clinic-b", ["clinic-b:of-clinic-b", "region:of-region"]),
        ("Group/g/$export?_type=Patient,Observation", "region", ["clinic-b:1", "clinic-b:of-clinic-b"]),
    ],
)
def test_exports_have_what_may_be_read(
    api: FlaskClient, store: SqlStore, path: str, token: str, found: list[str]
) -> None:
    """Row X24; threat H10: members of a Group are those that its own tenant means."""
    member = {"entity": {"reference": "Patient/1"}}
    _put(store, "clinic-b", {"resourceType": "Group", "id": "g", "type": "person", "actual": True, "member": [member]})

    assert _exported(api, path, token) == found


def test_without_a_hierarchy_nothing_is_shared(store: SqlStore, definitions: Definitions) -> None:
    """Rows B3 and B6: the tag is one of the reserved system like any other, and removed."""
    introspection = FakeIntrospection({"region": make_answer(tenant="region", scope="system/*.cruds")})
    api = make_app(store, definitions, introspection=introspection).test_client()

    made = send(api, "POST", "Organization", _organization("x", "A", SHARED), token="region").get_json()

    assert made["meta"]["tag"] == [_tag("region")]
