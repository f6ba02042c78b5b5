"""Introspection answers as signed JWTs (RFC 9701). Rows X58 and X5 of the protocol, X6 for the metadata."""

import jwt
import pytest
from freezegun import freeze_time
from werkzeug.test import TestResponse

from tests.builders import CLIENT_ID, ISSUER
from tests.http import Server, basic, bearer

JWT_TYPE = "application/token-introspection+jwt"


@pytest.fixture(autouse=True)
def registered(server: Server) -> None:
    """The documented client, with a policy."""
    server.put_client()
    server.put_policy()


def signed(server: Server, token: str, *, accept: str = JWT_TYPE, **form: str) -> TestResponse:
    """Ask for a signed answer as root."""
    return server.introspect(token, headers={**basic(), "Accept": accept}, **form)


def verified(server: Server, answer: TestResponse) -> dict[str, object]:
    """Return the claims as a resource server checks them: by PyJWT and the published keys."""
    [jwk] = server.request("GET", "/.well-known/jwks.json").json["keys"]
    assert jwt.get_unverified_header(answer.text) == {
        "alg": "ES256",
        "kid": jwk["kid"],
        "typ": "token-introspection+jwt",
    }
    return dict(jwt.decode(answer.text, jwt.PyJWK(jwk), audience="root", issuer=ISSUER))


@freeze_time("2027-01-15T08:00:00Z")
def test_an_active_token_is_described_in_a_signed_answer(server: Server) -> None:
    """X58, X5: iss, aud = the caller, iat, and the plain answer inside; no sub, no exp."""
    token = server.token(scope="system/Patient.read")

    answer = signed(server, token, request='{"method": "GET", "path": "/fhir/Patient"}')

    plain = server.introspect(token, request='{"method": "GET", "path": "/fhir/Patient"}').json
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, JWT_TYPE)
    assert answer.headers["Cache-Control"] == "no-store"
    assert verified(server, answer) == {
        "iss": ISSUER,
        "aud": "root",
        "iat": 1_800_000_000,
        "token_introspection": plain,
    }
    assert plain["active"] is True


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "A" * 20_000])
def test_an_inactive_token_is_inactive_and_nothing_else(server: Server, token: str) -> None:
    """X5: only `active: false` inside; every such answer has one size."""
    answers = [signed(server, token or server.ask_token().json["access_token"] + "x") for _ in range(2)]

    assert [verified(server, answer)["token_introspection"] for answer in answers] == [{"active": False}] * 2
    assert len({len(answer.data) for answer in [*answers, signed(server, "other")]}) == 1


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (JWT_TYPE, JWT_TYPE),
        ("Application/Token-Introspection+JWT", JWT_TYPE),
        (f"{JWT_TYPE}, application/json;q=0.5", JWT_TYPE),
        (f"{JWT_TYPE}, application/json", JWT_TYPE),
        (f"{JWT_TYPE};q=0.5, application/json", "application/json"),
        (f"{JWT_TYPE};q=0", "application/json"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/jwt", "application/json"),
    ],
)
def test_the_accept_header_chooses(server: Server, accept: str, expected: str) -> None:
    """X58: a signed answer only for who names it; everybody else gets what they always got."""
    answer = signed(server, "x", accept=accept)

    assert answer.headers["Content-Type"] == expected


def test_without_credentials_a_signed_answer_is_a_bad_request(server: Server) -> None:
    """X5: 400, since there is nobody to address; wrong credentials stay a 401, plain answers too."""
    token = server.token()
    none = server.post_form("/auth/introspect", {"token": token}, headers={"Accept": JWT_TYPE})
    wrong = server.introspect(token, headers={**basic("root", "wrong"), "Accept": JWT_TYPE})
    plain = server.post_form("/auth/introspect", {"token": token})

    assert (none.status_code, none.json["error"]) == (400, "invalid_client")
    assert (wrong.status_code, plain.status_code) == (401, 401)


def test_a_signed_answer_is_no_access_token(server: Server) -> None:
    """B04, O11: kinds of JWT are mutually exclusive, though one key signs them."""
    answer = signed(server, server.token()).text

    as_token = server.introspect(answer)
    as_bearer = server.introspect("x", headers=bearer(answer))

    assert (as_token.data, as_bearer.status_code) == (b'{"active":false}', 401)


def test_the_metadata_names_the_algorithm(server: Server) -> None:
    """X6: introspection_signing_alg_values_supported, and it is the one that signs."""
    document = server.request("GET", "/.well-known/oauth-authorization-server").json

    header = jwt.get_unverified_header(signed(server, "x").text)

    assert document["introspection_signing_alg_values_supported"] == [header["alg"]]
    assert CLIENT_ID not in str(document)
