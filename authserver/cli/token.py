"""`authserver token` and `authserver introspect`: get an access token as a client does, and ask what it is worth."""

import sys
from pathlib import Path
from typing import Any, BinaryIO

import click

from authserver.cli.connection import anonymous, as_operator, json_option, operator_options, url_option
from authserver.cli.output import is_terminal, print_json, print_pairs


@click.command()
@click.argument("client_id", metavar="ID")
@click.option("--key", type=click.File("rb"), required=True, help="The private key, PEM or JWK; - reads stdin.")
@click.option("--scope", help="Scopes to ask for, with blanks between. Default: all that are registered.")
@click.option("--alg", help="Algorithm to sign with. Default: by the key; ES384, ES256, ES512, EdDSA, RS384 for RSA.")
@url_option
@json_option
@click.option("--raw", is_flag=True, help="Print the token alone; so does a pipe.")
def token(
    client_id: str,
    *,
    key: BinaryIO,
    scope: str | None,
    alg: str | None,
    url: str | None,
    as_json: bool,
    raw: bool,
) -> None:
    """Get an access token for the client ID by its private key (SMART Backend Services).

    In a pipe the token alone is printed, so that `… | authserver introspect -` works.
    """
    from authserver import clock
    from authserver.cli import private_keys
    from authserver.cli.remote import read

    pair = private_keys.read_key(key.read(), name=getattr(key, "name", "the key"), algorithm=alg)
    with anonymous(url) as remote:
        endpoint = remote.discover()["token_endpoint"]
        assertion = private_keys.make_assertion(pair, client_id=client_id, audience=endpoint, now=clock.now())
        answer = read(remote.send("POST", endpoint, data=private_keys.token_form(assertion, scope=scope)))
    if as_json:
        print_json(answer)
    elif raw or not is_terminal():
        click.echo(answer["access_token"])
    else:
        print_pairs([(name, value) for name, value in answer.items() if value is not None])


@click.command()
@click.argument("access_token", metavar="TOKEN|-")
@operator_options
@json_option
def introspect(access_token: str, *, url: str | None, user: str, secret_file: Path | None, as_json: bool) -> None:
    """Ask what an access token is worth now (RFC 7662); - reads the token from stdin."""
    if access_token == "-":  # noqa: S105 -- the sign for stdin
        access_token = sys.stdin.read().strip()
    with as_operator(url, user=user, secret_file=secret_file) as remote:
        answer = remote.introspect(access_token)
    if as_json:
        print_json(answer)
        return
    print_pairs([(name, _shown(value)) for name, value in answer.items()])


def _shown(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(value) if isinstance(value, list) else value
