"""The token endpoint over HTTP: shape of requests and answers."""

import pytest
from freezegun import freeze_time

from authserver import clock
from tests.builders import CLIENT_ID, make_assertion, token_form
from tests.http import FORM, Server, basic

INVALID_CLIENT = b'{"error":"invalid_client","error_description":"Client authentication failed."}'


@pytest.fixture(autouse=True)
def registered(server: Server) -> None:
    """Every test starts with the documented client."""
    server.put_client()


def test_a_valid_request_gets_the_documented_answer(server: Server) -> None:
    """A15: members and their values; no refresh_token at all."""
    response = server.ask_token(scope="system/Patient.read")

    body = response.json
    assert response.status_code == 200
    assert body.pop("access_token").count(".") == 2
    assert body == {
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "system/Patient.read",
        "need_patient_banner": True,
    }
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Pragma"] == "no-cache"


@pytest.mark.parametrize("content_type", [FORM, f"{FORM};charset=UTF-8", f"{FORM}; charset=utf-8"])
def test_a_form_is_accepted(server: Server, content_type: str) -> None:
    """A9: with or without the charset."""
    body = "&".join(f"{name}={value}" for name, value in token_form(make_now()).items())

    response = server.request("POST", "/auth/token", data=body, content_type=content_type)

    assert response.status_code == 200


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "multipart/form-data; boundary=x", "text/plain", None, f"{FORM};charset=utf-16"],
)
def test_any_other_media_type_is_refused(server: Server, content_type: str | None) -> None:
    """A9, E03."""
    response = server.request("POST", "/auth/token", data=b"grant_type=client_credentials", content_type=content_type)

    assert response.status_code == 400
    assert response.json == {
        "error": "invalid_request",
        "error_description": "The Content-Type must be application/x-www-form-urlencoded.",
    }


def test_a_compressed_body_is_refused(server: Server) -> None:
    """E03."""
    response = server.post_form("/auth/token", token_form(make_now()), headers={"Content-Encoding": "gzip"})

    assert (response.status_code, response.json["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("query", ["scope=system/*.read", "grant_type=client_credentials", "client_assertion=x"])
def test_an_oauth_parameter_in_the_query_is_refused(server: Server, query: str) -> None:
    """A9, E01: the query never adds to the body."""
    response = server.post_form(f"/auth/token?{query}", token_form(make_now()))

    assert (response.status_code, response.json["error"]) == (400, "invalid_request")


def test_an_unknown_query_parameter_is_ignored(server: Server) -> None:
    """The positive control of E01."""
    response = server.post_form("/auth/token?trace=1", token_form(make_now()))

    assert response.status_code == 200


@pytest.mark.parametrize("name", ["scope", "grant_type", "client_assertion", "client_assertion_type"])
def test_a_repeated_parameter_is_refused(server: Server, name: str) -> None:
    """E02."""
    form = token_form(make_now())

    response = server.post_form("/auth/token", {**form, name: [form[name], form[name]]})

    assert response.status_code == 400
    assert response.json == {
        "error": "invalid_request",
        "error_description": f"The parameter {name} was sent more than once.",
    }


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_only_post_is_allowed(server: Server, method: str) -> None:
    """A9, E05: 405 with Allow: POST, not stored either."""
    response = server.request(method, "/auth/token")

    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    assert response.headers["Cache-Control"] == "no-store"


def test_an_oversized_body_is_refused(server: Server) -> None:
    """E12."""
    response = server.post_form("/auth/token", {"client_assertion": "x" * 70_000})

    assert response.status_code == 413
    assert response.json == {"error": "invalid_request", "error_description": "The request body is too large."}


def test_too_many_parameters_are_refused(server: Server) -> None:
    """E12."""
    response = server.post_form("/auth/token", {f"p{number}": "x" for number in range(101)})

    assert (response.status_code, response.json["error"]) == (400, "invalid_request")


def test_a_hundred_fields_are_read_and_no_more(server: Server) -> None:
    """E12: a form with a good assertion, so that nothing else refuses it."""
    answers = []
    for extra in (96, 97):
        form = token_form(make_now())
        answers.append(server.post_form("/auth/token", {**form, **{f"p{number}": "x" for number in range(extra)}}))

    assert [answer.status_code for answer in answers] == [200, 400]
    assert answers[1].get_json()["error"] == "invalid_request"


def test_a_form_that_is_not_utf8_is_refused(server: Server) -> None:
    """E03."""
    response = server.request("POST", "/auth/token", data=b"scope=%ff&grant_type=x", content_type=FORM)

    assert (response.status_code, response.json["error"]) == (400, "invalid_request")


def test_an_assertion_beside_basic_is_refused(server: Server) -> None:
    """E04: two mechanisms are invalid_client (RFC 7521 section 4.2.1)."""
    response = server.post_form("/auth/token", token_form(make_now()), headers=basic())

    assert (response.status_code, response.data) == (400, INVALID_CLIENT)


def test_basic_alone_is_refused_with_a_challenge(server: Server) -> None:
    """RFC 6749 section 5.2: a caller that used the Authorization header gets 401 and WWW-Authenticate."""
    response = server.post_form("/auth/token", {"grant_type": "client_credentials"}, headers=basic())

    assert (response.status_code, response.data) == (401, INVALID_CLIENT)
    assert response.headers["WWW-Authenticate"] == 'Basic realm="authserver", charset="UTF-8"'


def test_every_failed_authentication_looks_alike(server: Server) -> None:
    """A13, E06: one body, one status and the same headers for every cause; only the receipt differs."""
    used = make_now()
    server.post_form("/auth/token", token_form(used))
    now = 1_900_000_000
    forms = {
        "replayed": token_form(used),
        "unknown client": token_form(make_now(client_id="nobody")),
        "missing assertion": token_form(used, client_assertion=None),
        "wrong assertion type": token_form(used, client_assertion_type="urn:x"),
        "malformed": token_form("a.b"),
        "far exp": token_form(make_now(exp=now)),
        "wrong aud": token_form(make_now(aud="https://other.example")),
        "iss is not sub": token_form(make_now(iss="other")),
        "unknown kid": token_form(make_now(header={"kid": "other"})),
        "secret": token_form(make_now(), client_secret="s"),
    }

    answers = {name: server.post_form("/auth/token", form) for name, form in forms.items()}

    shapes = {(a.status_code, a.data, tuple(sorted(name for name, _ in a.headers))) for a in answers.values()}
    assert len(shapes) == 1
    assert next(iter(shapes))[:2] == (400, INVALID_CLIENT)
    assert len({a.headers["X-Request-Id"] for a in answers.values()}) == len(forms)


def test_the_log_tells_the_causes_apart_by_the_receipt(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """A13: same answer outside, its own reason inside, found by the request id."""
    response = server.ask_token(claims={"aud": "https://other.example"})

    log = capsys.readouterr()
    line = next(line for line in (log.out + log.err).splitlines() if response.headers["X-Request-Id"] in line)
    assert "aud_mismatch" in line
    assert CLIENT_ID not in response.text


def test_an_expired_assertion_is_refused(server: Server) -> None:
    """A13: exp in the past; a positive control before the clock moves."""
    assertion = make_now()
    with freeze_time(tz_offset=0) as frozen:
        frozen.tick(311)

        response = server.post_form("/auth/token", token_form(assertion))

    assert (response.status_code, response.data) == (400, INVALID_CLIENT)


def make_now(**changes: object) -> str:
    """Return an assertion that is valid at this moment."""
    return make_assertion(now=clock.now(), **changes)
