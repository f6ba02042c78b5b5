"""Run pytest again and again in one tree, each time in a forked child: the libraries are imported only once.

A program of its own: it reads lines of test paths and answers each by the exit code of pytest.
"""

import contextlib
import os
import sys
from pathlib import Path

import cryptography.hazmat.primitives.serialization
import flask
import freezegun
import joserfc.jws
import jwt
import pydantic
import pytest
import requests
import sqlalchemy
import structlog

PRELOADED = (
    cryptography.hazmat.primitives.serialization,
    flask,
    freezegun,
    joserfc.jws,
    jwt,
    pydantic,
    requests,
    sqlalchemy,
    structlog,
)
CRASHED = 70
OPTIONS = ("-x", "-q", "--no-header", "-p", "no:cacheprovider")


def main() -> int:
    """Answer each line of standard input; end when there are no more."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(line.split())
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return 0


def _run(tests: list[str]) -> None:
    """Run the tests as pytest would alone, and end this process with its exit code."""
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        try:
            code = int(pytest.main([*OPTIONS, *tests]))
        except BaseException:  # noqa: BLE001 -- whatever it was, it is no verdict of a test
            code = CRASHED
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
