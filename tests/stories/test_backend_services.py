"""A backend client registers, asks and is refused, as the documented walk-through says; over HTTP only."""

import time
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
import requests

from tests.builders import CLIENT_ID, client_resource
from tests.keys import key, new_key
from tests.stories.world import OPERATOR, KeyHost, World, foreign_token

RSA, EC = key("RS384", "rsa-1"), key("ES384", "ec-1")
INVALID_CLIENT = (400, {"error": "invalid_client", "error_description": "Client authentication failed."})
DOCUMENTED_SCOPE = " ".join(
    f"system/{name}.read"
    for name in (
        "AllergyIntolerance CarePlan CareTeam Condition Device DiagnosticReport DocumentReference Encounter Goal Group "
        "Immunization Location MedicationRequest Observation Organization Patient Practitioner Procedure Provenance"
    ).split()
)


def told(response: requests.Response) -> tuple[int, object]:
    """Return status and body."""
    return response.status_code, response.json()


def test_a2_a_client_must_be_registered_before_it_can_run(world: World, key_host: KeyHost) -> None:
    """A2: 400 invalid_client before PUT /Client, 200 after it."""
    before = world.ask(world.assertion(RSA, "new-client"))
    world.register(key_host.open("/a2/jwks.json"), "new-client")

    after = world.ask(world.assertion(RSA, "new-client"))

    assert told(before) == INVALID_CLIENT
    assert after.status_code == 200


def test_a3_the_key_set_is_fetched_once_and_again_for_an_unknown_kid(client: World, key_host: KeyHost) -> None:
    """A3: one GET on first use, the set reused within its Cache-Control, one refetch on an unknown kid."""
    counts = []
    for _ in range(3):
        assert client.ask(client.assertion(EC)).status_code == 200
        counts.append(len(key_host.fetches))
    rotated = new_key("ES384", kid="ec-2")
    key_host.keys.append(rotated)

    after_rotation = client.ask(client.assertion(rotated))
    unknown = client.ask(client.assertion(new_key("ES384", kid="ec-3")))

    assert counts == [1, 1, 1]
    assert (after_rotation.status_code, told(unknown), len(key_host.fetches)) == (200, INVALID_CLIENT, 2)


@pytest.mark.parametrize("answer", ["unreachable", "no JSON", "a list", "404"])
def test_a3_a_key_set_that_cannot_be_had_is_invalid_client(world: World, key_host: KeyHost, answer: str) -> None:
    """A3: never a 500."""
    path = f"/a3/{answer.replace(' ', '-')}"
    if answer == "no JSON":
        key_host.server.expect_request(path).respond_with_data("<html>", content_type="application/json")
    if answer == "a list":
        key_host.server.expect_request(path).respond_with_json([])
    address = "http://127.0.0.1:9/jwks.json" if answer == "unreachable" else key_host.server.url_for(path)
    if answer == "unreachable":
        address = "http://127.0.0.1:1999/jwks.json"
    world.register(address, "keyless")

    assert told(world.ask(world.assertion(RSA, "keyless"))) == INVALID_CLIENT


def test_a4_a6_registration_echoes_the_resource(world: World, key_host: KeyHost) -> None:
    """A4, A6: 201, then 200 with a greater version; the body is the input plus resourceType, id and meta."""
    address = key_host.open("/a4/jwks.json")

    created, updated = world.register(address, "a4-client"), world.register(address, "a4-client")

    body = created.json()
    assert {name: body[name] for name in body if name not in ("id", "meta", "resourceType")} == client_resource(
        jwks_uri=address
    )
    assert (created.status_code, body["resourceType"], body["id"]) == (201, "Client", "a4-client")
    assert (created.headers["ETag"], updated.status_code, updated.headers["ETag"]) == ('W/"1"', 200, 'W/"2"')
    assert created.headers["Location"] == world.url("/Client/a4-client/_history/1")


def test_a4_a_wrong_admin_credential_is_refused(world: World) -> None:
    """A4: 401, nothing stored."""
    refused = world.put("/Client/a4-refused", client_resource(), auth=("root", "wrong"))

    assert refused.status_code == 401
    assert requests.get(world.url("/Client/a4-refused"), auth=OPERATOR, timeout=10).status_code == 404


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"active": False}, 400, "invalid_client"),
        ({"grant_types": ["basic"]}, 400, "unauthorized_client"),
        ({"auth": {"client_credentials": {"client_assertion_types": []}}}, 400, "invalid_client"),
        ({"scope": ["system/Client.r"]}, 400, "invalid_scope"),
        ({}, 200, None),
    ],
)
def test_a5_every_attribute_has_its_effect(
    client: World, key_host: KeyHost, changes: dict[str, object], status: int, error: str | None
) -> None:
    """A5: active, grant_types, client_assertion_types and scope; the last line is the positive control."""
    client.register(key_host.open("/a5/jwks.json"), **changes)

    response = client.ask(client.assertion(RSA))

    assert (response.status_code, response.json().get("error")) == (status, error)


def test_a5_the_expiration_is_the_tokens(client: World, key_host: KeyHost) -> None:
    """A5: access_token_expiration 120 gives expires_in 120 and exp - iat = 120."""
    grant = {"client_credentials": {"access_token_expiration": 120}}
    client.register(key_host.open("/a5/expiration.json"), auth=grant)

    answer = client.ask(client.assertion(RSA)).json()

    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    assert (answer["expires_in"], claims["exp"] - claims["iat"]) == (120, 120)


def test_a5_a_bad_enumeration_is_named_by_its_path(world: World) -> None:
    """A5: 422 OperationOutcome."""
    response = world.put("/Client/a5-bad", client_resource(auth={"client_credentials": {"token_format": "opaque"}}))

    assert response.status_code == 422
    assert [issue["expression"] for issue in response.json()["issue"]] == [
        ["Client.auth.client_credentials.token_format"]
    ]


def test_a9_only_a_form_in_the_body_is_taken(client: World) -> None:
    """A9: charset or not; JSON and query parameters are invalid_request; GET is a 405."""
    url = client.url("/auth/token")
    form_type = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}
    body = requests.Request("POST", url, data={"client_assertion": client.assertion(RSA)}).prepare().body
    rest = "&grant_type=client_credentials&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

    with_charset = requests.post(url, data=f"{body}{rest}", headers=form_type, timeout=10)
    as_json = requests.post(url, json={"grant_type": "client_credentials"}, timeout=10)
    in_query = requests.post(f"{url}?scope=system/*.read", data=f"{body}{rest}", headers=form_type, timeout=10)
    by_get = requests.get(url, timeout=10)

    assert with_charset.status_code == 200
    assert [(r.status_code, r.json()["error"]) for r in (as_json, in_query)] == [(400, "invalid_request")] * 2
    assert (by_get.status_code, by_get.headers["Allow"]) == (405, "POST")
    for response in (with_charset, as_json, in_query, by_get):
        assert (response.headers["Cache-Control"], response.headers["Pragma"]) == ("no-store", "no-cache")


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("system/Patient.read system/Observation.read", "system/Observation.read system/Patient.read"),
        ("system/Patient.read system/Patient.read", "system/Patient.read"),
        ("system/Patient.rs", "system/Patient.rs"),
        ("system/Patient.read patient/Patient.read openid", "system/Patient.read"),
        ("system/Patient.*", "system/Patient.read"),
        (None, DOCUMENTED_SCOPE),
    ],
)
def test_a10_what_is_asked_and_registered_is_granted(client: World, scope: str | None, granted: str) -> None:
    """A10, X10, X11: duplicates and order ignored, narrowed to the registration, all of it when absent."""
    response = client.ask(client.assertion(EC), scope=scope)

    assert (response.status_code, response.json()["scope"]) == (200, granted)


@pytest.mark.parametrize("scope", ["", "system/Binary.read", "patient/*.read", "openid", "system/Patient.write", "x y"])
def test_a10_nothing_grantable_is_invalid_scope(client: World, scope: str) -> None:
    """A10."""
    response = client.ask(client.assertion(EC), scope=scope)

    assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_assertion_type": None}, "invalid_client"),
        ({"client_assertion_type": "urn:x"}, "invalid_client"),
        ({"client_assertion": None}, "invalid_client"),
    ],
)
def test_a11_a12_a13_a_parameter_that_is_missing_or_wrong(
    client: World, change: dict[str, str | None], error: str
) -> None:
    """A11, A12, A13."""
    response = client.ask(client.assertion(EC), **change)

    assert (response.status_code, response.json()["error"]) == (400, error)
    assert sorted(response.json()) == ["error", "error_description"]


def test_a13_every_defect_of_an_assertion_looks_alike(client: World) -> None:
    """A13: signature, key, kid, algorithms, times, names, audience, replay: the same bytes for all."""
    now = int(time.time())
    used = client.assertion(EC)
    assert client.ask(used).status_code == 200
    good = client.assertion(EC)
    stranger = new_key("ES384", kid="ec-1")
    defects = {
        "replayed": used,
        "signature": f"{good[:-4]}AAAA",
        "key": client.assertion(stranger),
        "kid": client.assertion(EC, header={"kid": "nobody"}),
        "none": f"eyJhbGciOiJub25lIn0.{good.split('.')[1]}.",
        "HS256": jwt.encode({"sub": CLIENT_ID}, "x" * 32, algorithm="HS256"),
        "expired": client.assertion(EC, exp=now - 60),
        "too far": client.assertion(EC, exp=now + 900),
        "iss is not sub": client.assertion(EC, iss="somebody"),
        "unknown iss": client.assertion(EC, "somebody"),
        "audience": client.assertion(EC, aud="https://elsewhere.example/token"),
    }

    answers = {name: client.ask(assertion) for name, assertion in defects.items()}

    assert {name: told(answer) for name, answer in answers.items()} == dict.fromkeys(defects, INVALID_CLIENT)
    assert {answer.content for answer in answers.values()} == {answers["replayed"].content}
    receipts = [answer.headers["X-Request-Id"] for answer in answers.values()]
    lines = [line for line in client.server.logged.splitlines() if any(receipt in line for receipt in receipts)]
    reasons = {receipt: line for receipt in receipts for line in lines if receipt in line}
    assert len(set(receipts)) == len(reasons) == len(defects)
    assert "jti_replayed" in reasons[answers["replayed"].headers["X-Request-Id"]]
    assert "aud_mismatch" in reasons[answers["audience"].headers["X-Request-Id"]]


@pytest.mark.parametrize("algorithm", ["RS384", "ES384", "RS256", "ES256"])
def test_a14_four_algorithms_are_accepted(client: World, key_host: KeyHost, algorithm: str) -> None:
    """A14."""
    pair = key(algorithm, f"a14-{algorithm}")
    key_host.keys.append(pair)

    assert client.ask(client.assertion(pair)).status_code == 200


@pytest.mark.parametrize(
    ("claims", "header", "status"),
    [
        ({"iat": None}, {"typ": None}, 200),
        ({"jti": None}, None, 400),
        ({"exp": None}, None, 400),
        ({}, {"kid": None}, 400),
    ],
)
def test_a14_what_an_assertion_must_carry(
    client: World, claims: dict[str, object], header: dict[str, object] | None, status: int
) -> None:
    """A14: typ and iat may be missing; jti, exp and kid may not."""
    pair = key("ES384", "ec-1")

    response = client.ask(client.assertion(pair, header=header, **claims))

    assert response.status_code == status


def test_a14_a_client_may_narrow_its_algorithms(client: World, key_host: KeyHost) -> None:
    """A14: token_endpoint_auth_signing_alg."""
    client.register(key_host.open("/a14/jwks.json"), token_endpoint_auth_signing_alg="RS384")

    refused, accepted = client.ask(client.assertion(EC)), client.ask(client.assertion(RSA))

    assert (told(refused), accepted.status_code) == (INVALID_CLIENT, 200)


def test_a15_a16_the_answer_is_the_documented_one(client: World) -> None:
    """A15, A16: every member, the 19 scopes byte for byte, and no refresh_token; asked by Authlib's client."""
    answer = foreign_token(client, RSA, scope="system/*.read")

    answer.pop("expires_at")
    assert answer.pop("access_token").count(".") == 2
    assert answer == {
        "token_type": "Bearer",
        "scope": DOCUMENTED_SCOPE,
        "need_patient_banner": True,
        "expires_in": 300,
    }


def test_a17_the_token_is_a_jwt_that_our_key_set_verifies(client: World) -> None:
    """A17: documented claims plus aud, client_id, scope and kid."""
    answer = foreign_token(client, RSA, scope="system/Patient.read")

    keys = jwt.PyJWKSet.from_dict(requests.get(client.url("/.well-known/jwks.json"), timeout=10).json())
    header = jwt.get_unverified_header(answer["access_token"])
    claims = jwt.decode(answer["access_token"], keys[header["kid"]], audience=client.url("/fhir"), algorithms=["ES256"])
    assert (header["typ"], claims["exp"] - claims["iat"]) == ("at+jwt", 300)
    assert {name: claims[name] for name in ("iss", "sub", "client_id", "scope")} == {
        "iss": client.server.url,
        "sub": CLIENT_ID,
        "client_id": CLIENT_ID,
        "scope": "system/Patient.read",
    }
    assert claims["jti"]


def test_b08_one_assertion_posted_200_times_at_once_gives_one_token(client: World) -> None:
    """B07, B08 on SQLite: exactly one 200 among 200 simultaneous requests."""
    assertion = client.assertion(EC)

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: client.ask(assertion).status_code, range(200)))

    assert (answers.count(200), answers.count(400)) == (1, 199)


@pytest.mark.parametrize("end", ["token revoked", "client deactivated", "caller's secret changed"])
def test_f06_the_same_question_is_answered_by_how_things_stand(client: World, token: str, end: str) -> None:
    """F06: the same bytes over the same connection, again and again, until what they ask about is no more."""
    registered = client.put("/Client/asking", {"grant_types": ["basic"], "scope": ["__introspect"], "secret": "s" * 40})
    client.allow("asking")
    with requests.Session() as session:
        session.auth, url = ("asking", "s" * 40), client.url("/auth/introspect")

        before = [session.post(url, data={"token": token}, timeout=10) for _ in range(5)]
        if end == "token revoked":
            requests.post(client.url("/auth/revoke"), data={"token": token}, auth=OPERATOR, timeout=10)
        elif end == "client deactivated":
            client.put(f"/Client/{CLIENT_ID}", client_resource(jwks_uri="https://client.example/jwks", active=False))
        else:
            client.put("/Client/asking", {"grant_types": ["basic"], "scope": ["__introspect"], "secret": "t" * 40})
        after = [session.post(url, data={"token": token}, timeout=10) for _ in range(2)]
    client.delete("/AccessPolicy/asking")
    client.delete("/Client/asking")

    assert registered.status_code == 201, registered.text
    assert [(answer.status_code, answer.json()["active"]) for answer in before] == [(200, True)] * 5
    assert len({answer.headers["X-Request-Id"] for answer in before}) == 5
    expected = (401, None) if end == "caller's secret changed" else (200, False)
    assert [(answer.status_code, answer.json().get("active")) for answer in after] == [expected] * 2
