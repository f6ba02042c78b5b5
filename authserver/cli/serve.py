"""`authserver serve`: check, prepare, run, and say what a person needs next."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from authserver.cli.output import is_terminal

if TYPE_CHECKING:
    from authserver.cli.configuration import Configuration
    from authserver.cli.first_start import Prepared

F = TypeVar("F", bound=Callable[..., Any])
_TRY = "client new my-clinic --scope 'system/Patient.rs system/Observation.rs'"


def server_options(function: F) -> F:
    """Add the options that stand for settings; one that is not given leaves its setting alone."""
    for option in (
        click.option("--workers", type=int, help="Server processes; more than one needs PostgreSQL."),
        click.option("--port", type=int, help="Port to listen on. Default: AUTHSERVER_PORT, 8080."),
        click.option("--host", help="Address to listen on. Default: AUTHSERVER_HOST, 127.0.0.1."),
        click.option("--dev", is_flag=True, default=None, help="Development mode: http and loopback key addresses."),
    ):
        function = option(function)
    return function


@click.command()
@click.argument("part", type=click.Choice(["auth", "fhir"]), required=False)
@server_options
def serve(part: Literal["auth", "fhir"] | None, **overrides: Any) -> None:
    """Start the server; without PART both parts in one process behind one port.

    `auth` is the authorization server alone, `fhir` the FHIR layer alone, which asks about tokens over HTTP.
    """
    import gc

    gc.disable()  # what is loaded now stays: the supervisor goes through it once, before it starts workers
    from authserver.cli import configuration, first_start, logs, serving

    serving.exit_at_signals(0)  # until the supervisor takes them
    role = part or "both"
    for warning in configuration.unknown_variables():
        _say(f"warning: {warning}", err=True)
    loaded = configuration.load(role, **overrides)
    logs.configure(loaded.settings.log_format)
    serving.require_free_port(loaded.settings)
    with serving.alone(loaded, role):
        prepared = first_start.prepare(loaded, role)
        for note in prepared.notes:
            _say(f"warning: {note}", err=True)
        serving.pass_on(overrides)
        serving.run(loaded.settings, role, ready=lambda: _tell(loaded, role, prepared=prepared))


def _tell(loaded: "Configuration", role: str, *, prepared: "Prepared") -> None:
    _say("\n".join(_lines(loaded, role, prepared=prepared)))


def _say(text: str, *, err: bool = False) -> None:
    """Print, if anybody takes it: a full disk or a closed pipe behind stdout ends no server."""
    try:
        click.echo(text, err=err)
    except OSError:
        return


def _lines(loaded: "Configuration", role: str, *, prepared: "Prepared") -> list[str]:
    settings = loaded.settings
    lines = [f"authserver is ready ({role})", ""]
    if settings.dev:
        lines[:0] = ["DEVELOPMENT MODE: plain http and loopback key addresses are allowed. No real patients here.", ""]
    listening = f"http://{settings.host}:{settings.port}"
    lines.append(f"  server      {settings.issuer}" + ("" if settings.issuer == listening else f" (at {listening})"))
    if role != "auth":
        lines.append(f"  FHIR base   {loaded.fhir.fhir_base_url}")
    if role != "fhir":
        lines += _about_root(prepared)
        if prepared.registered is not None:
            lines.append(f"  registry    {settings.init_bundle}: {prepared.registered}")
        lines.append(f"  try         {_program()} {_TRY}")
    return [*lines, "", "Ctrl-C stops it."]


def _about_root(prepared: "Prepared") -> list[str]:
    if prepared.root_secret_file is None:
        return ["  root        proves itself by AUTHSERVER_ROOT_SECRET"]
    lines = [f"  root        secret in {prepared.root_secret_file}"]
    # Only to a person: a service's output ends in a log, where a secret must not be (threat F08).
    if prepared.new_root_secret is not None and is_terminal():
        lines.append(f"              made now, shown once: {prepared.new_root_secret}")
    return lines


def _program() -> str:
    """Return how this program was called, so that the line can be pasted."""
    import shutil
    import sys
    from pathlib import Path

    called = Path(sys.argv[0])
    if shutil.which("authserver") or called.name != "authserver":
        return "authserver"
    here = Path.cwd()
    return str(called.relative_to(here)) if called.is_relative_to(here) else str(called)
