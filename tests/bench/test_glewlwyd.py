"""Glewlwyd as a peer: it is asked for the same as ours, does it, and is left out where it is not installed."""

import base64
import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest
import requests

from bench import glewlwyd
from bench.__main__ import Bench
from bench.bodies import FORM, SCOPE, BenchKey, new_key, token_requests
from bench.runs import Settings
from bench.servers import RESOURCE_SERVER, SECRET, Server, client_of

installed = pytest.mark.skipif(not glewlwyd.is_installed(), reason="glewlwyd is a package of Debian")
KEY_NAMES = ["RS384", "ES384"]


@pytest.fixture(scope="module")
def keys() -> list[BenchKey]:
    return [new_key(name) for name in KEY_NAMES]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Not a folder that is kept after the run: the peer's database holds its key.
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


@pytest.fixture(scope="module")
def peer(folder: Path, keys: list[BenchKey]) -> Iterator[Server]:
    with glewlwyd.glewlwyd(folder / "peer", keys) as server:
        yield server


def token_request(peer: Server, key: BenchKey, folder: Path, *, audience: str | None = None) -> str:
    client = client_of(key.algorithm)
    path = token_requests(folder / "requests", key, [client], audience=audience or peer.audience, processes=1)
    return path.read_text().strip()


def post(url: str, body: str, *, authorization: str = "") -> requests.Response:
    headers = {**FORM, **({"Authorization": authorization} if authorization else {})}
    return requests.post(url, body, headers=headers, timeout=10)


def claims_of(token: str) -> tuple[dict[str, object], dict[str, object]]:
    header, claims, _ = token.split(".")
    decoded = [json.loads(base64.urlsafe_b64decode(part + "===")) for part in (header, claims)]
    return decoded[0], decoded[1]


@installed
@pytest.mark.parametrize("number", range(len(KEY_NAMES)), ids=KEY_NAMES)
def test_the_peer_gives_a_token_for_an_assertion_once(
    peer: Server, keys: list[BenchKey], folder: Path, number: int
) -> None:
    """Performance, ">= 10 x Glewlwyd": the compared work is the same, to the refusal of a replay."""
    body = token_request(peer, keys[number], folder)

    first, again = post(peer.token_url, body), post(peer.token_url, body)

    header, claims = claims_of(first.json()["access_token"])
    assert (first.status_code, again.status_code) == (200, 403)
    assert (header["alg"], claims["client_id"], claims["scope"]) == ("ES256", client_of(KEY_NAMES[number]), SCOPE)


@installed
def test_the_peer_refuses_an_assertion_for_somebody_else(peer: Server, keys: list[BenchKey], folder: Path) -> None:
    body = token_request(peer, keys[0], folder, audience="http://127.0.0.1/elsewhere")

    answer = post(peer.token_url, body)

    assert answer.status_code == 403


@installed
def test_the_peer_refuses_an_assertion_of_another_key(peer: Server, keys: list[BenchKey], folder: Path) -> None:
    body = token_request(peer, BenchKey("RS384", new_key("RS384").pem), folder)

    answer = post(peer.token_url, body)

    assert answer.status_code == 403


@installed
def test_the_peer_tells_the_resource_server_about_every_clients_token(
    peer: Server, keys: list[BenchKey], folder: Path
) -> None:
    token = post(peer.token_url, token_request(peer, keys[0], folder)).json()["access_token"]

    answers = [
        post(peer.introspection_url, urlencode({"token": asked}), authorization=peer.authorization)
        for asked in (token, token[:-4] + "AAAA")
    ]

    said = [answer.json() for answer in answers]
    assert [(one["active"], one.get("scope")) for one in said] == [(True, SCOPE), (False, None)]


@installed
def test_nobody_is_told_about_tokens_without_proof(peer: Server, keys: list[BenchKey], folder: Path) -> None:
    token = post(peer.token_url, token_request(peer, keys[0], folder)).json()["access_token"]

    answer = post(peer.introspection_url, urlencode({"token": token}))

    assert answer.status_code == 401


@installed
@pytest.mark.parametrize(("write_ahead_log", "mode"), [(True, "wal"), (False, "delete")])
def test_the_database_has_its_kind_of_log_and_the_asked_number_of_used_assertions(
    folder: Path, write_ahead_log: bool, mode: str
) -> None:
    database = folder / f"{mode}.db"

    glewlwyd.prepare(database, used_jtis=3, write_ahead_log=write_ahead_log)

    with closing(sqlite3.connect(database)) as connection:
        counted = connection.execute(
            "SELECT gpoctr_plugin_name, gpoctr_cient_id, count(DISTINCT gpoctr_jti_hash)"
            " FROM gpo_client_token_request GROUP BY 1, 2"
        ).fetchall()
        found = connection.execute("PRAGMA journal_mode").fetchone()
    assert (counted, found) == ([("oidc", "bench-rs384", 3)], (mode,))


def test_the_configuration_names_the_loopback_the_port_and_the_database() -> None:
    lines = glewlwyd.configuration(1234, database=Path("/somewhere/a.db")).splitlines()

    assert [line for line in lines if line.startswith(("port", "bind_address", "  path"))] == [
        "port = 1234",
        'bind_address = "127.0.0.1"',
        '  path = "/somewhere/a.db"',
    ]


def test_clients_are_registered_with_the_public_halves_of_their_keys(keys: list[BenchKey]) -> None:
    *signing, asking = glewlwyd.clients(keys)

    assert [(one["client_id"], one["jwks"]) for one in signing] == [
        (client_of(key.algorithm), {"keys": [key.jwk]}) for key in keys
    ]
    assert (asking["client_id"], asking["client_secret"]) == (RESOURCE_SERVER, SECRET)


def test_each_start_signs_with_a_key_of_its_own() -> None:
    both = [str(glewlwyd.plugin_parameters("http://127.0.0.1")["jwks-private"]) for _ in range(2)]

    first, second = (json.loads(one)["keys"] for one in both)
    assert [(key["crv"], key["alg"]) for key in (*first, *second)] == [("P-256", "ES256")] * 2
    assert first != second


def test_it_counts_as_installed_only_with_its_schema(tmp_path: Path) -> None:
    assert glewlwyd.is_installed(tmp_path / "no-such-schema") is False


def test_the_bench_leaves_it_out_where_the_program_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with Bench(Settings(1, 1, tmp_path)).fresh(16) as found:
        assert found == []


@installed
def test_the_bench_starts_it_for_a_table_of_the_slower_peers_alone(folder: Path) -> None:
    """A fresh one for each table, since each assertion that it was shown makes it slower."""
    bench = Bench(Settings(1, 1, folder))

    with bench.fresh(16) as first, bench.fresh(8) as second, bench.fresh(1) as none:
        found = [[server.name for server in servers] for servers in (first, second, none)]
        folders = {server.folder for server in (*first, *second)}

    both = ["Glewlwyd, SQLite, write-ahead log", "Glewlwyd, SQLite as installed"]
    assert (found, len(folders)) == ([both, both, []], 4)


def test_a_server_with_an_access_token_asks_by_it_and_one_without_by_its_secret(tmp_path: Path) -> None:
    def authorization(bearer: str) -> str:
        return Server("name", "", "", "", "", process=None, folder=tmp_path, bearer=bearer).authorization  # type: ignore[arg-type]  # not asked

    assert authorization("abc") == "Bearer abc"
    assert authorization("") == "Basic " + base64.b64encode(f"{RESOURCE_SERVER}:{SECRET}".encode()).decode()
