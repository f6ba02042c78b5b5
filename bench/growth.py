"""Fill a database of ours as years of use would: clients, policies and used jtis by the hundred thousand."""

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Table, insert

from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.tables import resource, resource_link, resource_version, used_jti
from bench.bodies import BenchKey
from bench.servers import client_resource

BATCH = 5_000


def fill(database_url: str, *, key: BenchKey, clients: int, jtis: int) -> list[str]:
    """Store so many clients with a policy each, and so many used jtis; return the ids of the clients.

    All clients have one key: signing for each of them would take longer than the bench. The server parses and checks it
    for each of them all the same.
    """
    engine = open_engine(database_url)
    names = [f"grown-{number:06}" for number in range(clients)]
    with engine.begin() as connection:
        _insert(connection, resource, (_current(kind, name) for name in names for kind in ("Client", "AccessPolicy")))
        client = json.dumps(client_resource(key))
        _insert(connection, resource_version, (_version("Client", name, client) for name in names))
        _insert(connection, resource_version, (_version("AccessPolicy", name, _policy(name)) for name in names))
        links = ({"resource_type": "AccessPolicy", "link": f"Client/{name}/1", "id": name} for name in names)
        _insert(connection, resource_link, links)
        until = int(time.time()) + 86_400
        _insert(connection, used_jti, ({"key": secrets.token_bytes(16), "until": until} for _ in range(jtis)))
    engine.dispose()
    return names


def _insert(connection: Connection, table: Table, rows: Iterator[Mapping[str, Any]]) -> None:
    batch: list[Mapping[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            connection.execute(insert(table), batch)
            batch = []
    if batch:
        connection.execute(insert(table), batch)


def _current(kind: str, name: str) -> dict[str, Any]:
    return {
        "resource_type": kind,
        "id": name,
        "version_id": 1,
        "generation": 1,
        "created_at": 1,
        "deleted": False,
        "token_generation": 1,
    }


def _version(kind: str, name: str, body: str) -> dict[str, Any]:
    return {
        "resource_type": kind,
        "id": name,
        "version_id": 1,
        "generation": 1,
        "method": "PUT",
        "body": body,
        "created_at": 1,
        "last_updated": 1,
    }


def _policy(name: str) -> str:
    return json.dumps({"engine": "allow", "link": [{"id": name, "resourceType": "Client"}]})
