"""A transaction: identities first, then references, then DELETE, POST, PUT and PATCH, GET; all of it or nothing.

Source: http://hl7.org/fhir/R4/http.html#trules. Conditional references are searches under the caller's own constraint.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from authserver.errors import BadRequest
from authserver.fhir.access import Caller
from authserver.fhir.constraint import Constraint
from authserver.fhir.interactions.bundle_entries import Entry, in_entry
from authserver.fhir.interactions.conditions import PreconditionFailed
from authserver.fhir.interactions.links import Links, conditional_parts
from authserver.fhir.interactions.performer import Outcome, Performer, new_id
from authserver.fhir.interactions.task import Message, Task, TaskReader
from authserver.fhir.request import FhirRequest, parse_parameters
from authserver.fhir.search.ast import SearchQuery
from authserver.fhir.search.parser import SearchParser
from authserver.fhir.search_rights import SearchRights
from authserver.fhir.store.port import FhirSession

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """One entry, decided: its task (None for a read), the id for what it creates, its conditional references."""

    entry: Entry
    task: Task | None
    new_id: str
    searches: Mapping[str, tuple[Constraint, SearchQuery]]


class Transactions:
    """Decides and does transactions, by the same tasks as single requests."""

    def __init__(
        self, reader: TaskReader, performer: Performer, links: Links, *, rights: SearchRights, parser: SearchParser
    ) -> None:
        self._reader, self._performer, self._links = reader, performer, links
        self._rights, self._parser = rights, parser

    def step(self, entry: Entry, caller: Caller, request: FhirRequest, message: Message | None) -> Step:
        """Decide one entry by everything but the store; `message` is None for a read."""
        if message is None:
            return Step(entry, None, "", {})
        task = self._reader.read(caller, request, message)
        searches: dict[str, tuple[Constraint, SearchQuery]] = {}
        for text in sorted(self._links.conditional(task.resource) if task.resource is not None else ()):
            resource_type, query = conditional_parts(text) or ("", "")
            pairs = parse_parameters(query.encode())
            criteria = tuple(self._parser.criterion(resource_type, name, value) for name, value in pairs)
            wanted = SearchQuery(resource_type, criteria, 2)
            searches[text] = self._rights.of_condition(caller.scopes, wanted, tenant=caller.tenant), wanted
        return Step(entry, task, new_id(), searches)

    def planned(self, steps: Sequence[Step]) -> list[Step]:
        """Return the steps in the order in which they are done. Raises BadRequest when two have one fullUrl."""
        urls = [step.entry.full_url for step in steps if step.entry.full_url is not None and step.task is not None]
        if len(urls) > len(set(urls)):
            raise BadRequest("Two entries have one fullUrl.", reason="entries_clash")
        return sorted(steps, key=lambda step: step.entry.order)

    def run(self, session: FhirSession, planned: Sequence[Step], *, now: int, request_id: str) -> dict[int, Outcome]:
        """Do every write and return the outcomes by the entries' numbers. Raises EntryRefused; then nothing is done."""
        resolved = {step.entry.number: self._resolve(session, step, step.task) for step in planned if step.task}
        _refuse_clashes([one for one in resolved.values() if isinstance(one, Task)])
        urls = _identities(planned, resolved)
        outcomes: dict[int, Outcome] = {}
        for step in planned:
            found = resolved.get(step.entry.number)
            if isinstance(found, Outcome):
                outcomes[step.entry.number] = found
            elif found is not None:
                with in_entry(step.entry.number):
                    outcomes[step.entry.number] = self._apply(session, step, found, urls, now)
        self._performer.finish(session, list(outcomes.values()), now=now, request_id=request_id)
        return outcomes

    def _resolve(self, session: FhirSession, step: Step, task: Task) -> Task | Outcome:
        with in_entry(step.entry.number):
            return self._performer.resolved(session, task, resource_id=step.new_id)

    def _apply(self, session: FhirSession, step: Step, task: Task, urls: Mapping[str, str], now: int) -> Outcome:
        if task.resource is not None:
            tenant = self._performer.tenant_of(session, task) if step.searches else ""
            found = {text: self._target(session, *search, tenant) for text, search in step.searches.items()}
            rewritten = self._links.rewritten(task.resource, {**urls, **found})
            if rewritten != task.resource:
                # Only now is it known what kind of resource the references lead to.
                self._reader.validate(rewritten)
            task = replace(task, resource=rewritten)
        return self._performer.apply(session, task, now=now)

    def _target(self, session: FhirSession, right: Constraint, query: SearchQuery, tenant: str) -> str:
        """Return what a conditional reference of the tenant's resource leads to (threats H07, H08; leak L10)."""
        matches = session.search(right.referred_to(tenant), query).matches
        if len(matches) != 1:
            raise PreconditionFailed("A conditional reference must match one resource.", reason="reference_matches")
        return f"{query.resource_type}/{matches[0].id}"


def _refuse_clashes(tasks: Sequence[Task]) -> None:
    keys = [(task.resource_type, task.resource_id) for task in tasks]
    if len(keys) > len(set(keys)):
        raise BadRequest("Two entries write one resource.", reason="entries_clash")


def _identities(planned: Sequence[Step], resolved: Mapping[int, Task | Outcome]) -> dict[str, str]:
    """Return what each fullUrl stands for."""
    urls: dict[str, str] = {}
    for step in planned:
        found = resolved.get(step.entry.number)
        about = found.stored if isinstance(found, Outcome) else found
        if step.entry.full_url is None or about is None:
            continue
        resource_id = about.resource_id if isinstance(about, Task) else about.id
        urls[step.entry.full_url] = f"{about.resource_type}/{resource_id}"
    return urls
