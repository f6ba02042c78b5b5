"""Files that say what shall be registered, against what a server has: read, compared, applied in order."""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from authserver.cli.failures import Failure
from authserver.cli.remote import Remote
from authserver.errors import InvalidResource
from authserver.protocol import registry_bundle, strict_yaml
from authserver.protocol.registry_bundle import TYPES, Wanted
from authserver.protocol.registry_search import reference
from authserver.services.ports import ACCESS_POLICY, CLIENT

SUFFIXES = (".json", ".yaml", ".yml")
_SERVERS = ("meta", "resourceType", "id", "secret")
"""Members that are not compared: the server's own, and the one that it never shows."""

Action = Literal["create", "change", "relink", "keep"]


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done about one resource; `current` is what the server has, None when nothing."""

    wanted: Wanted
    current: Mapping[str, Any] | None
    action: Action

    @property
    def name(self) -> str:
        """Type and id."""
        return f"{self.wanted.resource_type}/{self.wanted.id}"

    def lines(self) -> Iterator[str]:
        """Yield what changes as lines of a diff of YAML; a secret is only named."""
        secret = " (with its secret)" if "secret" in self.wanted.body else ""
        yield f"{self.action} {self.name}{secret}"
        if self.action in ("create", "change"):
            before = [] if self.current is None else _text(self.current)
            yield from _changed(before, _text(self.wanted.body))


def read(path: Path) -> list[Wanted]:
    """Return what a file says, or every file with a known suffix below a folder; clients first.

    Variables of the environment are filled in. Raises Failure with every finding of every file.
    """
    found: list[Wanted] = []
    problems: list[str] = []
    for file in sorted(_files(path)):
        try:
            document = registry_bundle.parse(file.read_bytes(), name=file.name)
            found += registry_bundle.wanted(document, os.environ)
        except InvalidResource as error:
            places = [f"{issue.expression}: {issue.diagnostics}".removeprefix(": ") for issue in error.findings]
            problems += [f"{file}: {place}" for place in places]
    named = [(one.resource_type, one.id) for one in found]
    problems += [f"{'/'.join(name)} is there twice" for name in sorted(set(named)) if named.count(name) > 1]
    if problems or not found:
        raise Failure("\n".join(problems) or f"{path} holds no file that ends in {', '.join(SUFFIXES)}.")
    return sorted(found, key=lambda one: TYPES.index(one.resource_type))


def plan(remote: Remote, wanted: Sequence[Wanted], *, with_secrets: bool) -> list[Step]:
    """Compare with the server and return a step for each resource, in the order to take them.

    A secret cannot be compared, so by itself it is a change only `with_secrets`.
    """
    steps: list[Step] = []
    created: set[str] = set()
    for one in wanted:
        current = remote.find(one.resource_type, one.id)
        action = _action(one, current, created, with_secrets=with_secrets)
        if action == "create" and one.resource_type == CLIENT:
            created.add(one.id)
        steps.append(Step(one, current, action))
    return steps


def apply(remote: Remote, step: Step) -> None:
    """Take the step; one that was planned for another version than there is now is refused by the server."""
    kept = {name: value for name, value in step.wanted.body.items() if name != "meta"}
    if step.action == "keep":
        return
    if step.current is None:
        remote.create(step.wanted.resource_type, body=kept)
        return
    # Remote.put() sends the version that the diff was made from as If-Match.
    remote.put(step.wanted.resource_type, step.wanted.id, body={**kept, "meta": step.current["meta"]})


def bundle(resources: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return resources as a Bundle that a start can register."""
    entries = [
        {
            "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
            "resource": portable(resource),
        }
        for resource in resources
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def portable(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resource as a file holds it: without the server's meta, and no text in it a variable."""
    return dict(registry_bundle.escaped({name: value for name, value in resource.items() if name != "meta"}))


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    yield from (file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())


def _action(wanted: Wanted, current: Mapping[str, Any] | None, created: set[str], *, with_secrets: bool) -> Action:
    if current is None:
        return "create"
    if _text(wanted.body, ordered=True) != _text(current, ordered=True):
        return "change"
    if with_secrets and "secret" in wanted.body:
        return "change"
    # A link belongs to one life of a client's id, so a policy has to be stored anew for a client made now.
    links = wanted.body.get("link", ()) if wanted.resource_type == ACCESS_POLICY else ()
    return "relink" if {reference(link) for link in links} & {f"{CLIENT}/{one}" for one in created} else "keep"


def _text(resource: Mapping[str, Any], *, ordered: bool = False) -> list[str]:
    shown = {name: value for name, value in resource.items() if name not in _SERVERS}
    return strict_yaml.dumps(_sorted(shown) if ordered else shown).splitlines() if shown else []


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(member) for member in value] if isinstance(value, list) else value


def _changed(before: list[str], after: list[str]) -> Iterator[str]:
    for line in difflib.unified_diff(before, after, lineterm="", n=2):
        if not line.startswith(("---", "+++", "@@")):
            yield f"  {line}"
