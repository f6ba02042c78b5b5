"""`authserver keys`: the keys that the server signs with, as files say; running servers see each step by themselves."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from authserver.cli.connection import json_option, local_settings
from authserver.cli.output import print_json, print_rows

if TYPE_CHECKING:
    from authserver.adapters.key_files import KeyFiles
    from authserver.protocol.key_life import PlannedKey
    from authserver.settings import Settings


@click.group()
def keys() -> None:
    """Show, rotate and retire the keys that the server signs with."""


@keys.command("list")
@json_option
def list_keys(*, as_json: bool) -> None:
    """List the published keys in the order in which they sign; the active one signs now."""
    found = _files(local_settings()).list_keys()
    if as_json:
        print_json([asdict(key) for key in found])
        return
    rows = [(key.kid, key.algorithm, _moment(key.created_at), "yes" if key.active else "no") for key in found]
    print_rows(("kid", "algorithm", "created", "active"), rows)


@keys.command("plan")
@json_option
def plan(*, as_json: bool) -> None:
    """Print the timeline: since when each key is published, from when to when it signs, when it may be retired."""
    planned = _files(local_settings()).plan()
    if as_json:
        print_json([_line(key) for key in planned])
        return
    columns = ("kid", "algorithm", "stage", "announced", "signs from", "signs until", "retire from")
    print_rows(columns, [_row(key) for key in planned])


@keys.command("rotate")
@click.option("--again", is_flag=True, help="Announce a key although one is waiting already.")
@json_option
def rotate(*, again: bool, as_json: bool) -> None:
    """Announce a new key; it begins to sign by itself once every verifier can know it."""
    from authserver import clock
    from authserver.adapters import key_folder
    from authserver.cli.audit import recording
    from authserver.cli.failures import Failure
    from authserver.protocol.audit_record import MICROSECONDS, key_change

    settings = local_settings()
    waiting = [key for key in _files(settings).plan() if key.stage == "waiting"]
    if waiting and not again:
        life = waiting[-1].life
        raise Failure(f"{life.kid} is announced already and signs from {_moment(life.signing_since)} on.")
    with recording(settings) as record:
        now = clock.now()
        made = key_folder.announce(
            settings.keys_dir, algorithm=settings.signing_algorithm, times=settings.key_times, now=now
        )
        record(key_change("key_announced", made.kid, made.algorithm, at=now * MICROSECONDS))
    if as_json:
        print_json({"kid": made.kid, "announced_at": made.announced_at, "signing_since": made.signing_since})
    else:
        click.echo(f"{made.kid} is published now and signs from {_moment(made.signing_since)} on.")


# A kid is a thumbprint in base64url, so one in 64 begins like an option: this command has no short ones.
@keys.command("retire", context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("kid")
@json_option
def retire(kid: str, *, as_json: bool) -> None:
    """Delete the private key KID and unpublish it; refused while an unexpired token may carry it."""
    from authserver import clock
    from authserver.adapters import key_folder
    from authserver.cli.audit import recording
    from authserver.cli.failures import Failure
    from authserver.protocol.audit_record import MICROSECONDS, key_change
    from authserver.protocol.key_life import TooEarly

    settings = local_settings()
    try:
        with recording(settings) as record:
            now = clock.now()
            retired = key_folder.retire(settings.keys_dir, kid, times=settings.key_times, now=now)
            record(key_change("key_retired", kid, retired.algorithm, at=now * MICROSECONDS))
    except TooEarly as error:
        allowed = "" if error.allowed_at is None else f"; allowed from {_moment(error.allowed_at)} on"
        raise Failure(f"{error}{allowed}.") from error
    if as_json:
        print_json({"kid": kid, "retired_at": retired.retired_at})
    else:
        click.echo(f"{kid} is retired: its private key is deleted, its kid is used up.")


def _files(settings: "Settings") -> "KeyFiles":
    """Return the keys; a key or a setting without a record yet is recorded first, as a start of the server does."""
    from authserver import clock
    from authserver.adapters import key_folder
    from authserver.adapters.key_files import KeyFiles

    key_folder.settle(
        settings.keys_dir,
        algorithm=settings.signing_algorithm,
        times=settings.key_times,
        now=clock.now(),
        make_first=False,
    )
    return KeyFiles(settings.keys_dir, times=settings.key_times)


def _line(key: "PlannedKey") -> dict[str, Any]:
    moments = {"signing_until": key.signing_until, "retire_after": key.retire_after}
    return {**asdict(key.life), "stage": key.stage, **moments}


def _row(key: "PlannedKey") -> tuple[str, ...]:
    life = key.life
    if life.retired_at is not None:
        last = f"retired {_moment(life.retired_at)}"
    else:
        last = "-" if key.retire_after is None else _moment(key.retire_after)
    until = "-" if key.signing_until is None else _moment(key.signing_until)
    start = _moment(life.signing_since)
    return life.kid, life.algorithm, key.stage, _moment(life.announced_at), start, until, last


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
