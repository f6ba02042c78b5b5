"""The log of requests."""

import json

import pytest

from authserver.fhir.request_log import JsonLinesLog


def test_an_event_is_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    JsonLinesLog().record("request", status=200, resource_type=None)

    line = json.loads(capsys.readouterr().err)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "request", "status": 200, "resource_type": None}
