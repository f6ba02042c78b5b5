"""The account of an assertion agrees with authentication, case by case. Row X47; every threat of assertions.json."""

from collections.abc import Mapping
from typing import Any

import pytest

from authserver.protocol import account
from authserver.services.audit_trail import AuditTrail
from authserver.services.diagnosis import Diagnosis
from authserver.services.token_issuance import IssuanceRules, TokenIssuance
from tests.builders import CLIENT_ID, FHIR_BASE, ISSUER, NOW, make_assertion, vectors
from tests.protocol.forgery import forge
from tests.services.memory_server import Server as MemoryServer
from tests.services.test_hostile_assertions import Server


class NoSigner:
    """A Signer that a diagnosis never needs."""

    def sign(self, claims: Mapping[str, Any], *, typ: str) -> str:
        """Fail: nothing is issued."""
        raise AssertionError(claims, typ)

    def verify(self, token: str, *, typ: str) -> Mapping[str, Any] | None:
        """Fail."""
        raise AssertionError(token, typ)

    def public_jwks(self) -> Mapping[str, Any]:
        """Return no key."""
        return {"keys": []}


def diagnosis_of(server: Server) -> Diagnosis:
    """Return the diagnosis beside a case's authentication."""
    rules = IssuanceRules(ISSUER, FHIR_BASE, None)
    audit = AuditTrail(None, server.authentication.registry)
    return Diagnosis(TokenIssuance(server.authentication, NoSigner(), server.audit_log, rules, audit))


def first_failure(told: Mapping[str, Any]) -> str | None:
    """Return the code of the first check that failed."""
    return next((check["code"] for check in told["checks"] if check["outcome"] == "failed"), None)


@pytest.mark.parametrize("case", vectors("assertions", lambda case: case.get("reason") != "client_id_mismatch"))
def test_the_first_failed_check_is_what_authentication_stops_at(case: dict[str, Any]) -> None:
    """The same rules in the same order; nothing is claimed, and no stranger's address is asked for keys."""
    server = Server(case)

    told = diagnosis_of(server).of_assertion(forge(case), operator=True, now=NOW)

    assert first_failure(told) == case["reason"]
    assert told["accepted"] is (case["reason"] is None)
    assert [check["check"] for check in told["checks"]] == account.names(private=True)
    assert server.guard.purge(before=2**63) == 0


@pytest.mark.parametrize("case", vectors("assertions", lambda case: case.get("reason") != "client_id_mismatch"))
def test_a_stranger_sees_of_the_same_case_no_more_than_the_assertion_shows(case: dict[str, Any]) -> None:
    server = Server(case)

    told = diagnosis_of(server).of_assertion(forge(case), operator=False, now=NOW)

    names = {check["check"] for check in told["checks"]}
    if told["proven"]:
        assert {"client", "keys", "scope"} <= set(told)
        return
    assert names == set(account.names(private=False))
    assert set(told) <= {"proven", "server_time", "checks", "skew_seconds"}


def test_a_client_without_keys_is_told_to_an_operator(server: MemoryServer) -> None:
    server.register("keyless", jwks_uri=None)

    told = server.services.diagnosis.of_client("keyless", now=NOW)

    assert first_failure(told) == "client_without_keys"
    assert "keys" not in told


def test_the_keys_of_an_address_are_told_with_what_is_wrong_with_them(server: MemoryServer) -> None:
    told = server.services.diagnosis.of_client(CLIENT_ID, scope="system/Patient.rs", now=NOW)

    assert [key["kid"] for key in told["keys"]] == ["key-1"]
    assert told["scope"]["granted"] == "system/Patient.rs"


def test_an_assertion_from_an_old_log_proves_nobody(server: MemoryServer) -> None:
    """An hour after its exp whoever reads logs may have it; its holder is told what the assertion shows alone."""
    assertion = make_assertion()
    ask = server.services.diagnosis.of_assertion

    told = [ask(assertion, operator=False, now=moment)["proven"] for moment in (NOW, NOW + 3_900, NOW + 3_901)]

    assert told == [True, True, False]
