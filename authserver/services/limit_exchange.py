"""Let the limits of every process know what all processes let be spent: told once a second, beside the requests."""

from authserver.services.limits import Limits
from authserver.services.notes import SpendingBoard, Spent

KEPT_ROUNDS = 10
"""Rounds that a notice tells of: who missed some reads them later, and who has read them counts them once."""

FRESH_SECONDS = 60
"""How old a notice may be. It is more than clocks of two hosts differ by, and less than anything waits for."""

FORGOTTEN_SECONDS = 3_600
"""When the notice of a process that ended is taken down."""


class LimitExchange:
    """The exchange of one process, which calls itself `member`: a name that no other process ever has."""

    def __init__(self, limits: Limits, board: SpendingBoard, *, member: str) -> None:
        self._limits, self._board, self._member = limits, board, member
        self._round, self._purged_at = 0, 0
        self._told: dict[int, Spent] = {}
        self._heard: dict[str, int] = {}

    def exchange(self, *, now: int) -> None:
        """Tell what was spent here since the last time, and count what others tell; `now` in epoch seconds.

        Raises StorageUnavailable: then the next rounds tell it, up to KEPT_ROUNDS later, and meanwhile each process
        keeps its own limits.
        """
        self._round += 1
        spent = {name: news for name, budget in self._limits.budgets.items() if (news := budget.news())}
        if spent:
            self._told[self._round] = spent
        self._told = {number: told for number, told in self._told.items() if number > self._round - KEPT_ROUNDS}
        if self._told:
            self._board.publish(self._member, self._told, now=now)
        self._listen(now)
        if now - self._purged_at >= FORGOTTEN_SECONDS:
            self._purged_at = now
            self._board.purge(before=now - FORGOTTEN_SECONDS)

    def _listen(self, now: int) -> None:
        notices = self._board.others(self._member, since=now - FRESH_SECONDS)
        self._heard = {member: self._heard.get(member, 0) for member in notices}
        for member, rounds in notices.items():
            for number in sorted(rounds):
                if number > self._heard[member]:
                    self._heard[member] = number
                    self._count(rounds[number])

    def _count(self, spent: Spent) -> None:
        for name, counts in spent.items():
            budget = self._limits.budgets.get(name)
            if budget is not None:
                budget.learn(counts)
