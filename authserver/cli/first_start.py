"""What must be there before any worker runs: private folders, current schemas, a signing key, the client `root`.

Doing it again changes nothing, so every start does it.
"""

import os
import secrets
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from authserver import app as auth_app
from authserver import clock
from authserver.adapters.key_files import open_signer
from authserver.adapters.sql.engine import open_engine
from authserver.adapters.sql.revision import current_revision, is_current
from authserver.adapters.sql.safe_server import require_safe_server
from authserver.app import Parts
from authserver.cli.apart import apart
from authserver.cli.configuration import Configuration, Role
from authserver.cli.failures import Failure, WrongSettings
from authserver.errors import InvalidResource, Issue
from authserver.protocol import audit_search, registry_bundle
from authserver.protocol.audit_record import key_change
from authserver.services import init_bundle
from authserver.services.ports import CLIENT
from authserver.services.registration import ROOT, ensure_root
from authserver.settings import Settings

SECRET_BYTES = 32
"""Random bytes of a generated secret."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What this start found or made. `new_root_secret` is set only when it was made just now; `notes` are warnings.

    `registered` says what became of the init bundle, None without one.
    """

    root_secret_file: Path | None = None
    new_root_secret: str | None = None
    notes: tuple[str, ...] = ()
    registered: str | None = None


def prepare(configuration: Configuration, role: Role) -> Prepared:
    """Make everything ready for serving in this role.

    Raises Failure for an old schema or a folder of others, KeyFilesError, StorageUnavailable, DatabaseUrlError.
    """
    os.umask(0o077)  # databases hold patients' data and secrets' hashes: nothing we make is for others
    make_private(configuration.settings.instance_dir)
    if role != "auth":
        from authserver.fhir.definitions.tables import load_definitions
        from authserver.fhir.store.sql_store import open_store

        require_safe_server(configuration.fhir.fhir_database_url)
        open_store(configuration.fhir.fhir_database_url, load_definitions()).close()
    if role == "fhir":
        return Prepared()
    make_private(configuration.settings.keys_dir)
    require_safe_server(configuration.settings.database_url)
    _upgrade(configuration.settings)
    settings = configuration.settings
    open_signer(settings.keys_dir, algorithm=settings.signing_algorithm, times=settings.key_times)
    return _root(configuration)


def make_private(directory: Path) -> None:
    """Make the folder for its owner alone; close one that is open but still holds nothing of ours.

    One that does hold something stays as it is: whether others used it is for its owner to judge.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_ours = directory.stat().st_uid == os.geteuid()
    if is_ours and all(path.name.startswith(".") for path in directory.iterdir()):
        directory.chmod(0o700)


def _upgrade(settings: Settings) -> None:
    engine = open_engine(settings.database_url)
    try:
        if is_current(engine):
            return
        if not settings.dev and current_revision(engine) is not None:
            raise Failure("The database has another schema than this version needs: run `authserver db upgrade`.")
    finally:
        engine.dispose()
    apart(partial(_migrate, settings.database_url))  # what migrates is large, and the server has no use for it


def _migrate(database_url: str) -> None:
    from authserver.adapters.sql.schema import upgrade

    engine = open_engine(database_url)
    try:
        upgrade(engine)
    finally:
        engine.dispose()


def _root(configuration: Configuration) -> Prepared:
    parts = auth_app.open_parts(configuration.settings)
    try:
        _record_keys(configuration.settings, parts)
        prepared = _ensure_root(configuration, parts)
        return replace(prepared, registered=_init_bundle(configuration.settings, parts))
    finally:
        parts.stores.close()


def _record_keys(settings: Settings, parts: Parts) -> None:
    """Record each published key that the audit does not know: those that a start made or that were put there."""
    if not settings.audit:
        return
    announced = audit_search.AuditQuery(events=frozenset({"key_announced"}), count=1)
    for key in parts.signer.list_keys():
        if not parts.stores.audit.search(replace(announced, entity=f"SigningKey/{key.kid}")):
            at = clock.now_microseconds()
            parts.stores.audit.append([key_change("key_announced", key.kid, key.algorithm, at=at, by="server start")])


def _ensure_root(configuration: Configuration, parts: Parts) -> Prepared:
    registration = auth_app.build_services(configuration.settings, parts).registration
    given, path = configuration.settings.root_secret, configuration.root_secret_file
    if given is not None:
        ensure_root(registration, secret=given.get_secret_value(), now=clock.now_microseconds())
        return Prepared(notes=tuple(_stale(path, given.get_secret_value())))
    if parts.stores.resources.get(CLIENT, ROOT) is not None:
        return Prepared(path if path.exists() else None)
    secret, is_new = _kept_secret(path)
    ensure_root(registration, secret=secret, now=clock.now_microseconds())
    return Prepared(path, secret if is_new else None)


def _init_bundle(settings: Settings, parts: Parts) -> str | None:
    """Register what the init bundle wants; raises WrongSettings with every finding and its path."""
    path = settings.init_bundle
    if path is None:
        return None
    registration = auth_app.build_services(settings, parts).registration
    try:
        document = registry_bundle.parse(path.read_bytes(), name=path.name)
        wanted = registry_bundle.wanted(document, os.environ, bundle_only=True)
        counts = init_bundle.register(registration, wanted, now=clock.now_microseconds())
    except InvalidResource as error:
        raise WrongSettings(_sentences(path, error.findings)) from error
    except OSError as error:
        raise WrongSettings(f"AUTHSERVER_INIT_BUNDLE: {path}: {error.strerror}") from error
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in ("created", "changed", "unchanged"))


def _sentences(path: Path, findings: Iterable[Issue]) -> str:
    places = (f"{issue.expression}: {issue.diagnostics}".removeprefix(": ") for issue in findings)
    return "\n".join(f"AUTHSERVER_INIT_BUNDLE: {path}: {place}" for place in places)


def _stale(path: Path, secret: str) -> list[str]:
    if not path.exists() or read_secret(path) == secret:
        return []
    return [f"{path} no longer holds the secret of root: AUTHSERVER_ROOT_SECRET decides. Delete the file."]


def _kept_secret(path: Path) -> tuple[str, bool]:
    """Return the secret of the file, and whether it was made now.

    It is written before it is used, so a crash in between leaves a secret that the next start takes.
    """
    secret = secrets.token_urlsafe(SECRET_BYTES)
    try:
        write_private(path, f"{secret}\n")
    except FileExistsError:
        return read_secret(path), False
    return secret, True


def write_private(path: Path, text: str) -> None:
    """Create the file with mode 0600 and write the text; raises FileExistsError rather than touch another's."""
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read_secret(path: Path) -> str:
    """Return the secret in a file. Raises Failure when the file is not its owner's alone."""
    with path.open(encoding="utf-8") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise Failure(f"{path} is open to others: run `chmod 600 {path}`, and change the secret if it was read.")
        return file.read().strip()
