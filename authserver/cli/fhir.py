"""`authserver fhir`: load files of resources into the FHIR database."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from authserver.cli.connection import json_option, local_fhir_settings
from authserver.cli.output import is_terminal, print_json

if TYPE_CHECKING:
    from authserver.fhir.loading import Progress


@click.group()
def fhir() -> None:
    """Load resources into the FHIR database."""


@fhir.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--demo", is_flag=True, help="Load the invented patients of the demo, too.")
@click.option("--tenant", default="", help="Tenant that the resources belong to; they get its tag. Default: none.")
@click.option("--validate", is_flag=True, help="Load nothing that R4 does not allow; stop at the first such resource.")
@json_option
def load(files: tuple[Path, ...], *, demo: bool, tenant: str, validate: bool, as_json: bool) -> None:
    """Load transaction Bundles (.json) and resources by line (.ndjson), each plain or .gz.

    Loading the same files again changes nothing.
    """
    import os

    from authserver.cli.demo_server import load_patients
    from authserver.cli.first_start import make_private
    from authserver.fhir.definitions.tables import load_definitions
    from authserver.fhir.loading import load_files
    from authserver.fhir.store.sql_store import open_store
    from authserver.fhir.validation.structures import load_structures
    from authserver.fhir.validation.validator import Validator

    if not files and not demo:
        raise click.UsageError("Name files to load, or --demo.")
    settings, instance_dir = local_fhir_settings()
    os.umask(0o077)
    make_private(instance_dir)
    store = open_store(settings.fhir_database_url, load_definitions(), for_loading=True)
    try:
        system = settings.fhir_tenant_tag_system
        invented = load_patients(store, tenant=tenant, tag_system=system) if demo else []
        validator = Validator(load_structures()) if validate else None
        last = load_files(store, files, tenant=tenant, tag_system=system, progress=_report, validator=validator)
        store.analyze()
    finally:
        store.close()
        if is_terminal("stderr"):
            click.echo(err=True)
    resources, changed = (last.resources, last.changed) if last else (0, 0)
    resources, changed = resources + len(invented), changed + sum(one.changed for one in invented)
    if as_json:
        print_json({"files": len(files), "resources": resources, "changed": changed})
    else:
        click.echo(f"{resources} resources in {len(files)} files, {changed} of them new or changed")


def _report(progress: "Progress") -> None:
    """Write where loading is: over the same line on a terminal, a line for each step elsewhere."""
    line = f"{progress.path.name}: {progress.resources} resources"
    click.echo(f"\r\x1b[K{line}" if is_terminal("stderr") else line, err=True, nl=not is_terminal("stderr"))
