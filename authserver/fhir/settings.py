"""The settings of the FHIR layer, from `AUTHSERVER_*` variables or written out in code."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from authserver.fhir.tenancy import parent_names


def _base_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.netloc or url.query or url.fragment or "%" in url.path:
        raise ValueError("must be an absolute http(s) URL without query and fragment")
    return value.rstrip("/")


class FhirSettings(BaseSettings):
    """Names, addresses and limits of the FHIR layer.

    `fhir_base_url` is where clients find it and the audience of their tokens, `issuer` who must have issued
    these. `introspection_url` with `fhir_client_id` and `fhir_client_secret` is needed only when the
    authorization server runs in another process; `fhir_introspection_timeout` and `fhir_export_lifetime` are in
    seconds.
    """

    model_config = SettingsConfigDict(env_prefix="AUTHSERVER_", frozen=True, extra="ignore")

    fhir_database_url: str = Field(
        "sqlite:///instance/fhir.sqlite3", description="SQLAlchemy URL of the FHIR layer's own database."
    )
    fhir_base_url: Annotated[str, AfterValidator(_base_url)] = Field(
        description="Base URL of the FHIR API, and the audience that access tokens must name."
    )
    issuer: str = Field(description="Issuer that access tokens must name.")
    introspection_url: str | None = Field(
        None, description="Introspection endpoint, when the authorization server is another process."
    )
    fhir_client_id: str = Field("fhir", description="Client id with which the FHIR layer asks introspection.")
    fhir_client_secret: SecretStr = Field(
        SecretStr(""), description="Client secret with which the FHIR layer asks introspection."
    )
    fhir_introspection_timeout: float = Field(
        2.0, gt=0, le=30, description="Seconds to wait for an answer of introspection; then the answer is 503."
    )
    fhir_default_page_size: int = Field(
        20, ge=1, le=1_000, description="Resources on a page of search results when _count is not given."
    )
    fhir_max_page_size: int = Field(
        1_000, ge=1, le=10_000, description="Most resources on a page; a larger _count is lowered to it."
    )

    fhir_export_dir: Path | None = Field(
        None,
        description="Folder for the files of bulk exports, for this database alone, mode 0700, shared by all "
        "processes; default: fhir-exports beside the SQLite file, or in instance with PostgreSQL.",
    )
    fhir_export_lifetime: int = Field(
        3_600, ge=1, le=604_800, description="Seconds for which the files of a finished export are kept."
    )
    fhir_export_max_jobs: int = Field(
        3, ge=1, le=100, description="Unfinished exports that one client may have; one more is answered by 429."
    )

    fhir_max_body_bytes: int = Field(
        5_000_000, ge=1_000, le=100_000_000, description="Bytes of a resource or Bundle that a request may send."
    )
    fhir_max_bundle_entries: int = Field(
        2_000, ge=1, le=10_000, description="Entries that a batch or transaction may have."
    )
    fhir_audit_reads: bool = Field(
        True,
        description="Record every read, search and refusal of the FHIR layer as an AuditEvent before it is answered.",
    )
    fhir_tenant_tag_system: str = Field(
        "https://clinikapi.com/tenant",
        description="System of the tag in meta.tag that names the tenant; tags of it that clients send are removed.",
    )
    fhir_tenant_parents: Annotated[dict[str, str], NoDecode, BeforeValidator(parent_names)] = Field(
        {},
        description="Tenants below others, as a JSON object of each child with its parent; parents reach what is their "
        "children's, children read what their parents share.",
    )

    @property
    def base_path(self) -> str:
        """The path of the base URL, for example `/fhir`; "" for the root."""
        return urlsplit(self.fhir_base_url).path

    @property
    def metadata_paths(self) -> tuple[str, ...]:
        """Where the CapabilityStatement is: `[base]/metadata`, beside a base like `/v1/fhir` `/v1/metadata` too."""
        beside = self.base_path.rpartition("/")[0]
        return (f"{self.base_path}/metadata", *([f"{beside}/metadata"] if beside else []))
