"""A short run of the request fuzzing over the whole application: no 5xx. The long run is `make fuzz`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authserver import clock
from authserver.protocol import scopes
from tests.builders import ROOT_SECRET, make_assertion, make_parts, make_settings, token_form
from tests.fuzz import requests
from tests.http import FORM, Server, make_app


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """An application with one client."""
    folder = tmp_path_factory.mktemp("fuzz")
    chosen, parts = make_settings(folder), make_parts(folder)
    server = Server(make_app(chosen, parts))
    server.bootstrap(chosen, parts, secret=ROOT_SECRET, now=clock.now_microseconds())
    server.put_client()
    return server


def test_no_mutated_request_gets_a_5xx(server: Server) -> None:
    """Threats E01 to E13: the run reaches every kind of answer."""
    report = requests.run(server.app, 2_000, seed=20_260_801)

    assert report.requests == 2_000
    assert {200, 400, 401, 404, 405} <= report.statuses.keys()


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=300), media_type=st.sampled_from([FORM, "application/json", "text/plain"]))
@pytest.mark.parametrize("path", ["/auth/token", "/auth/introspect", "/auth/revoke"])
def test_any_bytes_as_a_body_are_refused(server: Server, path: str, body: bytes, media_type: str) -> None:
    """Threat E03."""
    answer = server.request("POST", path, data=body, content_type=media_type)

    assert answer.status_code in (400, 401, 403)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([*token_form(""), "client_id", "resource"]), st.text(max_size=30)), max_size=6)
)
def test_any_form_is_refused(server: Server, pairs: list[tuple[str, str]]) -> None:
    """Threats E02, E08: no form without a good assertion gets a token."""
    form = {name: [value for other, value in pairs if other == name] for name, _ in pairs}

    answer = server.post_form("/auth/token", form)

    assert (answer.status_code, "access_token" in answer.text) == (400, False)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_scope_is_granted_within_the_registration_or_refused(server: Server, scope: str) -> None:
    """Threat E08, behind a good assertion. Text out of our own sources is among what is tried, good scopes too."""
    answer = server.post_form("/auth/token", token_form(make_assertion(now=clock.now()), scope=scope))

    body = answer.get_json()
    if answer.status_code == 200:
        granted, registered = scopes.parse_set(body["scope"]), scopes.parse_set("system/*.read")
        assert scopes.within(granted, registered, wildcard_types=None)
    else:
        assert (answer.status_code, body["error"]) == (400, "invalid_scope")
