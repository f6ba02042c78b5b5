"""`authserver client`: register clients with a running server, and look after them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from authserver.cli.connection import as_operator, json_option, operator_options
from authserver.cli.output import print_json, print_rows

if TYPE_CHECKING:
    from authserver.cli.remote import Remote

_BASIC_SCOPE = "__introspect"


@click.group()
def client() -> None:
    """Register clients, list, show, disable and delete them."""


@client.command()
@click.argument("client_id", metavar="ID")
@click.option("--scope", help="Scopes to register, with blanks between, for example 'system/Patient.rs'.")
@click.option(
    "--alg",
    type=click.Choice(["ES384", "RS384", "ES256", "RS256"]),
    default="ES384",
    show_default=True,
    help="Algorithm of the key pair.",
)
@click.option("--basic", is_flag=True, help="A client with a secret instead, by default for introspection.")
@click.option("--out", type=click.Path(path_type=Path), help="File for the private key. Default: ID.pem.")
@operator_options
@json_option
def new(
    client_id: str,
    *,
    scope: str | None,
    alg: str,
    basic: bool,
    out: Path | None,
    url: str | None,
    user: str,
    secret_file: Path | None,
    as_json: bool,
) -> None:
    """Make a key pair, register the client ID with it, and allow it what its scopes say.

    The private key is written to a file for its owner alone. With --basic the client gets a secret instead,
    printed once: for the FHIR layer and other resource servers that ask about tokens.
    """
    from authserver.cli import registering

    if scope is None and not basic:
        raise click.UsageError("--scope is needed: what may the client ask for?")
    with as_operator(url, user=user, secret_file=secret_file) as remote:
        registering.require_new(remote, client_id)
        if basic:
            made = registering.with_secret(remote, client_id, scope=(scope or _BASIC_SCOPE).split())
        else:
            made = registering.with_key(remote, client_id, scope=str(scope).split(), algorithm=alg, path=out)
    _show_made(made.document, made.lines, as_json=as_json)


@client.command()
@click.argument("client_id", metavar="ID")
@click.option("--jwks-uri", required=True, help="Where the client publishes its keys.")
@click.option("--scope", required=True, help="Scopes to register, with blanks between.")
@operator_options
@json_option
def add(
    client_id: str,
    *,
    jwks_uri: str,
    scope: str,
    url: str | None,
    user: str,
    secret_file: Path | None,
    as_json: bool,
) -> None:
    """Register the client ID by the address of its own keys, and show the keys found there."""
    from authserver.cli import registering

    with as_operator(url, user=user, secret_file=secret_file) as remote:
        registering.require_new(remote, client_id)
        made = registering.with_jwks_uri(remote, client_id, scope=scope.split(), jwks_uri=jwks_uri)
    _show_made(made.document, made.lines, as_json=as_json)


@client.command("list")
@operator_options
@json_option
def list_clients(*, url: str | None, user: str, secret_file: Path | None, as_json: bool) -> None:
    """List the registered clients."""
    with as_operator(url, user=user, secret_file=secret_file) as remote:
        found = remote.search("Client")
    if as_json:
        print_json(found)
        return
    print_rows(("id", "active", "proof", "scope"), [_row(resource) for resource in found])


@client.command()
@click.argument("client_id", metavar="ID")
@operator_options
@json_option
def show(client_id: str, *, url: str | None, user: str, secret_file: Path | None, as_json: bool) -> None:
    """Show one client with the policies that are linked to it."""
    from authserver.cli.registering import policies_of

    with as_operator(url, user=user, secret_file=secret_file) as remote:
        resource, policies = _existing(remote, client_id), policies_of(remote, client_id)
    if as_json:
        print_json({"client": resource, "policies": policies})
        return
    print_rows(("id", "active", "proof", "scope"), [_row(resource)])
    named = ", ".join(f"{policy['id']} ({policy['engine']})" for policy in policies)
    click.echo(f"policies: {named or 'none: every request of this client is refused'}")


@client.command()
@click.argument("client_id", metavar="ID")
@operator_options
@json_option
def disable(client_id: str, *, url: str | None, user: str, secret_file: Path | None, as_json: bool) -> None:
    """Disable a client: it gets no tokens, and those that it has end at once."""
    with as_operator(url, user=user, secret_file=secret_file) as remote:
        stored = remote.put("Client", client_id, body={**_existing(remote, client_id), "active": False})
    _show_made(stored, [f"{client_id} is disabled."], as_json=as_json)


@client.command()
@click.argument("client_id", metavar="ID")
@operator_options
@json_option
def enable(client_id: str, *, url: str | None, user: str, secret_file: Path | None, as_json: bool) -> None:
    """Enable a disabled client again."""
    with as_operator(url, user=user, secret_file=secret_file) as remote:
        stored = remote.put("Client", client_id, body={**_existing(remote, client_id), "active": True})
    _show_made(stored, [f"{client_id} is enabled."], as_json=as_json)


@client.command("revoke-tokens")
@click.argument("client_id", metavar="ID")
@operator_options
@json_option
def revoke_tokens(client_id: str, *, url: str | None, user: str, secret_file: Path | None, as_json: bool) -> None:
    """End every access token that a client has; it may ask for new ones at once."""
    with as_operator(url, user=user, secret_file=secret_file) as remote:
        _existing(remote, client_id)
        told = remote.operate("Client", client_id, "revoke-tokens")
    _show_made(told, [f"Every access token of {client_id} is revoked."], as_json=as_json)


@client.command()
@click.argument("client_id", metavar="ID")
@click.option("--count", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most.")
@operator_options
@json_option
def tokens(client_id: str, *, count: int, url: str | None, user: str, secret_file: Path | None, as_json: bool) -> None:
    """List the access tokens of a client that are alive, newest first; no token itself is shown."""
    with as_operator(url, user=user, secret_file=secret_file) as remote:
        found, more = remote.live_tokens(client_id, count=count)
    if as_json:
        print_json({"client": client_id, "tokens": found, "more": more})
        return
    columns = ("jti", "issued_at", "expires_at", "remote_address", "scope")
    print_rows(columns, [tuple(str(token[name] or "") for name in columns) for token in found])
    if more:
        click.echo(f"These are the newest {len(found)}; --count shows more.")


@client.command("revoke-token")
@click.argument("client_id", metavar="ID")
@click.argument("jti", metavar="JTI")
@operator_options
@json_option
def revoke_token(
    client_id: str, jti: str, *, url: str | None, user: str, secret_file: Path | None, as_json: bool
) -> None:
    """End one access token of a client, by the JTI that `client tokens` shows; the others live on."""
    with as_operator(url, user=user, secret_file=secret_file) as remote:
        told = remote.post(f"/Client/{client_id}/$revoke-token", {"jti": jti})
    _show_made(told, [issue["diagnostics"] for issue in told["issue"]], as_json=as_json)


@client.command("flush-keys")
@click.argument("client_id", metavar="ID")
@operator_options
@json_option
def flush_keys(client_id: str, *, url: str | None, user: str, secret_file: Path | None, as_json: bool) -> None:
    """Forget what was fetched from a client's jwks_uri, on every process: a key that it removed is dead at once."""
    with as_operator(url, user=user, secret_file=secret_file) as remote:
        _existing(remote, client_id)
        told = remote.operate("Client", client_id, "flush-keys")
    _show_made(told, [f"The keys of {client_id} are fetched anew at its next request."], as_json=as_json)


@client.command()
@click.argument("client_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@operator_options
@json_option
def delete(client_id: str, *, yes: bool, url: str | None, user: str, secret_file: Path | None, as_json: bool) -> None:
    """Delete a client, and the policies that are linked to nobody else. Its tokens end at once."""
    from authserver.cli.registering import policies_of
    from authserver.cli.remote import is_only_of

    with as_operator(url, user=user, secret_file=secret_file) as remote:
        resource = _existing(remote, client_id)
        own = [policy["id"] for policy in policies_of(remote, client_id) if is_only_of(policy, client_id)]
        if not yes:
            click.confirm(f"Delete the client {client_id} and {len(own)} of its policies?", abort=True, err=True)
        for policy_id in own:
            remote.delete("AccessPolicy", policy_id)
        remote.delete("Client", client_id)
    _show_made({"client": resource, "policies": own}, [f"{client_id} is deleted."], as_json=as_json)


def _existing(remote: "Remote", client_id: str) -> dict[str, Any]:
    from authserver.cli.failures import Failure

    resource = remote.find("Client", client_id)
    if resource is None:
        raise Failure(f"There is no client {client_id}.")
    return resource


def _row(resource: dict[str, Any]) -> tuple[str, str, str, str]:
    active = "no" if resource.get("active") is False else "yes"
    return resource["id"], active, _proof(resource), " ".join(resource.get("scope", []))


def _proof(resource: dict[str, Any]) -> str:
    if "jwks_uri" in resource:
        return str(resource["jwks_uri"])
    if "jwks" in resource:
        keys = resource["jwks"] if isinstance(resource["jwks"], list) else resource["jwks"].get("keys", [])
        return f"{len(keys)} inline key" + ("" if len(keys) == 1 else "s")
    return "secret" if "basic" in resource.get("grant_types", []) else "none"


def _show_made(document: object, lines: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    for line in lines:
        click.echo(line)
