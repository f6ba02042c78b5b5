"""Rotation of the signing keys in a folder that running processes share: row X53, threats F07 and F08."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import jwt
import pytest
from structlog.testing import capture_logs

from authserver.adapters import key_folder
from authserver.adapters.key_files import KeyFiles, KeyFilesError, open_signer
from authserver.errors import Unavailable
from authserver.protocol.key_life import KeyLife, KeyTimes, TooEarly

TIMES = KeyTimes(jwks_max_age=300, longest_token=300, leeway=60)
STARTS, RETIRES = 1_460, 1_460 + 360
TYP = "at+jwt"


class Time:
    """Wall clock and monotonic clock as one, moved by hand."""

    def __init__(self) -> None:
        self.at = 1_000

    def __call__(self) -> int:
        return self.at


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def first(folder: Path, time: Time) -> str:
    """The kid of the first key, announced at 1,000."""
    return open_signer(folder, times=TIMES, now=time).list_keys()[0].kid


def running(folder: Path, time: Time) -> KeyFiles:
    """Return the signer of a process that is running."""
    return KeyFiles(folder, times=TIMES, now=time, monotonic=time)


def announce(folder: Path, time: Time, *, at: int = 1_100) -> str:
    time.at = at
    return key_folder.announce(folder, algorithm="ES256", times=TIMES, now=at).kid


def signs(signer: KeyFiles) -> str:
    kid: str = jwt.get_unverified_header(signer.sign({"a": 1}, typ=TYP))["kid"]
    return kid


def published(signer: KeyFiles) -> list[str]:
    return [key["kid"] for key in signer.public_jwks()["keys"]]


def test_a_running_process_publishes_at_once_and_signs_when_the_time_has_come(
    folder: Path, time: Time, first: str
) -> None:
    """X53: without a restart, and two processes alike though nobody tells them."""
    one, other = running(folder, time), running(folder, time)
    second = announce(folder, time)
    time.at += 1

    seen = [(published(signer), signs(signer)) for signer in (one, other)]
    time.at = STARTS - 1
    before = (signs(one), signs(other))
    time.at = STARTS

    assert seen == [([first, second], first)] * 2
    assert (before, (signs(one), signs(other))) == ((first, first), (second, second))


def test_retiring_too_early_is_refused_with_the_moment(folder: Path, time: Time, first: str) -> None:
    """X53."""
    announce(folder, time)
    with pytest.raises(TooEarly) as early:
        key_folder.retire(folder, first, times=TIMES, now=RETIRES - 1)

    assert (early.value.allowed_at, (folder / f"{first}.pem").exists()) == (RETIRES, True)


def test_a_retired_key_is_gone_from_running_processes_and_its_record_stays(
    folder: Path, time: Time, first: str
) -> None:
    """X53: its token, long expired, proves nothing any more."""
    signer = running(folder, time)
    token = signer.sign({"a": 1}, typ=TYP)
    second = announce(folder, time)
    time.at = RETIRES

    key_folder.retire(folder, first, times=TIMES, now=time.at)

    assert (published(signer), signer.verify(token, typ=TYP)) == ([second], None)
    assert [(key.life.kid, key.stage) for key in signer.plan()] == [(first, "retired"), (second, "signing")]
    assert json.loads((folder / f"{first}.json").read_text())["retired_at"] == RETIRES


def test_a_kid_is_never_used_again(folder: Path, time: Time, first: str) -> None:
    """F07: a retired key that comes back from a copy refuses to start."""
    pem = (folder / f"{first}.pem").read_bytes()
    announce(folder, time)
    time.at = RETIRES
    key_folder.retire(folder, first, times=TIMES, now=time.at)
    open_signer(folder, times=TIMES, now=time)
    (folder / f"{first}.pem").write_bytes(pem)
    (folder / f"{first}.pem").chmod(0o600)

    with pytest.raises(KeyFilesError, match="its kid is used up"):
        open_signer(folder, times=TIMES, now=time)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\nMIGH", b"\x00" * 300])
def test_a_running_process_keeps_its_keys_over_a_half_written_file_and_alarms(
    folder: Path, time: Time, first: str, content: bytes
) -> None:
    """F07: at start the same file refuses; once it is mended the process goes on by itself."""
    signer = running(folder, time)
    bad = folder / "half.pem"
    bad.write_bytes(content)
    bad.chmod(0o600)
    time.at += 1
    with capture_logs() as logged:
        kept = (signs(signer), published(signer))
        time.at += 1
        signs(signer)
    with pytest.raises(KeyFilesError, match=r"half\.pem"):
        open_signer(folder, times=TIMES, now=time)
    bad.unlink()
    second = announce(folder, time, at=1_200)
    time.at += 1

    assert kept == (first, [first])
    assert [(line["event"], line["log_level"], line["going_on_with"]) for line in logged] == [
        ("keys_unusable", "error", [first])
    ]
    assert published(signer) == [first, second]


def test_a_key_deleted_by_hand_stays_published_while_tokens_carry_it(folder: Path, time: Time, first: str) -> None:
    """X53: refuses to unpublish one that an unexpired token may carry, whoever asks and however."""
    signer = running(folder, time)
    announce(folder, time)
    time.at = STARTS + 10
    (folder / f"{first}.pem").unlink()

    with capture_logs() as logged:
        kept = published(signer)[0]
    with pytest.raises(KeyFilesError, match=f"{first}.pem is missing"):
        open_signer(folder, times=TIMES, now=time)
    time.at = RETIRES

    assert (kept, [line["event"] for line in logged]) == (first, ["keys_unusable"])
    assert first not in published(signer)
    assert first not in published(open_signer(folder, times=TIMES, now=time))


def test_key_and_record_deleted_by_hand_change_nothing_for_running_processes(
    folder: Path, time: Time, first: str
) -> None:
    signer = running(folder, time)
    announce(folder, time)
    time.at = STARTS - 10
    for name in (f"{first}.pem", f"{first}.json"):
        (folder / name).unlink()

    with capture_logs() as logged:
        kid = signs(signer)

    assert (kid, [line["event"] for line in logged]) == (first, ["keys_unusable"])


def test_a_record_by_hand_does_not_make_a_key_sign_early(folder: Path, time: Time, first: str) -> None:
    """X53."""
    signer = running(folder, time)
    second = announce(folder, time)
    rewrite(folder / f"{second}.json", signing_since=1_101)
    time.at = 1_102

    with capture_logs():
        assert signs(signer) == first
    with pytest.raises(KeyFilesError, match="before every verifier can know it"):
        open_signer(folder, times=TIMES, now=time)


def rewrite(path: Path, /, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "changes", [{"announced_at": "1000"}, {"initial": 1}, {"more": 1}, {"kid": "other"}, {"retired_at": True}]
)
def test_a_record_that_is_none_is_refused_at_start(
    folder: Path, time: Time, first: str, changes: dict[str, Any]
) -> None:
    rewrite(folder / f"{first}.json", **changes)

    with pytest.raises(KeyFilesError, match=f"{first}.json is "):
        open_signer(folder, times=TIMES, now=time)


def test_a_record_open_to_others_is_refused(folder: Path, time: Time, first: str) -> None:
    """F08: who writes the record decides which key signs."""
    (folder / f"{first}.json").chmod(0o620)

    with pytest.raises(KeyFilesError, match="open to others"):
        open_signer(folder, times=TIMES, now=time)


def test_everything_in_the_folder_is_the_owners_alone(folder: Path, time: Time, first: str) -> None:
    """F08."""
    announce(folder, time)

    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_folder_without_records_is_adopted_and_signs_on(folder: Path, time: Time, first: str) -> None:
    """The modification time says nothing; the one key there was goes on, and can be rotated as any other."""
    (folder / f"{first}.json").unlink()
    os.utime(folder / f"{first}.pem", (9_999, 9_999))

    signer = open_signer(folder, times=TIMES, now=lambda: 2_000)

    assert [(planned.life, planned.stage) for planned in signer.plan()] == [
        (KeyLife(first, "ES256", 2_000, 2_000, 300, 300, initial=True), "signing")
    ]


def test_several_keys_without_records_are_all_kept_until_no_token_carries_them(folder: Path, time: Time) -> None:
    """Which of them signed is not known, so each may have; one signs on."""
    time.at = 1_000
    open_signer(folder, times=TIMES, now=time)
    announce(folder, time)
    for record in folder.glob("*.json"):
        record.unlink()
    low, high = sorted(path.stem for path in folder.glob("*.pem"))

    signer = open_signer(folder, times=TIMES, now=lambda: 2_000)

    planned = {key.life.kid: (key.stage, key.retire_after) for key in signer.plan()}
    assert planned == {low: ("signing", None), high: ("superseded", 2_000 + 360)}


def test_a_key_put_there_by_hand_waits_like_any_other(folder: Path, time: Time, first: str) -> None:
    """X53: published as soon as it is seen; announced when a start or a command records it."""
    signer = running(folder, time)
    by_hand = announce(folder, time)
    (folder / f"{by_hand}.json").unlink()
    time.at = 1_500
    seen = (published(signer), signs(signer))

    planned = open_signer(folder, times=TIMES, now=time).plan()

    assert seen == ([first, by_hand], first)
    assert [(key.life.kid, key.life.signing_since) for key in planned] == [(first, 1_000), (by_hand, 1_860)]


def test_without_a_key_whose_time_has_come_nothing_is_signed(folder: Path, time: Time, first: str) -> None:
    """X53: the first key was lost; its follower waits all the same."""
    second = announce(folder, time)
    for name in (f"{first}.pem", f"{first}.json"):
        (folder / name).unlink()
    signer = open_signer(folder, times=TIMES, now=time)

    with pytest.raises(Unavailable) as refused:
        signer.sign({}, typ=TYP)
    time.at = STARTS

    assert (refused.value.reason, signs(signer)) == ("no_signing_key", second)


def test_longer_settings_reach_the_records_at_the_next_start(folder: Path, time: Time, first: str) -> None:
    """X53: a key that waits goes on waiting when key sets may be kept longer."""
    second = announce(folder, time)

    longer = open_signer(folder, times=KeyTimes(3_600, 900, 60), now=time)

    assert [(key.life.kid, key.life.signing_since, key.retire_after) for key in longer.plan()] == [
        (first, 1_000, 4_760 + 900 + 60),
        (second, 4_760, 1_100),
    ]


def test_a_folder_that_somebody_is_changing_delays_no_request(folder: Path, time: Time, first: str) -> None:
    signer = running(folder, time)
    announce(folder, time)
    with key_folder.locked(folder, write=True), capture_logs() as logged:
        time.at += 2
        meanwhile = published(signer)
    time.at += 1

    assert (meanwhile, logged, len(published(signer))) == ([first], [], 2)
