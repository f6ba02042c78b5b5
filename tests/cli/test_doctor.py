"""`authserver doctor` and `authserver explain`, against a real server over HTTP. Rows X47, X48."""

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests

from authserver.cli import private_keys
from authserver.cli.demo_server import free_port
from authserver.clock import now
from tests.cli.conftest import Invoke
from tests.cli.programs import Running
from tests.cli.test_client_commands import registered, token_of


def outcomes(result: Any) -> dict[str, str]:
    """Return the outcome of each check of a --json answer, the code of one that failed."""
    checks = json.loads(result.stdout)["checks"]
    return {check["check"]: check.get("code", check["outcome"]) for check in checks}


def assertion(running: Running, client_id: str, **changes: Any) -> str:
    """Return an assertion signed by the key that `client new` wrote."""
    pair = private_keys.read_key(Path(f"{client_id}.pem").read_bytes(), name="key")
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": f"{running.url}/auth/token",
        "jti": "explained",
        "iat": now(),
        "exp": now() + 200,
        **changes,
    }
    return jwt.encode(claims, pair.private, algorithm=pair.algorithm, headers={"kid": pair.kid})


def test_the_doctor_finds_a_good_client_well(operate: Invoke) -> None:
    registered(operate, "healthy")

    result = operate("doctor", "healthy", "--key", "healthy.pem", "--json")

    assert result.exit_code == 0, result.output
    assert set(outcomes(result).values()) == {"passed"}
    assert {"signature", "jti_unused", "policy", "clock"} <= set(outcomes(result))


def test_the_doctor_needs_no_key_to_look_at_the_registration(operate: Invoke) -> None:
    registered(operate, "looked-at")

    result = operate("doctor", "looked-at")

    assert result.exit_code == 0, result.output
    assert [line.split()[:2] for line in result.stdout.splitlines()[:3]] == [
        ["ok", "client"],
        ["ok", "registration"],
        ["ok", "keys"],
    ]


def test_the_doctor_says_what_is_wrong_and_how_to_mend_it(operate: Invoke) -> None:
    registered(operate, "switched-off")
    operate("client", "disable", "switched-off")

    result = operate("doctor", "switched-off", "--key", "switched-off.pem")

    assert result.exit_code == 1
    assert "FAILED registration" in result.stdout
    assert "client_inactive" in result.stdout
    assert "to mend it: Set active to true" in result.stdout


def test_the_doctor_knows_no_such_client(operate: Invoke) -> None:
    result = operate("doctor", "nobody", "--json")

    assert (result.exit_code, outcomes(result)["client"], outcomes(result)["policy"]) == (
        1,
        "client_unknown",
        "policy_denied",
    )


def test_the_doctor_reads_an_assertion_from_stdin(operate: Invoke, running: Running) -> None:
    registered(operate, "by-stdin")

    result = operate("doctor", "by-stdin", "--assertion", "-", "--json", stdin=assertion(running, "by-stdin", exp=1))

    assert (result.exit_code, outcomes(result)["exp"]) == (1, "exp_past")


def test_one_proof_is_enough(operate: Invoke) -> None:
    registered(operate, "two-proofs")

    result = operate("doctor", "two-proofs", "--key", "two-proofs.pem", "--assertion", "-")

    assert result.exit_code == 2


def test_a_good_assertion_is_explained_without_being_used_up(operate: Invoke, running: Running) -> None:
    """Row X47."""
    registered(operate, "explained")
    sent = assertion(running, "explained")

    results = [operate("explain", "-", "--json", stdin=sent) for _ in range(2)]

    told = json.loads(results[1].stdout)
    assert [result.exit_code for result in results] == [0, 0]
    assert (told["kind"], told["jti"], told["claims"]["sub"], told["accepted"]) == (
        "assertion",
        "unused",
        "explained",
        True,
    )


def test_a_stranger_to_the_server_is_told_what_the_assertion_shows(invoke: Invoke, running: Running) -> None:
    pair = private_keys.new_key("ES384")
    sent = private_keys.make_assertion(pair, client_id="nobody", audience="https://other.example", now=now())

    result = invoke("explain", sent, "--json", AUTHSERVER_ISSUER=running.url, AUTHSERVER_DEV="true")

    assert result.exit_code == 1
    assert outcomes(result)["aud"] == "aud_mismatch"
    assert "client" not in outcomes(result)


def test_an_access_token_is_introspected(operate: Invoke) -> None:
    registered(operate, "with-token")
    token = token_of(operate, "with-token")

    result = operate("explain", token, "--json")

    told = json.loads(result.stdout)
    assert (result.exit_code, told["kind"], told["introspection"]["active"]) == (0, "access token", True)


def test_a_request_id_is_resolved(operate: Invoke, running: Running) -> None:
    """Row X48: from the refusal's header to the reason."""
    refused = requests.post(f"{running.url}/auth/token", data={"grant_type": "client_credentials"}, timeout=5)

    result = operate("explain", refused.headers["X-Request-Id"])

    assert result.exit_code == 0, result.output
    assert "reason: assertion_type" in result.stdout
    assert "hint: Send client_assertion_type=" in result.stdout


def test_an_unknown_request_id_is_refused(operate: Invoke) -> None:
    result = operate("explain", "0123456789abcdef")

    assert (result.exit_code, "404" in result.stderr) == (1, True)


@pytest.mark.parametrize("thing", ["", "no-token", "a.b"])
def test_what_is_neither_is_said_to_be_neither(operate: Invoke, thing: str) -> None:
    result = operate("explain", thing or "-", stdin="")

    assert (result.exit_code, result.stderr[:21]) == (1, "error: That is no JWT")


def test_without_a_server_a_token_is_decoded_here(invoke: Invoke) -> None:
    pair = private_keys.new_key("ES384")
    sent = private_keys.make_assertion(pair, client_id="nobody", audience="https://other.example", now=now())

    nowhere = f"http://127.0.0.1:{free_port()}"
    result = invoke("explain", sent, "--url", nowhere, AUTHSERVER_DEV="true", AUTHSERVER_ROOT_SECRET="x" * 32)

    assert result.exit_code == 1
    assert "claims.aud: https://other.example" in result.stdout
    assert f"not asked: {nowhere}/auth/assertion/$diagnose does not answer" in result.stdout
