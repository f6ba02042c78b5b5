"""Limits hold across processes: the exchange over memory, SQLite and PostgreSQL, with time as numbers. Row X54."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from authserver.adapters.memory import MemoryStores
from authserver.adapters.sql.stores import SqlStores
from authserver.errors import InvalidClient, StorageUnavailable
from authserver.services.limit_exchange import KEPT_ROUNDS, LimitExchange
from authserver.services.limits import LimitRules, Limits
from authserver.services.notes import SpendingBoard, Spent

Stores = MemoryStores | SqlStores
LIMIT, NOW = 60, 5_000
SOURCE = "198.51.100.7"


@dataclass
class World:
    """Processes whose clocks go together."""

    board: SpendingBoard
    now: int = NOW
    processes: list["Process"] = field(default_factory=list)

    def start(self, name: str) -> "Process":
        """Start one more process."""
        limits = Limits(LimitRules(source_failures=LIMIT), ticks=lambda: float(self.now))
        process = Process(limits, LimitExchange(limits, self.board, member=name))
        self.processes.append(process)
        return process

    def second(self) -> None:
        """Let a second pass; each process makes its exchange, and so each hears of all before it."""
        self.now += 1
        for process in self.processes:
            process.exchange.exchange(now=self.now)


@dataclass
class Process:
    """One process."""

    limits: Limits
    exchange: LimitExchange

    def refused(self, times: int, source: str = SOURCE) -> int:
        """Refuse so many requests; return how many of them were no 429."""
        answers = [self.limits.refusal(InvalidClient(), source=source).status for _ in range(times)]
        return answers.count(400)


def test_a_flood_spread_over_processes_gets_the_limit_of_one(stores: Stores) -> None:
    """X54: in the first second each process lets the whole limit through; then they pay it back together."""
    world = World(stores.spendings)
    processes = [world.start(name) for name in ("one", "two", "three")]

    seconds = []
    for _ in range(180):
        seconds.append(sum(process.refused(2 * LIMIT) for process in processes))
        world.second()

    assert seconds[0] == 3 * LIMIT
    # Three minutes: the limit of each, and the burst that one process would allow as well, and not much above.
    assert sum(seconds) <= 3 * LIMIT + LIMIT + 2 * 3


def test_a_neighbour_is_not_hurt_by_what_others_tell(stores: Stores) -> None:
    world = World(stores.spendings)
    one, two = world.start("one"), world.start("two")
    one.refused(1_000)
    world.second()

    assert (two.refused(LIMIT), two.refused(LIMIT, "2001:db8::/64")) == (0, LIMIT)


def test_a_notice_is_counted_once_however_often_it_is_read(stores: Stores) -> None:
    world = World(stores.spendings)
    one, two = world.start("one"), world.start("two")
    one.refused(10)

    for _ in range(KEPT_ROUNDS):
        world.second()

    # Ten were heard of after a second, and nine seconds gave nine of them back.
    assert two.refused(1_000) == LIMIT - 1


def test_a_process_that_was_stopped_for_a_while_catches_up(stores: Stores) -> None:
    """Rounds that it missed stand in the notice for ten seconds."""
    world = World(stores.spendings)
    one, two = world.start("one"), world.start("two")
    world.processes.remove(two)
    for _ in range(5):
        one.refused(10)
        world.second()

    two.exchange.exchange(now=world.now)

    assert two.refused(1_000) <= LIMIT - 50 + 5


def test_a_new_process_hears_of_the_last_seconds_and_of_nothing_old(stores: Stores) -> None:
    world = World(stores.spendings)
    one = world.start("one")
    one.refused(40)
    world.second()
    soon = world.start("soon")
    soon.exchange.exchange(now=world.now)

    late = world.start("late")
    late.exchange.exchange(now=world.now + 61)

    assert (soon.refused(1_000), late.refused(1_000)) == (LIMIT - 40, LIMIT)


def test_nothing_is_written_while_nobody_spends(stores: Stores) -> None:
    world = World(stores.spendings)
    world.start("one")

    for _ in range(20):
        world.second()

    assert stores.spendings.others("two", since=0) == {}


def test_old_notices_are_taken_down(stores: Stores) -> None:
    """Of processes that ended: once an hour."""
    stores.spendings.publish("ended", {1: {}}, now=NOW)
    one = World(stores.spendings).start("one")

    one.exchange.exchange(now=NOW + 3_600)
    before = stores.spendings.others("two", since=0)
    one.exchange.exchange(now=NOW + 7_200)

    assert (before, stores.spendings.others("two", since=0)) == ({"ended": {1: {}}}, {})


@dataclass
class Failing:
    """A SpendingBoard whose database does not answer for a while."""

    board: SpendingBoard
    down: bool = True

    def publish(self, member: str, rounds: Mapping[int, Spent], *, now: int) -> None:
        """Fail while it is down."""
        if self.down:
            raise StorageUnavailable
        self.board.publish(member, rounds, now=now)

    def others(self, member: str, *, since: int) -> Mapping[str, Mapping[int, Spent]]:
        """Fail while it is down."""
        if self.down:
            raise StorageUnavailable
        return self.board.others(member, since=since)

    def purge(self, *, before: int) -> int:
        """Purge nothing."""
        return 0


def test_without_the_database_each_process_keeps_its_own_limit_and_tells_later(stores: Stores) -> None:
    """docs/limits.md: open to a local limit, never closed."""
    failing = Failing(stores.spendings)
    world = World(failing)
    one, two = world.start("one"), world.start("two")
    own = [one.refused(1_000), two.refused(10)]
    for process in (one, two):
        with pytest.raises(StorageUnavailable):
            process.exchange.exchange(now=NOW)

    failing.down = False
    one.exchange.exchange(now=NOW)
    two.exchange.exchange(now=NOW)

    assert (own, two.refused(1_000)) == ([LIMIT, 10], 0)


def test_a_budget_that_this_process_has_not_is_not_counted(stores: Stores) -> None:
    """Processes with other settings tell of budgets that are off here."""
    stores.spendings.publish("other", {1: {"client_rate": {"a": 5}, "source_failures": {SOURCE: 50}}}, now=NOW)
    world = World(stores.spendings)
    one = world.start("one")

    one.exchange.exchange(now=NOW)

    assert one.refused(1_000) == LIMIT - 50
