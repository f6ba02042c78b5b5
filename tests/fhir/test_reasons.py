"""Each refusal of the FHIR layer gives its reason to the log, as docs/errors.md says. Row X48."""

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from authserver.errors import IntrospectionUnavailable, StorageUnavailable
from authserver.fhir.store.engine import make_engine, writing
from tests.fhir.builders import ListLog, bearer

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "token_required": ("/fhir/Patient", {}),
    "token_not_active": ("/fhir/Patient", {"headers": bearer("nobody-knows-it")}),
    "token_outside_header": ("/fhir/Patient?access_token=x", {"headers": bearer()}),
    "unsupported_parameter": ("/fhir/Patient?flavour=vanilla", {"headers": bearer()}),
    "malformed_parameter": ("/fhir/Patient?birthdate=yesterday", {"headers": bearer()}),
    "operation_not_supported": ("/fhir/Patient/$nothing", {"headers": bearer()}),
}


@pytest.mark.parametrize("reason", CASES)
def test_the_log_says_the_reason_of_a_refusal(client: FlaskClient, log: ListLog, reason: str) -> None:
    path, options = CASES[reason]

    answer = client.get(path, **options)

    assert answer.status_code >= 400
    assert [event.get("reason") for event in log.events] == [reason]


def test_a_granted_request_has_no_reason(client: FlaskClient, log: ListLog) -> None:
    client.get("/fhir/Patient", headers=bearer())

    assert [event.get("reason") for event in log.events] == [None]


def test_no_answer_about_a_token_has_its_reason() -> None:
    assert IntrospectionUnavailable().reason == "introspection_unavailable"


def test_two_writers_of_one_key_have_their_reason(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path}/fhir.db")
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE once (id INTEGER PRIMARY KEY)"))
        connection.execute(text("INSERT INTO once VALUES (1)"))

    with pytest.raises(StorageUnavailable) as refused, writing(engine) as connection:
        connection.execute(text("INSERT INTO once VALUES (1)"))

    engine.dispose()
    assert refused.value.reason == "write_conflict"
