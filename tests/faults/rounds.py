"""One run: load on servers, faults in it, and what the oracle says of it afterwards."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from tests.faults.driver import Load, look_again, running
from tests.faults.machine import undisturbed
from tests.faults.oracle import Afterwards, Answered, Fault, Violation, check, rate, recoveries, windows

SETTLE_SECONDS = 0.3
"""Undisturbed load before a fault."""

_SETTLES = 3
Injected = Sequence[Fault]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one kind of fault: figures to show, promises broken, or why it could not be made here."""

    name: str
    figures: Mapping[str, object] = field(default_factory=dict)
    violations: Sequence[Violation] = ()
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """All that one run left: what was answered, which faults were in it, what held afterwards."""

    log: Sequence[Answered]
    faults: Sequence[Fault]
    after: Afterwards

    def violations(self) -> list[Violation]:
        """Return what the oracle finds."""
        return check(self.log, faults=self.faults, after=self.after)

    def figures(self) -> dict[str, object]:
        """Return the figures of the run."""
        took = [seconds for seconds in recoveries(self.log, self.faults) if seconds != float("inf")]
        tokens = sum(1 for one in self.log if type(one).__name__ == "TokenAnswer" and one.status == 200)
        return {
            "faults": len(self.faults),
            "tokens": tokens,
            "replayed": len(self.after.replays),
            "tokens/s": round(rate(self.log, windows(self.log, self.faults))),
            "recovery median s": round(median(took), 2) if took else None,
            "recovery worst s": round(max(took), 2) if took else None,
        }


def run(
    ports: Sequence[int],
    inject: Callable[[Load], Injected],
    *,
    reasons: Callable[[], Mapping[str, str]],
    keeping: bool = True,
) -> Record:
    """Run load on the ports, let the faults happen, look again; all of it anew when the machine stopped it."""

    def once() -> Record:
        load = Load(ports, keeping=keeping)
        with running(load):
            settle(load, times=_SETTLES)
            faults = inject(load)
            settle(load, times=_SETTLES)
        return Record(load.log, faults, look_again(load, reasons=reasons))

    return undisturbed(once)


def settle(load: Load, *, times: int = 1) -> None:
    """Wait for a token, then let the load go on for a while; so many times."""
    for _ in range(times):
        load.await_token(time.monotonic())
        time.sleep(SETTLE_SECONDS)


def merged(name: str, records: Sequence[Record], **more: object) -> Outcome:
    """Return the outcome of several runs of one kind."""
    took = [s for record in records for s in recoveries(record.log, record.faults) if s != float("inf")]
    each = [record.figures() for record in records]
    figures: dict[str, object] = {
        "faults": sum(len(record.faults) for record in records),
        "tokens": sum(int(str(one["tokens"])) for one in each),
        "replayed": sum(int(str(one["replayed"])) for one in each),
        "least tokens/s": min(int(str(one["tokens/s"])) for one in each),
        "recovery median s": round(median(took), 2) if took else None,
        "recovery worst s": round(max(took), 2) if took else None,
        **more,
    }
    return Outcome(name, figures, [violation for record in records for violation in record.violations()])
