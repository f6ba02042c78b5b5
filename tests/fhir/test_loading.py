"""Loading files: Bundles, NDJSON, ids, references, and what cannot be loaded."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from authserver.fhir.constraint import Constraint
from authserver.fhir.loading import LoadError, Progress, load_files
from authserver.fhir.search.ast import SearchQuery
from authserver.fhir.store.sql_store import SqlStore
from authserver.fhir.validation.structures import load_structures
from authserver.fhir.validation.validator import Validator
from tests.fhir.builders import make_observation, make_patient

EVERYTHING = Constraint.system("")


def _entry(resource: object, **members: Any) -> dict[str, Any]:
    return {"resource": resource, **members}


def _post(resource: dict[str, Any], full_url: str) -> dict[str, Any]:
    return _entry(resource, fullUrl=full_url, request={"method": "POST", "url": resource["resourceType"]})


def _bundle(folder: Path, *entries: object, name: str = "bundle.json", **members: object) -> Path:
    path = folder / name
    content = {"resourceType": "Bundle", "type": "transaction", "entry": list(entries), **members}
    path.write_text(json.dumps(content))
    return path


def _stored(store: SqlStore, resource_type: str) -> list[dict[str, Any]]:
    page = store.search(EVERYTHING, SearchQuery(resource_type, (), 1000))
    return [json.loads(match.body) for match in page.matches]


def test_references_to_entries_become_references_to_resources(store: SqlStore, tmp_path: Path) -> None:
    patient = {"resourceType": "Patient"}
    observation = make_observation(subject={"reference": "urn:uuid:a"}, performer=[{"reference": "urn:uuid:unknown"}])
    path = _bundle(tmp_path, _post(patient, "urn:uuid:a"), _post(observation, "urn:uuid:b"))

    load_files(store, [path], tenant="")

    (stored,), (loaded,) = _stored(store, "Patient"), _stored(store, "Observation")
    assert loaded["subject"] == {"reference": f"Patient/{stored['id']}"}
    assert loaded["performer"] == [{"reference": "urn:uuid:unknown"}]


def test_a_post_keeps_a_legal_id_and_gets_one_otherwise(sqlite_store: SqlStore, tmp_path: Path) -> None:
    path = _bundle(
        tmp_path,
        _post(make_patient("legal-1"), "urn:uuid:1"),
        _post(make_patient("not legal"), "urn:uuid:2"),
        _post(make_patient("legal-1"), "urn:uuid:3"),
    )

    load_files(sqlite_store, [path], tenant="")

    ids = [patient["id"] for patient in _stored(sqlite_store, "Patient")]
    assert ids[0] == "legal-1"
    assert len(set(ids)) == 3
    assert "not legal" not in ids


def test_loading_again_changes_nothing(sqlite_store: SqlStore, tmp_path: Path) -> None:
    bundle = _bundle(tmp_path, _post({"resourceType": "Patient"}, "urn:uuid:1"), _entry(make_observation()))
    lines = tmp_path / "patients.ndjson"
    lines.write_text(json.dumps(make_patient()) + "\n")

    first = load_files(sqlite_store, [bundle, lines], tenant="")
    again = load_files(sqlite_store, [bundle, lines], tenant="")

    assert first == Progress(lines, 3, 3)
    assert again == Progress(lines, 3, 0)


def test_put_entries_keep_their_ids_and_make_versions(sqlite_store: SqlStore, tmp_path: Path) -> None:
    for gender in ("male", "female"):
        request = {"method": "PUT", "url": "Patient/p"}
        load_files(
            sqlite_store,
            [_bundle(tmp_path, _entry(make_patient("ignored", gender=gender), request=request))],
            tenant="",
        )

    (patient,) = _stored(sqlite_store, "Patient")
    assert (patient["id"], patient["gender"], patient["meta"]["versionId"]) == ("p", "female", "2")


@pytest.mark.parametrize("name", ["p.ndjson", "p.ndjson.gz"])
def test_ndjson_is_loaded_line_by_line(sqlite_store: SqlStore, tmp_path: Path, name: str) -> None:
    lines = "\n\n".join(json.dumps(make_patient(f"p{number}")) for number in range(3)).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(lines) if name.endswith(".gz") else lines)

    progress: list[Progress] = []
    load_files(sqlite_store, [path], tenant="", progress=progress.append)

    assert [patient["id"] for patient in _stored(sqlite_store, "Patient")] == ["p0", "p1", "p2"]
    assert progress == [Progress(path, 3, 3)]


def test_long_ndjson_is_loaded_in_portions(sqlite_store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "p.ndjson"
    path.write_text("\n".join(json.dumps(make_patient(f"p{number}")) for number in range(450)))

    progress: list[Progress] = []
    load_files(sqlite_store, [path], tenant="", progress=progress.append)

    assert [p.resources for p in progress] == [400, 450]


def test_the_later_line_of_one_id_wins(sqlite_store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "p.ndjson"
    path.write_text("\n".join(json.dumps(make_patient(gender=gender)) for gender in ("male", "other")))

    load_files(sqlite_store, [path], tenant="")

    assert [patient["gender"] for patient in _stored(sqlite_store, "Patient")] == ["other"]


def test_a_gzipped_bundle_is_loaded_into_its_tenant_only(sqlite_store: SqlStore, tmp_path: Path) -> None:
    plain = _bundle(tmp_path, _entry(make_patient()))
    path = tmp_path / "b.json.gz"
    path.write_bytes(gzip.compress(plain.read_bytes()))

    load_files(sqlite_store, [path], tenant="t")

    assert sqlite_store.read(Constraint.system("t"), "Patient", "p1") is not None
    assert sqlite_store.read(EVERYTHING, "Patient", "p1") is None


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("text", "entry 2: no object"),
        (_entry(make_patient(), request="POST"), "entry 2: request or fullUrl is malformed"),
        (_entry(make_patient(), fullUrl=7), "entry 2: request or fullUrl is malformed"),
        (_entry(make_patient("\ud800")), "entry 2: no JSON"),
        (_entry(None), "entry 2: no resource"),
        (_entry({"resourceType": "Nonsense"}), "entry 2: no known resourceType"),
        (_entry({"resourceType": ["Patient"]}), "entry 2: no known resourceType"),
        (_entry({"resourceType": "Patient", "meta": []}), "entry 2: meta is malformed"),
        (_entry({"resourceType": "Patient", "meta": {"extension": [1]}}), "entry 2: meta is malformed"),
        (
            _entry(make_patient(), request={"method": "PUT", "url": "Observation/1"}),
            "entry 2: PUT needs the url Type/id of its resource",
        ),
        (
            _entry(make_patient(), request={"method": "PUT", "url": "Patient?identifier=1"}),
            "entry 2: PUT needs the url Type/id of its resource",
        ),
        (
            _entry(make_patient(), request={"method": "DELETE", "url": "Patient/1"}),
            "entry 2: only POST and PUT without conditions can be loaded",
        ),
        (
            _entry(make_patient(), request={"method": "POST", "url": "Patient", "ifNoneExist": "a=b"}),
            "entry 2: only POST and PUT without conditions can be loaded",
        ),
        (
            _entry(make_patient("p9"), fullUrl="urn:uuid:first"),
            "entry 2: its id or fullUrl is that of another entry",
        ),
        (_entry(make_patient("p9", name="\ud800")), "Patient/p9: The resource is no JSON."),
    ],
)
def test_a_bundle_with_one_bad_entry_stores_nothing(
    sqlite_store: SqlStore, tmp_path: Path, entry: object, problem: str
) -> None:
    path = _bundle(tmp_path, _entry(make_patient("good"), fullUrl="urn:uuid:first"), entry)

    with pytest.raises(LoadError) as refused:
        load_files(sqlite_store, [path], tenant="")

    assert str(refused.value) == f"{path}: {problem}"
    assert _stored(sqlite_store, "Patient") == []


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.json", b"{", "file: no JSON"),
        ("a.json", b"[]", "file: no Bundle"),
        ("a.json", b'{"resourceType":"Bundle","type":"history"}', "Bundle.type: not transaction, batch or collection"),
        ("a.json", b'{"resourceType":"Bundle","type":"batch","entry":1}', "Bundle.entry: no list"),
        ("a.ndjson", b'{"resourceType":"Patient","id":"1"}\n{', "line 2: no JSON"),
        ("a.ndjson", b'{"resourceType":"Patient"}', "line 1: no legal id"),
        ("a.ndjson.gz", b"not gzip", "Not a gzipped file (b'no')"),
        ("a.json.gz", b"not gzip", "Not a gzipped file (b'no')"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_named(
    sqlite_store: SqlStore, tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(LoadError) as refused:
        load_files(sqlite_store, [path], tenant="")

    assert str(refused.value) == f"{path}: {problem}"


def test_a_file_of_another_kind_is_refused(sqlite_store: SqlStore, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"ends in none of"):
        load_files(sqlite_store, [tmp_path / "a.xml"], tenant="")


def test_with_a_validator_a_file_with_an_invalid_resource_is_refused_by_its_place(
    sqlite_store: SqlStore, tmp_path: Path
) -> None:
    validator = Validator(load_structures())
    good, bad = make_patient("good"), make_patient("bad", gender="unsaid")
    path = _bundle(tmp_path, _entry(good), _entry(bad))

    load_files(sqlite_store, [_bundle(tmp_path, _entry(good), name="good.json")], tenant="t", validator=validator)
    with pytest.raises(LoadError) as refused:
        load_files(sqlite_store, [path], tenant="", validator=validator)

    problem = "Patient/bad: Patient.gender: The code is none of the element's required value set."
    assert str(refused.value) == f"{path}: {problem}"
    assert _stored(sqlite_store, "Patient") == []
    assert sqlite_store.read(Constraint.system("t"), "Patient", "good") is not None


def test_without_a_validator_it_is_loaded(sqlite_store: SqlStore, tmp_path: Path) -> None:
    load_files(sqlite_store, [_bundle(tmp_path, _entry(make_patient("bad", gender="unsaid")))], tenant="")

    assert [patient["id"] for patient in _stored(sqlite_store, "Patient")] == ["bad"]


@pytest.mark.parametrize("name", ["a.ndjson", "a.json"])
def test_what_is_loaded_into_a_tenant_gets_its_tag(tmp_path: Path, sqlite_store: SqlStore, name: str) -> None:
    """Row X24: as what the tenant writes itself; of the reserved tags in a file only the one for sharing stays."""
    tags = [{"system": "urn:tenant", "code": code} for code in ("other", "shared")]
    patient = {"resourceType": "Patient", "id": "p", "meta": {"tag": [*tags, {"code": "x"}]}}
    request = {"method": "PUT", "url": "Patient/p"}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": patient, "request": request}]}
    path = tmp_path / name
    path.write_text(json.dumps(patient if name == "a.ndjson" else bundle))

    load_files(sqlite_store, [path], tenant="t", tag_system="urn:tenant")
    again = load_files(sqlite_store, [path], tenant="t", tag_system="urn:tenant")

    stored = sqlite_store.read(Constraint.system("t"), "Patient", "p")
    assert stored is not None
    assert json.loads(stored.body)["meta"]["tag"] == [
        {"code": "x"},
        {"system": "urn:tenant", "code": "t"},
        {"system": "urn:tenant", "code": "shared"},
    ]
    assert again == Progress(path, 1, 0)
