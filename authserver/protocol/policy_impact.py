"""What would have changed in recorded decisions if a policy was enforced, or removed (row X52). PURE."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from authserver.protocol.decision_record import DecisionRecord
from authserver.protocol.policy import AccessPolicy

MAX_EXAMPLES = 5
SHADOW = "shadow"


@dataclass(frozen=True, slots=True)
class Impact:
    """`recorded` decisions, in `judged` of which this version of the policy had a say; `changed` ones would change.

    `earlier` are decisions in which another version of it had a say, and which tell nothing of this one.
    """

    policy: str
    shadow: bool
    recorded: int
    judged: int
    earlier: int
    failed: int
    since: int | None
    changed: tuple[DecisionRecord, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the impact as an operator sees it: counts by client and operation, largest first, and examples."""
        counts = Counter((one.client_id, one.operation) for one in self.changed)
        return {
            "policy": self.policy,
            "if": "enforced" if self.shadow else "removed",
            "recorded": self.recorded,
            "since": self.since,
            "judged": self.judged,
            "judged-by-other-versions": self.earlier,
            "failed": self.failed,
            "would-be-allowed" if self.shadow else "would-be-refused": len(self.changed),
            "by": [
                {"client": client, "operation": operation, "decisions": number}
                for (client, operation), number in sorted(counts.items(), key=lambda one: (-one[1], str(one[0])))
            ],
            "examples": [one.id for one in self.changed[:MAX_EXAMPLES]],
        }


def impact(policy: AccessPolicy, records: Sequence[DecisionRecord]) -> Impact:
    """Return what the policy would change in these records if it was enforced (in shadow mode), else removed."""
    says = [_verdict_of(policy, record) for record in records]
    judged = [(one, said) for one, said in zip(records, says, strict=True) if said and _is_current(policy, said)]
    changes = _newly_allowed if policy.shadow else _newly_refused
    return Impact(
        policy=policy.id,
        shadow=policy.shadow,
        recorded=len(records),
        judged=len(judged),
        earlier=sum(said is not None for said in says) - len(judged),
        failed=sum(bool(said.get("failed")) for _, said in judged),
        since=min((one.at for one in records), default=None),
        changed=tuple(one for one, said in judged if said["eval-result"] is True and changes(policy.id, one)),
    )


def _verdict_of(policy: AccessPolicy, record: DecisionRecord) -> Any:
    return next((said for said in record.verdicts if said["id"] == policy.id), None)


def _is_current(policy: AccessPolicy, said: Any) -> bool:
    return bool(said["version"] == policy.version)


def _newly_allowed(_policy_id: str, record: DecisionRecord) -> bool:
    """A refused request that the policy in the shadow would have allowed."""
    return not record.allowed


def _newly_refused(policy_id: str, record: DecisionRecord) -> bool:
    """An allowed request that no other enforced policy allowed."""
    return record.allowed and not any(_allowing_others(policy_id, record))


def _allowing_others(policy_id: str, record: DecisionRecord) -> Iterable[bool]:
    for said in record.verdicts:
        if said["id"] != policy_id and said.get("mode") != SHADOW and said["eval-result"] is True:
            yield True
