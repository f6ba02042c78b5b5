"""The decision table of the FHIR layer as data, walked over HTTP: each letter missing, each way to be hidden, allowed.

The exports are in routes/test_export.py, where their jobs are waited for; what no token opens is in test_refusals.py.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.fhir.builders import BASE, ON_SQLITE, Writable, make_answer, make_observation, send
from tests.fhir.hidden import SEEN, fill, name

NOBODY = {"display": "x"}
FORM = {"Content_Type": "application/x-www-form-urlencoded"}
JSON_PATCH = {"Content_Type": "application/json-patch+json"}
TYPES = ("Composition", "Group", "Observation", "Patient")
CRITERIA = {"Observation": "category=laboratory", "Patient": "gender=female", "Composition": "status=final"}
"""What the seen have and the hidden have not, see hidden.py."""
OWN = make_observation("{}", subject=NOBODY)
ISSUED = {"op": "add", "path": "/note", "value": [{"text": "x"}]}
TEST = {"op": "test", "path": "/status", "value": "final"}

NOT_FOUND, FOUND_NOTHING, DONE_NOTHING = (404, "not-found"), (200, ""), (204, "")


@dataclass(frozen=True)
class Row:
    """One interaction: the request about the resource `{}`, what it needs, and its answers.

    `needs` has each scope without which it is refused, `Patient.rs` meaning that either letter would do; the answer
    names the first. `hidden` is the answer about a hidden resource, None where there is none to be about.
    """

    method: str
    path: str
    needs: tuple[str, ...]
    hidden: tuple[int, str] | None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    allowed: int = 200
    where: str = ""
    named: str = ""

    def about(self, side: str) -> str:
        """The id that the request names, of which the answer may speak; of a request that names none "{}" itself."""
        return name(side) if "{}" in f"{self.path}{self.body or ''}{self.headers or ''}" else "{}"


def _bundle(kind: str, resource_url: str) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": [{"request": {"method": "GET", "url": resource_url}}]}


def _get(path: str, needs: str, hidden: tuple[int, str] | None = NOT_FOUND, **members: Any) -> Row:
    return Row("GET", path, tuple(needs.split()), hidden, **members)


def _write(method: str, path: str, needs: str, hidden: tuple[int, str] | None = NOT_FOUND, **members: Any) -> Row:
    return Row(method, path, tuple(needs.split()), hidden, **members)


TABLE: dict[str, Row] = {
    "read": _get("Observation/{}", "Observation.r"),
    "HEAD": _write("HEAD", "Observation/{}", "Observation.r", (404, "")),
    "vread": _get("Observation/{}/_history/1", "Observation.r"),
    "instance history": _get("Observation/{}/_history", "Observation.r"),
    "type history": _get("Observation/_history?_count=1000", "Observation.s", FOUND_NOTHING),
    "system history": _get("_history?_type=Observation", "Observation.s", FOUND_NOTHING, named="*.s"),
    "search": _get("Observation?code={}", "Observation.s", FOUND_NOTHING),
    "search by form": _write(
        "POST", "Observation/_search", "Observation.s", FOUND_NOTHING, body=b"code={}", headers=FORM
    ),
    "system search": _write(
        "POST", "_search", "Observation.s Patient.s", FOUND_NOTHING,
        body=b"_id={}&_type=Observation,Patient", headers=FORM
    ),
    "chain": _get("Observation?patient._id={}", "Observation.s Patient.s", FOUND_NOTHING),
    "_has": _get("Patient?_has:Observation:patient:code={}", "Patient.s Observation.s", FOUND_NOTHING),
    "_include": _get(
        "Observation?_id=seen-{}&_include=Observation:patient:Patient", "Observation.s Patient.rs", FOUND_NOTHING
    ),
    "_revinclude": _get(
        "Patient?_id=seen-{}&_revinclude=Observation:patient", "Patient.s Observation.s", FOUND_NOTHING
    ),
    "create": _write("POST", "Observation", "Observation.c", None, body=OWN, allowed=201),
    "conditional create": _write(
        "POST", "Observation", "Observation.s Observation.c", (201, ""), body=OWN, headers={"If_None_Exist": "code={}"}
    ),
    "update": _write("PUT", "Observation/{}", "Observation.u", NOT_FOUND, body=OWN),
    "conditional update": _write("PUT", "Observation?code={}", "Observation.u Observation.s", body=OWN | {"id": None}),
    "patch": _write("PATCH", "Observation/{}", "Observation.u", body=[ISSUED], headers=JSON_PATCH),
    "patch that tests": _write(
        "PATCH", "Observation/{}", "Observation.u Observation.r", body=[TEST, ISSUED], headers=JSON_PATCH
    ),
    "conditional patch": _write(
        "PATCH", "Observation?code={}", "Observation.u Observation.s", body=[ISSUED], headers=JSON_PATCH
    ),
    "delete": _write("DELETE", "Observation/{}", "Observation.d", DONE_NOTHING, allowed=204),
    "conditional delete": _write(
        "DELETE", "Observation?code={}", "Observation.d Observation.s", DONE_NOTHING, allowed=204
    ),
    "transaction": _write(
        "POST", "", "Observation.r", body=_bundle("transaction", "Observation/{}"), where="Bundle.entry[0]"
    ),
    "$validate, create": _write("POST", "Observation/$validate", "Observation.c", None, body=OWN),
    "$validate, update": _write("POST", "Observation/{}/$validate", "Observation.u", body=OWN),
    "$validate, delete": _write(
        "POST", "Observation/{}/$validate?mode=delete", "Observation.u Observation.d", body=OWN
    ),
    "$everything": _get("Patient/{}/$everything", "Patient.r"),
    "$everything of all": _get("Patient/$everything?_type=Patient", "Patient.r Patient.s", FOUND_NOTHING),
    "$document": _get("Composition/{}/$document", "Composition.r"),
    "$summary": _get("Patient/{}/$summary", "Patient.r"),
}  # fmt: skip

CHANCE = ("X-Request-Id", "Last-Modified", "Date")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")


@pytest.fixture
def table(writable: Writable) -> FlaskClient:
    """A client of an app over a store with a seen resource, and one that is hidden in each way."""
    writable.clear()
    fill(writable.store)
    return writable.app.test_client()


def _ask(table: FlaskClient, writable: Writable, row: Row, scope: str, about: str) -> Any:
    """Ask with a token of this scope; what differs by chance, and the id itself, is taken out of the answer."""
    writable.introspection.answers["row"] = make_answer(tenant="mine", scope=scope)
    body = row.body
    if isinstance(body, dict):
        body = {key: value for key, value in body.items() if value is not None}
    sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    sent = sent.replace(b"{}", about.encode()) if sent is not None else None
    headers = {key: value.replace("{}", about) for key, value in row.headers.items()}
    return send(table, row.method, row.path.replace("{}", about), sent, token="row", **headers)


def _whole(answer: Any, about: str) -> tuple[int, list[tuple[str, str]], str]:
    headers = sorted((key, _plain(value, about)) for key, value in answer.headers.items() if key not in CHANCE)
    return answer.status_code, headers, _plain(answer.get_data(as_text=True), about)


def _plain(text: str, about: str) -> str:
    return INSTANT.sub("INSTANT", UUID.sub("UUID", text)).replace(about, "{}")


def _scope(row: Row, *, without: str = "", criteria: bool = False) -> str:
    """The scopes that the row needs and no more; or every letter of every type but those of `without`."""
    missing_type, _, missing = without.partition(".")
    found = []
    for resource_type in TYPES:
        needed = {
            letter for one in row.needs if one.startswith(f"{resource_type}.") for letter in one.partition(".")[2]
        }
        letters = set("cruds") - set(missing if resource_type == missing_type else "") if without else needed
        if letters:
            query = f"?{CRITERIA[resource_type]}" if criteria and resource_type in CRITERIA else ""
            found.append(f"system/{resource_type}.{''.join(one for one in 'cruds' if one in letters)}{query}")
    return " ".join(found)


def _code(answer: Any) -> str:
    body = {} if not answer.data else answer.get_json()
    return body["issue"][0]["code"] if body.get("resourceType") == "OperationOutcome" else ""


@ON_SQLITE
@pytest.mark.parametrize("interaction", TABLE)
def test_each_missing_letter_is_refused_by_its_name(table: FlaskClient, writable: Writable, interaction: str) -> None:
    """Rows A18 and A22: 403 that names type and letter, whatever is stored, although every other letter is there."""
    row = TABLE[interaction]

    for missing in row.needs:
        answer = _ask(table, writable, row, _scope(row, without=missing), name(SEEN))

        # A history of the system takes what may be searched: it is refused where nothing may.
        if row.named:
            answer = _ask(table, writable, row, "system/Observation.r", name(SEEN))
        resource_type, _, letters = missing.partition(".")
        needed = f"system/{row.named or f'{resource_type}.{letters[0]}'}"
        issue = {
            "severity": "error",
            "code": "forbidden",
            "diagnostics": f"The access token's scope does not allow this; needed: {needed}.",
        }
        place = {"expression": [row.where]} if row.where else {}
        body = {"resourceType": "OperationOutcome", "issue": [{**issue, **place}]}
        assert answer.status_code == 403, missing
        challenge = f'Bearer realm="fhir", error="insufficient_scope", scope="{needed}"'
        assert answer.headers["WWW-Authenticate"] == challenge
        assert row.method == "HEAD" or answer.get_json() == body


@pytest.mark.parametrize("interaction", [name for name, row in TABLE.items() if row.hidden is not None])
def test_what_is_hidden_is_answered_as_what_is_not_there(
    table: FlaskClient, writable: Writable, interaction: str
) -> None:
    """Threat H01, leak L9: by criteria and by tenant, the whole answer is that about an absent resource."""
    row = TABLE[interaction]
    scope = _scope(row, criteria=True)

    absent, by_criteria, by_tenant = (
        _ask(table, writable, row, scope, name(side)) for side in ("absent", "criteria", "tenant")
    )

    assert (absent.status_code, _code(absent)) == row.hidden
    expected = _whole(absent, row.about("absent"))
    assert [_whole(by_criteria, row.about("criteria")), _whole(by_tenant, row.about("tenant"))] == [expected, expected]
    for side, answer in (("criteria", by_criteria), ("tenant", by_tenant)):
        assert f'"fullUrl":"{BASE}/Observation/{name(side)}"' not in answer.get_data(as_text=True)
        assert f'"fullUrl":"{BASE}/Patient/{name(side)}"' not in answer.get_data(as_text=True)


@pytest.mark.parametrize("interaction", TABLE)
def test_the_named_letters_are_enough(table: FlaskClient, writable: Writable, interaction: str) -> None:
    """The positive control: what is in scope is answered, with the needed letters alone, narrowed by criteria too."""
    row = TABLE[interaction]

    for criteria in (False, True):
        about = name(SEEN)
        answer = _ask(table, writable, row, _scope(row, criteria=criteria), about)

        assert answer.status_code == row.allowed, answer.get_data(as_text=True)
        if row.hidden == FOUND_NOTHING:
            assert f'/{about}"' in answer.get_data(as_text=True) or f'-{about}"' in answer.get_data(as_text=True)
        if row.method in ("DELETE", "PUT"):
            writable.clear()
            fill(writable.store)


def test_a_batch_answers_each_entry_as_by_itself(table: FlaskClient, writable: Writable) -> None:
    """Decision table, batch: nothing for the envelope, each entry's own letters and constraint."""
    rows = (TABLE["read"], TABLE["$everything"])
    urls = [row.path.replace("{}", name(side)) for row in rows for side in ("criteria", "absent", SEEN)]
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    writable.introspection.answers["row"] = make_answer(tenant="mine", scope="system/Observation.r?category=laboratory")

    answer = send(table, "POST", "", {"resourceType": "Bundle", "type": "batch", "entry": entries}, token="row")

    responses = [entry["response"] for entry in answer.get_json()["entry"]]
    assert [one["status"][:3] for one in responses] == ["404", "404", "200", "403", "403", "403"]
    assert responses[0] == responses[1]
    assert {json.dumps(one["outcome"]) for one in responses[3:]} == {json.dumps(responses[3]["outcome"])}
