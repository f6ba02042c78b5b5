"""Which access tokens of a client are alive, and the end of one of them, over HTTP. Row X5; threats G01, G15, F06."""

from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from freezegun import freeze_time

from authserver.app import Parts
from authserver.protocol.audit_record import AuditRecord
from authserver.protocol.audit_search import AuditQuery
from authserver.services.live_tokens import MAX_LOOKED_AT
from tests.builders import CLIENT_ID, ISSUER, client_resource, inline_keys, make_settings
from tests.http import Server, basic, bearer, make_app
from tests.keys import key

PATH = f"/Client/{CLIENT_ID}/$tokens"
REVOKE = f"/Client/{CLIENT_ID}/$revoke-token"
SECRET = "canary-secret of eight or more"


@pytest.fixture(autouse=True)
def registered(server: Server) -> None:
    """The documented client with a policy."""
    server.put_client()
    server.put_policy()


def listed(server: Server, query: str = "", client_id: str = CLIENT_ID) -> list[str]:
    """Return the jtis of the live tokens that root is shown."""
    answer = server.request("GET", f"/Client/{client_id}/$tokens{query}", headers=basic())
    assert answer.status_code == 200, answer.text
    return [one["jti"] for one in answer.json["tokens"]]


def jti_of(server: Server, token: str) -> str:
    """Return the jti of a live token."""
    return str(server.introspect(token).json["jti"])


def revoke(server: Server, jti: object, **options: Any) -> Any:
    """Revoke one token as root."""
    return server.request("POST", REVOKE, json={"jti": jti}, **{"headers": basic(), **options})


def test_a_live_token_is_listed_with_what_introspection_says_of_it(server: Server) -> None:
    """X5: jti, scope, issued, expires, from where; the control of all that follows."""
    with freeze_time("2026-11-21T08:00:00Z"):
        response = server.ask_token()
        told = server.introspect(response.json["access_token"]).json
        answer = server.request("GET", PATH, headers=basic())

    assert answer.json == {
        "client": CLIENT_ID,
        "server_time": "2026-11-21T08:00:00.000000Z",
        "tokens": [
            {
                "jti": told["jti"],
                "scope": told["scope"],
                "issued_at": "2026-11-21T08:00:00.000000Z",
                "expires_at": "2026-11-21T08:05:00.000000Z",
                "remote_address": "127.0.0.1",
                "request_id": response.headers["X-Request-Id"],
            }
        ],
        "next": None,
    }


def test_no_token_and_no_part_of_one_is_shown(server: Server) -> None:
    """X5, G15: hashes never shown; what is listed cannot be used."""
    token = server.token()

    text = server.request("GET", PATH, headers=basic()).text

    assert not [part for part in token.split(".") if part in text]


def test_the_newest_comes_first_and_other_clients_are_not_there(server: Server) -> None:
    server.put_client("other", **inline_keys(key()))
    first, other, second = server.token(), server.ask_token(client_id="other").json["access_token"], server.token()

    assert listed(server) == [jti_of(server, second), jti_of(server, first)]
    assert listed(server, client_id="other") == [jti_of(server, other)]


def test_what_expired_is_listed_no_more(server: Server) -> None:
    """X5: at the second at which introspection calls it inactive, and not before."""
    with freeze_time("2026-11-21T08:00:00Z") as frozen:
        token = server.token()
        frozen.tick(299)
        before = (server.introspect(token).json["active"], len(listed(server)))
        frozen.tick(1)
        after = (server.introspect(token).json["active"], len(listed(server)))

    assert (before, after) == ((True, 1), (False, 0))


@pytest.mark.parametrize("change", ["revoke-one", "revoke-all", "disable", "anew"])
def test_what_is_dead_by_a_change_is_listed_no_more(server: Server, change: str) -> None:
    """X5, X46, X50: one by one, all at once, disabled, registered anew."""
    token = server.token()
    alive = listed(server)
    if change == "revoke-one":
        server.post_form("/auth/revoke", {"token": token}, headers=basic())
    elif change == "revoke-all":
        server.request("POST", f"/Client/{CLIENT_ID}/$revoke-tokens", headers=basic())
    elif change == "disable":
        server.put_client(active=False)
    else:
        server.request("DELETE", f"/Client/{CLIENT_ID}", headers=basic())
        server.put_client()

    assert (len(alive), listed(server), server.introspect(token).json) == (1, [], {"active": False})


def test_a_change_that_ends_no_token_leaves_it_listed(server: Server) -> None:
    """The control: another name, another scope for the next tokens."""
    server.token()
    server.put_client(name="a better name", scope=["system/Patient.rs"])

    assert len(listed(server)) == 1


def test_pages_follow_each_other_without_a_gap(server: Server) -> None:
    """X5: bounded; what is issued meanwhile shifts nothing."""
    issued = [jti_of(server, server.token()) for _ in range(5)]
    asked, seen = f"{PATH}?_count=2", []

    while asked:
        page = server.request("GET", asked, headers=basic()).json
        seen.append([one["jti"] for one in page["tokens"]])
        server.token()
        asked = (page["next"] or "").removeprefix(ISSUER)

    newest = issued[::-1]
    assert seen == [newest[:2], newest[2:4], newest[4:]]


def test_an_answer_looks_at_so_many_records_and_says_where_the_rest_is(server: Server, parts: Parts) -> None:
    """X5: tokens that are all dead cost a bounded answer each, and none that lives is lost behind them."""
    alive = jti_of(server, server.token())
    (issued,) = parts.stores.audit.search(AuditQuery(events=frozenset({"token_issued"})))
    dead = {**issued.said, "facts": {**issued.said["facts"], "jti": "0.dead"}}
    parts.stores.audit.append([AuditRecord(**dead)] * MAX_LOOKED_AT)

    first = server.request("GET", PATH, headers=basic()).json
    second = server.request("GET", first["next"].removeprefix(ISSUER), headers=basic()).json

    assert (first["tokens"], [one["jti"] for one in second["tokens"]], second["next"]) == ([], [alive], None)


@pytest.mark.parametrize(
    "query", ["?_count=x", "?_count=", "?_cursor=-1", "?_count=1&_count=2", "?jti=1", "?_cursor=" + "9" * 19]
)
def test_a_question_that_cannot_be_meant_is_refused(server: Server, query: str) -> None:
    answers = [server.request("GET", PATH + asked, headers=basic()).status_code for asked in (query, "?_count=0")]

    assert answers == [400, 200]


def test_one_token_is_revoked_by_its_jti(server: Server, parts: Parts) -> None:
    """X5, F06: inactive at the next introspection; its neighbour lives; the audit says who ended it."""
    token, neighbour = server.token(), server.token()
    jti = jti_of(server, token)

    answer = revoke(server, jti)

    said = parts.stores.audit.search(AuditQuery(events=frozenset({"token_revoked"})))
    assert (answer.status_code, answer.json["issue"][0]["diagnostics"]) == (200, "The token is revoked.")
    assert [server.introspect(one).json["active"] for one in (token, neighbour)] == [False, True]
    assert listed(server) == [jti_of(server, neighbour)]
    assert [(one.said["agent"], one.said["entity"], one.said["facts"]) for one in said] == [
        ("root", f"Client/{CLIENT_ID}", {"jti": jti})
    ]


def test_a_dead_token_is_nothing_to_revoke(server: Server, parts: Parts) -> None:
    """Twice is as once: the second writes nothing."""
    jti = jti_of(server, server.token())

    told = [revoke(server, jti).json["issue"][0]["diagnostics"] for _ in range(2)]

    assert told == ["The token is revoked.", "The token was not active any more."]
    assert len(parts.stores.audit.search(AuditQuery(events=frozenset({"token_revoked"})))) == 1


def test_another_clients_token_is_not_there(server: Server) -> None:
    """G01: the path says whose token is ended, so the policy that allowed the path was about it."""
    server.put_client("other", **inline_keys(key()))
    token = server.ask_token(client_id="other").json["access_token"]

    answers = [revoke(server, jti).status_code for jti in (jti_of(server, token), "1.never", "1.%", "' OR 1=1 --x")]

    assert answers == [404, 404, 404, 400]
    assert server.introspect(token).json["active"] is True


@pytest.mark.parametrize("body", [{}, {"jti": 1}, {"jti": ""}, {"jti": "a\0"}, {"jti": "\ud800"}, {"jti": "x" * 257}])
def test_a_body_that_names_no_token_is_refused(server: Server, body: dict[str, Any]) -> None:
    assert server.request("POST", REVOKE, json=body, headers=basic()).status_code == 400


def test_a_member_more_is_refused(server: Server) -> None:
    """A request that says more than is done must not seem to be done."""
    jti = jti_of(server, server.token())

    answer = server.request("POST", REVOKE, json={"jti": jti, "all": True}, headers=basic())

    assert (answer.status_code, listed(server)) == (400, [jti])


def test_looking_needs_the_letter_r_and_ending_the_letter_u(server: Server) -> None:
    """G01: as reading and changing the Client do."""
    server.put_client(scope=["system/Client.r", "system/Client.u"])
    reads, changes = (bearer(server.token(scope=f"system/Client.{letter}")) for letter in "ru")
    jti = listed(server)[0]

    def statuses(headers: dict[str, str]) -> list[int]:
        looked = server.request("GET", PATH, headers=headers).status_code
        return [looked, revoke(server, f"{jti}x", headers=headers).status_code]

    assert [statuses(who) for who in (reads, changes, {})] == [[200, 403], [403, 404], [401, 401]]


def test_an_administrator_sees_its_own_tenants_clients_alone(server: Server) -> None:
    """X14: another tenant's client is not there, neither to be looked at nor its tokens to be ended."""
    admin = basic("admin-a", SECRET)
    server.put_client("admin-a", tenant="a", secret=SECRET, grant_types=["basic"], scope=None)
    server.put_policy("admin-a", "admin-a")
    for tenant in "ab":
        server.put_client(f"client-{tenant}", tenant=tenant, **inline_keys(key()))
    tokens = [server.ask_token(client_id=f"client-{tenant}").json["access_token"] for tenant in "ab"]
    jtis = [jti_of(server, token) for token in tokens]

    seen = [server.request("GET", f"/Client/client-{tenant}/$tokens", headers=admin) for tenant in "ab"]
    ended = [
        server.request("POST", f"/Client/client-{tenant}/$revoke-token", json={"jti": jti}, headers=admin).status_code
        for tenant, jti in zip("ab", jtis, strict=True)
    ]

    assert [answer.status_code for answer in seen] == [200, 404]
    assert [one["jti"] for one in seen[0].json["tokens"]] == jtis[:1]
    assert ended == [200, 404]
    assert [server.introspect(token).json["active"] for token in tokens] == [False, True]


def test_tokens_of_a_former_tenant_are_not_shown_to_the_new_one(server: Server) -> None:
    """X14: as introspection, which tells a tenant's caller of its tenant's tokens alone."""
    server.put_client("admin-b", tenant="b", secret=SECRET, grant_types=["basic"], scope=None)
    server.put_policy("admin-b", "admin-b")
    server.put_client(tenant="a")
    jti = jti_of(server, server.token())
    server.put_client(tenant="b")

    answer = server.request("GET", PATH, headers=basic("admin-b", SECRET))
    ended = revoke(server, jti, headers=basic("admin-b", SECRET))

    assert (answer.json["tokens"], ended.status_code, listed(server)) == ([], 404, [jti])


def test_a_client_that_is_not_registered_has_no_list(server: Server) -> None:
    answers = [server.request("GET", f"/Client/{name}/$tokens", headers=basic()) for name in ("nobody", "no_id")]

    assert [answer.status_code for answer in answers] == [404, 404]


def test_without_the_audit_nobody_knows_the_tokens(server: Server, parts: Parts, tmp_path: Path) -> None:
    """docs/errors.md: `audit_off`; a client that is not there is still a plain 404."""
    jti = jti_of(server, server.token())
    silent = Server(make_app(make_settings(tmp_path, audit=False), parts))

    with structlog.testing.capture_logs() as logged:
        answers = [silent.request("GET", PATH, headers=basic()), revoke(silent, jti)]

    sentence = "The audit of this server is off, so it does not know which tokens there are."
    assert [answer.status_code for answer in answers] == [404, 404]
    assert [answer.json["issue"][0]["code"] for answer in answers] == ["not-supported"] * 2
    assert {answer.json["issue"][0]["diagnostics"] for answer in answers} == {sentence}
    assert [entry["reason"] for entry in logged if "reason" in entry] == ["audit_off"] * 2


def test_who_looked_is_recorded(server: Server, parts: Parts) -> None:
    """docs/audit.md: the list is read from the audit, so it is a reading of the audit."""
    server.request("GET", PATH, headers=basic())

    (said,) = [one.said for one in parts.stores.audit.search(AuditQuery(events=frozenset({"audit_read"})))]
    assert (said["agent"], said["facts"]) == ("root", {"query": f"Client/{CLIENT_ID}/$tokens"})


def test_the_audit_is_searched_for_one_token(server: Server) -> None:
    """docs/audit.md, `policy`: its issue and its end, with the URN that an AuditEvent shows, or without."""
    jti = jti_of(server, server.token())
    server.token()
    revoke(server, jti)

    def kinds(query: str) -> list[str]:
        answer = server.request("GET", f"/AuditEvent?policy={query}", headers=basic())
        assert answer.status_code == 200, answer.text
        return [entry["resource"]["subtype"][0]["code"] for entry in answer.json.get("entry", [])]

    found = [kinds(query) for query in (jti, f"urn:ietf:params:oauth:jti:{jti}", f"{jti}x")]

    assert found == [["revocation", "ITI-71"]] * 2 + [[]]


def test_one_is_a_get_and_the_other_a_post(server: Server) -> None:
    """Looking changes nothing, and a link cannot end a token."""
    statuses = [
        server.request(*asked, headers=basic(), json=client_resource()).status_code
        for asked in (("POST", PATH), ("DELETE", PATH), ("GET", REVOKE))
    ]

    assert statuses == [405, 405, 405]
