"""The command `authserver`. Only names and summaries are known here; a command is imported when it runs."""

import os
import sys

import click

from authserver.cli.failures import explained
from authserver.cli.lazy import LazyCommand, LazyGroup

COMMANDS = {
    "serve": LazyCommand("authserver.cli.serve:serve", "Start the server: both parts, or auth or fhir alone."),
    "demo": LazyCommand("authserver.cli.demo:demo", "Walk through the whole flow against a real server."),
    "client": LazyCommand("authserver.cli.client:client", "Register clients, list, show, disable and delete them."),
    "apikey": LazyCommand("authserver.cli.apikey:apikey", "Make API keys for clients, list, rotate and revoke them."),
    "apply": LazyCommand("authserver.cli.apply:apply", "Make a server have the clients and policies that files say."),
    "export": LazyCommand("authserver.cli.apply:export", "Write every client and policy as YAML."),
    "token": LazyCommand("authserver.cli.token:token", "Get an access token with a client's private key."),
    "introspect": LazyCommand("authserver.cli.token:introspect", "Ask what an access token is worth."),
    "policy": LazyCommand(
        "authserver.cli.policy:policy", "Try out policies and patterns, explain refusals, foresee changes."
    ),
    "doctor": LazyCommand("authserver.cli.doctor:doctor", "Say what is wrong with a client and how to mend it."),
    "explain": LazyCommand("authserver.cli.doctor:explain", "Explain an assertion, an access token or a request id."),
    "keys": LazyCommand("authserver.cli.keys:keys", "Show, rotate and retire the keys that the server signs with."),
    "audit": LazyCommand("authserver.cli.audit:audit", "Check the audit: is every record as it was written?"),
    "fhir": LazyCommand("authserver.cli.fhir:fhir", "Load resources into the FHIR database."),
    "db": LazyCommand("authserver.cli.db:db", "Upgrade the databases, forget expired rows."),
    "config": LazyCommand("authserver.cli.config_command:config", "Show the settings and where they come from."),
}


class _Root(LazyGroup):
    """The command itself; says every foreseeable error in lines instead of a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was asked for."""
        with explained():
            return super().invoke(ctx)


@click.group(cls=_Root, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="authserver")
def command() -> None:
    """A SMART Backend Services authorization server, with the FHIR layer that it protects.

    Settings come from AUTHSERVER_* variables; `authserver config show` lists them all. Exit codes: 0 done,
    1 refused or failed, 2 wrong usage or settings, 3 the server does not answer.
    """


def main() -> None:
    """Run the command line."""
    _replace_closed_streams()
    command(prog_name="authserver")


def _replace_closed_streams() -> None:
    """Open what the caller closed: the next file would get its number, and what is printed would end in a database."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 -- for the whole life of the process
