"""`authserver apply` and `authserver export`, against a real server over HTTP."""

import json
from pathlib import Path
from typing import Any

import pytest

from authserver.protocol import strict_yaml
from tests.cli.conftest import Invoke
from tests.cli.programs import Running

SECRET = "a secret of eight or more"
"""No canary (tests/canaries.py): these tests write it into the operator's own files, which are applied."""


def write(folder: str, **resources: Any) -> None:
    """Write files below the folder, a resource each."""
    Path(folder).mkdir(exist_ok=True)
    for name, resource in resources.items():
        Path(folder, f"{name}.yaml").write_text(strict_yaml.dumps(resource))


def client(client_id: str, **changes: Any) -> dict[str, Any]:
    """Return a client that proves itself by a secret."""
    return {"resourceType": "Client", "id": client_id, "grant_types": ["basic"], **changes}


def policy(client_id: str, **changes: Any) -> dict[str, Any]:
    """Return the policy that allows the client everything."""
    link = [{"reference": f"Client/{client_id}"}]
    return {"resourceType": "AccessPolicy", "id": client_id, "engine": "allow", "link": link, **changes}


def actions(operate: Invoke, *options: str) -> dict[str, str]:
    """Return what would be done about each resource."""
    result = operate("apply", "-f", "wanted", "--dry-run", "--json", *options)
    assert result.exit_code == 0, result.output
    return {step["resource"]: step["action"] for step in json.loads(result.stdout)}


def test_files_are_applied_and_then_nothing_is_left_to_do(operate: Invoke, running: Running) -> None:
    """The policy's file comes first by name, the client is stored first."""
    write("wanted", a_policy=policy("apply-1"), b_client=client("apply-1", secret=SECRET))

    first = operate("apply", "-f", "wanted", "--yes")
    again = operate("apply", "-f", "wanted", "--yes")

    assert (first.exit_code, again.exit_code) == (0, 0), first.output
    assert first.stdout.splitlines()[0] == "create Client/apply-1 (with its secret)"
    assert again.stdout == "0 to change, 2 as they are\n"
    assert running.get("/Client", auth=("apply-1", SECRET)).status_code == 200


def test_a_dry_run_shows_the_difference_and_changes_nothing(operate: Invoke, running: Running) -> None:
    write("wanted", client=client("apply-2", name="old", secret=SECRET))
    operate("apply", "-f", "wanted", "--yes")
    before = running.remote().find("Client", "apply-2")
    write("wanted", client=client("apply-2", name="new", secret=SECRET + "2"), other=policy("apply-2"))

    shown = operate("apply", "-f", "wanted", "--dry-run")

    assert shown.stdout.splitlines() == [
        "change Client/apply-2 (with its secret)",
        "   grant_types:",
        "     - basic",
        "  -name: old",
        "  +name: new",
        "create AccessPolicy/apply-2",
        "  +engine: allow",
        "  +link:",
        "  +  - reference: Client/apply-2",
        "2 to change, 0 as they are",
    ]
    assert SECRET not in shown.output
    assert running.remote().find("Client", "apply-2") == before


def test_nothing_is_applied_unless_said_so(operate: Invoke, running: Running) -> None:
    write("wanted", client=client("apply-3"))

    refused = operate("apply", "-f", "wanted", stdin="n\n")
    kept = running.remote().find("Client", "apply-3")
    agreed = operate("apply", "-f", "wanted", stdin="y\n")

    assert (refused.exit_code, kept, agreed.exit_code) == (1, None, 0)
    assert running.remote().find("Client", "apply-3") is not None


def test_a_secret_is_sent_with_another_change_or_on_request(operate: Invoke, running: Running) -> None:
    """The server never shows one, so it cannot be compared."""
    write("wanted", client=client("apply-4", secret=SECRET), policy=policy("apply-4"))
    operate("apply", "-f", "wanted", "--yes")
    write("wanted", client=client("apply-4", secret=SECRET + "2"))

    alone, requested = actions(operate), actions(operate, "--with-secrets")
    operate("apply", "-f", "wanted", "--yes", "--with-secrets")

    assert (alone["Client/apply-4"], requested["Client/apply-4"]) == ("keep", "change")
    assert running.get("/Client", auth=("apply-4", SECRET + "2")).status_code == 200


def test_a_policy_follows_a_client_that_is_made_anew(operate: Invoke, running: Running) -> None:
    """Row X50: its former links belong to the client's former life."""
    write("wanted", client=client("apply-5", secret=SECRET), policy=policy("apply-5"))
    operate("apply", "-f", "wanted", "--yes")
    running.remote().delete("Client", "apply-5")

    planned = actions(operate)
    operate("apply", "-f", "wanted", "--yes")

    assert planned == {"Client/apply-5": "create", "AccessPolicy/apply-5": "relink"}
    assert running.get("/Client", auth=("apply-5", SECRET)).status_code == 200


def test_the_environment_fills_in_what_no_file_should_hold(operate: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    write("wanted", client=client("apply-6", secret="${APPLY_SECRET}"))

    missing = operate("apply", "-f", "wanted", "--yes")
    monkeypatch.setenv("APPLY_SECRET", SECRET)
    given = operate("apply", "-f", "wanted/client.yaml", "--yes")

    assert (missing.exit_code, given.exit_code) == (1, 0)
    assert missing.stderr == "error: wanted/client.yaml: secret: the variable APPLY_SECRET is not set\n"
    assert SECRET not in given.output


def test_every_finding_of_every_file_is_listed_before_anything_is_done(operate: Invoke) -> None:
    write("wanted", a={"resourceType": "Patient", "id": "x"}, b=client("apply-7"), c=client("apply-7"))
    Path("wanted/d.json").write_text("{")

    result = operate("apply", "-f", "wanted", "--yes")

    assert (result.exit_code, result.stderr.splitlines()) == (
        1,
        [
            "error: wanted/a.yaml: must be a resource with the resourceType Client or AccessPolicy",
            "error: wanted/d.json: not well-formed JSON in UTF-8",
            "error: Client/apply-7 is there twice",
        ],
    )


def test_a_folder_without_files_is_no_wish(operate: Invoke) -> None:
    Path("wanted").mkdir()

    result = operate("apply", "-f", "wanted", "--yes")

    assert (result.exit_code, "holds no file" in result.stderr) == (1, True)


def test_a_refusal_is_said_in_the_servers_words(operate: Invoke) -> None:
    write("wanted", client=client("apply-8", grant_types=["password"]))

    result = operate("apply", "-f", "wanted", "--yes")

    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == "error: Client.grant_types[0]: this server has no such grant"


def test_what_is_exported_is_what_the_server_has(operate: Invoke, running: Running) -> None:
    """As files and as one Bundle; both are taken by apply, and change nothing. No secret, no hash."""
    write("made", a=client("apply-9", secret=SECRET, details={"text": "$${NOT_A_VARIABLE}"}), b=policy("apply-9"))
    operate("apply", "-f", "made", "--yes")
    stored = running.remote().find("Client", "apply-9")

    exported = operate("export", "wanted")
    bundle = operate("export")
    Path("bundle.yaml").write_text(bundle.stdout)
    from_bundle = operate("apply", "-f", "bundle.yaml", "--dry-run")

    assert (exported.exit_code, bundle.exit_code) == (0, 0), exported.output
    text = Path("wanted/Client/apply-9.yaml").read_text()
    assert strict_yaml.loads(text.encode())["details"] == {"text": "$${NOT_A_VARIABLE}"}
    assert stored is not None
    assert stored["details"] == {"text": "${NOT_A_VARIABLE}"}
    assert set(actions(operate).values()) == {"keep"}
    assert from_bundle.stdout.startswith("0 to change")
    assert SECRET not in text + bundle.stdout
    assert "argon2" not in text + bundle.stdout


def test_an_export_has_more_than_one_page(operate: Invoke, running: Running) -> None:
    """The command line follows the links of a search."""
    for number in range(101):
        running.remote().create("AccessPolicy", body={**policy("root"), "id": f"page-{number:03}"})

    bundle = strict_yaml.loads(operate("export").stdout.encode(), max_bytes=10**6)

    ids = [entry["resource"]["id"] for entry in bundle["entry"]]
    assert len([one for one in ids if one.startswith("page-")]) == 101
