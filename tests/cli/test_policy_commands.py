"""`authserver policy` against a real server over HTTP. Rows X21, X22, X23, X52."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from authserver.cli.remote import Remote, is_only_of
from tests.cli.conftest import Invoke
from tests.cli.programs import Running
from tests.cli.test_client_commands import registered, token_of

LINK = [{"reference": "Client/policy-clinic"}]
READS = {
    "engine": "matcho",
    "matcho": {"request-method": "get", "params": {"resource/type": "Patient"}},
    "link": LINK,
}


@pytest.fixture(autouse=True)
def clinic(running: Running) -> Remote:
    """A registered client, once for all."""
    with running.remote() as remote:
        remote.put("Client", "policy-clinic", body={"grant_types": ["basic"], "secret": "of no use to anybody else"})
        remote.put("AccessPolicy", "of-clinic", body=READS)
        return remote


def written(name: str, document: object) -> str:
    """Write the document to a file of the current folder and return its name."""
    Path(name).write_text(json.dumps(document), "utf-8")
    return name


def tried(operate: Invoke, *arguments: str, policy: Any = READS, stdin: str | None = None) -> tuple[int, list[str]]:
    """Try the policy as the clinic's; return exit code and lines."""
    result = operate(
        "policy", "test", written("policy.json", policy), *arguments, "--client", "policy-clinic", stdin=stdin
    )
    return result.exit_code, result.stdout.splitlines()


def test_a_policy_that_allows_is_said_to_and_the_exit_code_is_0(operate: Invoke) -> None:
    """Row X22."""
    code, lines = tried(operate, "get", "/fhir/Patient/1?_format=json")

    assert (code, lines) == (0, ["allowed (engine matcho)"])


def test_a_policy_that_does_not_allow_tells_what_did_not_fit(operate: Invoke) -> None:
    """Row X22."""
    code, lines = tried(operate, "delete", "/fhir/Patient/1")

    assert (code, lines) == (
        1,
        ["not allowed (engine matcho)", '  request-method: expected "get", but "delete"'],
    )


def test_parts_of_a_combination_are_told_one_by_one(operate: Invoke) -> None:
    """Row X22, engine complex; the warnings follow."""
    both = {
        "engine": "complex",
        "and": [{"engine": "allow"}, {name: READS[name] for name in ("engine", "matcho")}],
        "link": LINK,
    }

    code, lines = tried(operate, "get", "/fhir/Device/1", policy=both)

    assert (code, lines) == (
        1,
        [
            "not allowed (engine complex)",
            "  allow allows",
            "  matcho does not allow",
            '    params.resource/type: expected "Patient", but "Device"',
            "warning: AccessPolicy.and[0]: allow is always true, so this part has no effect",
        ],
    )


def test_a_policy_of_another_client_is_not_asked(operate: Invoke) -> None:
    """Row X19: a policy that would allow, were it linked."""
    code, lines = tried(operate, "get", "/fhir/Patient/1", policy=READS | {"link": [{"reference": "Client/other"}]})

    assert (code, lines) == (
        1,
        ["not allowed (engine matcho)", "not asked: its links name neither this client nor this operation"],
    )


def test_a_registered_policy_is_tried_by_its_name(operate: Invoke) -> None:
    """Row X22."""
    results = [
        operate("policy", "test", f"AccessPolicy/{name}", "get", "/fhir/Patient/1", "--client", "policy-clinic")
        for name in ("of-clinic", "of-nobody")
    ]

    assert [result.exit_code for result in results] == [0, 1]
    assert results[1].stderr == "error: There is no AccessPolicy/of-nobody.\n"


def test_headers_body_claims_and_address_are_part_of_the_request(operate: Invoke) -> None:
    """Row X22: each of them decides."""
    wanted = {
        "headers": {"x-purpose": "research"},
        "body": {"active": True},
        "jwt": {"tenant": "north"},
        "remote-addr": "192.0.2.1",
    }
    written("body.json", {"active": True})
    options = ["--header", "X-Purpose: research", "--body", "body.json", "--jwt", "-", "--remote-addr", "192.0.2.1"]

    code, _ = tried(
        operate,
        "put",
        "/fhir/Patient/1",
        *options,
        policy={"engine": "matcho", "matcho": wanted},
        stdin='{"tenant": "north"}',
    )
    without, lines = tried(operate, "put", "/fhir/Patient/1", policy={"engine": "matcho", "matcho": wanted})

    assert (code, without, len([line for line in lines if "expected" in line])) == (0, 1, 4)


def test_the_servers_words_about_a_faulty_policy_are_shown(operate: Invoke) -> None:
    """Row X16: with the exact place."""
    result = operate(
        "policy",
        "test",
        "-",
        "get",
        "/x",
        "--client",
        "policy-clinic",
        stdin='{"engine": "matcho", "matcho": {"uri": "#("}}',
    )

    assert result.exit_code == 1
    assert result.stderr.startswith("error: AccessPolicy.matcho.uri: ")


def test_the_answer_is_shown_as_json(operate: Invoke) -> None:
    """Row X22: `{request, operation, policy, result}`."""
    _, lines = tried(operate, "get", "/fhir/Patient/1", "--json")

    told = json.loads(lines[0])

    assert (sorted(told), told["operation"], told["result"]["eval-result"]) == (
        ["operation", "policy", "request", "result"],
        {"id": "FhirRead"},
        True,
    )


@pytest.mark.parametrize(("header", "code"), [("X-Purpose research", 2), ("X-Purpose: research", 0)])
def test_a_header_needs_a_colon(header: str, code: int, operate: Invoke) -> None:
    """Wrong usage is said before anything is asked."""
    assert tried(operate, "get", "/fhir/Patient/1", "--header", header)[0] == code


@pytest.mark.parametrize(
    ("resource", "code", "said"),
    [
        ({"site": 7, "name": "Ab"}, 0, "it fits\n"),
        ({"site": 8, "name": "Ab"}, 1, 'site: expected ".id", but 8\n'),
        ({"site": 7}, 1, 'name: expected "#^A", but null\n'),
    ],
)
def test_a_pattern_is_matched_with_a_resource(resource: object, code: int, said: str, operate: Invoke) -> None:
    """Row X21."""
    files = [written("pattern.json", {"name": "#^A", "site": ".id"}), written("resource.json", resource)]

    result = operate("policy", "match", *files, "--context", written("context.json", {"id": 7}))

    assert (result.exit_code, result.stdout) == (code, said)


def test_what_is_no_json_is_named(operate: Invoke) -> None:
    """A file with a member twice has two readings."""
    result = operate("policy", "match", "-", written("resource.json", {}), stdin='{"a": 1, "a": 2}')

    assert result.exit_code == 1
    assert result.stderr.startswith("error: -: no acceptable JSON: ")


def refused_read(operate: Invoke, running: Running, client_id: str) -> str:
    """Let a client without a policy read from the FHIR layer; return the id that its refusal carries."""
    registered(operate, client_id)
    with running.remote() as remote:
        for policy in remote.search("AccessPolicy"):
            if is_only_of(policy, client_id):
                remote.delete("AccessPolicy", policy["id"])
    token = token_of(operate, client_id)
    answer = running.get("/fhir/Patient/Mustermann", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 403, answer.text
    return answer.headers["X-Decision-Id"]


def test_a_refusal_by_the_fhir_layer_is_explained_by_the_id_that_it_carries(operate: Invoke, running: Running) -> None:
    """Row X23: through real processes; nothing of the request's values."""
    decision = refused_read(operate, running, "policy-refused")

    results = [operate("policy", "explain", decision), operate("policy", "explain", "0" * 16)]

    assert [result.exit_code for result in results] == [0, 1]
    assert results[0].stdout.splitlines() == [
        "policy-refused: GET /fhir/Patient/{id} (FhirRead) was refused",
        "  no policy was a candidate",
    ]
    assert "Mustermann" not in operate("policy", "explain", decision, "--json").stdout


def test_what_a_policy_in_the_shadow_would_allow_is_told(operate: Invoke, running: Running) -> None:
    """Row X52: records are written beside the requests, so they are there shortly after."""
    refused_read(operate, running, "policy-shadowed")
    with running.remote() as remote:
        remote.put(
            "AccessPolicy", "shadow", body=READS | {"link": [{"reference": "Client/policy-shadowed"}], "mode": "shadow"}
        )
    token = token_of(operate, "policy-shadowed")
    decision = running.get("/fhir/Patient/1", headers={"Authorization": f"Bearer {token}"}).headers["X-Decision-Id"]
    explained = operate("policy", "explain", decision).stdout.splitlines()

    deadline, foreseen = time.monotonic() + 10, [""]
    while len(foreseen) < 3 and time.monotonic() < deadline:
        foreseen = operate("policy", "impact", "shadow").stdout.splitlines()

    assert explained[1] == "  shadow version 1 (shadow): allows"
    assert (foreseen[0].split(" of ")[0], foreseen[0].split(" ")[-3:]) == (
        "if shadow was enforced: 1",
        ["would", "be", "allowed"],
    )
    assert foreseen[1:] == ["  policy-shadowed FhirRead: 1", "judged by this version: 1, by others: 0"]


def test_what_the_only_policy_of_a_client_allows_would_be_refused_without_it(operate: Invoke, running: Running) -> None:
    """Row X52, removal; and what did not fit stands without what was there."""
    registered(operate, "policy-enforced")
    token = token_of(operate, "policy-enforced")
    headers = {"Authorization": f"Bearer {token}"}
    with running.remote() as remote:
        (policy,) = (one for one in remote.search("AccessPolicy") if is_only_of(one, "policy-enforced"))
        remote.put("AccessPolicy", policy["id"], body=READS | {"link": policy["link"]})
    allowed = running.get("/fhir/Patient?_count=1", headers=headers)
    refused = running.get("/fhir/Observation?_count=1", headers=headers)

    explained = operate("policy", "explain", refused.headers["X-Decision-Id"]).stdout.splitlines()
    deadline, foreseen = time.monotonic() + 10, [""]
    while len(foreseen) < 3 and time.monotonic() < deadline:
        foreseen = operate("policy", "impact", policy["id"]).stdout.splitlines()

    assert (allowed.status_code, refused.status_code) == (200, 403)
    assert explained == [
        "policy-enforced: GET /fhir/Observation (FhirSearch) was refused",
        f"  {policy['id']} version 2: does not allow",
        '    params.resource/type: expected "Patient"',
    ]
    assert foreseen[1:] == ["  policy-enforced FhirSearch: 1", "judged by this version: 2, by others: 0"]
