"""API keys from making one to its end, over HTTP only, on one process and on several. Rows C2 and X31."""

from pathlib import Path
from typing import Any

import pytest
import requests

from tests.builders import CLIENT_ID
from tests.postgres import PostgresCluster
from tests.stories.test_several_processes import three_workers
from tests.stories.world import OPERATOR, KeyHost, World


def made(world: World, **changes: Any) -> dict[str, Any]:
    """Make a key of the documented client."""
    body = {"client": CLIENT_ID, "environment": "live", "scope": ["system/Patient.rs"], **changes}
    answer = requests.post(world.url("/ApiKey"), json=body, auth=OPERATOR, timeout=10)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def patients(world: World, headers: dict[str, str], path: str = "/fhir/Patient?_count=2") -> tuple[int, int]:
    """Return the status of a search, and how many patients there are for this caller."""
    answer = requests.get(world.url(path), headers=headers, timeout=10)
    return answer.status_code, len(answer.json().get("entry", []))


def test_c2_a_live_key_sees_the_data_and_a_test_key_never_does(client: World) -> None:
    """C2: as `x-api-key` and as Bearer; a key with a slip in it is a 401, no key too."""
    live, test = made(client)["key"], made(client, environment="test")["key"]

    found = [
        patients(client, headers)
        for text in (live, test)
        for headers in ({"x-api-key": text}, {"Authorization": f"Bearer {text}"})
    ]

    assert found == [(200, 2), (200, 2), (200, 0), (200, 0)]
    assert [patients(client, headers) for headers in ({"x-api-key": live[:-1]}, {})] == [(401, 0)] * 2


def test_c2_a_revoked_key_is_refused_on_the_next_request(client: World) -> None:
    """C2: beats 60 s; the key's scopes end where they end."""
    key = made(client)
    header = {"x-api-key": key["key"]}
    before = [patients(client, header), patients(client, header, "/fhir/Observation?_count=2")]

    client.delete(f"/ApiKey/{key['id']}")

    assert (before, patients(client, header)) == ([(200, 2), (403, 0)], (401, 0))


@pytest.mark.parametrize("end", ["revoked", "rotated", "disabled"])
def test_x31_a_key_is_dead_on_every_worker_when_its_end_is_answered(
    postgres: PostgresCluster, key_host: KeyHost, tmp_path: Path, end: str
) -> None:
    """X31: three processes on PostgreSQL; before the answer each says active, after it none does."""
    with three_workers(tmp_path, postgres) as world:
        address = key_host.open("/jwks.json")
        world.register(address)
        key = made(world)
        before = {world.introspect(key["key"])["active"] for _ in range(20)}
        if end == "revoked":
            world.delete(f"/ApiKey/{key['id']}")
        elif end == "rotated":
            world.operate(f"/ApiKey/{key['id']}/$rotate")
        else:
            world.register(address, active=False)

        after = {world.introspect(key["key"])["active"] for _ in range(20)}

    assert (before, after) == ({True}, {False})
