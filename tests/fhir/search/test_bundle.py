"""The searchset Bundle."""

import json

from authserver.fhir.search.bundle import searchset
from authserver.fhir.store.port import Stored
from tests.fhir.builders import BASE

MATCH = Stored(1, "Patient", "a", 1, 0, b'{"resourceType":"Patient","id":"a"}', "")


def test_an_entry_has_the_four_documented_members() -> None:
    """Row A19."""
    body = searchset([MATCH], base_url=BASE, resource_type="Patient", pairs=[], next_cursor=None)

    assert json.loads(body) == {
        "resourceType": "Bundle",
        "type": "searchset",
        "link": [{"relation": "self", "url": f"{BASE}/Patient"}],
        "entry": [
            {
                "fullUrl": f"{BASE}/Patient/a",
                "resource": {"resourceType": "Patient", "id": "a"},
                "search": {"mode": "match"},
                "link": [{"relation": "self", "url": f"{BASE}/Patient/a"}],
            }
        ],
    }


def test_no_match_gives_no_entry_member() -> None:
    body = searchset([], base_url=BASE, resource_type="Patient", pairs=[("name", "x")], next_cursor=None)

    assert json.loads(body) == {
        "resourceType": "Bundle",
        "type": "searchset",
        "link": [{"relation": "self", "url": f"{BASE}/Patient?name=x"}],
    }


def test_links_are_encoded_and_the_next_link_carries_the_cursor() -> None:
    body = searchset(
        [], base_url=BASE, resource_type="Patient", pairs=[("identifier", "http://s|a&b c")], next_cursor="C_-"
    )

    assert json.loads(body)["link"] == [
        {"relation": "self", "url": f"{BASE}/Patient?identifier=http://s|a%26b%20c"},
        {"relation": "next", "url": f"{BASE}/Patient?identifier=http://s|a%26b%20c&_cursor=C_-"},
    ]
