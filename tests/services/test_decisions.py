"""Which decisions leave a record, and for how long. Rows X23, X52."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from authserver.adapters.memory_decisions import MemoryDecisionStore
from authserver.errors import NotFound
from authserver.protocol.policy import AccessPolicy, Decision
from authserver.protocol.policy_request import PolicyRequest
from authserver.protocol.policy_rules import Allow
from authserver.services.policy_decisions import MAX_SAMPLED, SAMPLE_SECONDS, Decisions, Samples
from tests.builders import CLIENT_ID, NOW, DirectDecisionLog, make_client
from tests.services.memory_server import open_server

READ = PolicyRequest("GET", "/fhir/Patient/1", (), "read", "Patient", "1", id="0123456789abcdef")
REFUSED, ALLOWED = Decision(allowed=False), Decision(allowed=True, policy="p")
POLICY = AccessPolicy("p", Allow())


@dataclass
class Clock:
    """A clock that stands until it is set."""

    moment: int = NOW

    def __call__(self) -> int:
        """Tell the time."""
        return self.moment


@dataclass
class Book:
    """Decisions with a clock and numbered ids."""

    clock: Clock = field(default_factory=Clock)
    store: MemoryDecisionStore = field(default_factory=MemoryDecisionStore)

    def __post_init__(self) -> None:
        """Wire it."""
        numbers = (f"made-{number}" for number in range(99))
        log = DirectDecisionLog(self.store)
        self.decisions = Decisions(log, self.store, 60, Samples(), now=self.clock, new_id=lambda: next(numbers))

    def note(self, decision: Decision, *, client_id: str = CLIENT_ID, request: PolicyRequest = READ) -> str | None:
        """Note one."""
        return self.decisions.note(decision, [POLICY], make_client(client_id), request)


def test_every_refusal_is_recorded_under_the_request_id_of_its_answer() -> None:
    book = Book()

    assert [book.note(REFUSED), book.decisions.explain(READ.id)["allowed"]] == [READ.id, False]


def test_a_refusal_that_no_answer_of_ours_carries_has_an_id_of_its_own() -> None:
    """As it is where the FHIR layer asks within the process."""
    book = Book()

    named = book.note(REFUSED, request=PolicyRequest("GET", "/fhir/Patient"))

    assert (named, book.decisions.explain("made-0")["id"]) == ("made-0", "made-0")


def test_of_what_is_allowed_one_of_each_kind_is_recorded_now_and_then() -> None:
    """By client, operation and allowing policy."""
    book = Book()
    search = PolicyRequest("GET", "/fhir/Patient", (), "search-type", "Patient")

    first = [
        book.note(ALLOWED),
        book.note(ALLOWED),
        book.note(ALLOWED, client_id="b"),
        book.note(ALLOWED, request=search),
    ]
    book.clock.moment += SAMPLE_SECONDS
    later = [book.note(ALLOWED), book.note(ALLOWED)]
    book.clock.moment = NOW
    set_back = book.note(ALLOWED)

    assert first == ["made-0", None, "made-1", "made-2"]
    assert (later, set_back) == (["made-3", None], "made-4")


def test_kinds_that_are_remembered_are_bounded() -> None:
    """What was seen longest ago is forgotten, and recorded again."""
    samples = Samples()
    for number in range(MAX_SAMPLED + 1):
        samples.is_due(number, now=NOW)

    assert [samples.is_due(number, now=NOW) for number in (0, MAX_SAMPLED)] == [True, False]


def test_a_record_is_gone_after_its_time() -> None:
    book = Book()
    book.note(REFUSED)
    book.clock.moment = NOW + 60
    last = book.decisions.explain(READ.id)["id"]
    book.clock.moment += 1

    with pytest.raises(NotFound):
        book.decisions.explain(READ.id)

    assert (last, book.decisions.impact(POLICY)["recorded"]) == (READ.id, 0)


def test_a_question_about_being_an_operator_leaves_no_record(tmp_path: Path) -> None:
    """No is a good answer to it: a client that revokes its own token is none, and not refused."""
    server = open_server(tmp_path)
    server.register(grant_types=["basic"], secret="canary-secret of a client", scope=None)
    authorization = server.services.authorization
    caller = authorization.by_secret(CLIENT_ID, "canary-secret of a client")

    refused = authorization.is_operator(caller, READ)

    assert (refused, server.parts.stores.decisions.recent(9)) == (False, [])
