"""`authserver doctor` and `authserver explain`: what is wrong with a client, an assertion, a token, a refusal."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from authserver.cli.connection import anonymous, as_operator, json_option, operator_options
from authserver.cli.output import print_json

if TYPE_CHECKING:
    from authserver.cli.explaining import Explained

_RECEIPT = re.compile(r"[0-9a-f]{16}")


@click.command()
@click.argument("client_id", metavar="CLIENT")
@click.option(
    "--key", type=click.File("rb"), help="The client's private key, PEM or JWK: sign an assertion and try it."
)
@click.option("--assertion", metavar="-", help="An assertion of the client; - reads stdin.")
@click.option("--scope", help="Scopes to ask for, with blanks between. Default: all that are registered.")
@operator_options
@json_option
def doctor(
    client_id: str,
    *,
    key: BinaryIO | None,
    assertion: str | None,
    scope: str | None,
    url: str | None,
    user: str,
    secret_file: Path | None,
    as_json: bool,
) -> None:
    """Say what is wrong with a client and how to mend it: registration, keys, clocks, policies, scopes.

    Nothing is issued and no assertion is used up. Exit code 1 when something is wrong.
    """
    from authserver.cli import explaining

    if key is not None and assertion is not None:
        raise click.UsageError("--key and --assertion: one of them is enough.")
    with as_operator(url, user=user, secret_file=secret_file) as remote:
        form = {"client_id": client_id} if scope is None else {"client_id": client_id, "scope": scope}
        sent = _signed(client_id, key, remote.discover()["token_endpoint"]) if key is not None else _text(assertion)
        if sent is not None:
            form = {**form, "client_assertion": sent}
        told = explaining.diagnose(remote, form, operator=True)
        explained = explaining.client(remote, client_id, told)
    _show(explained, as_json=as_json)


@click.command()
@click.argument("thing", metavar="ASSERTION|TOKEN|RECEIPT|-")
@operator_options
@json_option
def explain(thing: str, *, url: str | None, user: str, secret_file: Path | None, as_json: bool) -> None:
    """Explain an assertion, an access token or a request id; - reads it from stdin.

    A token is decoded here, and the server is asked about it when it answers. Exit code 1 when it is not good.
    """
    from authserver.cli import explaining
    from authserver.cli.failures import Failure, Unreachable

    text = _text(thing) or ""
    if _RECEIPT.fullmatch(text):
        with as_operator(url, user=user, secret_file=secret_file) as remote:
            _show(explaining.receipt(explaining.ask(remote, f"/auth/receipt/{text}")), as_json=as_json)
        return
    jws = explaining.decoded(text)
    if jws is None:
        raise Failure("That is no JWT (three base64url segments with dots between) and no request id (16 hex digits).")
    try:
        explained = _asked(text, url=url, user=user, secret_file=secret_file)
    except Unreachable as error:
        explained = explaining.offline(jws, error.message)
    _show(explained, as_json=as_json)


def _asked(text: str, *, url: str | None, user: str, secret_file: Path | None) -> "Explained":
    """Ask the server: as the operator when there is a secret, else as a stranger, who learns less."""
    from authserver.cli import explaining
    from authserver.cli.failures import Failure, Unreachable

    jws = explaining.decoded(text)
    assert jws is not None
    try:
        with as_operator(url, user=user, secret_file=secret_file) as remote:
            if explaining.is_access_token(jws):
                return explaining.token(remote.introspect(text), jws)
            return explaining.assertion(explaining.diagnose(remote, {"client_assertion": text}, operator=True), jws)
    except Unreachable:
        raise
    except Failure as error:
        if explaining.is_access_token(jws):
            return explaining.offline(jws, error.message)
    with anonymous(url) as remote:
        return explaining.assertion(explaining.diagnose(remote, {"client_assertion": text}, operator=False), jws)


def _signed(client_id: str, key: BinaryIO, audience: str) -> str:
    from authserver import clock
    from authserver.cli import private_keys

    pair = private_keys.read_key(key.read(), name=getattr(key, "name", "the key"))
    return private_keys.make_assertion(pair, client_id=client_id, audience=audience, now=clock.now())


def _text(given: str | None) -> str | None:
    return sys.stdin.read().strip() if given == "-" else given


def _show(explained: "Explained", *, as_json: bool) -> None:
    if as_json:
        print_json(explained.document)
    else:
        for line in explained.lines:
            click.echo(line)
    if not explained.good:
        raise click.exceptions.Exit(1)
