"""`authserver audit`: check the chain of audit records over the database itself, and sign where it ends."""

from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from authserver.cli.connection import json_option, local_settings
from authserver.cli.output import print_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from authserver.adapters.purger import Upkeep
    from authserver.adapters.sql.stores import SqlStores
    from authserver.protocol.audit_chain import Verified
    from authserver.protocol.audit_record import AuditRecord
    from authserver.services.ports import Signer
    from authserver.settings import Settings


class NoLog:
    """An AuditLog for commands, whose output is not a log."""

    def record(self, event: str, **facts: object) -> None:
        """Say nothing."""


@click.group()
def audit() -> None:
    """Check the audit, sign where it ends."""


@audit.command()
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    metavar="N:HASH",
    help="A record's number and hash known from elsewhere, as a log line `audit_checkpoint` has them. Repeatable.",
)
@json_option
def verify(*, anchors: tuple[str, ...], as_json: bool) -> None:
    """Find any record that was edited, removed, put elsewhere or cut off; exit code 1 names the first one.

    Reads the database and the published keys, writes nothing, and works beside running servers.
    """
    from authserver import clock
    from authserver.cli.failures import Failure
    from authserver.protocol.audit_chain import Broken
    from authserver.services import audit_verification

    settings = local_settings()
    exported = dict(map(_anchor, anchors))
    with _opened(settings) as stores:
        try:
            found = audit_verification.verify(stores.audit, _signer(settings), exported=exported, now=clock.now())
        except Broken as broken:
            if as_json:
                print_json({"good": False, "record": broken.sequence, "problem": broken.problem})
            raise Failure(f"The audit is not what was written: {broken}.") from broken
    if as_json:
        print_json({"good": True, "first": found.first, "last": found.last, "covered": found.covered})
    else:
        click.echo(_sentence(found))


@audit.command()
def checkpoint() -> None:
    """Sign the end of the chain now; a running server does so at each purge."""
    from authserver import clock
    from authserver.services.audit_trail import sign_head

    settings = local_settings()
    with _opened(settings) as stores:
        signed = sign_head(stores.audit, _signer(settings), NoLog(), now=clock.now())
    click.echo("There is nothing to sign." if signed is None else f"{signed.sequence}:{signed.hash.hex()}")


@contextmanager
def recording(settings: "Settings") -> "Iterator[Callable[[AuditRecord], None]]":
    """Yield a function that records a change made here, in a transaction that ends with the block, and sign the end.

    What cannot be recorded fails before the change is made. Without the audit nothing is recorded.
    """
    from authserver import clock
    from authserver.services.audit_trail import sign_head

    if not settings.audit:
        yield lambda _record: None
        return
    with _opened(settings) as stores:
        with stores.audit.appending() as append:
            yield append
        sign_head(stores.audit, _signer(settings), NoLog(), now=clock.now())


def pruning(settings: "Settings", stores: "SqlStores") -> "Upkeep":
    """Return what signs the end of the audit and forgets its oldest records; nothing without the audit."""
    from authserver.services.audit_trail import prune

    def upkeep(*, now: int) -> int:
        if not settings.audit or stores.audit.head() is None:
            return 0
        days = settings.audit_retention_days
        return prune(stores.audit, _signer(settings), NoLog(), keep_days=days, now=now)

    return upkeep


@contextmanager
def _opened(settings: "Settings") -> "Iterator[SqlStores]":
    """Yield the stores on the registry's database; one that is empty gets its schema."""
    from authserver.adapters.sql import schema
    from authserver.adapters.sql.engine import open_engine
    from authserver.adapters.sql.revision import current_revision
    from authserver.adapters.sql.stores import SqlStores
    from authserver.cli.first_start import make_private

    make_private(settings.instance_dir)
    engine = open_engine(settings.database_url)
    stores = SqlStores(engine)
    try:
        if current_revision(engine) is None:
            schema.upgrade(engine)
        yield stores
    finally:
        stores.close()


def _signer(settings: "Settings") -> "Signer":
    from authserver.adapters.key_files import KeyFiles

    return KeyFiles(settings.keys_dir, times=settings.key_times)


def _anchor(text: str) -> tuple[int, bytes]:
    number, _, digest = text.partition(":")
    try:
        return int(number), bytes.fromhex(digest)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not NUMBER:HASH", param_hint="--anchor") from error


def _sentence(found: "Verified") -> str:
    if found.last < found.first:
        return "The audit is empty."
    beyond = found.last - found.covered
    newer = f"; the last {beyond} are newer than the newest signed checkpoint" if beyond else ""
    return f"Records {found.first} to {found.last} are as they were written{newer}."
