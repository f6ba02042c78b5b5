"""Documents that say what shall be registered: every finding has its path. Registry rule "init bundle"."""

from typing import Any

import pytest

from authserver.errors import InvalidResource
from authserver.protocol.registry_bundle import Wanted, escaped, parse, wanted

CLIENT = {"resourceType": "Client", "id": "acme"}
POLICY = {"resourceType": "AccessPolicy", "id": "acme", "engine": "allow"}


def entry(resource: Any = CLIENT, method: str = "PUT", url: Any = "Client/acme") -> dict[str, Any]:
    """Return an entry of a Bundle."""
    return {"request": {"method": method, "url": url}, "resource": resource}


def bundle(*entries: Any, **changes: Any) -> dict[str, Any]:
    """Return a transaction."""
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries), **changes}


def findings(document: Any, *, bundle_only: bool = True, **variables: str) -> list[tuple[str, str]]:
    """Return place and words of what is wrong."""
    with pytest.raises(InvalidResource) as refused:
        wanted(document, variables, bundle_only=bundle_only)
    return [(issue.expression, issue.diagnostics) for issue in refused.value.findings]


def test_a_bundle_says_its_resources_clients_first() -> None:
    """With or without the slash; type and id come from the request where the resource has none."""
    read = wanted(bundle(entry(POLICY, url="/AccessPolicy/acme"), entry({"name": "x"})), {})

    assert read == (
        Wanted("Client", "acme", {**CLIENT, "name": "x"}, "entry[1].resource"),
        Wanted("AccessPolicy", "acme", POLICY, "entry[0].resource"),
    )


@pytest.mark.parametrize("document", [CLIENT, [CLIENT], bundle(entry())])
def test_files_hold_one_resource_a_list_or_a_bundle(document: Any) -> None:
    assert [(one.resource_type, one.id) for one in wanted(document, {})] == [("Client", "acme")]


def test_variables_are_filled_in_at_every_depth() -> None:
    """`${NAME}`, within a text or alone; `$${NAME}` stays; what a variable holds is not filled in again."""
    resource = {**CLIENT, "name": "${A}-${B}", "scope": ["${A}"], "details": {"x": {"y": "$${A} $A {A} ${b}"}}, "n": 1}

    (read,) = wanted(resource, {"A": "${B}", "B": "two", "b": "é\n"})

    assert read.body == {
        **CLIENT,
        "name": "${B}-two",
        "scope": ["${B}"],
        "details": {"x": {"y": "${A} $A {A} é\n"}},
        "n": 1,
    }


def test_a_variable_that_is_not_set_is_named_with_its_path() -> None:
    """All of them at once; an empty one is set."""
    document = bundle(entry({"secret": "${SECRET}", "scope": ["a", "${SCOPE}"], "name": "${EMPTY}"}))

    assert findings(document, EMPTY="") == [
        ("entry[0].resource.secret", "the variable SECRET is not set"),
        ("entry[0].resource.scope[1]", "the variable SCOPE is not set"),
    ]


@pytest.mark.parametrize(
    ("document", "places"),
    [
        ([], [""]),
        (CLIENT, [""]),
        (bundle(type="batch"), ["type"]),
        (bundle(entry=7), ["entry"]),
        (bundle(7, entry("x")), ["entry[0].resource", "entry[1].resource"]),
        (bundle(entry(method="POST")), ["entry[0].request"]),
        (bundle(entry(url="Client")), ["entry[0].request"]),
        (bundle(entry(url="Patient/x")), ["entry[0].request"]),
        (bundle(entry(url="Client/a b")), ["entry[0].request"]),
        (bundle(entry(url="Client/a?_id=a")), ["entry[0].request"]),
        (bundle(entry(url=7)), ["entry[0].request"]),
        (bundle({"resource": CLIENT}), ["entry[0].request"]),
        (bundle(entry(url="Client/other")), ["entry[0].resource.id"]),
        (bundle(entry(POLICY)), ["entry[0].resource.resourceType"]),
        (bundle(entry(), entry()), ["entry[1].resource"]),
    ],
)
def test_a_bundle_that_is_none_is_refused_with_the_path(document: Any, places: list[str]) -> None:
    """Each finding stands at the place to mend."""
    assert [place for place, _ in findings(document)] == places


@pytest.mark.parametrize(
    ("document", "places"),
    [
        ([CLIENT, 7], ["[1]"]),
        ([{"resourceType": "Patient", "id": "x"}], ["[0]"]),
        ({"resourceType": "Client"}, ["id"]),
        ([{"resourceType": "Client", "id": "a b"}], ["[0].id"]),
        ("text", [""]),
    ],
)
def test_a_file_that_says_no_resource_is_refused(document: Any, places: list[str]) -> None:
    assert [place for place, _ in findings(document, bundle_only=False)] == places


@pytest.mark.parametrize(
    ("data", "name", "value"),
    [(b"a: no", "x.yaml", {"a": "no"}), (b'{"a": 1}', "x.yml", {"a": 1}), (b"[]", "x.json", [])],
)
def test_a_file_is_read_by_its_name(data: bytes, name: str, value: Any) -> None:
    assert parse(data, name=name) == value


@pytest.mark.parametrize(("data", "name"), [(b"a: [", "x.yaml"), (b"a: 1", "x.json"), (b'{"a":1,"a":1}', "x.json")])
def test_a_file_that_has_no_one_meaning_is_refused(data: bytes, name: str) -> None:
    with pytest.raises(InvalidResource) as refused:
        parse(data, name=name)

    assert [issue.code for issue in refused.value.findings] == ["structure"]


@pytest.mark.parametrize("text", ["${A}", "$${A}", "$$${A}", "${1}", "${", "a ${A} b ${B}", "$A", "plain"])
def test_an_escaped_text_is_read_as_it_was(text: str) -> None:
    """What is exported is no variable by accident."""
    resource = {**CLIENT, "details": {"a": [text]}}

    (read,) = wanted(escaped(resource), {"A": "never"})

    assert read.body == resource
