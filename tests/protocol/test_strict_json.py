"""JSON with one reading: what is accepted is what every other parser reads, and the rest is refused."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authserver.protocol import strict_json
from authserver.protocol.strict_json import DuplicateMember, MalformedJson


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{}", {}),
        (" [1, -2.5, 1e3, true, null] ", [1, -2.5, 1000.0, True, None]),
        ('{"a":{"b":"\\u00e9\\ud83d\\ude00"}}', {"a": {"b": "é😀"}}),
        ('"é"', "é"),
        ("9" * 32, int("9" * 32)),
        ("-" + "9" * 31, -int("9" * 31)),
        ("0.5", 0.5),
    ],
)
def test_unambiguous_json_is_read(text: str, value: Any) -> None:
    assert strict_json.loads(text.encode()) == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{'a':1}",
        b'{"a":1,}',
        b"[1] [2]",
        b"// x\n1",
        b"01",
        b"+1",
        b".5",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e400",
        b"-1e400",
        b"9" * 33,
        b"-" + b"9" * 32,
        b"0." + b"1" * 31,
        b"1" * 5_000,
        b'"\x00"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'{"\\udfff":1}',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        "{}".encode("utf-32"),
        b"\x00{}",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 50_000,
        b'["\\u0061",' + b"[" * 3_000 + b"]" * 3_000 + b"]",
    ],
)
def test_everything_else_is_malformed(data: bytes) -> None:
    """Threat A15."""
    with pytest.raises(MalformedJson):
        strict_json.loads(data)


@pytest.mark.parametrize("text", ['{"a":1,"a":1}', '{"a":1,"\\u0061":2}', '[{"x":{"b":1,"b":2}}]'])
def test_a_member_named_twice_is_told_apart(text: str) -> None:
    """Threat A12."""
    with pytest.raises(DuplicateMember, match="a member name appears twice in one object"):
        strict_json.loads(text.encode())


def test_depth_is_counted_in_objects_and_lists_together() -> None:
    at_the_limit, deeper = b'[{"a":[1]}]', b'[{"a":[[1]]}]'

    assert strict_json.loads(at_the_limit, max_depth=3) == [{"a": [1]}]
    with pytest.raises(MalformedJson, match="nested too deeply"):
        strict_json.loads(deeper, max_depth=3)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(_json, st.booleans())
def test_what_json_writes_is_read_as_json_reads_it(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)

    assert strict_json.loads(text.encode()) == json.loads(text)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=30) | st.text(alphabet='{}[]":,0123456789.eE+-\\u ntrfalsd', max_size=30).map(str.encode))
def test_whatever_is_accepted_json_reads_alike(data: bytes) -> None:
    try:
        value = strict_json.loads(data)
    except MalformedJson:
        return

    assert json.loads(data) == value
