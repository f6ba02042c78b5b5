"""Warnings about policies that are valid and yet perhaps not what was meant. Row X19; registry.md's known traps."""

from typing import Any

import pytest

from authserver.errors import InvalidResource, Issue
from authserver.protocol.policy_lint import warnings

LINK = [{"reference": "Client/c"}]
LOOSE = "found anywhere in the text; begin with ^"
LONGER = "fits longer texts as well; end with $ or /"
EMPTY = 'true also where nothing is; write {"$not": {"$one-of": ["nil?", …]}} to want something there'
HEAD = "HEAD is judged as get, so this never fits"


def told(body: dict[str, Any]) -> list[tuple[str, str]]:
    """Return place and text of each warning."""
    found = warnings(body)
    assert {(issue.severity, issue.code) for issue in found} <= {("warning", "informational")}
    return [(issue.expression.removeprefix("AccessPolicy."), issue.diagnostics) for issue in found]


def in_pattern(pattern: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the warnings about a pattern."""
    return [
        (at.removeprefix("matcho."), what) for at, what in told({"engine": "matcho", "link": LINK, "matcho": pattern})
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"engine": "allow", "link": LINK}, []),
        ({"engine": "allow", "link": LINK, "mode": "enforced"}, []),
        (
            {"engine": "allow", "link": LINK, "mode": "shadow"},
            [("mode", "in shadow mode a policy allows nothing; $impact tells what it would allow")],
        ),
        ({"engine": "allow"}, [("link", "without a link this is for every client, and it allows everything")]),
        (
            {"engine": "matcho", "matcho": {"uri": "/a"}},
            [
                (
                    "link",
                    "without a link this is for every client, and its condition looks at none of client, jwt, tenant",
                )
            ],
        ),
        ({"engine": "matcho", "matcho": {"uri": "/a", "tenant": "t"}}, []),
        ({"engine": "matcho", "matcho": {"params": {"_id": ".client.details.id"}}}, []),
        ({"engine": "json-schema", "schema": {"required": ["jwt"]}}, []),
        (
            {"engine": "allow", "link": [*LINK, {"reference": "Operation/FhirRead"}]},
            [
                (
                    "link",
                    "links are alternatives: c may do everything, and every client may do FhirRead; write two policies",
                )
            ],
        ),
        (
            {"engine": "matcho", "matcho": {"uri": "/a"}, "link": [*LINK, {"reference": "Operation/FhirRead"}]},
            [
                (
                    "link",
                    "links are alternatives: c may do whatever the condition allows, and every client may do FhirRead; "
                    "write two policies, or look at operation.id in the condition",
                )
            ],
        ),
        (
            {"engine": "allow", "link": [{"reference": "Operation/FhirRead"}]},
            [("link", "every client may do FhirRead")],
        ),
        ({"engine": "matcho", "matcho": {"uri": "/a"}, "link": [{"reference": "Operation/FhirRead"}]}, []),
        (
            {"engine": "allow", "link": LINK, "module": "m"},
            [("module", "unknown member: it is kept and has no effect")],
        ),
        (
            {
                "engine": "complex",
                "link": LINK,
                "or": [{"engine": "matcho", "matcho": {"uri": "#a"}}, {"engine": "allow"}],
            },
            [
                ("or[0].matcho.uri", LOOSE),
                ("or[1]", "allow is always true, so all of this policy allows everything"),
            ],
        ),
        (
            {"engine": "complex", "link": LINK, "and": [{"engine": "allow"}]},
            [("and[0]", "allow is always true, so this part has no effect")],
        ),
    ],
)
def test_a_policy_is_warned_about(body: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """Row X19: what a list of links opens; the traps of registry.md."""
    assert told(body) == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({"uri": "/fhir", "request-method": "GET", "params": {"_include": "nil?", "a": "present?"}}, []),
        # $not
        ({"params": {"a": {"$not": "x"}}}, [("params.a.$not", EMPTY)]),
        ({"$not": {"uri": "/a"}}, [("$not", EMPTY)]),
        ({"params": {"a": {"$not": "nil?"}}}, []),
        ({"params": {"a": {"$not": None}}}, []),
        ({"params": {"a": {"$not": {"$one-of": ["nil?", "x"]}}}}, []),
        ({"params": {"a": {"$not": {"$enum": [None, "x"]}}}}, []),
        ({"params": {"a": {"$not": {"$enum": ["x"]}}}}, [("params.a.$not", EMPTY)]),
        ({"body": {"a": {"$every": {"$not": "x"}}}}, []),
        ({"body": {"a": {"$contains": {"b": {"$not": "x"}}}}}, [("body.a.$contains.b.$not", EMPTY)]),
        ({"body": {"a": {"$present-all": [{"$not": "x"}]}}}, []),
        ({"body": {"a": {"$one-of": [{"$not": "x"}]}}}, [("body.a.$one-of[0].$not", EMPTY)]),
        ({"body": {"a": {"$reference": {"$not": {"id": "x"}}}}}, []),
        ({"body": [{"$not": "x"}]}, [("body[0].$not", EMPTY)]),
        # expressions
        ({"uri": "#^/fhir/Patient$"}, []),
        ({"uri": "#^/fhir/"}, []),
        ({"uri": "#^/fhir/(Patient|Group)(/|$)"}, []),
        ({"uri": "#(?i)^/fhir/"}, []),
        ({"uri": "#/fhir/"}, [("uri", LOOSE)]),
        ({"uri": "#^/fhir/Patient"}, [("uri", LONGER)]),
        (
            {"request-method": "#^get|put$"},
            [("request-method", "each alternative has anchors of its own; write ^(a|b)$")],
        ),
        ({"uri": r"#^[|](\||(a|b))$"}, []),
        ({"remote-addr": "#^10.0.0.1$"}, [("remote-addr", r"a dot fits any character; write \.")]),
        ({"remote-addr": r"#^10\.0\..*$"}, []),
        # others
        ({"request-method": "HEAD"}, [("request-method", HEAD)]),
        ({"request-method": {"$enum": ["GET", "head"]}}, [("request-method.$enum", HEAD)]),
        ({"request-method": {"$one-of": ["get", "head"]}}, [("request-method.$one-of[1]", HEAD)]),
        ({"body": {"a": "head"}}, []),
        ({"uri": "empty?"}, [("uri", "compared as text: the predicates are present?, nil?, not-blank?")]),
        ({"uri": {"$enum": ["#a", "/b"]}}, [("uri.$enum", "#a is compared as text here; for a pattern write $one-of")]),
        ({"uri": {"$eq": "#a"}}, []),
        (
            {"headers": {"X-A": "1"}},
            [("headers.X-A", "headers have names in small letters, so this one is never there")],
        ),
        (
            {"headers": {"authorization": "present?"}},
            [("headers.authorization", "no policy sees this header: who is calling is in client and jwt")],
        ),
        ({"headers": {"x-a": {"B": "1"}}}, []),
        ({"params": {"a": ".params.b"}}, [("params.a", "the caller chooses both sides")]),
        ({"params": {"a": ".jwt.sub"}}, []),
        ({"jwt": {"sub": ".params.a"}}, []),
        ({"body": {"a": {"$length": 1}}}, []),
        (
            {"query-string": "a=b"},
            [("query-string", "the caller chooses the order of parameters and adds others; use params")],
        ),
    ],
)
def test_a_pattern_is_warned_about(pattern: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """A positive control stands beside each trap."""
    assert in_pattern(pattern) == expected


MISSING = "holds also where the member is missing; add it to required"
SMALL = "methods are in small letters, and HEAD is judged as get: this never fits"


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"properties": {"uri": {"const": "/a"}}, "required": ["uri"]}, []),
        ({"properties": {"uri": {"const": "/a"}}}, [("properties.uri", MISSING)]),
        (
            {"properties": {"params": {"properties": {"a": True}}}, "required": ["params"]},
            [("properties.params.properties.a", MISSING)],
        ),
        (
            {"properties": {"user": {"type": "object"}}, "required": ["user"]},
            [("properties.user", "this server's requests have no such member")],
        ),
        (
            {"properties": {"request-method": {"const": "GET"}}, "required": ["request-method"]},
            [("properties.request-method.const", SMALL)],
        ),
        (
            {"properties": {"request-method": {"enum": ["get", "head"]}}, "required": ["request-method"]},
            [("properties.request-method.enum", SMALL)],
        ),
        ({"properties": {"uri": {"pattern": "/a"}}, "required": ["uri"]}, [("properties.uri.pattern", LOOSE)]),
        ({"anyOf": [{"properties": {"uri": {"const": "/a"}}}]}, [("anyOf[0].properties.uri", MISSING)]),
        ({"not": {"properties": {"uri": {"const": "/a"}}}}, []),
    ],
)
def test_a_schema_is_warned_about(schema: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    body = {"engine": "json-schema", "link": LINK, "schema": schema}

    assert [(at.removeprefix("schema."), what) for at, what in told(body)] == expected


def test_what_is_not_valid_is_refused_and_not_warned_about() -> None:
    with pytest.raises(InvalidResource):
        warnings({"engine": "matcho"})

    assert warnings({"engine": "allow", "id": "p"}) == (
        Issue(
            "AccessPolicy.link",
            "without a link this is for every client, and it allows everything",
            "informational",
            "warning",
        ),
    )
