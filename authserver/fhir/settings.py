"""The settings of the FHIR layer, from `AUTHSERVER_*` variables or written out in code."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def _base_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.netloc or url.query or url.fragment or "%" in url.path:
        raise ValueError("must be an absolute http(s) URL without query and fragment")
    return value.rstrip("/")


class FhirSettings(BaseSettings):
    """Names, addresses and limits of the FHIR layer.

    `fhir_base_url` is where clients find it and the audience of their tokens, `issuer` who must have issued
    these. `introspection_url` with `fhir_client_id` and `fhir_client_secret` is needed only when the
    authorization server runs in another process; `fhir_introspection_timeout` is in seconds.
    """

    model_config = SettingsConfigDict(env_prefix="AUTHSERVER_", frozen=True, extra="ignore")

    fhir_database_url: str = "sqlite:///instance/fhir.db"
    fhir_base_url: Annotated[str, AfterValidator(_base_url)]
    issuer: str
    introspection_url: str | None = None
    fhir_client_id: str = "fhir"
    fhir_client_secret: SecretStr = SecretStr("")
    fhir_introspection_timeout: float = Field(default=2.0, gt=0, le=30)
    fhir_default_page_size: int = Field(default=20, ge=1, le=1_000)
    fhir_max_page_size: int = Field(default=1_000, ge=1, le=10_000)

    @property
    def base_path(self) -> str:
        """The path of the base URL, for example `/fhir`; "" for the root."""
        return urlsplit(self.fhir_base_url).path
