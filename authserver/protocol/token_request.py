"""Turn the form of a token request into one frozen value. Nothing after this sees the form."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from authserver.errors import InvalidClient, InvalidRequest, UnsupportedGrantType

CLIENT_CREDENTIALS = "client_credentials"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KNOWN_PARAMETERS = frozenset(
    {"grant_type", "scope", "client_id", "client_secret", "client_assertion", "client_assertion_type"}
)
OAUTH_PARAMETERS = KNOWN_PARAMETERS | {"resource", "token", "token_type_hint", "request"}


@dataclass(frozen=True, slots=True)
class ClientAssertion:
    """A client's claim to be who it says, still unverified; `client_id` is the form's, when sent.

    `source` is from where it came (see protocol.source_address), None when this server itself asks.
    """

    assertion: str
    client_id: str | None = None
    source: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A token request by its meaning. `scope` is None when absent and "" when sent empty."""

    client: ClientAssertion
    scope: str | None
    resources: tuple[str, ...] = ()


def single_values(pairs: Iterable[tuple[str, str]], *, known: frozenset[str] = KNOWN_PARAMETERS) -> dict[str, str]:
    """Return the known parameters; a repeated one is InvalidRequest, an unknown one is ignored (RFC 6749 3.2)."""
    sent = [(name, value) for name, value in pairs if name in known]
    single = dict(sent)
    if len(single) < len(sent):
        repeated = min(name for name, times in Counter(name for name, _ in sent).items() if times > 1)
        raise InvalidRequest(f"The parameter {repeated} was sent more than once.", reason="parameter_repeated")
    return single


def parse(pairs: list[tuple[str, str]], *, source: str | None = None) -> TokenRequest:
    """Parse the decoded form of a token request; `source` is from where it came (see ClientAssertion).

    Raises InvalidRequest, UnsupportedGrantType, InvalidClient in this order of checks: repeated parameters,
    grant type, client authentication. An empty value counts as absent (RFC 6749 section 3.2), but for `scope`,
    where an empty string asks for nothing and gets `invalid_scope` (row A10).
    """
    form = single_values(pairs)
    if not form.get("grant_type"):
        raise InvalidRequest("The parameter grant_type is missing.", reason="grant_type_missing")
    if form["grant_type"] != CLIENT_CREDENTIALS:
        raise UnsupportedGrantType(detail=f"grant_type {form['grant_type'][:80]!r}")
    resources = tuple(value for name, value in pairs if name == "resource" and value)
    return TokenRequest(client_assertion(form, source=source), form.get("scope"), resources)


def client_assertion(form: Mapping[str, str], *, source: str | None = None) -> ClientAssertion:
    """Return the client assertion of a form; raises InvalidClient when it has none, or another mechanism beside it."""
    if form.get("client_secret"):
        # RFC 7521 section 4.2.1: more than one mechanism is invalid_client.
        raise InvalidClient(detail="client_secret was sent", reason="other_mechanism")
    if form.get("client_assertion_type") != JWT_BEARER:
        raise InvalidClient(detail="client_assertion_type is missing or unknown", reason="assertion_type")
    if not form.get("client_assertion"):
        raise InvalidClient(detail="client_assertion is missing", reason="assertion_missing")
    return ClientAssertion(form["client_assertion"], form.get("client_id") or None, source)
