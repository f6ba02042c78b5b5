"""The settings of both parts together, checked as one: every problem of either is listed before anything starts.

Adds what only the command line needs: secrets from files, and where each value came from.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, DotEnvSettingsSource, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from authserver import settings as auth_settings
from authserver.fhir.settings import FhirSettings
from authserver.settings import PREFIX, Settings, SettingsError

Role = Literal["both", "auth", "fhir"]
MIN_ROOT_SECRET = 16
"""Characters of AUTHSERVER_ROOT_SECRET outside development mode (threat G13)."""

_ENV_FILE = ".env"
_SECRETS = ("root_secret", "fhir_client_secret")


class SecretFiles(BaseSettings):
    """Files that hold a secret, for service managers that hand secrets over as files."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=_ENV_FILE, extra="ignore", frozen=True)

    root_secret_file: Path | None = Field(default=None, description="File that holds the secret of the client root.")
    fhir_client_secret_file: Path | None = Field(default=None, description="File that holds the FHIR layer's secret.")


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings of the authorization server and of the FHIR layer, final and consistent."""

    settings: Settings
    fhir: FhirSettings

    @property
    def root_secret_file(self) -> Path:
        """Where a generated secret of `root` is kept."""
        return self.settings.instance_dir.absolute() / "root-secret"


def load(role: Role | None = None, **overrides: Any) -> Configuration:
    """Read the environment, `.env` and secret files; `overrides` from the command line win.

    `role` adds what serving in that role needs. Raises SettingsError with every problem of both parts.
    """
    problems: list[str] = []
    secrets = _secrets(problems)
    settings = _auth(problems, {**_only(secrets, "root_secret"), **overrides})
    fhir = _fhir(problems, settings, secrets=_only(secrets, "fhir_client_secret"))
    if settings is not None and fhir is not None:
        problems += _role_problems(role, settings, fhir=fhir)
    if problems or settings is None or fhir is None:
        raise SettingsError("\n".join(problems))
    return Configuration(settings, fhir)


def unknown_variables() -> list[str]:
    """Return one sentence for each AUTHSERVER_ variable that nothing reads (see settings.unknown_variables)."""
    return auth_settings.unknown_variables(
        {*Settings.model_fields, *FhirSettings.model_fields, *SecretFiles.model_fields}
    )


def _only(secrets: Mapping[str, str], name: str) -> dict[str, str]:
    return {name: secrets[name]} if name in secrets else {}


def _secrets(problems: list[str]) -> dict[str, str]:
    """Return the secrets that files hold; a file that cannot be read is a problem."""
    files, found = SecretFiles(), {}
    for name in _SECRETS:
        path: Path | None = getattr(files, f"{name}_file")
        if path is None:
            continue
        try:
            found[name] = path.read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            problems.append(f"{PREFIX}{name.upper()}_FILE: {path}: {getattr(error, 'strerror', None) or 'no text'}")
    return found


def _auth(problems: list[str], overrides: Mapping[str, Any]) -> Settings | None:
    try:
        return auth_settings.load(**overrides)
    except SettingsError as error:
        problems += str(error).splitlines()
        return None


def _fhir(problems: list[str], settings: Settings | None, *, secrets: Mapping[str, Any]) -> FhirSettings | None:
    # Without the other part's settings, what it would lend is stood in for, so that all problems come at once.
    issuer, base = ("http://unknown", None) if settings is None else (settings.issuer, settings.fhir_base_url)
    lent = {"issuer": issuer, "fhir_base_url": base or f"{issuer}/fhir"}
    try:
        fhir = FhirSettings(**{"_env_file": _ENV_FILE, **lent, **secrets})
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        problems += [_sentence(one["loc"], one["msg"]) for one in found]
        return None
    return fhir if settings is None else fhir.model_copy(update=_derived(settings, fhir))


def _sentence(location: tuple[int | str, ...], message: str) -> str:
    variable = f"{PREFIX}{str(location[0]).upper()}: " if location else ""
    return variable + message.removeprefix("Value error, ")


def _derived(settings: Settings, fhir: FhirSettings) -> dict[str, Any]:
    defaults = {
        "fhir_database_url": f"sqlite:///{settings.instance_dir.absolute() / 'fhir.sqlite3'}",
        "introspection_url": f"{settings.issuer}/auth/introspect",
    }
    return {name: value for name, value in defaults.items() if name not in fhir.model_fields_set}


def _role_problems(role: Role | None, settings: Settings, *, fhir: FhirSettings) -> Iterator[str]:
    if role != "auth" and _backend(fhir.fhir_database_url) not in ("sqlite", "postgresql"):
        yield "AUTHSERVER_FHIR_DATABASE_URL must be sqlite:////path/file.db or postgresql://user@host/name"
    if role is None:
        return
    secret = settings.root_secret
    if secret is not None and not settings.dev and len(secret.get_secret_value()) < MIN_ROOT_SECRET:
        yield f"AUTHSERVER_ROOT_SECRET must have at least {MIN_ROOT_SECRET} characters (only --dev allows fewer)"
    if role == "both" and not fhir.base_path:
        yield "AUTHSERVER_FHIR_BASE_URL needs a path, for example /fhir, to share a port with the rest"
    if role == "fhir" and not fhir.fhir_client_secret.get_secret_value():
        yield "AUTHSERVER_FHIR_CLIENT_SECRET is missing: make one by `authserver client new fhir --basic`"
    if role != "auth" and settings.workers > 1 and fhir.fhir_database_url.startswith("sqlite"):
        yield "AUTHSERVER_WORKERS above 1 needs PostgreSQL in AUTHSERVER_FHIR_DATABASE_URL: SQLite serves one process"


def _backend(database_url: str) -> str | None:
    try:
        return make_url(database_url).get_backend_name()
    except ArgumentError:
        return None


@dataclass(frozen=True, slots=True)
class Row:
    """One setting for showing: `origin` is default, environment, file or command line; secrets are masked."""

    name: str
    value: str
    origin: str
    description: str


def rows(configuration: Configuration, *, overrides: Mapping[str, Any]) -> list[Row]:
    """Return every setting of both parts once, with its value and where it came from."""
    origins = _origins(overrides)
    shown: dict[str, Row] = {}
    for model in (configuration.settings, configuration.fhir, SecretFiles()):
        for name, field in type(model).model_fields.items():
            origin = origins.get(name) or ("file" if f"{name}_file" in origins else "default")
            row = Row(PREFIX + name.upper(), _shown(getattr(model, name)), origin, field.description or "")
            shown.setdefault(name, row)
    return list(shown.values())


def _origins(overrides: Mapping[str, Any]) -> dict[str, str]:
    in_file = DotEnvSettingsSource(Settings, env_file=_ENV_FILE).env_vars
    origins = {}
    for source, origin in ((in_file, f"file {_ENV_FILE}"), (os.environ, "environment")):
        for variable in source:
            if variable.upper().startswith(PREFIX):
                origins[variable.upper().removeprefix(PREFIX).lower()] = origin
    return origins | dict.fromkeys((name for name, value in overrides.items() if value is not None), "command line")


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "********" if value.get_secret_value() else ""
    if isinstance(value, tuple):
        return " ".join(str(one) for one in value)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else _without_password(str(value))


def _without_password(value: str) -> str:
    if "://" not in value or "@" not in value:
        return value
    try:
        return make_url(value).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "********"
