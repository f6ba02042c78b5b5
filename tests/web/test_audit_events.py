"""The audit over HTTP: what is recorded of each story, who may read it, and that nothing is answered without it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from freezegun import freeze_time

from authserver import clock
from authserver.app import Parts
from authserver.errors import StorageUnavailable
from authserver.protocol.audit_record import AuditRecord
from authserver.protocol.audit_search import AuditQuery
from authserver.services.audit_trail import UNPROVEN_PER_MINUTE
from authserver.services.claim_queue import ClaimOutcome
from tests.builders import CLIENT_ID, FHIR_BASE, ISSUER, client_resource, make_assertion, make_settings, token_form
from tests.http import Server, basic, bearer, make_app
from tests.keys import key

CREDENTIALS = client_resource()["auth"]["client_credentials"]
WIDE = {"client_credentials": {**CREDENTIALS, "audience": [ISSUER, FHIR_BASE]}}


def records(parts: Parts, event: str | None = None) -> list[dict[str, Any]]:
    """Return what was recorded, oldest first."""
    found = [dict(one.said) for one in reversed(parts.stores.audit.search(AuditQuery(count=500)))]
    return [said for said in found if event is None or said["event"] == event]


def search(server: Server, query: str = "", **options: Any) -> list[dict[str, Any]]:
    """Return the AuditEvents that root finds, newest first."""
    answer = server.request("GET", f"/AuditEvent{query}", headers=basic(), **options)
    assert answer.status_code == 200, answer.text
    return [entry["resource"] for entry in answer.json.get("entry", [])]


@pytest.fixture
def known(server: Server) -> Server:
    """The server with the documented client, its policy, and one token request that was served."""
    server.put_client(auth=WIDE)
    server.put_policy()
    return server


def test_a_token_is_recorded_with_its_jti_scope_and_request(known: Server, parts: Parts) -> None:
    """Row X25: one record for each token issued; threat IC: the answer's request id leads to it."""
    answer = known.ask_token()

    (said,) = records(parts, "token_issued")
    claims = known.introspect(answer.json["access_token"]).json
    facts = {"jti": claims["jti"], "scope": claims["scope"], "exp": claims["exp"]}
    asked = {"agent": CLIENT_ID, "request_id": answer.headers["X-Request-Id"], "facts": facts, "outcome": 0}
    assert {name: said[name] for name in asked} == asked


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"scope": "system/AuditEvent.rs"}, "nothing_granted"),
        ({"resource": "https://elsewhere.example"}, "resource_not_registered"),
    ],
)
def test_a_refusal_of_a_proven_client_is_recorded_as_its_own(
    known: Server, parts: Parts, form: dict[str, str], reason: str
) -> None:
    """Row X25: one record for each token refused, with the claim of its jti."""
    assert known.ask_token(**form).status_code == 400

    (said,) = records(parts, "token_refused")
    assert (said["agent"], said["outcome"], said["facts"]["reason"]) == (CLIENT_ID, 4, reason)


def test_a_replay_is_recorded_as_a_refusal_and_not_as_a_token(known: Server, parts: Parts) -> None:
    """Threat IC: the record says what became of the claim."""
    form = token_form(make_assertion(now=clock.now()))

    answers = [known.post_form("/auth/token", form).status_code for _ in range(2)]

    said = [
        (one["event"], one["agent"], one["facts"].get("reason")) for one in records(parts) if "token" in one["event"]
    ]
    assert answers == [200, 400]
    assert said == [("token_issued", CLIENT_ID, None), ("token_refused", CLIENT_ID, "jti_replayed")]


def test_a_client_that_was_only_claimed_is_not_the_agent(known: Server, parts: Parts) -> None:
    """Threat IC: one record with the internal reason; what a stranger says of himself is marked as claimed."""
    answer = known.ask_token(key("ES384", "another"))

    (said,) = records(parts, "token_refused")
    assert answer.status_code == 400
    assert (said["agent"], said["facts"]["claimed_client"], said["facts"]["reason"]) == (
        None,
        CLIENT_ID,
        "key_not_found",
    )


def test_every_change_of_the_registry_is_recorded_with_what_it_changed(known: Server, parts: Parts) -> None:
    """Row X25: create, update and delete of Client and AccessPolicy, with before and after."""
    known.put_client(active=False, auth=WIDE, secret="canary-secret for tests", grant_types=["basic"])
    known.request("DELETE", f"/AccessPolicy/{CLIENT_ID}", headers=basic())

    said = [one for one in records(parts) if one["agent"] == "root" and "resource" in one["event"]]
    policy = {"engine": "allow", "link": [{"id": CLIENT_ID, "resourceType": "Client"}]}
    assert [(one["event"], one["entity"]) for one in said] == [
        ("resource_created", f"Client/{CLIENT_ID}"),
        ("resource_created", f"AccessPolicy/{CLIENT_ID}"),
        ("resource_updated", f"Client/{CLIENT_ID}"),
        ("resource_deleted", f"AccessPolicy/{CLIENT_ID}"),
    ]
    assert said[2]["facts"]["changes"] == [
        {"path": "active", "before": True, "after": False},
        {"path": "grant_types", "before": ["client_credentials"], "after": ["basic"]},
        {"path": "secret"},
    ]
    assert said[3]["facts"]["changes"] == [{"path": name, "before": policy[name]} for name in ("engine", "link")]


def test_revocations_are_recorded(known: Server, parts: Parts) -> None:
    """Row X46: of one token by its jti, of all tokens of a client."""
    token = known.token()
    jti = known.introspect(token).json["jti"]

    known.post_form("/auth/revoke", {"token": token}, headers=basic())
    known.request("POST", f"/Client/{CLIENT_ID}/$revoke-tokens", headers=basic())

    said = [(one["event"], one["agent"], one["entity"], one["facts"]) for one in records(parts)[-2:]]
    assert said == [
        ("token_revoked", "root", f"Client/{CLIENT_ID}", {"jti": jti}),
        ("client_tokens_revoked", "root", f"Client/{CLIENT_ID}", {}),
    ]


def test_what_a_policy_or_a_scope_refuses_is_recorded_as_serious(known: Server, parts: Parts) -> None:
    """Threat G01: a client's own token does not open the registry, and the attempt is there to be seen."""
    answer = known.request("PUT", "/Client/other", json={}, headers=bearer(known.token(resource=ISSUER)))

    said = records(parts)[-1]
    expected = ("request_refused", CLIENT_ID, 8, "Client/other")
    assert answer.status_code == 403
    assert (said["event"], said["agent"], said["outcome"], said["entity"]) == expected


def test_a_refused_introspection_is_recorded_and_an_inactive_answer_is_not(known: Server, parts: Parts) -> None:
    """An inactive token is an answer (RFC 7662 section 2.2); wrong credentials are a refusal."""
    inactive = known.introspect("x.y.z")
    refused = known.introspect("x.y.z", headers=basic("root", "wrong"))

    said = [(one["event"], one["facts"]["reason"]) for one in records(parts) if "introspection" in one["event"]]
    assert (inactive.json, refused.status_code) == ({"active": False}, 401)
    assert said == [("introspection_refused", "basic_refused")]


def test_a_flood_of_strangers_is_counted_and_hides_no_proven_client(known: Server, parts: Parts) -> None:
    """Storage does not grow with a flood; a proven client's refusals are all there."""
    with freeze_time():
        for _ in range(UNPROVEN_PER_MINUTE + 3):
            known.ask_token(key("ES384", "another"))
        known.ask_token(scope="system/AuditEvent.rs")

    said = [one["facts"]["reason"] for one in records(parts, "token_refused")]
    assert said == ["key_not_found"] * UNPROVEN_PER_MINUTE + ["nothing_granted"]


@dataclass
class FullDisk:
    """The stores of a database that takes no record any more."""

    stores: Any

    def __getattr__(self, name: str) -> Any:
        return (
            self
            if name in ("audit", "claims", "replay_guard", "resources", "revocations")
            else getattr(self.stores, name)
        )

    def append(self, records: Sequence[AuditRecord]) -> None:
        """Fail."""
        raise StorageUnavailable(detail="disk is full")

    def deliver_by(self, run: Any) -> None:
        """As it comes."""

    def submit(self, *_: Any, done: Callable[[ClaimOutcome], None], **__: Any) -> None:
        """Fail."""
        done(ClaimOutcome(failure=StorageUnavailable(detail="disk is full")))

    def claim(self, *_: Any, **__: Any) -> bool:
        """Fail."""
        raise StorageUnavailable(detail="disk is full")

    def get(self, *named: Any) -> Any:
        """Read as before."""
        return self.stores.resources.get(*named)

    def linked(self, *named: Any) -> Any:
        """Read as before."""
        return self.stores.resources.linked(*named)

    def is_revoked(self, jti: str, *, expires_at: int) -> bool:
        """Read as before."""
        return bool(self.stores.revocations.is_revoked(jti, expires_at=expires_at))


def test_nothing_is_answered_that_cannot_be_recorded(known: Server, parts: Parts, tmp_path: Path) -> None:
    """Threats, fault 15: the sink is full. No token, no refusal, no reading of the audit; each is a 503."""
    full = Server(make_app(make_settings(tmp_path), replace(parts, stores=FullDisk(parts.stores))))

    answers = [
        full.ask_token(),
        full.ask_token(key("ES384", "another")),
        full.introspect("x.y.z", headers=basic("root", "wrong")),
        full.request("PUT", f"/Client/{CLIENT_ID}", json={"active": 1}, headers=basic()),
    ]

    assert [answer.status_code for answer in answers] == [503] * 4
    assert not any("access_token" in answer.text for answer in answers)
    assert known.ask_token().status_code == 200


def test_the_reason_of_such_a_503_is_logged(known: Server, parts: Parts, tmp_path: Path) -> None:
    """docs/errors.md: `audit_unavailable`."""
    full = Server(make_app(make_settings(tmp_path), replace(parts, stores=FullDisk(parts.stores))))

    with structlog.testing.capture_logs() as logged:
        full.introspect("x.y.z", headers=basic("root", "wrong"))

    assert [entry["reason"] for entry in logged if "reason" in entry] == ["audit_unavailable"]


def test_without_the_audit_nothing_is_recorded(known: Server, parts: Parts, tmp_path: Path) -> None:
    """AUTHSERVER_AUDIT: off is off, and the answers are the same."""
    before = len(records(parts))
    silent = Server(make_app(make_settings(tmp_path, audit=False), parts))

    answers = [silent.ask_token(), silent.ask_token(scope="x"), silent.put_client()]
    answers.append(silent.request("DELETE", f"/Client/{CLIENT_ID}", headers=basic()))

    assert [answer.status_code for answer in answers] == [200, 400, 200, 200]
    assert len(records(parts)) == before


def test_an_event_is_shown_as_fhir(known: Server) -> None:
    """IHE BALP: who, what, when, by which request; the token by its jti alone."""
    answer = known.ask_token()
    jti = known.introspect(answer.json["access_token"]).json["jti"]

    (event,) = search(known, "?subtype=ITI-71&outcome=0")
    policies = [agent["policy"] for agent in event["agent"] if "policy" in agent]
    assert (event["type"]["code"], event["subtype"][0]["code"], event["action"]) == ("110114", "ITI-71", "E")
    assert (event["outcome"], event["source"]["observer"]["display"]) == ("0", ISSUER)
    assert event["agent"][0]["who"] == {"identifier": {"value": CLIENT_ID}}
    assert [agent["requestor"] for agent in event["agent"]] == [True, False, False]
    assert policies == [[f"urn:ietf:params:oauth:jti:{jti}"]]
    assert event["entity"][0]["what"]["identifier"]["value"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?outcome=4", ["token_refused"]),
        ("?outcome=0&type=110114", ["token_issued"]),
        ("?subtype=update,create&entity=Client/inferno-my-clinic-bulk-client", ["resource_created"]),
        ("?agent=inferno-my-clinic-bulk-client", ["token_refused", "token_issued"]),
        ("?agent:identifier=inferno-my-clinic-bulk-client&_count=1", ["token_refused"]),
        ("?agent=nobody", []),
        ("?date=lt2000", []),
        ("?subtype=urn:ihe:event-type-code|ITI-71&date=ge2000&_sort=-date", ["token_refused", "token_issued"]),
    ],
)
def test_events_are_found_by_what_they_say(known: Server, query: str, found: list[str]) -> None:
    """Row X25: date, type, subtype, outcome, agent, entity; newest first."""
    known.ask_token()
    known.ask_token(scope="system/AuditEvent.rs")

    shown = [detail_of(event, "event") for event in search(known, query)]

    assert shown == found


def detail_of(event: dict[str, Any], name: str) -> str:
    """Return a detail of the record's own entity."""
    (value,) = [one["valueString"] for one in event["entity"][-1]["detail"] if one["type"] == name]
    return str(value)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?patient=1", 400),
        ("?date=yesterday", 400),
        ("?date=2024-13", 400),
        ("?_count=x", 400),
        ("?_sort=date", 400),
        ("?outcome=5", 400),
        ("?agent=a&agent=b", 400),
        ("?_id=nothing", 400),
    ],
)
def test_a_search_that_cannot_be_meant_is_refused(known: Server, query: str, status: int) -> None:
    """No parameter is ignored: the answer would be about something else."""
    assert known.request("GET", f"/AuditEvent{query}", headers=basic()).status_code == status


def test_pages_follow_each_other_without_a_gap(known: Server) -> None:
    """A cursor is a place in the chain: what comes meanwhile shifts nothing."""
    for _ in range(3):
        known.ask_token()
    asked, seen = "/AuditEvent?subtype=ITI-71&_count=2", []

    while asked:
        bundle = known.request("GET", asked, headers=basic()).json
        seen += [entry["resource"]["id"] for entry in bundle["entry"]]
        known.ask_token()
        links = {link["relation"]: link["url"] for link in bundle["link"]}
        asked = links.get("next", "").removeprefix(ISSUER)

    assert len(seen) == 3
    assert seen == sorted(seen, key=int, reverse=True)


def test_one_event_is_read_by_its_id(known: Server) -> None:
    known.ask_token()
    (event,) = search(known, "?subtype=ITI-71")

    answers = [
        known.request("GET", f"/AuditEvent/{name}", headers=basic()) for name in (event["id"], "9999", "x", "-1")
    ]

    assert [answer.status_code for answer in answers] == [200, 404, 404, 404]
    assert answers[0].json == event


def test_reading_the_audit_is_recorded(known: Server, parts: Parts) -> None:
    """DICOM 110101, Audit Log Used."""
    search(known, "?outcome=4")

    said = records(parts)[-1]
    assert (said["event"], said["agent"], said["facts"]) == ("audit_read", "root", {"query": "outcome=4"})


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/AuditEvent", "/AuditEvent/1"])
def test_nothing_is_written_over_http(known: Server, method: str, path: str) -> None:
    """Row X55: the audit has no door to write by."""
    assert known.request(method, path, json={}, headers=basic()).status_code == 405


def reader(server: Server, client_id: str, scope: list[str], **changes: Any) -> dict[str, str]:
    """Register a client with this scope and a policy; return the headers of its token."""
    server.put_client(client_id, auth=WIDE, scope=scope, **changes)
    server.put_policy(client_id, client_id)
    answer = server.ask_token(client_id=client_id, scope=" ".join(scope), resource=ISSUER)
    assert answer.status_code == 200, answer.text
    return bearer(answer.json["access_token"])


@pytest.mark.parametrize(
    ("scope", "statuses"),
    [
        (["system/AuditEvent.rs"], [200, 200]),
        (["system/AuditEvent.s"], [200, 403]),
        (["system/AuditEvent.r"], [403, 200]),
        (["system/*.read"], [403, 403]),
        (["system/Client.cruds"], [403, 403]),
    ],
)
def test_only_a_scope_that_names_it_opens_the_audit(known: Server, scope: list[str], statuses: list[int]) -> None:
    """The wildcard never covers AuditEvent; a policy must allow it as well."""
    headers = reader(known, "auditor", scope)

    answers = [known.request("GET", path, headers=headers).status_code for path in ("/AuditEvent", "/AuditEvent/1")]

    assert answers == statuses


def test_a_scope_without_a_policy_opens_nothing(known: Server) -> None:
    """Both must allow."""
    headers = reader(known, "auditor", ["system/AuditEvent.rs"])
    allowed = known.request("GET", "/AuditEvent", headers=headers).status_code
    known.request("DELETE", "/AccessPolicy/auditor", headers=basic())

    assert (allowed, known.request("GET", "/AuditEvent", headers=headers).status_code) == (200, 403)


def test_a_caller_of_a_tenant_sees_its_tenants_events_alone(known: Server) -> None:
    """Threat G15: another tenant's record is not there, by search and by id."""
    mine = reader(known, "mine", ["system/AuditEvent.rs"], tenant="a")
    reader(known, "theirs", ["system/AuditEvent.rs"], tenant="b")
    (foreign, *_) = search(known, "?agent=theirs")
    (own, *_) = search(known, "?agent=mine&subtype=ITI-71")

    bundle = known.request("GET", "/AuditEvent", headers=mine).json
    agents = {entry["resource"]["agent"][0]["who"]["identifier"]["value"] for entry in bundle["entry"]}
    statuses = [
        known.request("GET", f"/AuditEvent/{event['id']}", headers=mine).status_code for event in (foreign, own)
    ]
    assert agents == {"mine", "root"}  # root registered it
    assert statuses == [404, 200]
