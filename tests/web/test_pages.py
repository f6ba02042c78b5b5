"""What a browser could be made to do with the answers and paths of the registry. Threat G14."""

import pytest

from tests.http import FORM, Server, basic

SCRIPT = "<script>alert(document.domain)</script>"
POLICY = "sandbox; default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize("path", ["/Client/evil", "/Client", "/Client/evil/_history", "/nothing", "/auth/introspect"])
def test_no_answer_is_a_page(server: Server, path: str) -> None:
    """G14: what somebody registered as a name is JSON that no browser takes for HTML, frames, or runs."""
    server.put_client("evil", name=SCRIPT)

    response = server.request("GET", path, headers={**basic(), "Accept": "text/html"})

    assert response.content_type.split(";")[0] in ("application/json", "application/fhir+json")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == POLICY


def test_the_name_is_kept_as_it_is(server: Server) -> None:
    """G14: escaping is the work of who shows it; the registry changes nobody's words."""
    server.put_client("evil", name=SCRIPT)

    assert server.request("GET", "/Client/evil", headers=basic()).json["name"] == SCRIPT


@pytest.mark.parametrize("scheme", ["javascript", "JaVaScRiPt", "data", "vbscript", "file", "http"])
def test_a_jwks_uri_is_https(server: Server, scheme: str) -> None:
    """G14: the scheme is https in one spelling, so no case of another slips by."""
    refused = server.put_client(jwks=None, jwks_uri=f"{scheme}://keys.example.org/jwks.json")
    taken = server.put_client(jwks=None, jwks_uri="https://keys.example.org/jwks.json")

    assert (refused.status_code, taken.status_code) == (422, 201)


@pytest.mark.parametrize("content_type", [FORM, "text/plain", "multipart/form-data; boundary=x"])
def test_what_a_form_can_send_writes_nothing(server: Server, content_type: str) -> None:
    """G14, CSRF: these three types are all that a foreign page can send without asking first."""
    body = '{"resourceType": "Client", "id": "forged", "active": true}'

    forged = server.request("PUT", "/Client/forged", data=body, content_type=content_type, headers=basic())
    own = server.request(
        "PUT", "/Client/own", data=body.replace("forged", "own"), content_type="application/json", headers=basic()
    )

    assert (forged.status_code, own.status_code) == (415, 201)


def test_no_foreign_page_reads_an_answer(server: Server) -> None:
    """G14: no cookie that a browser sends along, no CORS header that lets a page read."""
    origin = {"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"}

    answers = [
        server.request("GET", "/Client", headers={**basic(), **origin}),
        server.request("OPTIONS", "/Client/x", headers=origin),
    ]

    assert [answer.status_code for answer in answers] == [200, 405]
    names = {name.lower() for answer in answers for name, _ in answer.headers}
    assert names.isdisjoint({"set-cookie", "access-control-allow-origin", "access-control-allow-credentials"})
