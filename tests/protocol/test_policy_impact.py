"""What a policy would change in recorded decisions. Row X52."""

from typing import Any

from authserver.protocol.decision_record import DecisionRecord
from authserver.protocol.policy import AccessPolicy
from authserver.protocol.policy_impact import impact
from authserver.protocol.policy_rules import Allow

ENFORCED = AccessPolicy("p", Allow(), version=2)
SHADOW = AccessPolicy("p", Allow(), shadow=True, version=2)


def said(policy_id: str, result: bool, *, version: int = 2, **more: Any) -> dict[str, Any]:
    """Return one verdict."""
    return {"id": policy_id, "version": version, "engine": "allow", "eval-result": result, **more}


def record(
    name: str,
    *verdicts: dict[str, Any],
    allowed: bool = False,
    client: str = "acme",
    operation: str | None = "FhirRead",
) -> DecisionRecord:
    """Return the record of a decision."""
    at = int(name)
    return DecisionRecord(name, at, at + 60, client, "GET", "/", operation, None, (), allowed, None, verdicts)


def test_a_policy_in_the_shadow_would_allow_what_it_fits_and_nobody_allowed() -> None:
    """Counted by client and operation, the most first; with examples."""
    shadow = {"mode": "shadow"}
    records = [
        record("1", said("p", True, **shadow)),
        record("2", said("p", True, **shadow), client="other"),
        record("3", said("p", True, **shadow), client="other"),
        record("4", said("p", False, **shadow)),
        record("5", said("p", True, **shadow), said("q", True), allowed=True),
        record("6", said("q", False)),
    ]

    assert impact(SHADOW, records).as_json() == {
        "policy": "p",
        "if": "enforced",
        "recorded": 6,
        "since": 1,
        "judged": 5,
        "judged-by-other-versions": 0,
        "failed": 0,
        "would-be-allowed": 3,
        "by": [
            {"client": "other", "operation": "FhirRead", "decisions": 2},
            {"client": "acme", "operation": "FhirRead", "decisions": 1},
        ],
        "examples": ["1", "2", "3"],
    }


def test_without_an_enforced_policy_what_it_alone_allowed_would_be_refused() -> None:
    """What another one in the shadow fits is refused all the same."""
    records = [
        record("1", said("p", True), allowed=True),
        record("2", said("p", True), said("q", True), allowed=True),
        record("3", said("p", True), said("q", True, mode="shadow"), said("r", False), allowed=True, operation=None),
        record("4", said("p", False), said("q", True), allowed=True),
        record("5", said("p", False)),
    ]

    told = impact(ENFORCED, records).as_json()

    assert (told["if"], told["would-be-refused"], told["judged"]) == ("removed", 2, 5)
    assert told["by"] == [
        {"client": "acme", "operation": "FhirRead", "decisions": 1},
        {"client": "acme", "operation": None, "decisions": 1},
    ]


def test_what_another_version_of_the_policy_said_is_not_counted() -> None:
    """It would be about a text that is there no more."""
    records = [record("1", said("p", True, version=1)), record("2", said("p", True, version=3))]

    told = impact(SHADOW, records).as_json()

    assert (told["judged"], told["judged-by-other-versions"], told["would-be-allowed"]) == (0, 2, 0)


def test_a_policy_that_failed_changes_nothing_and_is_told_of() -> None:
    """Threat G07."""
    told = impact(SHADOW, [record("1", said("p", False, failed=True))]).as_json()

    assert (told["failed"], told["would-be-allowed"]) == (1, 0)


def test_without_records_nothing_is_known() -> None:
    told = impact(ENFORCED, []).as_json()

    assert (told["recorded"], told["since"], told["by"]) == (0, None, [])
