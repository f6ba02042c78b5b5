"""`authserver db`: bring the databases to the current schema, and forget expired rows, by command."""

import click

from authserver.cli.connection import json_option, local_fhir_settings, local_settings
from authserver.cli.output import print_json


@click.group()
def db() -> None:
    """Upgrade the databases, forget expired rows."""


@db.command()
def upgrade() -> None:
    """Bring the registry's and the FHIR layer's databases to the schema of this version; changes nothing twice."""
    import os

    from authserver.adapters.sql import schema
    from authserver.adapters.sql.engine import open_engine
    from authserver.adapters.sql.revision import current_revision
    from authserver.cli.first_start import make_private
    from authserver.fhir.definitions.tables import load_definitions
    from authserver.fhir.store.sql_store import open_store

    settings, (fhir_settings, instance_dir) = local_settings(), local_fhir_settings()
    os.umask(0o077)
    make_private(instance_dir)
    engine = open_engine(settings.database_url)
    try:
        schema.upgrade(engine)
        click.echo(f"registry: at revision {current_revision(engine)}")
    finally:
        engine.dispose()
    open_store(fhir_settings.fhir_database_url, load_definitions()).close()
    click.echo("FHIR: current")


@db.command()
@json_option
def purge(*, as_json: bool) -> None:
    """Forget what has expired, the audit's oldest records too; a running server does so by itself."""
    from dataclasses import asdict

    from authserver import clock
    from authserver.adapters.purger import purge_once
    from authserver.adapters.sql.engine import open_engine
    from authserver.adapters.sql.stores import SqlStores
    from authserver.cli.audit import pruning

    settings = local_settings()
    stores = SqlStores(open_engine(settings.database_url))
    try:
        purged = purge_once(
            stores.replay_guard,
            stores.revocations,
            stores.receipts,
            decisions=stores.decisions,
            now=clock.now(),
            upkeep=pruning(settings, stores),
        )
    finally:
        stores.close()
    if as_json:
        print_json(asdict(purged))
    else:
        counts = (f"{number} {kind.replace('_', ' ')}" for kind, number in asdict(purged).items())
        click.echo("forgot " + ", ".join(counts))
