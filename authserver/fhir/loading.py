"""Load files of FHIR resources into a store: transaction Bundles whole, NDJSON in portions.

Loading the same files again changes nothing: equal content makes no new version. What is loaded is held against R4
when a Validator is given, as everything is that comes over HTTP.
"""

import gc
import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from authserver import clock
from authserver.errors import InvalidResource, Issue
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
from authserver.fhir.validation.validator import Validator

_PORTION = 400
_SELDOM = (50_000, 50, 1_000)
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
    validator: Validator | None = None,
) -> Progress | None:
    """Load `.json`, `.json.gz`, `.ndjson` and `.ndjson.gz` files in order and return the last progress.

    With `tag_system` each resource gets the tenant's tag of this system, and keeps no other of it but `shared`.
    A Bundle is stored whole or not at all; NDJSON in portions of some hundred lines. References that lead
    from one Bundle to another one's entry are not rewritten. Raises LoadError at the first file that cannot
    be loaded; those before it stay loaded.
    """
    state: Progress | None = None
    loader = _Loader(store, tenant, tag_system, validator)
    with _seldom_collecting():
        for path, results in loader.files(paths):
            resources, changed = (state.resources, state.changed) if state else (0, 0)
            state = Progress(path, resources + len(results), changed + sum(result.changed for result in results))
            progress(state)
    return state


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Let Python's collector of cycles run seldom: resources are trees, in which it finds none."""
    usual = gc.get_threshold()
    gc.set_threshold(*_SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def load_bundle(store: FhirStore, bundle: object, *, tenant: str, tag_system: str | None = None) -> list[WriteResult]:
    """Store the resources of a transaction Bundle in one transaction; tags as load_files() does.

    An id that the store already has is updated, for POST entries too: loading is an upsert. Raises
    InputError or InvalidResource, and then stores nothing.
    """
    return _Loader(store, tenant, tag_system, None).bundle(bundle)


@dataclass(frozen=True, slots=True)
class _Loader:
    """Loads into one tenant of a store; without a validator it takes whatever can be stored.

    `tag_system` is the system of the tenant's tag; None: tags stay as they are.
    """

    store: FhirStore
    tenant: str
    tag_system: str | None
    validator: Validator | None

    def files(self, paths: Sequence[Path]) -> Iterator[tuple[Path, list[WriteResult]]]:
        for path in paths:
            for results in self.file(path):
                yield path, results

    def file(self, path: Path) -> Iterator[list[WriteResult]]:
        if not path.name.endswith(_SUFFIXES):
            raise LoadError(f"{path}: the name ends in none of {', '.join(_SUFFIXES)}")
        try:
            if ".ndjson" in path.suffixes:
                yield from self._lines(path)
            else:
                yield self.bundle(_json(path))
        except (InputError, OSError, EOFError) as error:
            raise LoadError(f"{path}: {error}") from error
        except InvalidResource as error:
            raise LoadError(f"{path}: {error.detail}: {_words(error.issues()[0])}") from error

    def bundle(self, bundle: object) -> list[WriteResult]:
        return self._put(identified(transaction_entries(bundle, self.store.resource_types)))

    def _lines(self, path: Path) -> Iterator[list[WriteResult]]:
        portion: dict[tuple[str, str], Resource] = {}
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for resource in ndjson_resources(iter(lines), self.store.resource_types):
                key = (resource["resourceType"], resource["id"])
                if len(portion) == _PORTION or key in portion:
                    yield self._put(list(portion.values()))
                    portion = {}
                portion[key] = resource
        if portion:
            yield self._put(list(portion.values()))

    def _put(self, resources: list[Resource]) -> list[WriteResult]:
        if self.validator is not None:
            for resource in resources:
                _check(resource, self.validator.findings(resource))
        tagged = [self._tagged(resource) for resource in resources]
        return self.store.put(Constraint.system(self.tenant), tagged, now=clock.now_microseconds())

    def _tagged(self, resource: Resource) -> Resource:
        if self.tag_system is None:
            return resource
        shared = is_shared(resource, system=self.tag_system)
        return with_tenant_tag(resource, tenant=self.tenant, system=self.tag_system, shared=shared)


def _check(resource: Mapping[str, Any], findings: tuple[Issue, ...]) -> None:
    if findings:
        raise InvalidResource(findings, detail=f"{resource['resourceType']}/{resource['id']}")


def _words(issue: Issue) -> str:
    return f"{issue.expression}: {issue.diagnostics}" if issue.expression else issue.diagnostics


def _json(path: Path) -> Any:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        return exact_json.loads(content)
    except exact_json.NotJson as error:
        raise InputError("file", "no JSON") from error
