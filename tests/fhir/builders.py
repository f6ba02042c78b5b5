"""What the FHIR layer's tests are made of: resources, answers of introspection, apps. Valid by default."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, delete

from authserver.fhir import demo_data
from authserver.fhir.app import create_app
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.introspection import Introspection, RequestDescription
from authserver.fhir.settings import FhirSettings
from authserver.fhir.store import tables
from authserver.fhir.store.port import FhirStore
from authserver.fhir.store.sql_store import SqlStore

FHIR_JSON = "application/fhir+json; charset=utf-8"
BASE = "https://fhir.example/fhir"
ISSUER = "https://auth.example"
TOKEN_ENDPOINT = f"{ISSUER}/auth/token"
LOINC = "http://loinc.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"


def demo_resources() -> list[dict[str, Any]]:
    """Every resource of the demo data."""
    return [entry["resource"] for bundle in demo_data.bundles() for entry in bundle["entry"]]


def make_observation(resource_id: str = "o1", *, category: str = "laboratory", **members: Any) -> dict[str, Any]:
    """An A1c Observation of Patient/p1."""
    return {
        "resourceType": "Observation",
        "id": resource_id,
        "status": "final",
        "category": [{"coding": [{"system": CATEGORY, "code": category}]}],
        "code": {"coding": [{"system": LOINC, "code": "4548-4"}]},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2024-05-11T12:00:00Z",
        **members,
    }


def make_patient(resource_id: str = "p1", **members: Any) -> dict[str, Any]:
    """A Patient with a name."""
    return {
        "resourceType": "Patient",
        "id": resource_id,
        "name": [{"family": "Smith", "given": ["John"]}],
        **members,
    }


def make_answer(**members: Any) -> dict[str, Any]:
    """An introspection answer for an active token that may read everything, allowed by a policy."""
    now = int(time.time())
    return {
        "active": True,
        "scope": "system/*.read",
        "client_id": "bulk-client",
        "sub": "bulk-client",
        "iss": ISSUER,
        "aud": BASE,
        "exp": now + 300,
        "iat": now,
        "jti": "token-1",
        "token_type": "Bearer",
        "policy_decision": {"allowed": True, "policy": "p"},
        **members,
    }


class FakeIntrospection:
    """Knows tokens by name, and remembers what it was asked."""

    def __init__(self, answers: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.answers = dict(answers or {"good": make_answer()})
        self.asked: list[tuple[str, RequestDescription]] = []

    def introspect(self, token: str, request: RequestDescription) -> Mapping[str, Any]:
        """Answer as the authorization server would."""
        self.asked.append((token, request))
        return self.answers.get(token, {"active": False})


class ListLog:
    """A RequestLog that keeps what it was told."""

    def __init__(self) -> None:
        self.events: list[dict[str, object]] = []

    def record(self, event: str, **facts: object) -> None:
        """Keep the event."""
        self.events.append({"event": event, **facts})


def make_app(
    store: FhirStore,
    definitions: Definitions,
    *,
    introspection: Introspection | None = None,
    log: ListLog | None = None,
    **settings: Any,
) -> Flask:
    """The app over a store, with tokens that FakeIntrospection knows; reads are recorded where a test asks for it."""
    return create_app(
        FhirSettings(**{"fhir_base_url": BASE, "issuer": ISSUER, "fhir_audit_reads": False, **settings}),
        store=store,
        introspection=introspection or FakeIntrospection(),
        smart_configuration={"issuer": ISSUER, "token_endpoint": TOKEN_ENDPOINT},
        definitions=definitions,
        log=log or ListLog(),
    )


@dataclass(frozen=True)
class Writable:
    """An app that tests write to, and how to empty what it writes to."""

    store: SqlStore
    engine: Engine
    introspection: FakeIntrospection
    log: ListLog
    app: Flask

    def clear(self) -> None:
        """Remove every resource, and what was logged."""
        self.log.events.clear()
        with self.engine.execution_options(fhir_store_writes=True).begin() as connection:
            for table in tables.metadata.sorted_tables:
                if table not in (tables.meta, tables.parameter):
                    connection.execute(delete(table))


ON_SQLITE = pytest.mark.parametrize("writable", ["sqlite"], indirect=True)
"""For tests of `api` whose outcome no database can change."""


def writing_tokens() -> dict[str, Mapping[str, Any]]:
    """Answers for tokens that may write, by name, all of the tenant `mine` but two."""
    scopes = {
        "all": "system/*.cruds",
        "create": "system/Observation.c",
        "create-read": "system/Observation.cr system/Patient.r",
        "create-read-final": "system/Observation.c system/Observation.r?status=final system/Patient.r",
        "final": "system/Observation.cruds?status=final system/Patient.rs",
        "no-read": "system/Observation.cud system/Patient.r",
        "update": "system/Observation.u system/Observation.s system/Patient.r",
        "read": "system/*.rs",
        "deletes-final": "system/Observation.rs system/Observation.d?status=final",
        "auditor": "system/AuditEvent.rs",
    }
    answers = {name: make_answer(tenant="mine", scope=scope) for name, scope in scopes.items()}
    answers["other"] = make_answer(tenant="other", scope="system/*.cruds")
    answers["no-tenant"] = make_answer(scope="system/*.cruds")
    return answers


def send(api: FlaskClient, method: str, path: str, body: object = None, *, token: str = "all", **headers: str) -> Any:
    """Send a request below the base; `If_Match=...` and the like are headers, a body that is no bytes is JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content_type = named.pop("Content-Type", "application/fhir+json")
    data = body if isinstance(body, bytes) else (json.dumps(body).encode() if body is not None else None)
    return api.open(
        f"/fhir/{path}" if path else "/fhir",
        method=method,
        data=data,
        headers={**bearer(token), **named},
        content_type=content_type if data is not None else None,
    )


def bearer(token: str = "good") -> dict[str, str]:
    """The header that carries the token."""
    return {"Authorization": f"Bearer {token}"}


def entry_ids(bundle: Mapping[str, Any]) -> list[str]:
    """The ids of the resources in a Bundle."""
    return [entry["resource"]["id"] for entry in bundle.get("entry", [])]


def all_pages(client: FlaskClient, url: str, headers: Mapping[str, str]) -> Sequence[dict[str, Any]]:
    """Follow next links to the end and return the Bundles."""
    pages = [client.get(url, headers=dict(headers)).get_json()]
    while links := [link["url"] for link in pages[-1]["link"] if link["relation"] == "next"]:
        pages.append(client.get(links[0].removeprefix("https://fhir.example"), headers=dict(headers)).get_json())
    return pages


def outcome(response: Any) -> tuple[int, str, str]:
    """The status, the code and the expression of an answer that must be an OperationOutcome with one issue."""
    body = response.get_json()
    assert body["resourceType"] == "OperationOutcome"
    assert response.content_type == FHIR_JSON
    (issue,) = body["issue"]
    return response.status_code, issue["code"], issue.get("expression", [""])[0]
