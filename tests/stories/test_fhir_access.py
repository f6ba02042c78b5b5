"""What a token opens at the FHIR API, and what it does not; over HTTP only."""

import time

import pytest

from tests.builders import CLIENT_ID
from tests.keys import key
from tests.stories.world import KeyHost, World, foreign_token

RSA = key("RS384", "rsa-1")
CREATED_AT = "https://fhir.aidbox.app/fhir/StructureDefinition/created-at"


def test_a7_deleting_the_policy_refuses_the_very_next_request(client: World, token: str) -> None:
    """A7: the token is unexpired and the answer is 403."""
    before = client.fhir("/Patient?_count=1", token)
    client.delete(f"/AccessPolicy/{CLIENT_ID}")

    after = client.fhir("/Patient?_count=1", token)

    assert (before.status_code, after.status_code) == (200, 403)
    assert after.json()["issue"][0]["code"] == "forbidden"


def test_a8_a_client_without_a_policy_has_no_access(client: World, token: str) -> None:
    """A8: the token is issued all the same."""
    client.delete(f"/AccessPolicy/{CLIENT_ID}")

    response = client.fhir("/Observation", token)

    assert (response.status_code, response.json()["resourceType"]) == (403, "OperationOutcome")
    assert response.json()["issue"] == [{"severity": "error", "code": "forbidden", "diagnostics": "Forbidden."}]


def test_a18_the_documented_search(client: World, token: str) -> None:
    """A18: at most two Observations, all with the code."""
    response = client.fhir("/Observation?code=4548-4&_count=2", token)

    bundle = response.json()
    codes = [coding["code"] for e in bundle["entry"] for coding in e["resource"]["code"]["coding"]]
    assert (response.status_code, bundle["resourceType"], bundle["type"]) == (200, "Bundle", "searchset")
    assert codes == ["4548-4", "4548-4"]


def test_a18_without_a_token_there_is_a_challenge(client: World) -> None:
    """A18: 401 with WWW-Authenticate: Bearer and no error code."""
    response = client.fhir("/Observation?code=4548-4&_count=2")

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="fhir"'


def test_a18_a_token_for_another_type_is_refused(client: World) -> None:
    """A18: 403 with insufficient_scope, naming what is needed."""
    narrow = foreign_token(client, RSA, scope="system/Patient.read")["access_token"]

    response = client.fhir("/Observation?code=4548-4&_count=2", narrow)

    assert response.status_code == 403
    assert 'error="insufficient_scope", scope="system/Observation.s"' in response.headers["WWW-Authenticate"]
    assert client.fhir("/Patient?_count=1", narrow).status_code == 200


def test_a19_every_entry_has_the_documented_shape(client: World, token: str) -> None:
    """A19: resource, search.mode, fullUrl and link; fullUrl dereferences to the same resource."""
    [entry, _] = client.fhir("/Observation?code=4548-4&_count=2", token).json()["entry"]

    url = f"{client.server.url}/fhir/Observation/{entry['resource']['id']}"
    assert sorted(entry) == ["fullUrl", "link", "resource", "search"]
    assert (entry["fullUrl"], entry["search"]) == (url, {"mode": "match"})
    assert entry["link"] == [{"relation": "self", "url": url}]
    read = client.fhir(f"/Observation/{entry['resource']['id']}", token)
    assert (read.status_code, read.json()) == (200, entry["resource"])


def test_a20_meta_is_there_on_read_and_search(client: World, token: str) -> None:
    """A20: lastUpdated, versionId, created-at; versionId equals the ETag."""
    [entry, _] = client.fhir("/Observation?code=4548-4&_count=2", token).json()["entry"]

    read = client.fhir(f"/Observation/{entry['resource']['id']}", token)

    meta = read.json()["meta"]
    assert entry["resource"]["meta"] == meta
    assert read.headers["ETag"] == f'W/"{meta["versionId"]}"'
    assert [extension["url"] for extension in meta["extension"]] == [CREATED_AT]
    assert meta["lastUpdated"].endswith("Z")


def test_a1_a21_an_expired_token_is_refused_everywhere(client: World, key_host: KeyHost) -> None:
    """A1, A21: accepted on any FHIR endpoint while it lives; then 401 there and inactive at introspection."""
    client.register(key_host.open("/a21/jwks.json"), auth={"client_credentials": {"access_token_expiration": 1}})
    token = str(foreign_token(client, RSA, scope="system/*.read")["access_token"])
    fresh = client.fhir("/Observation?_count=1", token).status_code
    time.sleep(1.1)

    expired = client.fhir("/Observation?_count=1", token)

    assert (fresh, expired.status_code) == (200, 401)
    assert 'error="invalid_token"' in expired.headers["WWW-Authenticate"]
    assert client.introspect(token) == {"active": False}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/Observation"),
        ("PUT", "/Observation/x"),
        ("PATCH", "/Observation/x"),
        ("DELETE", "/Observation/x"),
    ],
)
def test_a22_a_read_only_token_never_writes(client: World, token: str, method: str, path: str) -> None:
    """A22: 403 under the allow policy; the same token reads."""
    response = client.fhir(path, token, method=method, json={"resourceType": "Observation"})

    assert response.status_code == 403
    assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]
    assert client.fhir("/Observation?_count=1", token).status_code == 200


def test_a_disabled_client_is_refused_at_the_very_next_request(client: World, key_host: KeyHost, token: str) -> None:
    """X50: its token is unexpired."""
    before = client.fhir("/Patient?_count=1", token).status_code
    client.register(key_host.open("/disabled/jwks.json"), active=False)

    after = client.fhir("/Patient?_count=1", token).status_code

    assert (before, after) == (200, 401)


def test_a_scope_with_parameters_opens_only_what_matches(client: World, key_host: KeyHost) -> None:
    """X12: reads and searches are filtered by the granular scope."""
    client.register(key_host.open("/x12/jwks.json"), scope=["system/Observation.rs?category=laboratory"])
    token = str(foreign_token(client, RSA, scope="system/Observation.rs")["access_token"])

    laboratory = client.fhir("/Observation?code=4548-4&_count=1", token).json()
    vital_signs = client.fhir("/Observation?code=8867-4&_count=1", token).json()

    assert (len(laboratory["entry"]), vital_signs.get("entry", [])) == (1, [])


def test_the_discovery_documents_agree(world: World) -> None:
    """X1: the SMART document at the root and under /fhir; metadata names the token endpoint."""
    root = world.server.get("/.well-known/smart-configuration").json()
    under_base = world.fhir("/.well-known/smart-configuration").json()
    statement = world.fhir("/metadata").json()

    [oauth_uris] = statement["rest"][0]["security"]["extension"]
    assert root == under_base
    assert oauth_uris["extension"] == [{"url": "token", "valueUri": world.url("/auth/token")}]
    assert statement["resourceType"] == "CapabilityStatement"
