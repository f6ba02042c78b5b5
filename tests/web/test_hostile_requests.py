"""Every token request of tests/vectors/token_requests.json, sent to the whole application: threats E01 to E05, E08."""

from typing import Any

import pytest

from authserver import clock
from tests.builders import make_assertion, token_form, vectors
from tests.http import FORM, Server


@pytest.fixture(autouse=True)
def registered(server: Server) -> None:
    """Every test starts with the documented client."""
    server.put_client()


def fields(case: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the pairs of the form: the documented ones, with the changes of the case."""
    form = {**token_form(make_assertion(now=clock.now())), **case.get("set", {})}
    pairs = [(name, value) for name, value in form.items() if name not in case.get("without", ())]
    return pairs + [pair for pair in pairs if pair[0] == case.get("twice")]


def sent(server: Server, case: dict[str, Any], pairs: list[tuple[str, str]]) -> Any:
    """Send the request of a case."""
    content_type = case.get("content_type", FORM)
    path = "/auth/token" + (f"?{case['query']}" if "query" in case else "")
    body: Any = case.get("body", {name: [v for n, v in pairs if n == name] for name, _ in pairs})
    if isinstance(body, dict) and content_type != FORM:
        body = "&".join(f"{name}={value}" for name, value in pairs)
    return server.request(
        case.get("method", "POST"), path, data=body, content_type=content_type, headers=case.get("headers", {})
    )


@pytest.mark.parametrize("case", vectors("token_requests"))
def test_hostile_request_is_refused_and_uses_nothing_up(server: Server, case: dict[str, Any]) -> None:
    pairs = fields(case)

    refused = sent(server, case, pairs)
    # The same assertion in a request as documented: it is still good, unless the client had proven itself by it.
    beside = server.post_form("/auth/token", token_form(dict(pairs).get("client_assertion", "")))

    body = refused.get_json() if case.get("method") != "HEAD" else {"error": case["error"]}
    assert (refused.status_code, body["error"]) == (case["status"], case["error"])
    assert (refused.headers["Cache-Control"], refused.headers["Pragma"]) == ("no-store", "no-cache")
    spent = case["error"] == "invalid_scope" or "client_assertion" in case.get("without", ())
    assert beside.status_code == (400 if spent else 200)
