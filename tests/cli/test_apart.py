"""Work in a process of its own: it is done, what it loads is gone with it, and its failures are told."""

import os
import signal
import sys
from pathlib import Path

import pytest

from authserver.cli.apart import apart
from authserver.cli.failures import Failure
from authserver.errors import StorageUnavailable


def test_work_is_done_elsewhere_and_waited_for(tmp_path: Path) -> None:
    def work() -> None:
        (tmp_path / "who").write_text(str(os.getpid()))

    apart(work)

    assert int((tmp_path / "who").read_text()) != os.getpid()


def test_what_the_work_loads_is_not_loaded_here() -> None:
    sys.modules.pop("antigravity", None)

    apart(lambda: sys.modules.update(antigravity=sys))

    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (StorageUnavailable(detail="no answer"), "storage_unavailable: no answer"),
        (Failure("not like this"), "not like this"),
        (FileNotFoundError(2, "No such file", "/x"), "/x: No such file"),
        (ZeroDivisionError(), "The server could not start; its log says why."),
        (SystemExit(0), "The server could not start; its log says why."),
    ],
)
def test_failures_are_told_in_the_words_of_the_work(error: BaseException, message: str) -> None:
    def work() -> None:
        raise error

    with pytest.raises(Failure) as caught:
        apart(work)

    assert caught.value.message == message


def test_a_killed_child_is_a_failure() -> None:
    with pytest.raises(Failure) as caught:
        apart(lambda: os.kill(os.getpid(), signal.SIGKILL))

    assert caught.value.message == "The server could not start; its log says why."
