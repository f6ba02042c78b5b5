"""The commands of an operator and of a client, run against a real server over HTTP."""

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from authserver.cli.demo_server import free_port, key_host
from authserver.cli.private_keys import new_key
from tests.cli.conftest import Invoke
from tests.cli.programs import COMMAND, Running, environment

SCOPE = "system/Patient.rs system/Observation.rs"


def registered(operate: Invoke, client_id: str, *options: str) -> dict[str, Any]:
    """Register a client with a new key and return what the command says."""
    result = operate("client", "new", client_id, "--scope", SCOPE, "--json", *options)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def token_of(operate: Invoke, client_id: str, *options: str) -> str:
    """Return an access token as the command prints it into a pipe."""
    result = operate("token", client_id, "--key", f"{client_id}.pem", *options)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def introspected(operate: Invoke, token: str) -> dict[str, Any]:
    """Return the introspection answer, the token given on stdin."""
    result = operate("introspect", "-", "--json", stdin=f"{token}\n")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


@pytest.mark.parametrize("algorithm", ["ES384", "RS384", "ES256", "RS256"])
def test_new_client_gets_a_token_that_is_active(algorithm: str, operate: Invoke) -> None:
    client_id = f"new-{algorithm}"

    made = registered(operate, client_id, "--alg", algorithm)
    answer = introspected(operate, token_of(operate, client_id, "--alg", algorithm))

    assert stat.S_IMODE(Path(f"{client_id}.pem").stat().st_mode) == 0o600
    assert [key["alg"] for key in made["client"]["jwks"]["keys"]] == [algorithm]
    assert {name: answer[name] for name in ("active", "client_id", "scope")} == {
        "active": True,
        "client_id": client_id,
        "scope": "system/Observation.rs system/Patient.rs",
    }


def test_new_client_is_told_its_next_three_steps_and_they_work(operate: Invoke, running: Running) -> None:
    shown = operate("client", "new", "steps", "--scope", SCOPE).stdout.splitlines()

    ask = f"authserver token steps --key steps.pem --url {running.url}"
    assert shown[1:] == [
        "Next:",
        f"  {ask}",
        f'  curl -H "Authorization: Bearer $({ask})" "{running.url}/fhir/Patient?_count=2"',
        f"  {ask} | authserver introspect - --url {running.url}",
    ]
    token = operate(*ask.split()[1:]).stdout.strip()
    found = running.get("/fhir/Patient?_count=2", headers={"Authorization": f"Bearer {token}"})
    assert (found.status_code, found.json()["type"]) == (200, "searchset")


def test_pipe_from_token_to_introspect_works_between_processes(operate: Invoke, running: Running) -> None:
    registered(operate, "piped")
    variables = environment(AUTHSERVER_ROOT_SECRET=running.generated_secret)

    token = subprocess.run(
        [*COMMAND, "token", "piped", "--key", "-", "--url", running.url],
        input=Path("piped.pem").read_bytes(),
        env=variables,
        capture_output=True,
        timeout=20,
        check=True,
    )
    answer = subprocess.run(
        [*COMMAND, "introspect", "-", "--url", running.url],
        input=token.stdout,
        env=variables,
        capture_output=True,
        timeout=20,
        check=True,
    )

    assert answer.stdout.decode().splitlines()[0] == "active      true"
    assert (token.stderr, answer.stderr) == (b"", b"")


def test_existing_client_is_not_overwritten(operate: Invoke) -> None:
    registered(operate, "twice", "--out", "first.pem")

    again = operate("client", "new", "twice", "--scope", "system/*.rs", "--out", "second.pem")

    assert again.exit_code == 1
    assert again.stderr == ("error: There is a client twice already; `authserver client delete twice` removes it.\n")
    assert not Path("second.pem").exists()


def test_existing_key_file_is_not_overwritten(operate: Invoke) -> None:
    Path("kept.pem").write_text("mine")

    result = operate("client", "new", "kept", "--scope", SCOPE)

    assert (result.exit_code, result.stderr) == (
        1,
        "error: kept.pem exists already: name another file with --out.\n",
    )
    assert Path("kept.pem").read_text() == "mine"
    assert operate("client", "show", "kept").stderr == "error: There is no client kept.\n"


def test_refused_registration_says_every_reason_and_leaves_no_key(operate: Invoke) -> None:
    result = operate("client", "new", "refused", "--scope", "system/Patient.xyz system/Nonsense.rs")

    lines = result.stderr.splitlines()
    assert result.exit_code == 1
    assert lines[:2] == [
        "error: Client.scope[0]: not a SMART scope, for example system/Observation.rs",
        "error: Client.scope[1]: no resource type of FHIR R4 or of this server",
    ]
    assert lines[2].startswith("error: (PUT /Client/refused: 422, request id ")
    assert list(Path.cwd().iterdir()) == []


def test_secret_client_may_introspect_and_nothing_else(operate: Invoke, running: Running) -> None:
    result = operate("client", "new", "gateway", "--basic", "--json")
    made = json.loads(result.stdout)
    registered(operate, "asked-about")
    credentials = ("gateway", made["secret"])

    token = {"token": token_of(operate, "asked-about")}
    with running.remote() as remote:
        answers = [
            remote.send("POST", "/auth/introspect", data=token, auth=credentials),
            remote.send("GET", "/Client", auth=credentials),
        ]

    assert [answer.status_code for answer in answers] == [200, 403]
    assert answers[0].json()["active"] is True
    assert made["client"]["scope"] == ["__introspect"]
    assert "secret" not in made["client"]


def test_every_token_of_a_client_is_revoked_at_once(operate: Invoke) -> None:
    """X46: the next token is good again."""
    registered(operate, "stolen")
    tokens = [token_of(operate, "stolen") for _ in range(2)]

    told = operate("client", "revoke-tokens", "stolen")

    assert (told.exit_code, told.stdout) == (0, "Every access token of stolen is revoked.\n")
    assert [introspected(operate, token)["active"] for token in [*tokens, token_of(operate, "stolen")]] == [
        False,
        False,
        True,
    ]
    assert operate("client", "revoke-tokens", "nobody").stderr == "error: There is no client nobody.\n"


def test_live_tokens_are_listed_and_one_of_them_is_ended(operate: Invoke) -> None:
    """X5: by its jti; the other lives on."""
    registered(operate, "watched")
    tokens = [token_of(operate, "watched") for _ in range(2)]
    jtis = [introspected(operate, token)["jti"] for token in tokens]

    listed = json.loads(operate("client", "tokens", "watched", "--json").stdout)
    newest = json.loads(operate("client", "tokens", "watched", "--count", "1", "--json").stdout)
    told = operate("client", "revoke-token", "watched", jtis[0])
    shown = operate("client", "tokens", "watched").stdout

    assert ([one["jti"] for one in listed["tokens"]], listed["more"]) == (jtis[::-1], False)
    assert ([one["jti"] for one in newest["tokens"]], newest["more"]) == (jtis[1:], True)
    assert (told.exit_code, told.stdout) == (0, "The token is revoked.\n")
    assert [jti in shown for jti in jtis] == [False, True]
    assert [introspected(operate, token)["active"] for token in tokens] == [False, True]
    assert "no such token" in operate("client", "revoke-token", "watched", "1.never").stderr


def test_the_fetched_keys_of_a_client_are_flushed(operate: Invoke) -> None:
    """C11; inline keys were never fetched."""
    with key_host(new_key("ES384").public_jwk) as address:
        operate("client", "add", "published", "--jwks-uri", address, "--scope", SCOPE)
    registered(operate, "inline")

    told = operate("client", "flush-keys", "published")
    refused = operate("client", "flush-keys", "inline")

    assert (told.exit_code, told.stdout) == (0, "The keys of published are fetched anew at its next request.\n")
    assert (refused.exit_code, "registered no jwks_uri" in refused.stderr) == (1, True)


def test_client_added_by_address_shows_the_keys_found_there(operate: Invoke) -> None:
    pair = new_key("ES384")
    with key_host(pair.public_jwk) as address:
        result = operate("client", "add", "hosted", "--jwks-uri", address, "--scope", SCOPE)
        Path("hosted.pem").write_text(pair.pem)
        token = token_of(operate, "hosted")

    assert result.stdout.splitlines() == [
        f"hosted is registered. Keys at {address}:",
        f"  {pair.kid}  EC",
    ]
    assert introspected(operate, token)["client_id"] == "hosted"


def test_client_added_by_an_address_without_keys_is_a_warning(operate: Invoke) -> None:
    address = f"http://127.0.0.1:{free_port()}/jwks.json"

    result = operate("client", "add", "unhosted", "--jwks-uri", address, "--scope", SCOPE)

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "unhosted is registered.",
        f"warning: {address} does not answer from here (ConnectionError).",
    ]


def test_list_is_plain_columns_in_a_pipe(operate: Invoke) -> None:
    registered(operate, "listed")

    lines = operate("client", "list").stdout.splitlines()

    assert lines[0] == "ID\tACTIVE\tPROOF\tSCOPE"
    assert f"listed\tyes\t1 inline key\t{SCOPE}" in lines
    assert "root\tyes\tsecret\t" in lines


def test_show_names_the_linked_policies(operate: Invoke) -> None:
    made = registered(operate, "shown")

    plain, whole = operate("client", "show", "shown"), operate("client", "show", "shown", "--json")

    assert plain.stdout.splitlines()[-1] == "policies: shown (allow)"
    document = json.loads(whole.stdout)
    assert document["client"] == made["client"]
    assert [policy["id"] for policy in document["policies"]] == ["shown"]


def test_disabled_client_and_its_tokens_are_refused_until_it_is_enabled(operate: Invoke) -> None:
    registered(operate, "switched")
    token = token_of(operate, "switched")

    disabled = operate("client", "disable", "switched")
    refused, inactive = operate("token", "switched", "--key", "switched.pem"), introspected(operate, token)
    enabled = operate("client", "enable", "switched")
    active = introspected(operate, token)["active"]

    assert (disabled.stdout, enabled.stdout) == ("switched is disabled.\n", "switched is enabled.\n")
    assert refused.exit_code == 1
    assert refused.stderr.splitlines()[0] == "error: invalid_client: Client authentication failed."
    assert (inactive, active) == ({"active": False}, True)


def test_delete_asks_first_and_takes_the_clients_own_policies(operate: Invoke, running: Running) -> None:
    registered(operate, "deleted")
    asked = operate("client", "delete", "deleted", stdin="n\n")
    kept = operate("client", "show", "deleted").exit_code

    gone = operate("client", "delete", "deleted", "--yes")

    assert (asked.exit_code, kept) == (1, 0)
    assert "Delete the client deleted and 1 of its policies?" in asked.stderr
    assert (gone.exit_code, gone.stdout) == (0, "deleted is deleted.\n")
    with running.remote() as remote:
        assert (remote.find("Client", "deleted"), remote.find("AccessPolicy", "deleted")) == (None, None)


def test_narrower_scope_and_json_answer(operate: Invoke) -> None:
    registered(operate, "narrow")

    result = operate("token", "narrow", "--key", "narrow.pem", "--scope", "system/Patient.r", "--json")

    answer = json.loads(result.stdout)
    assert (answer["token_type"], answer["scope"], answer["expires_in"]) == ("Bearer", "system/Patient.r", 300)


def test_wrong_secret_is_said_in_the_servers_words(invoke: Invoke, running: Running) -> None:
    result = invoke("client", "list", "--url", running.url, AUTHSERVER_ROOT_SECRET="not the secret of root")

    lines = result.stderr.splitlines()
    assert (result.exit_code, result.stdout, len(lines)) == (1, "", 2)
    assert lines[1].startswith("error: (GET /Client: 401, request id ")


def test_server_that_does_not_answer_is_exit_code_3(invoke: Invoke) -> None:
    url = f"http://127.0.0.1:{free_port()}"

    result = invoke("client", "list", "--url", url, AUTHSERVER_ROOT_SECRET="whatever it is")

    assert (result.exit_code, result.stderr) == (3, f"error: {url}/Client does not answer (ConnectionError).\n")


def test_missing_secret_names_where_it_could_come_from(invoke: Invoke, running: Running) -> None:
    result = invoke("client", "list", "--url", running.url)

    assert (result.exit_code, result.stderr) == (
        1,
        "error: There is no instance/root-secret: set AUTHSERVER_ROOT_SECRET, or name a file with --secret-file.\n",
    )


def test_secret_file_proves_the_operator(invoke: Invoke, running: Running) -> None:
    file = running.folder / "instance" / "root-secret"

    result = invoke("client", "show", "root", "--url", running.url, "--secret-file", str(file))

    assert result.exit_code == 0, result.output


def test_file_that_is_no_key_is_refused(operate: Invoke) -> None:
    Path("no.pem").write_text("hello")

    result = operate("token", "narrow", "--key", "no.pem")

    assert (result.exit_code, result.stderr) == (
        1,
        "error: no.pem is no private key: it must be an unencrypted PEM file or a JWK.\n",
    )


@pytest.mark.usefixtures("own_signals")
def test_demo_against_a_running_server_cleans_up(operate: Invoke, running: Running) -> None:
    result = operate("demo", "--url", running.url, "--json")

    steps = json.loads(result.stdout)
    with running.remote() as remote:
        left = [client["id"] for client in remote.search("Client") if client["id"].startswith("demo-")]
    assert (result.exit_code, [step["held"] for step in steps], left) == (0, [True] * 15, [])


@pytest.mark.usefixtures("own_signals")
def test_demo_uses_the_server_that_runs_already(operate: Invoke, running: Running) -> None:
    """Its settings name the running server, and the operator's secret is at hand; no second server is started."""
    result = operate("demo")

    first = result.stdout.splitlines()[0]
    assert (result.exit_code, first.startswith(f"The server is {running.url};")) == (0, True)


@pytest.mark.usefixtures("own_signals")
def test_demo_says_what_did_not_hold(invoke: Invoke, running: Running) -> None:
    """The positive control of the demo itself: an operator that is none makes it fail."""
    result = invoke("demo", "--url", running.url, AUTHSERVER_ROOT_SECRET="not the secret of root")

    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert "    ✗ expected 201, the Client" in lines
    assert lines[-1] == "2 of 15 steps held."
