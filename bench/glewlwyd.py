"""Glewlwyd, an authorization server in C, as a peer: Debian's package on a database, a port and keys of its own.

Nothing of an installation is used but the program, its modules and its schema. What it shall know, it is told over its
own administration API. Its access tokens are JWTs, signed with a key of P-256 (ES256) that is made at its start. It
remembers used assertions and refuses them, but neither indexes nor removes them: each request reads through all, so
that it must run anew for each table to be compared fairly.
"""

import json
import secrets
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import requests
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from authserver.cli.demo_server import free_port
from bench.bodies import SCOPE, BenchKey
from bench.servers import RESOURCE_SERVER, SECRET, Server, client_of, running

NAME = "Glewlwyd, SQLite, write-ahead log"
AS_INSTALLED = "Glewlwyd, SQLite as installed"
SCHEMA = Path("/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3")
MODULES = Path("/usr/lib/glewlwyd")
ADMINISTRATOR = ("admin", "password")
"""As whom the schema of the package lets one in at first; good for a server on the loopback that lives for minutes."""

INTROSPECT = "introspect"
"""The scope of access tokens whose holders may ask about the tokens of every client."""

LIFETIME, MAX_ASSERTION_SECONDS = 300, 3_600


def is_installed(schema: Path = SCHEMA) -> bool:
    """Say whether the program and its schema are here, as Debian's package `glewlwyd` brings them."""
    return shutil.which("glewlwyd") is not None and schema.is_file()


@contextmanager
def glewlwyd(
    folder: Path, keys: Sequence[BenchKey], *, name: str = NAME, used_jtis: int = 0, write_ahead_log: bool = True
) -> Iterator[Server]:
    """Run Glewlwyd on SQLite in the folder, with so many used assertions in its database already.

    Without `write_ahead_log` the database is as the package's installation makes it, else as a careful operator would.
    Raises RuntimeError when it does not come up, or refuses its configuration.
    """
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    folder.mkdir(exist_ok=True)
    prepare(folder / "glewlwyd.db", used_jtis=used_jtis, write_ahead_log=write_ahead_log)
    (folder / "glewlwyd.conf").write_text(configuration(port, database=folder / "glewlwyd.db"))
    command = ["glewlwyd", "--config-file", str(folder / "glewlwyd.conf")]
    with running(command, folder, {}, core=0, url=f"{base}/config") as (process, _):
        register(base, keys)
        token_url, introspection_url = f"{base}/api/oidc/token", f"{base}/api/oidc/introspect"
        bearer = _bearer(token_url)
        yield Server(name, base, token_url, introspection_url, token_url, process, folder, bearer=bearer)


def configuration(port: int, *, database: Path) -> str:
    """Return the configuration file: the loopback alone, and a log of what goes wrong, not of each token."""
    values: dict[str, str | int] = {
        "port": port,
        "bind_address": "127.0.0.1",
        "external_url": f"http://127.0.0.1:{port}",
        "login_url": "login.html",
        "api_prefix": "api",
        "log_mode": "console",
        "log_level": "WARNING",
        "cookie_secure": 0,
        "session_key": "GLEWLWYD2_SESSION_ID",
        "admin_scope": "g_admin",
        "profile_scope": "g_profile",
        "user_module_path": str(MODULES / "user"),
        "client_module_path": str(MODULES / "client"),
        "user_auth_scheme_module_path": str(MODULES / "scheme"),
        "plugin_module_path": str(MODULES / "plugin"),
        "hash_algorithm": "SHA512",
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    lines += ["database =", "{", '  type = "sqlite3"', f"  path = {json.dumps(str(database))}", "};"]
    return "\n".join(lines) + "\n"


def prepare(database: Path, *, used_jtis: int, write_ahead_log: bool, schema: Path = SCHEMA) -> None:
    """Make its database of the package's schema, with so many used assertions; the kind of log stays with the file."""
    rows = (("oidc", client_of("RS384"), "127.0.0.1", secrets.token_urlsafe(32)) for _ in range(used_jtis))
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"PRAGMA journal_mode = {'WAL' if write_ahead_log else 'DELETE'}")
        connection.executescript(schema.read_text())
        connection.executemany(
            # "cient" is the schema's own spelling.
            "INSERT INTO gpo_client_token_request"
            " (gpoctr_plugin_name, gpoctr_cient_id, gpoctr_issued_for, gpoctr_jti_hash) VALUES (?, ?, ?, ?)",
            rows,
        )
        connection.commit()


def register(base: str, keys: Sequence[BenchKey]) -> None:
    """Tell it of the scopes, of its part for OpenID Connect, and of the clients; raises RuntimeError if refused."""
    with requests.Session() as session:
        name, password = ADMINISTRATOR
        _post(session, f"{base}/api/auth/", {"username": name, "password": password})
        for scope in [*SCOPE.split(" "), INTROSPECT]:
            _post(session, f"{base}/api/scope/", {"name": scope, "password_required": False})
        plugin = {"module": "oidc", "name": "oidc", "display_name": "oidc", "parameters": plugin_parameters(base)}
        _post(session, f"{base}/api/mod/plugin/", plugin)
        for client in clients(keys):
            _post(session, f"{base}/api/client/", client)


def plugin_parameters(base: str) -> dict[str, object]:
    """Return what its part for OpenID Connect shall do: client credentials and introspection, and nothing else."""
    key = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    key.pop("key_ops", None)
    off = ["code", "token", "password", "refresh", "device"]
    return {
        "iss": base,
        "jwks-private": json.dumps({"keys": [{**key, "kid": "own", "alg": "ES256", "use": "sig"}]}),
        "default-kid": "own",
        "jwt-type": "ecdsa",
        "jwt-key-size": "256",
        "access-token-duration": LIFETIME,
        "refresh-token-duration": LIFETIME,
        "code-duration": LIFETIME,
        "allow-non-oidc": True,
        "auth-type-client-enabled": True,
        **{f"auth-type-{name}-enabled": False for name in off},
        # Its name for everything that a client signs, assertions too.
        "request-parameter-allow": True,
        "request-maximum-exp": MAX_ASSERTION_SECONDS,
        "client-jwks-parameter": "jwks",
        "introspection-revocation-allowed": True,
        "introspection-revocation-auth-scope": [INTROSPECT],
    }


def clients(keys: Sequence[BenchKey]) -> list[dict[str, object]]:
    """Return the clients: one for each key, and the resource server that asks about tokens."""
    common = {"confidential": True, "enabled": True, "authorization_type": ["client_credentials"], "redirect_uri": []}
    signing: list[dict[str, object]] = [
        {
            **common,
            "client_id": client_of(key.algorithm),
            "token_endpoint_auth_method": ["private_key_jwt"],
            "scope": SCOPE.split(" "),
            "jwks": {"keys": [key.jwk]},
        }
        for key in keys
    ]
    asking: dict[str, object] = {
        **common,
        "client_id": RESOURCE_SERVER,
        "token_endpoint_auth_method": ["client_secret_basic"],
        "client_secret": SECRET,
        "scope": [INTROSPECT],
    }
    return [*signing, asking]


def _bearer(token_url: str) -> str:
    # By HTTP Basic a client may ask about tokens of its own alone, as a holder of such a token about all.
    form = {"grant_type": "client_credentials", "scope": INTROSPECT}
    answer = requests.post(token_url, data=form, auth=(RESOURCE_SERVER, SECRET), timeout=10)
    if answer.status_code != 200:
        raise RuntimeError(f"{token_url} gave the resource server no token: {answer.status_code} {answer.text[:300]}")
    return str(answer.json()["access_token"])


def _post(session: requests.Session, url: str, body: Mapping[str, object]) -> None:
    answer = session.post(url, json=body, timeout=10)
    if answer.status_code != 200:
        raise RuntimeError(f"POST {url}: {answer.status_code} {answer.text[:300]}")
