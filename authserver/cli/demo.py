"""`authserver demo`: the whole flow against a real server, each request and answer shown, and whether it held."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from authserver.cli.connection import as_operator, json_option, operator_options
from authserver.cli.output import print_json

if TYPE_CHECKING:
    from authserver.cli.demo_story import Step, Story


@click.command()
@operator_options
@json_option
@click.pass_context
def demo(ctx: click.Context, *, url: str | None, user: str, secret_file: Path | None, as_json: bool) -> None:
    """Walk through the whole flow: register, token, introspection, FHIR search, refusals, revocation.

    Uses the server that runs here in development mode, or the one at --url, and cleans up after itself. When none
    runs, it starts one of its own with invented patients, and stops it at the end. Exit code 0 only if every step
    held.
    """
    from authserver.cli.serving import exit_at_signals

    exit_at_signals(1)
    taken = []
    with _story(
        url or _running_server(user=user, secret_file=secret_file), user=user, secret_file=secret_file
    ) as story:
        if not as_json:
            click.echo(f"The server is {story.remote.url}; the client publishes its keys at {story.jwks_uri}.\n")
        for number, step in enumerate(story.steps(), 1):
            taken.append(step)
            if not as_json:
                _tell(number, step)
    failed = [step for step in taken if not step.held]
    if as_json:
        print_json([asdict(step) for step in taken])
    else:
        click.echo(f"{len(taken) - len(failed)} of {len(taken)} steps held.")
    ctx.exit(1 if failed else 0)


@contextmanager
def _story(url: str | None, *, user: str, secret_file: Path | None) -> "Iterator[Story]":
    import secrets

    from authserver.cli.demo_server import demo_server, key_host
    from authserver.cli.demo_story import Story
    from authserver.cli.private_keys import new_key
    from authserver.cli.remote import Remote

    pair = new_key("ES384")
    with ExitStack() as running:
        jwks_uri = running.enter_context(key_host(pair.public_jwk))
        if url is not None:
            remote, client_id, min_matches = (
                as_operator(url, user=user, secret_file=secret_file),
                f"demo-{secrets.token_hex(4)}",
                0,
            )
        else:
            server = running.enter_context(demo_server())
            remote, client_id, min_matches = Remote(server.url, server.operator), "demo-clinic", 2
        running.enter_context(remote)
        story = Story(remote, client_id, pair, jwks_uri, min_matches)
        running.callback(story.clean_up)
        yield story


def _running_server(*, user: str, secret_file: Path | None) -> str | None:
    """Return the URL of the development server that the settings describe, if it runs and takes us for an operator."""
    from urllib.parse import urlsplit

    from authserver.cli.connection import local_settings
    from authserver.cli.failures import Failure
    from authserver.cli.serving import answers

    issuer = urlsplit(local_settings().issuer)
    if issuer.scheme != "http" or not answers(issuer.hostname or "", issuer.port or 80):
        return None
    try:
        with as_operator(None, user=user, secret_file=secret_file) as remote:
            remote.search("Client")
    except Failure:
        return None
    return issuer.geturl()


def _tell(number: int, step: "Step") -> None:
    click.echo(f"{number:>2}  {step.title}")
    click.echo(f"    → {step.request}")
    click.echo(f"    ← {step.came}")
    if step.held:
        click.secho(f"    ✓ {step.expected}", fg="green")
    else:
        click.secho(f"    ✗ expected {step.expected}", fg="red")
    click.echo()
