"""What a process does each second beside its requests."""

import threading

import pytest

from authserver.adapters.heartbeat import Heartbeat


def test_each_task_is_done_in_each_beat_though_another_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """A failure is logged once a minute, and the next beat tries again."""
    moments, done, failed = iter([1_000, 1_001, 1_060]), [], []

    def fails(now: int) -> None:
        failed.append(now)
        raise OSError("no database")

    heartbeat = Heartbeat({"failing": fails, "good": done.append}, now=lambda: next(moments))
    for _ in range(3):
        heartbeat.beat()

    assert (failed, done) == ([1_000, 1_001, 1_060], [1_000, 1_001, 1_060])
    assert capsys.readouterr().out.count("no database") == 2


def test_the_thread_beats_until_it_is_stopped() -> None:
    beaten = threading.Event()

    with Heartbeat({"task": lambda _now: beaten.set()}, interval=0.01):
        happened = beaten.wait(10)

    assert happened
    assert [thread.name for thread in threading.enumerate() if thread.name == "heartbeat"] == []
