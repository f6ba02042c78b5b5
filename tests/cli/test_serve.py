"""`authserver serve` as real processes: start, answer, refuse to start, stop."""

import signal
import stat
from pathlib import Path

import pytest
import requests

from authserver.adapters.key_files import open_signer
from authserver.cli import private_keys
from authserver.cli.demo_server import free_port
from authserver.cli.registering import with_key, with_secret
from authserver.cli.remote import Remote
from authserver.clock import now
from tests.cli.programs import LOOPBACK, Running, run, serving

ROOT_SECRET = "correct horse battery staple"


def test_server_answers_and_tells_what_to_do_next(running: Running) -> None:
    answer = running.get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert running.said.splitlines() == [
        "DEVELOPMENT MODE: plain http and loopback key addresses are allowed. No real patients here.",
        "",
        "authserver is ready (both)",
        "",
        f"  server      {running.url}",
        f"  FHIR base   {running.url}/fhir",
        f"  root        secret in {running.folder / 'instance' / 'root-secret'}",
        "  try         authserver client new my-clinic --scope 'system/Patient.rs system/Observation.rs'",
        "",
        "Ctrl-C stops it.",
    ]


def test_both_parts_are_behind_one_port(running: Running) -> None:
    documents = [
        running.get("/.well-known/smart-configuration").json(),
        running.get("/fhir/.well-known/smart-configuration").json(),
    ]
    patients = running.get("/fhir/Patient")

    assert documents[0] == documents[1]
    assert documents[0]["token_endpoint"] == f"{running.url}/auth/token"
    assert patients.status_code == 401
    assert patients.json()["resourceType"] == "OperationOutcome"


def test_generated_root_secret_is_private_and_works(running: Running) -> None:
    """F08, G13."""
    path = running.folder / "instance" / "root-secret"

    right = running.get("/Client", auth=("root", running.generated_secret))
    wrong = running.get("/Client", auth=("root", f"{running.generated_secret}x"))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(running.generated_secret) == 43
    assert (right.status_code, wrong.status_code) == (200, 401)
    assert running.generated_secret not in running.said + running.logged


def test_everything_that_is_made_is_private(running: Running) -> None:
    """F08: folders 0700, files 0600."""
    made = [path for name in ("instance", "keys") for path in (running.folder / name).rglob("*")]

    folders = {stat.S_IMODE((running.folder / name).stat().st_mode) for name in ("instance", "keys")}
    files = {stat.S_IMODE(path.stat().st_mode) for path in made}

    assert {path.name for path in made} >= {"authserver.sqlite3", "fhir.sqlite3", "root-secret"}
    assert (folders, files) == ({0o700}, {0o600})


def test_sigterm_stops_the_server_with_exit_code_0(tmp_path: Path) -> None:
    with serving(tmp_path, "auth", "--dev") as server:
        code = server.stop()

        assert code == 0
        with pytest.raises(requests.ConnectionError):
            server.get("/healthz")
        assert "Traceback" not in server.logged


def test_restart_after_ctrl_c_keeps_registrations_keys_and_the_secret(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, "auth", "--dev", port=port) as first, first.remote() as remote:
        secret, keys = first.generated_secret, first.get("/.well-known/jwks.json").json()
        with_secret(remote, "fhir", scope=["__introspect"])
        stored = remote.find("Client", "fhir")
        code = first.stop(signal.SIGINT)

    with serving(tmp_path, "auth", "--dev", port=port) as second, second.remote() as remote:
        kept = (second.generated_secret, second.get("/.well-known/jwks.json").json(), remote.find("Client", "fhir"))

    assert code == 0
    assert kept == (secret, keys, stored)


def test_root_secret_of_the_environment_decides(tmp_path: Path) -> None:
    """G13: no default secret; in production the operator's own works, and nothing is written down."""
    production = {"AUTHSERVER_ISSUER": "https://auth.example", "AUTHSERVER_ROOT_SECRET": ROOT_SECRET}
    with serving(tmp_path, "auth", variables=production) as server:
        answers = [server.get("/Client", auth=("root", secret)).status_code for secret in (ROOT_SECRET, "root")]

        assert answers == [200, 401]
        assert not (tmp_path / "instance" / "root-secret").exists()
        assert "DEVELOPMENT MODE" not in server.said
        assert f"  server      https://auth.example (at {server.url})" in server.said.splitlines()


def test_settings_problems_are_listed_all_at_once(tmp_path: Path) -> None:
    ended = run(
        tmp_path,
        "serve",
        AUTHSERVER_PORT="http",
        AUTHSERVER_WORKERS="0",
        AUTHSERVER_FHIR_MAX_PAGE_SIZE="0",
        AUTHSERVER_ISSUERS="https://auth.example",
        AUTHSERVER_FHIR_CLIENT_SECRET_FILE="missing",
    )

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines() == [
        "warning: AUTHSERVER_ISSUERS is no setting; did you mean AUTHSERVER_ISSUER?",
        "error: AUTHSERVER_FHIR_CLIENT_SECRET_FILE: missing: No such file or directory",
        "error: AUTHSERVER_PORT: Input should be a valid integer, unable to parse string as an integer",
        "error: AUTHSERVER_WORKERS: Input should be greater than or equal to 1",
        "error: AUTHSERVER_FHIR_MAX_PAGE_SIZE: Input should be greater than or equal to 1",
    ]
    assert list(tmp_path.iterdir()) == []


def test_port_in_use_is_one_clear_line(running: Running, tmp_path: Path) -> None:
    ended = run(tmp_path, "serve", "--dev", "--port", str(running.port))

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"error: {LOOPBACK}:{running.port} is in use: stop what listens there, or choose another with --port or "
        "AUTHSERVER_PORT.\n"
    )


def test_key_that_others_can_read_refuses_to_start(tmp_path: Path) -> None:
    """F08."""
    open_signer(tmp_path / "keys")
    (key,) = (tmp_path / "keys").glob("*.pem")
    key.chmod(0o644)

    ended = run(tmp_path, "serve", "auth", "--dev", "--port", str(free_port()))

    assert ended.returncode == 1
    assert ended.stderr.startswith("error: keys/")
    assert ended.stderr.splitlines()[0].endswith(
        f"(mode 644): if nobody can have read or written it, run `chmod 600 keys/{key.name}`; "
        "otherwise delete the keys and let new ones be made."
    )
    assert len(ended.stderr.splitlines()) == 1


def test_fhir_part_alone_asks_over_http_and_fails_closed(tmp_path: Path) -> None:
    """The two parts as two processes; without the authorization server the FHIR layer answers 503, never data."""
    ports = free_port(), free_port()
    shared = {
        "AUTHSERVER_DEV": "true",
        "AUTHSERVER_ISSUER": f"http://{LOOPBACK}:{ports[0]}",
        "AUTHSERVER_FHIR_BASE_URL": f"http://{LOOPBACK}:{ports[1]}/fhir",
    }
    with serving(tmp_path, "auth", port=ports[0], variables=shared) as auth:
        with auth.remote() as remote:
            secret = with_secret(remote, "fhir", scope=["__introspect"]).document["secret"]
            token = _new_token(remote, tmp_path / "clinic.pem")
        (tmp_path / "fhir-secret").write_text(f"{secret}\n")
        own = {"AUTHSERVER_FHIR_CLIENT_SECRET_FILE": "fhir-secret"}
        with serving(tmp_path, "fhir", port=ports[1], variables={**shared, **own}) as layer:
            bearer = {"Authorization": f"Bearer {token}"}

            health = layer.get("/healthz").status_code, layer.get("/readyz").status_code
            good, forged = (layer.get("/fhir/Patient", headers=headers) for headers in (bearer, _forged(bearer)))
            code = auth.stop()
            closed = layer.get("/fhir/Patient", headers=bearer)

            assert health == (200, 200)
            assert (good.status_code, good.json()["resourceType"]) == (200, "Bundle")
            assert forged.status_code == 401
            assert code == 0
            assert (closed.status_code, closed.json()["resourceType"]) == (503, "OperationOutcome")


def _new_token(remote: Remote, key_file: Path) -> str:
    with_key(remote, "clinic", scope=["system/Patient.rs"], algorithm="ES384", path=key_file)
    pair = private_keys.read_key(key_file.read_bytes(), name="clinic.pem")
    endpoint = remote.discover()["token_endpoint"]
    assertion = private_keys.make_assertion(pair, client_id="clinic", audience=endpoint, now=now())
    answer = remote.send("POST", endpoint, data=private_keys.token_form(assertion, scope=None))
    return str(answer.json()["access_token"])


def _forged(bearer: dict[str, str]) -> dict[str, str]:
    head, _, signature = bearer["Authorization"].rpartition(".")
    return {"Authorization": f"{head}.{signature[::-1]}"}
