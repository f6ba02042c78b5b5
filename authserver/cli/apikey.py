"""`authserver apikey`: API keys of registered clients, with a running server."""

from pathlib import Path
from typing import Any

import click

from authserver.cli.connection import as_operator, json_option, operator_options
from authserver.cli.output import print_json, print_rows

_COLUMNS = ("id", "client", "environment", "status", "expires", "lastUsed", "name", "scope")


@click.group()
def apikey() -> None:
    """Make API keys for clients, list, rotate and revoke them."""


@apikey.command()
@click.argument("client_id", metavar="CLIENT")
@click.option("--scope", required=True, help="Scopes within the client's own, with blanks between; or read, write, *.")
@click.option(
    "--environment",
    type=click.Choice(["live", "test"]),
    default="live",
    show_default=True,
    help="Which data it reaches.",
)
@click.option("--name", help="What the key is for.")
@click.option("--days", type=click.IntRange(min=1), help="Days until it expires. Default: the server's longest.")
@operator_options
@json_option
def create(
    client_id: str,
    *,
    scope: str,
    environment: str,
    name: str | None,
    days: int | None,
    url: str | None,
    user: str,
    secret_file: Path | None,
    as_json: bool,
) -> None:
    """Make an API key for a client, and show it once."""
    from authserver.cli.remote import read

    given = {"client": client_id, "environment": environment, "scope": scope.split(), "name": name, "days": days}
    body = {member: value for member, value in given.items() if value is not None}
    with as_operator(url, user=user, secret_file=secret_file) as remote:
        made = read(remote.as_operator("POST", "/ApiKey", json=body))
    _show_key(made, as_json=as_json)


@apikey.command("list")
@click.option("--client", "client_id", help="Only the keys of this client.")
@operator_options
@json_option
def list_keys(client_id: str | None, *, url: str | None, user: str, secret_file: Path | None, as_json: bool) -> None:
    """List the keys, revoked and expired ones too."""
    from authserver.cli.remote import read

    wanted = {} if client_id is None else {"client": client_id}
    with as_operator(url, user=user, secret_file=secret_file) as remote:
        bundle = read(remote.as_operator("GET", "/ApiKey", params=wanted))
    found = [entry["resource"] for entry in bundle["entry"]]
    if as_json:
        print_json(found)
        return
    print_rows(_COLUMNS, [_row(resource) for resource in found])


@apikey.command()
@click.argument("key_id", metavar="ID")
@operator_options
@json_option
def rotate(key_id: str, *, url: str | None, user: str, secret_file: Path | None, as_json: bool) -> None:
    """Give a key another secret and show it once; the former one is dead at once."""
    from authserver.cli.remote import read

    with as_operator(url, user=user, secret_file=secret_file) as remote:
        made = read(remote.as_operator("POST", f"/ApiKey/{key_id}/$rotate"))
    _show_key(made, as_json=as_json)


@apikey.command()
@click.argument("key_id", metavar="ID")
@operator_options
@json_option
def revoke(key_id: str, *, url: str | None, user: str, secret_file: Path | None, as_json: bool) -> None:
    """End a key for good."""
    from authserver.cli.remote import read

    with as_operator(url, user=user, secret_file=secret_file) as remote:
        ended = read(remote.as_operator("DELETE", f"/ApiKey/{key_id}"))
    if as_json:
        print_json(ended)
        return
    click.echo(f"{key_id} is revoked.")


def _show_key(made: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    click.echo(made["key"])
    click.echo(f"The key {made['id']} of {made['client']}, until {made['expires']}; it is not shown again.", err=True)


def _row(resource: dict[str, Any]) -> list[str]:
    shown = {**resource, "scope": " ".join(resource["scope"])}
    return [str(shown.get(column, "")) for column in _COLUMNS]
