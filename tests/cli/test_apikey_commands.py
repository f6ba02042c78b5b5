"""`authserver apikey` against a real server over HTTP. Row X31."""

import json
from typing import Any

from tests.cli.conftest import Invoke
from tests.cli.programs import Running


def created(operate: Invoke, client_id: str, *options: str) -> dict[str, Any]:
    """Register a client, make a key for it, and return what the command says."""
    operate("client", "new", client_id, "--scope", "system/Patient.rs", "--json")
    result = operate("apikey", "create", client_id, "--scope", "system/Patient.rs", "--json", *options)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def is_active(operate: Invoke, text: str) -> bool:
    """Say what introspection says of the key."""
    result = operate("introspect", "-", "--json", stdin=f"{text}\n")
    return bool(json.loads(result.stdout)["active"])


def test_a_key_is_made_for_a_pipe(operate: Invoke, running: Running) -> None:
    """stdout has the key and nothing else; it opens the FHIR API, as x-api-key and as Bearer."""
    operate("client", "new", "keyed", "--scope", "system/Patient.rs")
    result = operate("apikey", "create", "keyed", "--scope", "system/Patient.rs", "--name", "nightly", "--days", "2")
    text = result.stdout.strip()

    answers = [
        running.get("/fhir/Patient?_count=2", headers=headers).status_code
        for headers in ({"x-api-key": text}, {"Authorization": f"Bearer {text}"}, {"x-api-key": text[:-1]}, {})
    ]

    assert text.startswith("clk_live_")
    assert "it is not shown again" in result.stderr
    assert answers == [200, 200, 401, 401]


def test_keys_are_listed_rotated_and_revoked(operate: Invoke) -> None:
    made = created(operate, "lifecycle", "--name", "nightly")
    rotated = json.loads(operate("apikey", "rotate", made["id"], "--json").stdout)
    after_rotation = [is_active(operate, made["key"]), is_active(operate, rotated["key"])]

    ended = operate("apikey", "revoke", made["id"])
    listed = json.loads(operate("apikey", "list", "--client", "lifecycle", "--json").stdout)

    assert after_rotation == [False, True]
    assert (ended.stdout, is_active(operate, rotated["key"])) == (f"{made['id']} is revoked.\n", False)
    assert [(one["id"], one["status"], one["name"]) for one in listed] == [(made["id"], "revoked", "nightly")]


def test_the_list_has_plain_columns_in_a_pipe(operate: Invoke) -> None:
    made = created(operate, "columns")

    lines = operate("apikey", "list", "--client", "columns").stdout.splitlines()

    assert lines[0] == "ID\tCLIENT\tENVIRONMENT\tSTATUS\tEXPIRES\tLASTUSED\tNAME\tSCOPE"
    assert lines[1].split("\t")[:4] == [made["id"], "columns", "live", "active"]


def test_a_refusal_is_told_in_the_servers_words(operate: Invoke) -> None:
    operate("client", "new", "narrow", "--scope", "system/Patient.rs")

    result = operate("apikey", "create", "narrow", "--scope", "system/Patient.rs system/Device.rs")

    assert result.exit_code == 1
    assert "ApiKey.scope[1]: goes beyond the scopes that the client registered" in result.stderr
