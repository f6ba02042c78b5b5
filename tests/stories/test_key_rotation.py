"""Signing keys rotate under load: two server processes, one folder of keys, verifiers that cache for all they may."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import jwt
import requests

from authserver import clock
from authserver.adapters import key_folder
from authserver.adapters.key_files import KeyFiles
from authserver.protocol.key_life import KeyTimes
from tests.builders import CLIENT_ID, ROOT_SECRET, client_resource, inline_keys
from tests.cli.programs import serving
from tests.keys import KeyPair, new_key
from tests.stories.world import World

ROTATIONS = 5
TIMES = KeyTimes(jwks_max_age=1, longest_token=2, leeway=2)
AUDIENCE = "https://rotation.example/fhir"


@dataclass
class CachingVerifier:
    """A resource server: PyJWT, with a key set kept for its full max-age and asked for at no other time."""

    world: World
    keys: dict[str, jwt.PyJWK] = field(default_factory=dict)
    fresh_until: float = 0.0

    def verify(self, token: str) -> str:
        """Return the kid of a token that is right; raises for every other."""
        if time.monotonic() >= self.fresh_until:
            response = requests.get(self.world.url("/.well-known/jwks.json"), timeout=5)
            assert response.headers["Cache-Control"] == "public, max-age=1"
            # From the answer on, not from the request: as long as any verifier would keep it.
            self.fresh_until = time.monotonic() + 1
            self.keys = {key.key_id or "": key for key in jwt.PyJWKSet.from_dict(response.json()).keys}
        kid = str(jwt.get_unverified_header(token)["kid"])
        jwt.decode(token, self.keys[kid], algorithms=["ES256"], audience=AUDIENCE)
        return kid


@dataclass
class Load:
    """Clients that ask for tokens all the time; every token is verified at once and again before it expires."""

    worlds: list[World]
    pair: KeyPair
    stopping: threading.Event = field(default_factory=threading.Event)
    kids: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def run(self, number: int) -> None:
        """Be one client, with a verifier that asks the other server for its key set."""
        issuing, verifier = self.worlds[number % 2], CachingVerifier(self.worlds[(number + 1) % 2])
        kept: list[tuple[float, str]] = []
        while not self.stopping.is_set():
            answer = issuing.ask(issuing.assertion(self.pair))
            if answer.status_code != 200:
                self.failures.append(answer.text)
                continue
            kept.append((time.monotonic(), answer.json()["access_token"]))
            # A token lives for two seconds at most, counted in whole ones: after 0.8 s it is valid still.
            due = [token for asked, token in kept if time.monotonic() - asked > 0.8]
            kept = kept[len(due) :]
            for token in (kept[-1][1] if kept else "", *due):
                self._verify(verifier, token)

    def _verify(self, verifier: CachingVerifier, token: str) -> None:
        try:
            if token:
                self.kids.append(verifier.verify(token))
        except (KeyError, jwt.PyJWTError) as error:
            self.failures.append(repr(error))


@contextmanager
def two_servers(folder: Path) -> Iterator[list[World]]:
    """Start two servers with databases of their own and one folder of keys; they never speak to each other."""
    variables = {
        "AUTHSERVER_ROOT_SECRET": ROOT_SECRET,
        "AUTHSERVER_KEYS_DIR": str(folder / "keys"),
        "AUTHSERVER_JWKS_MAX_AGE": "1",
        "AUTHSERVER_KEY_LEEWAY": "2",
        "AUTHSERVER_MAX_TOKEN_LIFETIME": "2",
        "AUTHSERVER_FHIR_BASE_URL": AUDIENCE,
    }
    for name in ("one", "other"):
        (folder / name).mkdir()
    with (
        serving(folder / "one", "auth", "--dev", variables=variables) as one,
        serving(folder / "other", "auth", "--dev", variables=variables) as other,
    ):
        yield [World(one), World(other)]


def rotate(keys: Path, times: int) -> list[str]:
    """Announce a key each second until the last one signs, and retire each one as soon as that is allowed."""
    first = keys / f"{signing(keys)}.pem"
    announced: list[str] = []
    while len(announced) < times or signing(keys) != announced[-1] or first.exists():
        if len(announced) < times:
            made = key_folder.announce(keys, algorithm="ES256", times=TIMES, now=clock.now())
            announced.append(made.kid)
        for planned in KeyFiles(keys, times=TIMES).plan():
            if planned.stage == "superseded" and clock.now() >= (planned.retire_after or 2**40):
                key_folder.retire(keys, planned.life.kid, times=TIMES, now=clock.now())
        time.sleep(1.0)
    return announced


def signing(keys: Path) -> str:
    return next(key.kid for key in KeyFiles(keys, times=TIMES).list_keys() if key.active)


def test_rotations_under_load_fail_no_verification(tmp_path: Path) -> None:
    """X53, F07: key sets cached for their full max-age by verifiers of the other process, time compressed."""
    pair = new_key()
    with two_servers(tmp_path) as worlds:
        first = signing(tmp_path / "keys")
        for world in worlds:
            client = client_resource(auth={"client_credentials": {}}, **inline_keys(pair))
            registered = world.put(f"/Client/{CLIENT_ID}", client)
            assert registered.status_code == 201, registered.text
        load = Load(worlds, pair)
        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(load.run, number) for number in range(4)]
            try:
                announced = rotate(tmp_path / "keys", ROTATIONS)
                time.sleep(0.5)
            finally:
                load.stopping.set()
        for outcome in running:
            outcome.result()

        logs = [world.server.logged for world in worlds]
    print(f"{len(load.kids)} verifications, {len(set(load.kids))} keys, {len(load.failures)} failures")
    assert load.failures == []
    assert set(load.kids) == {first, *announced}
    assert not (tmp_path / "keys" / f"{first}.pem").exists()
    assert [log for log in logs if "keys_unusable" in log] == []
