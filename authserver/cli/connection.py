"""The options by which a command finds its server and proves itself, and what they default to."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from authserver.cli.remote import Credentials, Remote
    from authserver.fhir.settings import FhirSettings
    from authserver.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
ROOT = "root"

url_option = click.option("--url", help="The server's URL. Default: AUTHSERVER_ISSUER, or http://HOST:PORT.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def operator_options(function: F) -> F:
    """Add --url, --user and --secret-file."""
    for option in (
        click.option(
            "--secret-file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="File with the secret. Default for root: AUTHSERVER_ROOT_SECRET, or instance/root-secret.",
        ),
        click.option("--user", default=ROOT, show_default=True, help="Client id to act as."),
        url_option,
    ):
        function = option(function)
    return function


def as_operator(url: str | None, *, user: str, secret_file: Path | None) -> "Remote":
    """Return the server to speak to as an operator; warns when the secret would travel in clear text."""
    from authserver.cli.remote import Remote

    settings = local_settings()
    remote = Remote(url or settings.issuer, _credentials(settings, user, secret_file=secret_file))
    if remote.sends_in_clear:
        click.echo(f"warning: {remote.url} is not https: the secret travels in clear text", err=True)
    return remote


def anonymous(url: str | None) -> "Remote":
    """Return the server to speak to without credentials."""
    from authserver.cli.remote import Remote

    return Remote(url or local_settings().issuer)


def local_settings() -> "Settings":
    """Return the settings; without an issuer those of development mode, where it follows from host and port."""
    from authserver import settings

    try:
        return settings.load()
    except settings.SettingsError:
        return settings.load(dev=True)


def local_fhir_settings() -> "tuple[FhirSettings, Path]":
    """Return the FHIR layer's settings and the instance folder, under the same rule as local_settings()."""
    from authserver import settings
    from authserver.cli import configuration

    try:
        loaded = configuration.load()
    except settings.SettingsError:
        loaded = configuration.load(dev=True)
    return loaded.fhir, loaded.settings.instance_dir


def _credentials(settings: "Settings", user: str, *, secret_file: Path | None) -> "Credentials":
    from authserver.cli.configuration import SecretFiles
    from authserver.cli.failures import Failure
    from authserver.cli.first_start import read_secret
    from authserver.cli.remote import Credentials

    if secret_file is not None:
        return Credentials(user, secret_file.read_text("utf-8").strip())
    if user != ROOT:
        raise Failure(f"--secret-file is needed to act as {user}.")
    if settings.root_secret is not None:
        return Credentials(user, settings.root_secret.get_secret_value())
    path = SecretFiles().root_secret_file or settings.instance_dir / "root-secret"
    if not path.exists():
        raise Failure(f"There is no {path}: set AUTHSERVER_ROOT_SECRET, or name a file with --secret-file.")
    return Credentials(user, read_secret(path))
