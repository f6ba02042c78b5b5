"""One server with data for all stories that do not stop it."""

from collections.abc import Iterator

import pytest
from pytest_httpserver import HTTPServer

from tests.builders import CLIENT_ID
from tests.keys import key
from tests.stories.world import KeyHost, World, foreign_token, started


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running server with the demo patients."""
    with started(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def key_host(httpserver: HTTPServer) -> KeyHost:
    """A client's key host, with one RS384 and one ES384 key."""
    return KeyHost(httpserver, [key("RS384", "rsa-1"), key("ES384", "ec-1")])


@pytest.fixture
def client(world: World, key_host: KeyHost, request: pytest.FixtureRequest) -> Iterator[World]:
    """The documented client, registered with an address of its own and with a policy; removed afterwards."""
    world.register(key_host.open(f"/{request.node.nodeid.replace('/', '-').replace(':', '-')[:80]}/jwks.json"))
    world.allow()
    yield world
    world.delete(f"/AccessPolicy/{CLIENT_ID}")
    world.delete(f"/Client/{CLIENT_ID}")


@pytest.fixture
def token(client: World) -> str:
    """An access token for everything that the wildcard opens to reading."""
    return str(foreign_token(client, key("RS384", "rsa-1"), scope="system/*.read")["access_token"])
