"""Traces made by hand: an answer before the disk is found, one that waited is not."""

from tests.faults.traces import acknowledged, parse, unsafe

READ = '1.000 read(9<socket:[7]>, "POST /auth/token HTTP/1.1"..., 65536) = 700 <0.000010>'
WRITE = '1.010 pwrite64(5</srv/registry.sqlite3-wal>, "\\0\\0"..., 4096, 32) = 4096 <0.000010>'
SYNC = "1.020 fdatasync(5</srv/registry.sqlite3-wal>) = 0 <0.001000>"
ANSWER = '1.030 write(9<socket:[7]>, "HTTP/1.1 200 OK\\r\\n"..., 900) = 900 <0.000010>'


def test_an_answer_that_waited_for_the_disk_is_safe() -> None:
    """Fault 3: the log was written, then synced, then the answer left."""
    calls = parse([ANSWER, SYNC, WRITE, READ, "1.0 futex(0x1, FUTEX_WAIT) = 0 <0.1>", "+++ exited with 0 +++"])

    assert [(one.request, one.status) for one in acknowledged(calls)] == [("POST /auth/token", 200)]
    assert unsafe(calls) == []


def test_an_answer_before_the_disk_is_found() -> None:
    """Fault 3: no sync, one that failed, one too early, one that was not over, one of another file, no write."""
    cases = {
        "none": [READ, WRITE, ANSWER],
        "failed": [READ, WRITE, SYNC.replace("= 0", "= -1 EIO (Input/output error)"), ANSWER],
        "too early": [READ, WRITE, SYNC.replace("1.020", "1.005"), ANSWER],
        "not over": [READ, WRITE, SYNC.replace("<0.001000>", "<0.100000>"), ANSWER],
        "another file": [READ, WRITE, SYNC.replace("-wal", ""), ANSWER],
        "no write": [READ, SYNC, ANSWER],
        "write of before": [WRITE.replace("1.010", "0.900"), READ, SYNC, ANSWER],
    }

    found = {name for name, lines in cases.items() if len(unsafe(parse(lines))) == 1}

    assert found == cases.keys()


def test_what_promises_nothing_need_not_wait() -> None:
    """A refusal and a question."""
    refused = [READ, ANSWER.replace("200 OK", "400 Bad Request")]
    asked = [READ.replace("/auth/token", "/auth/introspect"), ANSWER]

    assert [acknowledged(parse(lines)) for lines in (refused, asked)] == [[], []]
