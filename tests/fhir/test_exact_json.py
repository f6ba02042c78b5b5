"""JSON that keeps its numbers as they were written."""

import pytest

from authserver.fhir import exact_json


@pytest.mark.parametrize("number", ["1.50", "0.0", "-0.00", "1e5", "1.0E-10", "7", "12345678901234567890123", "-3"])
def test_a_number_comes_back_as_it_was_written(number: str) -> None:
    assert exact_json.dumps(exact_json.loads(f'{{"value":{number}}}')) == f'{{"value":{number}}}'.encode()


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "{", "", "1.", "'a'", "[" * 100_000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(exact_json.NotJson):
        exact_json.loads(text)


@pytest.mark.parametrize("value", ["\ud800", object()])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(exact_json.NotJson):
        exact_json.dumps(value)


def test_sorted_keys_make_equal_content_equal_bytes() -> None:
    assert exact_json.dumps({"b": 1, "a": 2}, sort_keys=True) == b'{"a":2,"b":1}'
