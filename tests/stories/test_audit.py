"""The audit of a real server: every step of a story is in it, no secret is, and it is good after the stop."""

import time
from collections import Counter
from pathlib import Path

import pytest
import requests

from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.stores import SqlStores
from authserver.protocol.audit_search import AuditQuery
from tests.builders import CLIENT_ID, ROOT_SECRET, client_resource, inline_keys
from tests.cli.programs import run, serving
from tests.keys import key
from tests.stories.world import OPERATOR, World

CANARIES = ("canary-client-secret", "canary-wrong-secret", "canary-in-the-path")
UNKNOWN = "canary-unknown-member"
"""A member that this server knows nothing of is kept as it was registered, and is not shown in the audit."""


@pytest.fixture
def told(tmp_path: Path) -> tuple[Path, list[str]]:
    """The folder of a server that was stopped after the story, and every secret that was sent to it or made by it."""
    variables = {"AUTHSERVER_ROOT_SECRET": ROOT_SECRET}
    with serving(tmp_path, "--dev", variables=variables) as server:
        secrets = story(World(server))
    return tmp_path, [*CANARIES, ROOT_SECRET, *secrets]


def story(world: World) -> list[str]:
    """Register, get tokens, be refused, introspect, revoke, err; return the assertions and tokens that were sent."""
    body = client_resource(**inline_keys(key()), canary=UNKNOWN)
    world.put(f"/Client/{CLIENT_ID}", body)
    world.put(f"/Client/{CLIENT_ID}", {**body, "secret": CANARIES[0], "grant_types": ["client_credentials", "basic"]})
    world.allow()
    assertions = [world.assertion(key()) for _ in range(4)] + [world.assertion(key("RS384", key().kid))]
    token = world.ask(assertions[0]).json()["access_token"]
    world.ask(assertions[0])
    world.ask(assertions[1], scope="system/AuditEvent.rs")
    world.ask(assertions[4])
    world.ask(f"{assertions[2]}x", client_secret=CANARIES[1])
    world.introspect(token)
    asked = {"data": {"token": token}, "timeout": 10}
    requests.post(world.url("/auth/introspect"), auth=(CLIENT_ID, CANARIES[1]), **asked)
    requests.post(world.url("/auth/revoke"), auth=OPERATOR, **asked)
    headers = {"Authorization": f"Bearer {token}"}
    requests.get(world.url(f"/Client/{token}"), headers=headers, timeout=10)
    requests.put(world.url(f"/Client/{CANARIES[2]}!"), json={}, auth=("root", CANARIES[1]), timeout=10)
    world.put(f"/Client/{CLIENT_ID}", {"secret": [CANARIES[0]]})
    world.operate(f"/Client/{CLIENT_ID}/$revoke-tokens")
    world.delete(f"/Client/{CLIENT_ID}")
    found = requests.get(world.url("/AuditEvent?_count=500"), auth=OPERATOR, timeout=10)
    assert found.status_code == 200
    assert not any(secret in found.text for secret in (*CANARIES, UNKNOWN))
    time.sleep(0.3)  # the receipts are written beside the requests
    return [part for one in [*assertions, token] for part in one.split(".")[1:]]


def test_every_step_is_recorded_and_the_chain_is_good(told: tuple[Path, list[str]]) -> None:
    """Rows X25 and X55, with the server's own processes: the end is signed at the stop."""
    folder, _ = told
    stores = SqlStores(open_engine(f"sqlite:///{folder}/instance/authserver.sqlite3"))
    found = Counter(one.said["event"] for one in stores.audit.search(AuditQuery(count=500)))
    stores.close()

    checked = run(folder, "audit", "verify", AUTHSERVER_DEV="true")

    assert found == {
        "key_announced": 1,
        "resource_created": 4,
        "resource_updated": 1,
        "resource_deleted": 1,
        "token_issued": 1,
        "token_refused": 4,
        "introspection_refused": 1,
        "token_revoked": 1,
        "client_tokens_revoked": 1,
        "request_refused": 1,
        "audit_read": 1,
    }
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout == f"Records 1 to {found.total()} are as they were written.\n"


def test_no_secret_is_in_the_databases_the_logs_or_the_audit(told: tuple[Path, list[str]]) -> None:
    """Rows X55 and threats G15, G16, E14: no secret, assertion or token in any file that the server left."""
    folder, secrets = told
    files = [path for path in folder.rglob("*") if path.is_file()]
    contents = {path.name: path.read_bytes() for path in files}

    found = [(name, secret) for name, content in contents.items() for secret in secrets if secret.encode() in content]

    audited = b"".join(content for name, content in contents.items() if name.startswith("authserver.sqlite3"))
    assert b"token_issued" in audited
    assert found == []
