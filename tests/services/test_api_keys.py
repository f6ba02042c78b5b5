"""API keys over a whole server in memory: made, used, rotated, revoked. Rows C2 and X31."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from authserver.errors import BadRequest, Forbidden, InvalidResource, InvalidToken, LoginRequired, NotFound
from authserver.protocol import api_key, forwarded_request
from authserver.services.api_keys import DAY, MadeKey
from authserver.services.ports import API_KEY
from tests.builders import CLIENT_ID, FHIR_BASE, ISSUER, NOW
from tests.services.memory_server import Server, open_server

AT = NOW * 1_000_000
INACTIVE = {"active": False}


def make(server: Server, **changes: Any) -> MadeKey:
    """Make a key of the documented client."""
    body = {"client": CLIENT_ID, "environment": "live", "scope": ["system/Patient.rs"], **changes}
    return server.services.api_keys.create(body, actor="root", now=AT)


def introspect(server: Server, text: str, *, now: int = NOW) -> dict[str, Any]:
    """Return the introspection response."""
    return server.services.introspection.introspect(text, now=now)


def reason(server: Server, text: str, *, now: int = NOW) -> str | None:
    """Return the reason for which the key is refused to a caller of the registry."""
    try:
        server.services.authorization.by_token(text, now=now)
    except LoginRequired as error:
        return error.reason
    return None


def test_introspection_answers_for_a_key_as_for_a_token(server: Server) -> None:
    """X31."""
    server.register(tenant="north")
    made = make(server, environment="test", days=1)

    assert introspect(server, made.text) == {
        "active": True,
        "scope": "system/Patient.rs",
        "client_id": CLIENT_ID,
        "sub": CLIENT_ID,
        "iss": ISSUER,
        "aud": FHIR_BASE,
        "iat": NOW,
        "exp": NOW + DAY,
        "jti": f"clk_{made.stored.id}.1",
        "tenant": "north~test",
        "environment": "test",
        "token_type": "Bearer",
    }


def test_a_key_is_stored_as_a_hash_only(server: Server) -> None:
    """X31: neither the row nor the record has the key."""
    made = make(server)

    stored = server.parts.stores.resources.get(API_KEY, made.stored.id)

    assert stored is not None
    assert stored.secret_hash == api_key.digest(made.text)
    assert made.text[20:] not in repr((stored, stored.secret_hash, server.events))
    assert server.events[-1] == (
        "api_key_created",
        {"api_key": made.stored.id, "client_id": CLIENT_ID, "version_id": 1, "actor": "root"},
    )


def test_two_keys_have_nothing_in_common(server: Server) -> None:
    one, other = make(server), make(server)

    assert one.stored.id != other.stored.id
    assert one.text[21:53] != other.text[21:53]


def test_a_rotated_key_is_another_and_the_former_is_dead(server: Server) -> None:
    """X31: rotate kills the old at once; the time begins anew."""
    made = make(server, days=10, name="nightly")
    later = NOW + 5 * DAY

    rotated = server.services.api_keys.rotate(made.stored.id, actor="root", now=later * 1_000_000)

    new = introspect(server, rotated.text, now=later)
    assert (introspect(server, made.text, now=later), reason(server, made.text, now=later)) == (
        INACTIVE,
        "api_key_unknown",
    )
    assert (new["active"], new["iat"], new["exp"]) == (True, later, later + 10 * DAY)
    assert (rotated.stored.id, rotated.stored.body["name"]) == (made.stored.id, "nightly")


def test_a_revoked_key_is_dead_and_stays_to_be_seen(server: Server) -> None:
    """C2, X31."""
    made, keys = make(server), server.services.api_keys
    before = introspect(server, made.text)["active"]

    keys.revoke(made.stored.id, actor="root", now=AT)
    again = keys.revoke(made.stored.id, actor="root", now=AT + 10**6)

    assert (before, introspect(server, made.text), reason(server, made.text)) == (True, INACTIVE, "api_key_revoked")
    assert (again.version_id, again.body["revoked"]) == (2, NOW)
    with pytest.raises(BadRequest) as refused:
        keys.rotate(made.stored.id, actor="root", now=AT)
    assert refused.value.reason == "api_key_revoked"


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (lambda server: server.register(active=False), "api_key_client"),
        (lambda server: server.delete(), "api_key_client"),
        (lambda server: (server.delete(), server.register()), "api_key_client"),
        (lambda server: server.register(scope=["system/Observation.rs"]), "api_key_scope"),
    ],
    ids=["disabled", "deleted", "registered-anew", "scopes-taken"],
)
def test_a_key_dies_with_its_client(server: Server, end: Callable[[Server], object], why: str) -> None:
    """X31, X50."""
    made = make(server)
    before = introspect(server, made.text)["active"]

    end(server)

    assert (before, introspect(server, made.text), reason(server, made.text)) == (True, INACTIVE, why)


def test_a_key_of_a_client_that_is_gone_is_not_rotated(server: Server) -> None:
    made = make(server)
    server.delete()
    server.register()

    with pytest.raises(BadRequest) as refused:
        server.services.api_keys.rotate(made.stored.id, actor="root", now=AT)

    assert refused.value.reason == "api_key_client"


def test_a_key_expires(server: Server) -> None:
    """C2, X31."""
    made = make(server, days=1)

    assert introspect(server, made.text, now=NOW + DAY - 1)["active"]
    assert (introspect(server, made.text, now=NOW + DAY), reason(server, made.text, now=NOW + DAY)) == (
        INACTIVE,
        "api_key_expired",
    )


def test_an_unknown_key_and_a_misspelled_one_have_their_reasons(server: Server, tmp_path: Path) -> None:
    """C2."""
    elsewhere = open_server(tmp_path / "other")
    elsewhere.register()
    foreign, own = make(elsewhere).text, make(server).text

    found = [reason(server, text) for text in (own, foreign, own[:-1], "clk_live_")]

    assert found == [None, "api_key_unknown", "api_key_format", "api_key_format"]


def test_narrowed_scopes_narrow_the_key_at_once(server: Server) -> None:
    made = make(server, scope=["system/Patient.rs", "system/Observation.rs"])

    server.register(scope=["system/Patient.r"])

    assert introspect(server, made.text)["scope"] == "system/Patient.r"


def test_a_client_without_scopes_has_no_keys(server: Server) -> None:
    """A key is bound by scopes, always: nobody makes one that is worth as much as an operator's secret."""
    server.register(scope=[])

    with pytest.raises(InvalidResource):
        make(server)


def test_a_client_that_is_not_registered_has_no_keys(server: Server) -> None:
    with pytest.raises(InvalidResource) as refused:
        make(server, client="nobody")

    assert [issue.expression for issue in refused.value.issues()] == ["ApiKey.client"]


def test_keys_are_listed_with_their_state_and_last_use(server: Server) -> None:
    """X31: last used, to the hour."""
    keys, expired, revoked = server.services.api_keys, make(server, days=1), make(server)
    used = make(server, days=5)
    keys.revoke(revoked.stored.id, actor="root", now=AT)
    introspect(server, used.text, now=NOW + 4_000)

    shown = {one["id"]: one for one in keys.shown(keys.current(CLIENT_ID), now=NOW + 2 * DAY)}

    states = [shown[made.stored.id]["status"] for made in (expired, revoked, used)]
    assert states == ["expired", "revoked", "active"]
    assert shown[used.stored.id] == {
        "resourceType": "ApiKey",
        "id": used.stored.id,
        "client": CLIENT_ID,
        "environment": "live",
        "scope": ["system/Patient.rs"],
        "days": 5,
        "createdBy": "root",
        "status": "active",
        "issued": "2027-01-15T08:00:00.000000Z",
        "expires": "2027-01-20T08:00:00.000000Z",
        "lastUsed": "2027-01-15T09:00:00.000000Z",
        "meta": {"versionId": "1", "lastUpdated": "2027-01-15T08:00:00.000000Z"},
    }


def test_a_list_has_the_keys_of_one_client_or_all(server: Server) -> None:
    server.register("other")
    own, other = make(server), make(server, client="other")
    keys = server.services.api_keys

    found = [{one.id for one in keys.current(client)} for client in (CLIENT_ID, "other", "nobody", None)]

    assert found == [{own.stored.id}, {other.stored.id}, set(), {own.stored.id, other.stored.id}]


def test_a_key_that_is_not_there_cannot_be_changed(server: Server) -> None:
    keys = server.services.api_keys

    for change in (keys.rotate, keys.revoke):
        with pytest.raises(NotFound):
            change("000000000000", actor="root", now=AT)


def test_a_revocation_by_the_holder_is_one_of_the_key(server: Server) -> None:
    """RFC 7009 with an API key: its own client ends it, another client does not."""
    server.register("other")
    made = make(server)
    registry, revoke = server.services.authorization.registry, server.services.introspection.revoke

    revoke(made.text, owner=registry.client("other"), now=NOW)
    kept = introspect(server, made.text)["active"]
    revoke(made.text, owner=registry.client(CLIENT_ID), now=NOW)

    assert (kept, reason(server, made.text)) == (True, "api_key_revoked")


def test_forward_auth_takes_a_key_within_its_scope_and_the_policies(server: Server) -> None:
    """X45 with an API key: the tenant of a test key is another; scope and policy decide as for a token."""
    server.register(tenant="north")
    live, test = make(server), make(server, environment="test")
    request = forwarded_request.parse("GET", "/fhir/Patient/1")
    with pytest.raises(Forbidden):
        server.services.forward_auth.verify(live.text, request, now=NOW)
    server.allow(CLIENT_ID)

    tenants = [server.services.forward_auth.verify(made.text, request, now=NOW).tenant for made in (live, test)]

    assert tenants == ["north", "north~test"]
    with pytest.raises(Forbidden):
        server.services.forward_auth.verify(live.text, forwarded_request.parse("GET", "/fhir/Device/1"), now=NOW)


def test_forward_auth_says_why_a_key_is_refused(server: Server) -> None:
    """C2."""
    server.allow(CLIENT_ID)
    made, request = make(server), forwarded_request.parse("GET", "/fhir/Patient/1")
    server.services.api_keys.revoke(made.stored.id, actor="root", now=AT)

    with pytest.raises(InvalidToken) as refused:
        server.services.forward_auth.verify(made.text, request, now=NOW)

    assert (refused.value.reason, refused.value.public) == ("api_key_revoked", "The API key was revoked.")


def test_made_up_keys_are_guesses_and_dead_ones_are_not(server: Server, tmp_path: Path) -> None:
    """F03."""
    limited = open_server(tmp_path / "limited", introspection_guesses=1)
    limited.register()
    caller = limited.services.authorization.registry.client(CLIENT_ID)
    foreign, revoked = make(server).text, make(limited)
    limited.services.api_keys.revoke(revoked.stored.id, actor="root", now=AT)
    ask = limited.services.introspection.introspect

    answers = [ask(text, caller=caller, now=NOW) for text in (foreign, *([revoked.text] * 3))]

    assert answers == [INACTIVE] * 4
    with pytest.raises(Exception, match="introspection_guesses"):
        ask(foreign, caller=caller, now=NOW)
