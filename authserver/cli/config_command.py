"""`authserver config`: the settings as the server would see them here, and where each comes from."""

from dataclasses import asdict
from typing import Any

import click

from authserver.cli.connection import json_option
from authserver.cli.output import print_json, print_rows
from authserver.cli.serve import server_options


@click.group()
def config() -> None:
    """Show the settings and where they come from."""


@config.command()
@server_options
@json_option
def show(*, as_json: bool, **overrides: Any) -> None:
    """Show every setting of both parts, its value and its origin; secrets are masked."""
    from authserver.cli import configuration

    for warning in configuration.unknown_variables():
        click.echo(f"warning: {warning}", err=True)
    found = configuration.rows(configuration.load(**overrides), overrides=overrides)
    if as_json:
        print_json([asdict(row) for row in found])
        return
    print_rows(("setting", "value", "origin"), [(row.name, row.value, row.origin) for row in found])
