"""Registration on the strength of an initial access token, without HTTP. Row X59; threats C14, G01."""

from typing import Any

import pytest

from authserver.errors import InvalidClientMetadata
from authserver.protocol.client import Client
from authserver.services.dynamic_registration import DynamicRegistration
from authserver.services.ports import CLIENT, AlreadyExists
from tests.builders import CLIENT_ID, JWKS_URI, NOW, make_client
from tests.services.memory_server import Server

MOMENT = NOW * 10**6 + 5


def portal(**changes: Any) -> Client:
    """Return a registrar that may hand out reading of patients."""
    return make_client("portal", **{"registration_scope": ["system/Patient.rs"], **changes})


def registering(server: Server, client_id: str) -> DynamicRegistration:
    """Return the use case with ids that are not random."""
    return DynamicRegistration(
        server.services.registration, server.parts.audit_log, active=True, new_id=lambda: client_id
    )


def test_a_registration_is_told_and_recorded(server: Server) -> None:
    """X59: who registered whom is in the log, and no key or name."""
    metadata = {"scope": "system/Patient.r", "jwks_uri": JWKS_URI}

    told = registering(server, "new").register(metadata, registrar=portal(), now=MOMENT)

    assert told == {
        "client_id": "new",
        "client_id_issued_at": NOW,
        "jwks_uri": JWKS_URI,
        "grant_types": ["client_credentials"],
        "response_types": [],
        "scope": "system/Patient.r",
        "token_endpoint_auth_method": "private_key_jwt",
    }
    assert server.events[-1] == ("client_registered", {"client_id": "new", "registrar": "portal", "active": True})


def test_an_existing_client_is_never_overwritten(server: Server) -> None:
    """C14: not even if the random id were one that is there."""
    before = server.services.registration.get(CLIENT, CLIENT_ID)

    with pytest.raises(AlreadyExists):
        registering(server, CLIENT_ID).register(
            {"scope": "system/Patient.r", "jwks_uri": JWKS_URI}, registrar=portal(), now=MOMENT
        )

    assert server.services.registration.get(CLIENT, CLIENT_ID) == before


def test_every_finding_is_told_at_once(server: Server) -> None:
    """G1: members in the order checked; nothing is stored."""
    metadata = {"grant_types": ["password"], "scope": "system/Goal.r", "token_endpoint_auth_method": "none"}

    with pytest.raises(InvalidClientMetadata) as caught:
        registering(server, "new").register(metadata, registrar=portal(), now=MOMENT)

    assert caught.value.reason == "client_metadata"
    assert caught.value.public == (
        "grant_types: this server has client_credentials alone; "
        "token_endpoint_auth_method: this server has private_key_jwt alone; "
        "jwks: jwks or jwks_uri is needed; "
        "scope: goes beyond what the initial access token may hand out"
    )
    assert [stored.id for stored in server.services.registration.current(CLIENT)] == [CLIENT_ID]


@pytest.mark.parametrize("scope", ["system/Patient.r", "system/Patient.rs", "system/Patient.s?_tag=x"])
@pytest.mark.parametrize("hands_out", [[], ["system/Patient.cud"], ["system/Observation.rs"], ["patient/Patient.rs"]])
def test_a_scope_outside_of_what_may_be_handed_out_is_refused(server: Server, scope: str, hands_out: list[str]) -> None:
    """X59; the control is a registrar that may hand it out."""
    use, metadata = registering(server, "new"), {"scope": scope, "jwks_uri": JWKS_URI}

    with pytest.raises(InvalidClientMetadata):
        use.register(metadata, registrar=portal(registration_scope=hands_out), now=MOMENT)

    assert use.register(metadata, registrar=portal(), now=MOMENT)["scope"] == scope
