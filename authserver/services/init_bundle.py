"""Register what a document wants, at a start: everything is judged first, and what is there already stays as it is."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from authserver.errors import InvalidResource, Issue, VersionConflict
from authserver.protocol.registry_bundle import Wanted
from authserver.services.ports import CLIENT, AlreadyExists
from authserver.services.registration import ROOT, Registration

ACTOR = "init-bundle"

Outcome = Literal["created", "changed", "unchanged"]


def register(registration: Registration, wanted: Sequence[Wanted], *, now: int) -> Counter[Outcome]:
    """Make the registry hold what is wanted, and count what became of it; `now` in microseconds.

    Doing it again changes nothing, and several processes may do it at once. Raises InvalidResource with every finding,
    each at its place in the document, before anything is stored.
    """
    issues = tuple(_issues(registration, wanted))
    if issues:
        raise InvalidResource(issues)
    return Counter(_made(registration, one, now) for one in wanted)


def _issues(registration: Registration, wanted: Sequence[Wanted]) -> Iterator[Issue]:
    pending = frozenset(one.id for one in wanted if one.resource_type == CLIENT)
    for one in wanted:
        if (one.resource_type, one.id) == (CLIENT, ROOT) and "secret" in one.body:
            what = "the secret of root is the operator's: AUTHSERVER_ROOT_SECRET, or the file made at first start"
            yield Issue("", one.located(Issue(f"{CLIENT}.secret", what)), "business-rule")
        try:
            registration.check(one.resource_type, one.id, one.body, pending=pending)
        except InvalidResource as error:
            for issue in error.findings:
                yield Issue("", one.located(issue), issue.code)


def _made(registration: Registration, wanted: Wanted, now: int, attempts: int = 3) -> Outcome:
    before = registration.store.get(wanted.resource_type, wanted.id)
    if before is not None and registration.is_current(wanted.resource_type, wanted.id, wanted.body):
        return "unchanged"
    try:
        registration.put(
            wanted.resource_type,
            wanted.id,
            wanted.body,
            actor=ACTOR,
            now=now,
            if_match=None if before is None else before.version_id,
            only_new=before is None,
        )
    except (AlreadyExists, VersionConflict):
        # Another process does the same at this moment: look again.
        if attempts == 1:
            raise
        return _made(registration, wanted, now, attempts - 1)
    return "created" if before is None else "changed"
