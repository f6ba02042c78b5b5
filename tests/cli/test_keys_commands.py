"""`authserver keys`: list, plan, rotate, retire (row X53)."""

import json
from pathlib import Path

import pytest
from freezegun import freeze_time

from authserver.adapters.key_files import open_signer
from tests.cli.conftest import Invoke

pytestmark = pytest.mark.usefixtures("clean_environment", "private_umask")
START = "2027-01-15 08:00:00"


@pytest.fixture
def first() -> str:
    """The kid of a first key, in use since eight o'clock."""
    with freeze_time(START):
        return open_signer(Path("keys")).list_keys()[0].kid


def test_rotate_announces_a_key_that_signs_by_itself(invoke: Invoke, first: str) -> None:
    """X53: 300 s of max-age and 60 s of leeway later."""
    with freeze_time("2027-01-15 09:00:00"):
        said = invoke("keys", "rotate").stdout
        before = json.loads(invoke("keys", "list", "--json").stdout)
    with freeze_time("2027-01-15 09:06:00"):
        after = json.loads(invoke("keys", "list", "--json").stdout)
    second = said.partition(" ")[0]

    assert said == f"{second} is published now and signs from 2027-01-15 09:06:00Z on.\n"
    assert [(key["kid"], key["active"]) for key in before] == [(first, True), (second, False)]
    assert [(key["kid"], key["active"]) for key in after] == [(first, False), (second, True)]


def test_rotate_twice_is_refused_unless_it_is_meant(invoke: Invoke, first: str) -> None:
    with freeze_time("2027-01-15 09:00:00"):
        waiting = invoke("keys", "rotate").stdout.partition(" ")[0]
        again = invoke("keys", "rotate")
        meant = invoke("keys", "rotate", "--again")

    assert (again.exit_code, again.stderr) == (
        1,
        f"error: {waiting} is announced already and signs from 2027-01-15 09:06:00Z on.\n",
    )
    assert meant.exit_code == 0


def test_plan_prints_the_timeline(invoke: Invoke, first: str) -> None:
    """X53."""
    with freeze_time("2027-01-15 09:00:00"):
        second = json.loads(invoke("keys", "rotate", "--json").stdout)["kid"]
        rows = [line.split("\t") for line in invoke("keys", "plan").stdout.splitlines()]
        stages = [(key["kid"], key["stage"]) for key in json.loads(invoke("keys", "plan", "--json").stdout)]

    day = "2027-01-15"
    assert rows == [
        ["KID", "ALGORITHM", "STAGE", "ANNOUNCED", "SIGNS FROM", "SIGNS UNTIL", "RETIRE FROM"],
        [first, "ES256", "signing", f"{day} 08:00:00Z", f"{day} 08:00:00Z", f"{day} 09:06:00Z", f"{day} 09:12:00Z"],
        [second, "ES256", "waiting", f"{day} 09:00:00Z", f"{day} 09:06:00Z", "-", f"{day} 09:00:00Z"],
    ]
    assert stages == [(first, "signing"), (second, "waiting")]


def test_retire_says_from_when_it_is_allowed(invoke: Invoke, first: str) -> None:
    """X53."""
    with freeze_time("2027-01-15 09:00:00"):
        alone = invoke("keys", "retire", first)
        invoke("keys", "rotate")
    with freeze_time("2027-01-15 09:11:59"):
        early = invoke("keys", "retire", first)
    with freeze_time("2027-01-15 09:12:00"):
        allowed = invoke("keys", "retire", first)
        again = invoke("keys", "retire", first)

    assert alone.stderr == f"error: {first} signs and no other key is announced: rotate first.\n"
    assert early.stderr == (
        f"error: tokens that {first} signed may still be in use; allowed from 2027-01-15 09:12:00Z on.\n"
    )
    assert (allowed.exit_code, (Path("keys") / f"{first}.pem").exists()) == (0, False)
    assert again.stderr == f"error: keys has no published key {first}: see `authserver keys list`.\n"


def test_a_kid_that_begins_like_an_option_is_a_kid(invoke: Invoke, first: str) -> None:
    """One thumbprint in 64 does (RFC 7638 in base64url); what is an option stays one."""
    kid = "-imVIjBZuGIhrJyMNKML9LElgFCswE6kVbXNWdG7-gg"

    answers = [invoke("keys", "retire", *arguments) for arguments in ((kid,), (kid, "--json"))]

    assert {answer.stderr for answer in answers} == {
        f"error: keys has no published key {kid}: see `authserver keys list`.\n"
    }


def test_retire_answers_in_json(invoke: Invoke, first: str) -> None:
    with freeze_time("2027-01-15 09:00:00"):
        second = json.loads(invoke("keys", "rotate", "--json").stdout)["kid"]
        withdrawn = json.loads(invoke("keys", "retire", second, "--json").stdout)

    assert withdrawn == {"kid": second, "retired_at": 1_800_003_600}
