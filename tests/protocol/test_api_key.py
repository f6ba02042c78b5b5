"""API keys as values: shape, checksum, when one is good. Rows C2 and X31."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from authserver.errors import InvalidResource
from authserver.protocol import api_key, scopes
from authserver.protocol.api_key import ApiKey, KeyRequest, PresentedKey
from authserver.protocol.client import Client
from tests.builders import CLIENT_ID, FHIR_BASE, ISSUER, NOW, make_client

ID, SECRET = "Abcdef012345", "s" * api_key.SECRET_LENGTH
TEXT = api_key.compose("live", ID, SECRET)
READ = scopes.collect(["system/Patient.rs"])
STORED = ApiKey(
    id=ID,
    version=1,
    client_id=CLIENT_ID,
    client_generation=1,
    environment="live",
    scope=READ,
    issued_at=NOW - 100,
    expires_at=NOW + 100,
    revoked=False,
    digest=api_key.digest(TEXT),
)


def judged(
    text: str = TEXT, key: ApiKey | None = STORED, client: Client | None = None, *, now: int = NOW
) -> str | None:
    """Return what is wrong with a key of the documented client."""
    of = client or make_client()
    return api_key.problem(api_key.read(text), key, of, wildcard_types=None, now=now)


def asked(**changes: Any) -> Mapping[str, Any]:
    """Return a body that asks for a key, with changes; a None leaves the member out."""
    body = {"client": "acme", "environment": "live", "scope": ["system/Patient.rs"], **changes}
    return {name: value for name, value in body.items() if value is not None}


def issues(refused: pytest.ExceptionInfo[InvalidResource]) -> list[tuple[str, str]]:
    """Return path and kind of each finding."""
    return [(issue.expression, issue.code) for issue in refused.value.issues()]


@pytest.mark.parametrize("environment", ["test", "live"])
def test_a_key_is_read_as_it_was_composed(environment: str) -> None:
    """C2: `clk_live_*` or `clk_test_*`."""
    text = api_key.compose(environment, ID, SECRET)

    assert (text[:-6], len(text)) == (f"clk_{environment}_{ID}{SECRET}", 59)
    assert api_key.read(text) == PresentedKey(ID, environment, api_key.digest(text))


def test_the_checksum_is_part_of_the_format() -> None:
    """A program that looks for lost keys can compute it: CRC-32 of all before it, base 62, six digits."""
    assert TEXT == "clk_live_Abcdef012345ssssssssssssssssssssssssssssssss2VmOsi"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("clk_", id="prefix"),
        pytest.param(TEXT[:-1], id="short"),
        pytest.param(TEXT + "a", id="long"),
        pytest.param(TEXT + "\n", id="line"),
        pytest.param(" " + TEXT, id="blank"),
        pytest.param(TEXT.replace("live", "prod"), id="environment"),
        pytest.param(TEXT.replace("live", "test"), id="other-environment"),
        pytest.param(TEXT[:30] + "t" + TEXT[31:], id="slip"),
        pytest.param(TEXT.replace("Abcdef", "Abcedf"), id="swapped"),
        pytest.param(TEXT[:-1] + "é", id="not-ascii"),
        pytest.param(TEXT[:30] + "-" + TEXT[31:], id="alphabet"),
    ],
)
def test_a_key_with_a_slip_in_it_is_none(text: str) -> None:
    """C2: INVALID_KEY_FORMAT, without a look into the database."""
    assert (api_key.read(text), judged(text), judged(TEXT)) == (None, "api_key_format", None)


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("api_key_unknown", lambda key: None),
        ("api_key_unknown", lambda key: replace(key, digest=api_key.digest(TEXT[:-1] + "x"))),
        ("api_key_unknown", lambda key: replace(key, environment="test")),
        ("api_key_revoked", lambda key: replace(key, revoked=True)),
        ("api_key_expired", lambda key: replace(key, expires_at=NOW)),
        ("api_key_client", lambda key: replace(key, client_generation=2)),
        ("api_key_scope", lambda key: replace(key, scope=scopes.collect(["system/Client.r"]))),
    ],
)
def test_a_key_is_good_for_nothing(reason: str, change: Callable[[ApiKey], ApiKey | None]) -> None:
    """C2, X31: each cause has its reason; the same key without it is good."""
    assert (judged(key=change(STORED)), judged()) == (reason, None)


def test_who_has_not_the_secret_learns_nothing_of_the_key() -> None:
    """Threat G01: another secret is unknown, whatever state the key is in."""
    other = api_key.compose("live", ID, "t" * api_key.SECRET_LENGTH)

    states = [STORED, replace(STORED, revoked=True), replace(STORED, expires_at=0)]

    assert [judged(other, key) for key in states] == ["api_key_unknown"] * 3


def test_a_key_of_a_client_that_is_not_active_is_good_for_nothing() -> None:
    """X31, E10."""
    assert (judged(client=make_client(active=False)), judged(client=make_client())) == ("api_key_client", None)


def test_a_key_is_good_until_its_last_second() -> None:
    assert (judged(now=NOW + 99), judged(now=NOW + 100)) == (None, "api_key_expired")


def test_the_claims_are_those_of_a_token() -> None:
    client = make_client(tenant="north")

    assert api_key.claims(STORED, client, issuer=ISSUER, audience=(FHIR_BASE,), scope=READ) == {
        "iss": ISSUER,
        "sub": CLIENT_ID,
        "aud": FHIR_BASE,
        "client_id": CLIENT_ID,
        "scope": "system/Patient.rs",
        "iat": NOW - 100,
        "exp": NOW + 100,
        "jti": f"clk_{ID}.1",
        "environment": "live",
        "tenant": "north",
    }


@pytest.mark.parametrize(
    ("tenant", "live", "test"), [("north", "north", "north~test"), (None, None, "~test")], ids=["tenant", "none"]
)
def test_a_test_key_never_reaches_the_tenant_of_the_live_data(tenant: str | None, live: str, test: str) -> None:
    """C2: and no Client can register the tenant that test keys have."""
    client = make_client(tenant=tenant)

    assert (api_key.tenant_of(client, "live"), api_key.tenant_of(client, "test")) == (live, test)
    with pytest.raises(InvalidResource):
        make_client(tenant=test)


def test_a_narrowed_registration_narrows_its_keys() -> None:
    key = replace(STORED, scope=scopes.collect(["system/Patient.rs", "system/Observation.rs"]))

    left = api_key.granted(key, make_client(scope=["system/Patient.r"]), wildcard_types=None)

    assert str(left) == "system/Patient.r"


def test_a_request_is_read() -> None:
    read = api_key.parse_request(asked(name="nightly", days=30), max_days=90)

    assert read == KeyRequest("acme", "live", ("system/Patient.rs",), "nightly", 30)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"client": None}, ("ApiKey.client", "structure")),
        ({"environment": "prod"}, ("ApiKey.environment", "structure")),
        ({"scope": []}, ("ApiKey.scope", "structure")),
        ({"scope": "read"}, ("ApiKey.scope", "structure")),
        ({"days": 0}, ("ApiKey.days", "structure")),
        ({"days": 91}, ("ApiKey.days", "value")),
        ({"days": True}, ("ApiKey.days", "structure")),
        ({"key": "mine"}, ("ApiKey.key", "structure")),
        ({"name": "n" * 201}, ("ApiKey.name", "structure")),
    ],
)
def test_a_bad_request_is_refused_with_its_path(change: dict[str, Any], finding: tuple[str, str]) -> None:
    with pytest.raises(InvalidResource) as refused:
        api_key.parse_request(asked(**change), max_days=90)

    assert issues(refused) == [finding]


def test_the_short_words_stand_for_scopes() -> None:
    """X31: scopes read, write and *."""
    client = make_client(scope=["system/*.cruds"])

    assert api_key.check_scope(("read", "write", "*"), client, wildcard_types=None) == (
        "system/*.rs",
        "system/*.cud",
        "system/*.cruds",
    )


def test_scopes_beyond_the_clients_own_are_refused_each_with_its_path() -> None:
    """X31: within the client's registered scopes; no wildcard covers the registry."""
    client = make_client(scope=["system/*.rs"])
    asked_for = ("system/Patient.rs", "write", "system/Client.r", "__introspect", "nonsense/", "system/ApiKey.r")

    with pytest.raises(InvalidResource) as refused:
        api_key.check_scope(asked_for, client, wildcard_types=None)

    assert issues(refused) == [(f"ApiKey.scope[{index}]", "value") for index in range(1, 6)]
