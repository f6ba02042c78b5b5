"""`authserver keys`: the keys that the server signs with, as files say; no running server is asked."""

from dataclasses import asdict
from datetime import UTC, datetime

import click

from authserver.cli.connection import json_option, local_settings
from authserver.cli.output import print_json, print_rows


@click.group()
def keys() -> None:
    """Show the keys that the server signs with."""


@keys.command("list")
@json_option
def list_keys(*, as_json: bool) -> None:
    """List the signing keys, oldest first; the active one signs, all are published."""
    from authserver.adapters.key_files import KeyFiles

    settings = local_settings()
    files = KeyFiles(settings.keys_dir, algorithm=settings.signing_algorithm, active_kid=settings.signing_kid)
    found = files.list_keys()
    if as_json:
        print_json([asdict(key) for key in found])
        return
    rows = [(key.kid, key.algorithm, _day(key.created_at), "yes" if key.active else "no") for key in found]
    print_rows(("kid", "algorithm", "created", "active"), rows)


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
