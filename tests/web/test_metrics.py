"""/metrics: what is counted, that no id is a label, and who may read it."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from authserver.adapters.jwks_metering import MeteredFetcher
from authserver.adapters.metrics import MAX_CLIENTS, Metrics
from authserver.app import Parts, build_services, create_app, direct_endpoints
from authserver.errors import JwksUnavailable
from authserver.protocol.jwks_freshness import FetchedJwks
from tests.builders import CLIENT_ID, make_settings
from tests.http import AsBegun, Server


def measured(folder: Path, parts: Parts, **settings: str) -> Server:
    """Return a server that counts."""
    chosen = make_settings(folder, **settings)
    meter = Metrics()
    services = build_services(chosen, parts, meter=meter)
    direct = {path: AsBegun(one) for path, one in direct_endpoints(chosen, parts, services, meter=meter).items()}
    return Server(create_app(chosen, parts=parts, services=services, direct=direct, meter=meter))


def read(server: Server) -> dict[tuple[str, ...], float]:
    """Return every sample by its name and labels."""
    text = server.request("GET", "/metrics").text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def test_answers_are_counted_by_path_method_status_and_reason(server: Server, parts: Parts, tmp_path: Path) -> None:
    """The paths without the framework and those with it; an id in a path is no label."""
    counted = measured(tmp_path, parts)
    counted.put_client()
    assert counted.ask_token().status_code == 200
    counted.post_form("/auth/token", {"grant_type": "password"})
    counted.request("GET", "/nothing/secret-path")

    found = read(counted)

    count = "authserver_request_seconds_count"
    assert {name: value for name, value in found.items() if name[0] == count} == {
        (count, "/auth/token", "POST", "200"): 1,
        (count, "/auth/token", "POST", "400"): 1,
        (count, "/<any(Client, AccessPolicy):resource_type>/<resource_id>", "PUT", "201"): 1,
        (count, "unknown", "GET", "404"): 1,
    }
    refusals = {name[1:]: value for name, value in found.items() if name[0] == "authserver_refusals_total"}
    assert refusals == {("/auth/token", "unknown_grant_type"): 1, ("unknown", "not_found"): 1}
    assert CLIENT_ID not in str(list(found))


def test_clients_whose_keys_cannot_be_had_are_counted_by_name(server: Server, parts: Parts, tmp_path: Path) -> None:
    """Row X49: a metric per client; one that works has no series, and a client that nobody registered none either."""
    counted = measured(tmp_path, parts)
    counted.put_client()
    counted.put_client("lost", jwks_uri="https://nobody.example/jwks")
    statuses = [counted.ask_token(client_id=name).status_code for name in (CLIENT_ID, "lost", "lost", "stranger")]

    found = {name: value for name, value in read(counted).items() if "client_key" in name[0] and "total" in name[0]}

    assert statuses == [200, 400, 400, 400]
    assert found == {("authserver_client_key_failures_total", "lost", "jwks_unavailable"): 2}


def test_clients_with_a_series_of_their_own_are_bounded() -> None:
    """Row X49: many failing clients make no endless page."""
    meter = Metrics()
    for number in range(MAX_CLIENTS + 3):
        meter.client_keys_failed(f"client-{number}", "jwks_timeout")
    meter.client_keys_failed("client-0", "jwks_timeout")

    told = meter.exposition({}).decode()

    assert told.count("authserver_client_key_failures_total{") == MAX_CLIENTS + 1
    assert 'authserver_client_key_failures_total{client="other",reason="jwks_timeout"} 3.0' in told
    assert 'authserver_client_key_failures_total{client="client-0",reason="jwks_timeout"} 2.0' in told


def test_looks_and_fetches_are_counted(server: Server, parts: Parts, tmp_path: Path) -> None:
    meter = Metrics()
    meter.jwks_fetch("ok", 0.2)
    meter.cache("at_hand", hit=True)
    meter.cache("at_hand", hit=True)
    meter.cache("at_hand", hit=False)

    told = meter.exposition({"kid-1": 60.0}).decode()

    assert 'authserver_signing_key_age_seconds{kid="kid-1"} 60.0' in told
    assert 'authserver_jwks_fetch_seconds_count{outcome="ok"} 1.0' in told
    assert 'authserver_cache_lookups_total{cache="at_hand",result="hit"} 2.0' in told
    assert 'authserver_cache_lookups_total{cache="at_hand",result="miss"} 1.0' in told


@pytest.mark.parametrize(
    ("setting", "peer", "headers", "status"),
    [
        ("local", "127.0.0.1", {}, 200),
        ("local", "::1", {}, 200),
        ("local", "192.0.2.7", {}, 404),
        ("local", "", {}, 404),
        ("local", "127.0.0.1", {"X-Forwarded-For": "192.0.2.7"}, 404),
        ("local", "127.0.0.1", {"Forwarded": "for=192.0.2.7"}, 404),
        ("on", "192.0.2.7", {}, 200),
        ("off", "127.0.0.1", {}, 404),
    ],
)
def test_who_may_read_it_is_a_setting(
    parts: Parts, tmp_path: Path, setting: str, peer: str, headers: dict[str, str], status: int
) -> None:
    """Safe by default: what an attacker would like to know of refusals stays on this host."""
    counted = measured(tmp_path, parts, metrics=setting)

    answer = counted.request("GET", "/metrics", headers=headers, environ_base={"REMOTE_ADDR": peer})

    assert answer.status_code == status


class Owner:
    """A fetcher that answers, or does not."""

    def __init__(self, reason: str | None) -> None:
        self.reason = reason

    def fetch(self, url: str, *, etag: str | None = None, last_modified: str | None = None) -> FetchedJwks:
        """Answer or fail."""
        if self.reason is not None:
            raise JwksUnavailable(detail=url, reason=self.reason)
        return FetchedJwks(status=200)


@pytest.mark.parametrize("reason", [None, "jwks_timeout"])
def test_a_fetch_is_counted_by_its_outcome(reason: str | None) -> None:
    counted: list[tuple[str, float]] = []
    fetcher = MeteredFetcher(Owner(reason), lambda outcome, seconds: counted.append((outcome, seconds)))

    with nullcontext() if reason is None else pytest.raises(JwksUnavailable):
        fetcher.fetch("https://a.example/jwks")

    ((outcome, seconds),) = counted
    assert (outcome, 0 <= seconds < 1) == (reason or "ok", True)
