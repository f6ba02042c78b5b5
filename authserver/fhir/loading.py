"""Load files of FHIR resources into a store: transaction Bundles whole, NDJSON in portions.

Loading the same files again changes nothing: equal content makes no new version.
"""

import gzip
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from authserver import clock
from authserver.errors import InvalidResource
from authserver.fhir import exact_json
from authserver.fhir.bundle_input import (
    InputError,
    Resource,
    identified,
    ndjson_resources,
    transaction_entries,
)
from authserver.fhir.constraint import Constraint
from authserver.fhir.interactions.bodies import is_shared, with_tenant_tag
from authserver.fhir.store.port import FhirStore, WriteResult

_PORTION = 400
_SUFFIXES = (".json", ".json.gz", ".ndjson", ".ndjson.gz")


class LoadError(Exception):
    """A file could not be loaded; the message names the file and the line or entry."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far loading is: the file just read, and the totals so far."""

    path: Path
    resources: int
    changed: int


def load_files(
    store: FhirStore,
    paths: Sequence[Path],
    *,
    tenant: str,
    tag_system: str | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Progress | None:
    """Load `.json`, `.json.gz`, `.ndjson` and `.ndjson.gz` files in order and return the last progress.

    With `tag_system` each resource gets the tenant's tag of this system, and keeps no other of it but `shared`.
    A Bundle is stored whole or not at all; NDJSON in portions of some hundred lines. References that lead
    from one Bundle to another one's entry are not rewritten. Raises LoadError at the first file that cannot
    be loaded; those before it stay loaded.
    """
    state: Progress | None = None
    for path in paths:
        for results in _load_file(_Target(store, tenant, tag_system), path):
            resources, changed = (state.resources, state.changed) if state else (0, 0)
            state = Progress(path, resources + len(results), changed + sum(result.changed for result in results))
            progress(state)
    return state


def load_bundle(store: FhirStore, bundle: object, *, tenant: str, tag_system: str | None = None) -> list[WriteResult]:
    """Store the resources of a transaction Bundle in one transaction; tags as load_files() does.

    An id that the store already has is updated, for POST entries too: loading is an upsert. Raises
    InputError or InvalidResource, and then stores nothing.
    """
    entries = transaction_entries(bundle, store.resource_types)
    return _Target(store, tenant, tag_system).put(identified(entries))


@dataclass(frozen=True, slots=True)
class _Target:
    """Where resources go: a tenant of a store, and the system of its tag."""

    store: FhirStore
    tenant: str
    tag_system: str | None

    def put(self, resources: Sequence[Resource]) -> list[WriteResult]:
        tagged = [self._tagged(resource) for resource in resources]
        return self.store.put(Constraint.system(self.tenant), tagged, now=clock.now_microseconds())

    def _tagged(self, resource: Resource) -> Resource:
        if self.tag_system is None:
            return resource
        shared = is_shared(resource, system=self.tag_system)
        return with_tenant_tag(resource, tenant=self.tenant, system=self.tag_system, shared=shared)


def _load_file(target: _Target, path: Path) -> Iterator[list[WriteResult]]:
    if not path.name.endswith(_SUFFIXES):
        raise LoadError(f"{path}: the name ends in none of {', '.join(_SUFFIXES)}")
    try:
        if ".ndjson" in path.suffixes:
            yield from _load_lines(target, path)
        else:
            yield target.put(identified(transaction_entries(_json(path), target.store.resource_types)))
    except (InputError, OSError, EOFError) as error:
        raise LoadError(f"{path}: {error}") from error
    except InvalidResource as error:
        raise LoadError(f"{path}: {error.detail}: {error.issues()[0].diagnostics}") from error


def _json(path: Path) -> Any:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        return exact_json.loads(content)
    except exact_json.NotJson as error:
        raise InputError("file", "no JSON") from error


def _load_lines(target: _Target, path: Path) -> Iterator[list[WriteResult]]:
    portion: dict[tuple[str, str], Resource] = {}
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
        for resource in ndjson_resources(iter(lines), target.store.resource_types):
            key = (resource["resourceType"], resource["id"])
            if len(portion) == _PORTION or key in portion:
                yield target.put(list(portion.values()))
                portion = {}
            portion[key] = resource
    if portion:
        yield target.put(list(portion.values()))
