"""Every setting of the authorization server; the only reader of its environment. All problems are listed at once."""

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from authserver.protocol import jose, source_address
from authserver.protocol.client import DEFAULT_TOKEN_LIFETIME
from authserver.protocol.jwks_url import JwksUrlRules
from authserver.protocol.key_life import JWKS_MAX_AGE, KeyTimes
from authserver.protocol.resource_types import R4_TYPES

PREFIX = "AUTHSERVER_"
DOCUMENTED_TYPES = (
    "AllergyIntolerance CarePlan CareTeam Condition Device DiagnosticReport DocumentReference Encounter Goal Group "
    "Immunization Location MedicationRequest Observation Organization Patient Practitioner Procedure Provenance"
)
_WORD_LISTS = (
    "audience_aliases",
    "assertion_algorithms",
    "wildcard_types",
    "jwks_allow",
    "trusted_proxies",
    "verify_audiences",
    "verify_fhir_bases",
)
Words = Annotated[tuple[str, ...], NoDecode]


class SettingsError(Exception):
    """The settings cannot work; the message lists every problem, one a line, with the variable to change."""


class Settings(BaseSettings):
    """The settings, by their meaning; the environment variable is the name in capitals after AUTHSERVER_."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True)

    dev: bool = Field(False, description="Development mode: http issuer, loopback and http key addresses allowed.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=1, le=65_535, description="Port to listen on.")
    workers: int = Field(1, ge=1, le=64, description="Server processes; more than one needs PostgreSQL.")
    drain_seconds: int = Field(
        0, ge=0, le=300, description="Seconds for which a server told to stop serves on, while /readyz says 503."
    )
    metrics: Literal["off", "local", "on"] = Field(
        "local", description="Who may read /metrics: nobody, callers on this host without a proxy, or everybody."
    )
    issuer: str = Field("", description="Public URL of this server, without a path; in development http://HOST:PORT.")
    audience_aliases: Words = Field((), description="Further values accepted as an assertion's aud, exact.")
    instance_dir: Path = Field(Path("instance"), description="Folder for the embedded databases and the root secret.")
    keys_dir: Path = Field(Path("keys"), description="Folder of the signing keys, mode 0700.")
    database_url: str = Field("", description="Database of the registry; default: SQLite in the instance folder.")
    root_secret: SecretStr | None = Field(None, description="Secret of the client root; default: made at first start.")
    init_bundle: Path | None = Field(
        None, description="Bundle (JSON or YAML) of Clients and AccessPolicies that each start registers."
    )
    signing_algorithm: Literal["ES256", "RS256"] = Field("ES256", description="Algorithm of our access tokens.")
    jwks_max_age: int = Field(
        JWKS_MAX_AGE, ge=1, le=86_400, description="Seconds for which verifiers may keep our key set."
    )
    key_leeway: int = Field(
        60, ge=2, le=3_600, description="Seconds added to each wait of a key rotation, for clocks that differ."
    )
    assertion_algorithms: Words = Field(jose.DEFAULT_ALGORITHMS, description="Algorithms accepted from clients.")
    any_odd_rsa_exponent: bool = Field(False, description="Accept RSA exponents other than 65537 (odd, 3 to 2^32).")
    max_token_lifetime: int = Field(
        DEFAULT_TOKEN_LIFETIME, ge=1, le=86_400, description="Longest access_token_expiration, seconds."
    )
    wildcard_types: Words = Field(
        tuple(DOCUMENTED_TYPES.split()), description="Resource types that `*` in a scope stands for; `*` keeps it."
    )
    introspection_guesses: int = Field(
        1_000, ge=1, description="Tokens that are none of ours a caller may introspect in a minute, per process."
    )
    client_rate: int = Field(
        0, ge=0, description="Requests of one proven client in a second, by all processes together; 0: no limit."
    )
    client_failures: int = Field(
        600, ge=0, description="Refused requests of one proven client in a minute; further ones get 429; 0: no limit."
    )
    source_failures: int = Field(
        100, ge=0, description="Refusals of unproven callers of one address (IPv6: /64) in a minute; 0: no limit."
    )
    api_key_days: int = Field(
        90, ge=1, le=3_650, description="Longest life of an API key in days, and that of one made without `days`."
    )
    scope_required: bool = Field(False, description="Refuse a token request without scope.")
    jwks_allow: Words = Field(
        (), description="Origins (http://host:port) and networks (10.0.0.0/8) whose key sets may be fetched."
    )
    jwks_ca_file: Path | None = Field(None, description="Certificate authorities for fetching key sets (PEM).")
    trusted_proxies: Words = Field(
        (), description="Addresses of the proxies whose X-Forwarded-For says where a request comes from, exact."
    )
    fhir_base_url: str = Field("", description="Base URL of the FHIR API, the aud of our tokens; default ISSUER/fhir.")
    registered_clients_active: bool = Field(
        False, description="Let a client that registered itself (POST /auth/register) ask for tokens at once."
    )
    verify_audiences: Words = Field(
        (), description="Audiences of the tokens that GET /auth/verify takes; default FHIR_BASE_URL."
    )
    verify_fhir_bases: Words = Field(
        (), description="Base paths of FHIR servers behind GET /auth/verify; default that of FHIR_BASE_URL, or `none`."
    )
    purge_interval: int = Field(60, ge=1, description="Seconds between two purges of expired rows.")
    receipt_days: int = Field(7, ge=1, le=365, description="Days for which the reasons of refusals are kept.")
    receipt_limit: int = Field(100_000, ge=100, description="Most reasons of refusals kept; the oldest go first.")
    decision_limit: int = Field(20_000, ge=100, description="Most records of decisions kept; the oldest go first.")
    audit: bool = Field(True, description="Record every decision in the audit; what cannot be recorded is refused.")
    audit_retention_days: int = Field(
        2_190, ge=1, description="Days for which audit records are kept (six years: 45 CFR 164.316(b)(2)(i))."
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="Log lines as JSON, or to be read; in development the latter."
    )

    @field_validator(*_WORD_LISTS, mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("assertion_algorithms")
    @classmethod
    def _known_algorithms(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in jose.ALGORITHMS]
        if unknown or not names:
            raise ValueError(f"must be of {', '.join(jose.ALGORITHMS)}")
        return names

    @field_validator("wildcard_types")
    @classmethod
    def _known_types(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or (names != ("*",) and not set(names) <= R4_TYPES):
            raise ValueError("must be FHIR R4 resource types, or the one word *")
        return names

    @field_validator("jwks_allow")
    @classmethod
    def _allow_list(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        JwksUrlRules.from_allow_list(entries)
        return entries

    @field_validator("trusted_proxies")
    @classmethod
    def _single_addresses(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        source_address.trusted(entries)
        return entries

    @field_validator("verify_fhir_bases")
    @classmethod
    def _base_paths(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        if paths != ("none",) and not all(path.startswith("/") and not path.endswith("/") for path in paths):
            raise ValueError("must be paths such as /fhir, without a trailing slash, or the one word none")
        return paths

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        """Derive what depends on other settings, so that every field has its final value."""
        filled = {name: value for name, value in dict(values).items() if value not in ("", None)}
        development = str(filled.get("dev", False)).lower() in ("true", "1", "yes", "on")
        if development:
            filled.setdefault("log_format", "console")
            filled.setdefault("issuer", f"http://{_reachable(filled.get('host'))}:{filled.get('port', 8080)}")
        instance = Path(str(filled.get("instance_dir", "instance"))).absolute()
        filled.setdefault("database_url", f"sqlite:///{instance / 'authserver.sqlite3'}")
        filled.setdefault("fhir_base_url", f"{filled.get('issuer', '')}/fhir")
        return filled

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [*self._url_problems(), *self._process_problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _url_problems(self) -> Iterable[str]:
        if not self.issuer:
            yield "AUTHSERVER_ISSUER is missing: set it to the public https URL of this server, or start with --dev"
            return
        issuer, base = urlsplit(self.issuer), urlsplit(self.fhir_base_url)
        if issuer.scheme != "https" and not self.dev:
            yield "AUTHSERVER_ISSUER must begin with https:// (only --dev allows http)"
        if not issuer.netloc or issuer.path or issuer.query or issuer.fragment:
            yield "AUTHSERVER_ISSUER must be scheme://host[:port] without a path or a trailing slash"
        if not base.netloc or base.query or base.fragment or self.fhir_base_url.endswith("/"):
            yield "AUTHSERVER_FHIR_BASE_URL must be an absolute URL without a trailing slash"

    def _process_problems(self) -> Iterable[str]:
        if self.workers > 1 and self.database_url.startswith("sqlite"):
            yield "AUTHSERVER_WORKERS above 1 needs PostgreSQL in AUTHSERVER_DATABASE_URL: SQLite serves one process"

    @property
    def wildcard(self) -> frozenset[str] | None:
        """What `*` in a scope stands for; None keeps it as it is."""
        return None if self.wildcard_types == ("*",) else frozenset(self.wildcard_types)

    @property
    def key_times(self) -> KeyTimes:
        """What the life of our signing keys depends on."""
        return KeyTimes(self.jwks_max_age, self.max_token_lifetime, self.key_leeway)

    @property
    def forward_audiences(self) -> frozenset[str]:
        """Whose tokens forward-auth takes."""
        return frozenset(self.verify_audiences or (self.fhir_base_url,))

    @property
    def forward_fhir_bases(self) -> tuple[str, ...]:
        """The base paths below which forward-auth reads a path as FHIR does."""
        named = self.verify_fhir_bases or (urlsplit(self.fhir_base_url).path,)
        return () if named == ("none",) else named

    @property
    def token_url(self) -> str:
        """The absolute URL of the token endpoint."""
        return f"{self.issuer}/auth/token"


def _reachable(host: object) -> str:
    """Return a name for the address that a caller on this machine can use."""
    if host in (None, "0.0.0.0", "::"):  # noqa: S104 -- compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in str(host) else str(host)


def load(**overrides: Any) -> Settings:
    """Read the environment; `overrides` (from the command line) win. Raises SettingsError with every problem."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise SettingsError("\n".join(_sentences(error))) from error


def unknown_variables(known: Iterable[str], environment: Mapping[str, str] | None = None) -> list[str]:
    """Return one sentence for each AUTHSERVER_ variable that no setting reads, with the nearest known name."""
    names = {PREFIX + name.upper() for name in known}
    found = sorted(name for name in (environment or os.environ) if name.startswith(PREFIX) and name not in names)
    return [f"{name} is no setting{_nearest(name, names)}" for name in found]


def _nearest(name: str, names: set[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _sentences(error: ValidationError) -> Iterable[str]:
    for found in error.errors(include_input=False, include_url=False):
        message = found["msg"].removeprefix("Value error, ")
        if not found["loc"]:
            yield from message.split("; ")
            continue
        yield f"{PREFIX}{str(found['loc'][0]).upper()}: {message}"
