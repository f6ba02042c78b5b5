"""YAML of one reading. Threat G02; a value is what the same JSON is, or it is refused."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from authserver.protocol import strict_yaml
from authserver.protocol.strict_yaml import DuplicateKey, MalformedYaml

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WORDS = st.sampled_from(
    ["yes", "no", "~", "null", "1e3", "0x1f", "1_000", "2024-01-01", "12:30", "=", "<<", "", " x", "-"]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | WORDS, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("active: true\nscope: [system/*.read]\n", {"active": True, "scope": ["system/*.read"]}),
        (
            "a: no\nb: on\nc: 0x1F\nd: 010\ne: 2024-01-01\nf: 1:30",
            {"a": "no", "b": "on", "c": "0x1F", "d": "010", "e": "2024-01-01", "f": "1:30"},
        ),
        (
            "{a: 1, b: -2.5, c: 1e3, d: null, e: ~, f: , g: 'true', h: \"1\"}",
            {"a": 1, "b": -2.5, "c": 1000.0, "d": None, "e": None, "f": None, "g": "true", "h": "1"},
        ),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        ("- 1\n- [a, b]\n", [1, ["a", "b"]]),
        ("# a comment\n---\nx: 1\n...\n", {"x": 1}),
        ('{"resourceType": "Client", "active": false}', {"resourceType": "Client", "active": False}),
        ('"<<": 1', {"<<": 1}),
    ],
)
def test_a_document_is_read_as_json_would_be(text: str, value: Any) -> None:
    """YAML 1.2 core: `no` and dates are texts; JSON is YAML."""
    assert strict_yaml.loads(text.encode()) == value


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1]\nb: *x",
        "a: &x 1",
        "*x",
        "!!python/object/apply:os.system ['true']",
        "a: !!str 1",
        "!client {a: 1}",
        "<<: {a: 1}",
        "1: a",
        "true: a",
        "~: a",
        "? [a]\n: b",
        "a: 1\n---\nb: 2",
        "",
        "# nothing",
        "a: b: c",
        "a: [1",
        "\t- a",
        "a: 1e999",
        "[" * 33 + "]" * 33,
        "[" * 60_000,
        "- " * 5_000,
        "{a: " * 40,
        "a: \x00",
        "%YAML 9.9\n---\na: 1",
    ],
)
def test_what_has_no_one_meaning_is_refused(text: str) -> None:
    """G02: anchors, tags, merge keys, other keys than texts, several documents, depth."""
    with pytest.raises(MalformedYaml):
        strict_yaml.loads(text.encode())


def test_a_duplicate_key_is_refused_with_its_place() -> None:
    """G02: and the message quotes nothing."""
    with pytest.raises(DuplicateKey, match=r"^a key appears twice in one mapping \(line 2, column 1\)$"):
        strict_yaml.loads(b"active: false\nactive: true\n")


@pytest.mark.parametrize("data", [b"a: \xff", "a: é".encode("utf-16"), b"a: " + b"x" * 65_536])
def test_bytes_that_are_no_document_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedYaml):
        strict_yaml.loads(data)


def test_the_deepest_document_is_read() -> None:
    """The control of the limit."""
    assert json.dumps(strict_yaml.loads(("[" * 32 + "]" * 32).encode())) == "[" * 32 + "]" * 32


@given(VALUES)
@example("\x85")
@example({"a\u2028b": ["c\rd", "\u2029"]})
def test_what_is_written_is_read_as_it_was(value: Any) -> None:
    """No text becomes a number, no number a text, whatever it looks like."""
    written = strict_yaml.dumps(value)

    assert json.dumps(strict_yaml.loads(written.encode())) == json.dumps(value)


def test_other_readers_understand_what_is_written() -> None:
    """YAML 1.1 takes `no` for false where it is not quoted."""
    value = {"a": "no", "b": "1e3", "c": "2024-01-01", "list": [{"x": 1}], "same": [[1], [1]]}

    assert yaml.safe_load(strict_yaml.dumps(value)) == value
    assert "&" not in strict_yaml.dumps(value)
