"""The commands that work on the server's own files and databases: keys, db, fhir load; and the WSGI factories."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from authserver.adapters.key_files import open_signer
from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.stores import SqlStores
from authserver.cli.connection import local_fhir_settings
from authserver.clock import now
from authserver.fhir import demo_data
from authserver.fhir.constraint import Constraint
from authserver.fhir.definitions.tables import load_definitions
from authserver.fhir.store.sql_store import open_store
from tests.cli.conftest import Invoke
from tests.cli.programs import environment

pytestmark = pytest.mark.usefixtures("clean_environment", "private_umask")
_SCRIPT = """
import json, os
from authserver.cli import wsgi
application = wsgi.both()
answers = {}
for path in ("/healthz", "/fhir/metadata", "/fhirx", "/fhir"):
    environ = {"PATH_INFO": path, "REQUEST_METHOD": "GET", "SERVER_NAME": "x", "SERVER_PORT": "80",
               "wsgi.url_scheme": "http", "QUERY_STRING": ""}
    chunks = application(environ, lambda status, headers, *_: answers.__setitem__(path, [status, dict(headers)]))
    body = b"".join(chunks)
left = [name for name in os.environ if name.startswith(("AUTHSERVER_", "HTTP_"))]
print(json.dumps([{path: [status, headers.get("Content-Type")] for path, (status, headers) in answers.items()}, left]))
"""


def test_keys_list_shows_which_key_signs(invoke: Invoke) -> None:
    """X53: a key that was announced just now does not sign yet."""
    open_signer(Path("keys"))
    newest = json.loads(invoke("keys", "rotate", "--json").stdout)["kid"]

    listed = json.loads(invoke("keys", "list", "--json").stdout)
    plain = invoke("keys", "list").stdout.splitlines()

    assert [(key["algorithm"], key["active"]) for key in listed] == [("ES256", True), ("ES256", False)]
    assert listed[1]["kid"] == newest
    assert plain[0] == "KID\tALGORITHM\tCREATED\tACTIVE"
    assert (plain[2].split("\t")[0], plain[2].split("\t")[3]) == (newest, "no")


def test_keys_list_refuses_a_key_that_others_can_read(invoke: Invoke) -> None:
    """F08."""
    open_signer(Path("keys"))
    next(Path("keys").glob("*.pem")).chmod(0o604)

    result = invoke("keys", "list")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: keys/")


def test_upgrade_makes_both_schemas_and_changes_nothing_twice(invoke: Invoke) -> None:
    first, second = invoke("db", "upgrade"), invoke("db", "upgrade")

    assert first.exit_code == 0, first.output
    assert first.stdout == second.stdout
    assert first.stdout.splitlines()[1] == "FHIR: current"
    assert sorted(path.name for path in Path("instance").glob("*.sqlite3")) == ["authserver.sqlite3", "fhir.sqlite3"]


def test_purge_forgets_what_has_expired_and_nothing_else(invoke: Invoke) -> None:
    invoke("db", "upgrade")
    stores, present = SqlStores(open_engine(f"sqlite:///{Path.cwd()}/instance/authserver.sqlite3")), now()
    for jti, until in (("old", present - 100), ("current", present + 100)):
        stores.replay_guard.claim("clinic", jti, until=until)
    stores.revocations.revoke("1.old", until=present - 100)

    result = invoke("db", "purge", "--json")

    claimed_again = [stores.replay_guard.claim("clinic", jti, until=present + 9) for jti in ("old", "current")]
    stores.close()
    assert json.loads(result.stdout) == {
        "used_assertions": 1,
        "revocations": 1,
        "receipts": 0,
        "decisions": 0,
        "audit_records": 0,
    }
    assert claimed_again == [True, False]


def test_load_stores_resources_once(invoke: Invoke) -> None:
    for number, bundle in enumerate(list(demo_data.bundles())[:3]):
        Path(f"{number}.json").write_text(json.dumps(bundle))
    files = [f"{number}.json" for number in range(3)]

    first, second = invoke("fhir", "load", *files, "--json"), invoke("fhir", "load", *files, "--json")

    loaded, again = json.loads(first.stdout), json.loads(second.stdout)
    assert loaded["changed"] == loaded["resources"] == again["resources"]
    assert (loaded["files"], again["changed"]) == (3, 0)
    assert [line.split(":")[0] for line in first.stderr.splitlines()] == files


def test_load_brings_the_invented_patients_of_the_demo(invoke: Invoke) -> None:
    first, second = invoke("fhir", "load", "--demo", "--json"), invoke("fhir", "load", "--demo", "--json")

    loaded, again = json.loads(first.stdout), json.loads(second.stdout)
    assert loaded["changed"] == loaded["resources"] == again["resources"] > 500
    assert (loaded["files"], again["changed"]) == (0, 0)


def test_load_gives_what_it_loads_the_tag_of_its_tenant(invoke: Invoke) -> None:
    """Row X24."""
    Path("p.ndjson").write_text('{"resourceType":"Patient","id":"p"}')

    result = invoke("fhir", "load", "p.ndjson", "--tenant", "clinic", "--json")

    settings, _ = local_fhir_settings()
    store = open_store(settings.fhir_database_url, load_definitions())
    stored = store.read(Constraint.system("clinic"), "Patient", "p")
    store.close()
    assert result.exit_code == 0
    assert stored is not None
    assert json.loads(stored.body)["meta"]["tag"] == [{"system": "https://clinikapi.com/tenant", "code": "clinic"}]


def test_load_without_anything_to_load_is_a_usage_error(invoke: Invoke) -> None:
    result = invoke("fhir", "load")

    assert (result.exit_code, result.stdout) == (2, "")


def test_load_names_the_file_that_is_no_json(invoke: Invoke) -> None:
    Path("broken.json").write_text("{")

    result = invoke("fhir", "load", "broken.json")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == ["error: broken.json: file: no JSON"]


def test_load_validates_when_it_is_asked_to(invoke: Invoke) -> None:
    Path("odd.ndjson").write_text('{"resourceType": "Patient", "id": "p", "gender": "unsaid"}')

    refused, loaded = invoke("fhir", "load", "--validate", "odd.ndjson"), invoke("fhir", "load", "odd.ndjson")

    problem = "Patient/p: Patient.gender: The code is none of the element's required value set."
    assert (refused.exit_code, refused.stderr.splitlines()) == (1, [f"error: odd.ndjson: {problem}"])
    assert (loaded.exit_code, loaded.stdout) == (0, "1 resources in 1 files, 1 of them new or changed\n")


def test_factory_serves_both_parts_and_hides_the_environment(tmp_path: Path) -> None:
    """F08: what a server copies from the environment into every request holds no secret and no made-up header."""
    variables = {
        "AUTHSERVER_DEV": "true",
        "AUTHSERVER_INSTANCE_DIR": "instance",
        "AUTHSERVER_ROOT_SECRET": "correct horse battery staple",
        "HTTP_AUTHORIZATION": "Basic cm9vdDp4",
    }
    (tmp_path / "instance").mkdir(0o700)

    ended = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        cwd=tmp_path,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )

    fhir, plain = "application/fhir+json; charset=utf-8", "application/json"
    assert json.loads(ended.stdout) == [
        {
            "/healthz": ["200 OK", plain],
            "/fhir/metadata": ["200 OK", fhir],
            "/fhirx": ["404 NOT FOUND", fhir],
            "/fhir": ["401 UNAUTHORIZED", fhir],
        },
        [],
    ]
