"""Who may ask about which token: every kind of caller against every kind of token, and what guessing brings."""

import secrets

import pytest

from authserver import clock
from authserver.protocol.token_request import JWT_BEARER
from tests.builders import TOKEN_URL, inline_keys, make_assertion
from tests.http import Server, basic, bearer
from tests.keys import key, new_key

LAB, SECRET = "https://lab.example/api", "canary-secret of the asker"
INACTIVE = b'{"active":false}'
CALLERS = {
    "root": {},
    "any": {},
    "lab": {"introspection_audience": LAB},
    "both": {"introspection_audience": [LAB, "https://auth.example/fhir"]},
    "north": {"tenant": "north"},
}
TOKENS = ("fhir", "lab", "two", "north", "dead")
SEEN = {
    "root": "fhir lab two north",
    "any": "fhir lab two north",
    "lab": "lab two",
    "both": "fhir lab two north",
    "north": "north",
}


def put(server: Server, client_id: str, **changes: object) -> None:
    """Register a client with the run's key, and a policy for it."""
    response = server.put_client(client_id, **{**inline_keys(key()), **changes})
    assert response.status_code == 201, response.text
    server.put_policy(client_id, client_id)


@pytest.fixture(autouse=True)
def registered(server: Server) -> None:
    """Callers with a secret and the scope, and owners of tokens for different audiences and tenants."""
    for name, changes in CALLERS.items():
        if name != "root":
            grants = ["basic", "client_credentials"]
            put(server, name, secret=SECRET, grant_types=grants, scope=["__introspect"], **changes)
    for name, audience in (("fhir", None), ("lab", [LAB]), ("two", [LAB, "https://auth.example/fhir"])):
        put(server, f"of-{name}", auth={"client_credentials": {"audience": audience}})
    put(server, "of-north", tenant="north")
    put(server, "of-dead")


@pytest.fixture
def tokens(server: Server) -> dict[str, str]:
    """One token of each kind; the last one's client is disabled."""
    found = {
        name: server.ask_token(client_id=f"of-{name}", scope="system/Patient.rs").json["access_token"]
        for name in TOKENS
    }
    server.put_client("of-dead", active=False)
    return found


def credentials(server: Server, caller: str, method: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the headers and the further form parameters by which the caller proves itself."""
    if method == "assertion":
        assertion = make_assertion(now=clock.now(), client_id=caller)
        return {}, {"client_assertion_type": JWT_BEARER, "client_assertion": assertion}
    if method == "bearer":
        answer = server.ask_token(client_id=caller, scope="__introspect")
        return bearer(answer.json["access_token"]), {}
    return basic() if caller == "root" else basic(caller, SECRET), {}


@pytest.mark.parametrize(
    ("caller", "method"),
    [("root", "basic"), *((name, how) for name in list(CALLERS)[1:] for how in ("basic", "bearer", "assertion"))],
)
def test_a_caller_sees_what_it_may_and_nothing_else(
    server: Server, tokens: dict[str, str], caller: str, method: str
) -> None:
    """F02, X4, N5: the matrix of callers, proofs and tokens; what may not be seen is inactive to the byte."""
    answers = {}
    for name, token in tokens.items():
        headers, form = credentials(server, caller, method)
        answers[name] = server.post_form("/auth/introspect", {"token": token, **form}, headers=headers)

    assert {answer.status_code for answer in answers.values()} == {200}
    assert [name for name, answer in answers.items() if answer.json["active"]] == SEEN[caller].split()
    assert {answer.data for answer in answers.values() if not answer.json["active"]} == {INACTIVE}


def test_a_token_that_may_not_be_seen_has_no_decision_either(server: Server, tokens: dict[str, str]) -> None:
    """F02: the description of a request opens no second door."""
    described = '{"method": "GET", "path": "/fhir/Patient"}'

    hidden = server.introspect(tokens["fhir"], headers=basic("lab", SECRET), request=described)
    shown = server.introspect(tokens["lab"], headers=basic("lab", SECRET), request=described)

    assert hidden.data == INACTIVE
    assert shown.json["policy_decision"] == {"allowed": True, "policy": "of-lab"}


@pytest.mark.parametrize("nothing", [[], "", [""], [LAB, ""]])
def test_an_empty_limit_is_refused(server: Server, nothing: object) -> None:
    """F02: it must not be read as no limit."""
    response = server.put_client("lab", introspection_audience=nothing)

    assert (response.status_code, response.json["issue"][0]["expression"]) == (422, ["Client.introspection_audience"])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        (basic("any", "a wrong secret"), 401),
        (basic("nobody", SECRET), 401),
        (basic("of-fhir", SECRET), 401),
        (bearer("nonsense"), 401),
        ({"Authorization": "Digest x"}, 401),
        ({"Authorization": "Basic !"}, 401),
    ],
    ids=str,
)
def test_no_credentials_no_fact(server: Server, tokens: dict[str, str], headers: dict[str, str], status: int) -> None:
    """F01: the same answer about a good token and about none, with a challenge."""
    about = [server.post_form("/auth/introspect", {"token": token}, headers=headers) for token in (tokens["fhir"], "x")]

    assert about[0].data == about[1].data
    assert (about[0].status_code, about[0].json["error"]) == (status, "invalid_client")
    assert about[0].headers["WWW-Authenticate"].startswith("Basic ")


def test_two_headers_or_a_token_elsewhere_are_refused(server: Server, tokens: dict[str, str]) -> None:
    """F09: Bearer beside Basic, a token in the query; a scheme in lower case is as good."""
    good = bearer(server.ask_token(client_id="any", scope="__introspect").json["access_token"])["Authorization"]
    form = {"token": tokens["fhir"]}
    two = [("Authorization", good), ("Authorization", basic()["Authorization"])]

    both = server.post_form("/auth/introspect", form, headers=two)
    query = server.post_form("/auth/introspect?access_token=x", form, headers=basic())
    lower = server.post_form("/auth/introspect", form, headers={"Authorization": good.replace("Bearer", "bearer")})

    assert (both.status_code, query.status_code, lower.json["active"]) == (400, 400, True)


def test_an_assertion_here_names_the_issuer_or_the_token_url(server: Server, tokens: dict[str, str]) -> None:
    """O6, A04: the rule of the token endpoint; this endpoint's own URL is no audience."""
    answers = []
    for audience in ("https://auth.example", TOKEN_URL, "https://auth.example/auth/introspect"):
        assertion = make_assertion(now=clock.now(), client_id="any", aud=audience)
        form = {"client_assertion_type": JWT_BEARER, "client_assertion": assertion}
        answers.append(server.post_form("/auth/introspect", {"token": tokens["fhir"], **form}).status_code)

    assert answers == [200, 200, 400]


def test_two_tokens_are_refused(server: Server, tokens: dict[str, str]) -> None:
    """F03: which one would the answer be about?"""
    pairs = [("token", tokens["fhir"]), ("token", tokens["dead"])]

    both = server.post_form("/auth/introspect", {"token": [value for _, value in pairs]}, headers=basic())
    one = server.introspect(tokens["fhir"])

    assert (both.status_code, both.json["error"]) == (400, "invalid_request")
    assert one.json["active"] is True


def test_token_scanning_learns_nothing(server: Server, tokens: dict[str, str]) -> None:
    """F03: truncated, bit-flipped, re-headed, random and huge guesses: one answer, of one size, headers included."""
    token = tokens["fhir"]
    header, payload, signature = token.split(".")
    flipped = [token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :] for at in range(0, len(token), 7)]
    cut = [token[:length] for length in range(1, len(token), 41)]
    others = [
        f"eyJhbGciOiJub25lIn0.{payload}.",
        f"{header}.{payload}.{'A' * len(signature)}",
        new_key("ES256").sign({"sub": "of-fhir"}),
        "A" * 60_000,
        "\x00",
        "𐀀" * 100,
        *(secrets.token_urlsafe(200) for _ in range(50)),
    ]

    answers = [server.introspect(guess) for guess in [*flipped, *cut, *others]]

    assert {(answer.status_code, answer.data) for answer in answers} == {(200, INACTIVE)}
    assert len({tuple((k, len(v)) for k, v in answer.headers.items()) for answer in answers}) == 1
    assert server.introspect(token).json["active"] is True


def test_a_body_beyond_the_limit_is_not_read(server: Server) -> None:
    """F03, E04: 413 before anything is looked at."""
    response = server.introspect("A" * 70_000)

    assert (response.status_code, response.json["error"]) == (413, "invalid_request")
