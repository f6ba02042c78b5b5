"""What a command says when it cannot go on: plain lines on stderr and an exit code, never a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click


class Failure(click.ClickException):
    """The command was refused or failed. Each line of the message stands on a line of its own."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the lines to stderr."""
        for line in self.message.splitlines():
            click.echo(f"error: {line}", err=True, file=file)


class WrongSettings(Failure):
    """The settings cannot work; the same exit code as wrong usage."""

    exit_code = 2


class Unreachable(Failure):
    """The server does not answer."""

    exit_code = 3


@contextmanager
def explained() -> Iterator[None]:
    """Turn the errors that an operator can do something about into a Failure; others keep their traceback."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        failure = _failure(error)
        if failure is None:
            raise
        raise failure from error


def _failure(error: Exception) -> Failure | None:
    from authserver.adapters.key_files import KeyFilesError
    from authserver.adapters.sql.engine import DatabaseUrlError
    from authserver.errors import AuthServerError
    from authserver.fhir.loading import LoadError
    from authserver.settings import SettingsError

    if isinstance(error, SettingsError):
        return WrongSettings(str(error))
    if isinstance(error, DatabaseUrlError):
        return WrongSettings(f"AUTHSERVER_DATABASE_URL: {error}")
    if isinstance(error, KeyFilesError | LoadError):
        return Failure(str(error))
    if isinstance(error, AuthServerError):
        return Failure(f"{error.reason}: {error.detail or error.public}")
    if isinstance(error, OSError):
        return Failure(f"{error.filename or type(error).__name__}: {error.strerror or error}")
    return None
