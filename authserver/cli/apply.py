"""`authserver apply` and `authserver export`: the registry as files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from authserver.cli.connection import as_operator, json_option, operator_options
from authserver.cli.output import print_json

if TYPE_CHECKING:
    from authserver.cli.desired import Step

_TYPES = ("Client", "AccessPolicy")


@click.command()
@click.option(
    "-f",
    "--file",
    "path",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="A file (JSON or YAML: a resource, a list, a Bundle), or a folder of them.",
)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--with-secrets", is_flag=True, help="Send secrets also where nothing else changes.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@operator_options
@json_option
def apply(
    path: Path,
    *,
    dry_run: bool,
    with_secrets: bool,
    yes: bool,
    url: str | None,
    user: str,
    secret_file: Path | None,
    as_json: bool,
) -> None:
    """Make a server have the Clients and AccessPolicies that files say.

    Shows the difference, asks, and applies it: clients first, each only if nobody changed it meanwhile. What the files
    do not say stays. ${NAME} stands for a variable of the environment; secrets are never shown.
    """
    from authserver.cli import desired

    wanted = desired.read(path)
    with as_operator(url, user=user, secret_file=secret_file) as remote:
        steps = desired.plan(remote, wanted, with_secrets=with_secrets)
        _show(steps, as_json=as_json)
        changes = [step for step in steps if step.action != "keep"]
        if dry_run or not changes:
            return
        if not yes:
            click.confirm(f"Apply {len(changes)} changes to {remote.url}?", abort=True, err=True)
        for step in changes:
            desired.apply(remote, step)
            click.echo(f"{step.name}: done", err=True)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), required=False)
@operator_options
def export(folder: Path | None, *, url: str | None, user: str, secret_file: Path | None) -> None:
    """Write every Client and AccessPolicy as YAML: a file each below FOLDER, or one Bundle to stdout.

    `apply` and AUTHSERVER_INIT_BUNDLE take what this writes. Secrets are not in it: the server never shows them.
    """
    from authserver.cli import desired
    from authserver.protocol import strict_yaml

    with as_operator(url, user=user, secret_file=secret_file) as remote:
        found = [resource for resource_type in _TYPES for resource in remote.search(resource_type)]
    if folder is None:
        click.echo(strict_yaml.dumps(desired.bundle(found)), nl=False)
        return
    for resource in found:
        file = folder / resource["resourceType"] / f"{resource['id']}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(strict_yaml.dumps(desired.portable(resource)), "utf-8")
    click.echo(f"{len(found)} files below {folder}", err=True)


def _show(steps: "Sequence[Step]", *, as_json: bool) -> None:
    if as_json:
        print_json([{"resource": step.name, "action": step.action} for step in steps])
        return
    for step in steps:
        if step.action != "keep":
            click.echo("\n".join(step.lines()))
    kept = sum(step.action == "keep" for step in steps)
    click.echo(f"{len(steps) - kept} to change, {kept} as they are")
