"""Throw mutated tokens at the real client authentication; only its own refusal may come back.

What it accepts, two foreign libraries must accept as well: we may be stricter than they are, never more lenient.
"""

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import joserfc.errors
import joserfc.jwk
import joserfc.jws
import jwt

from authserver.adapters.memory import MemoryReplayGuard, MemoryResourceStore
from authserver.adapters.memory_changes import MemoryChanges
from authserver.errors import InvalidClient
from authserver.protocol import jose
from authserver.protocol.assertion import Expected
from authserver.protocol.client import ClientRules
from authserver.protocol.token_request import ClientAssertion
from authserver.services.client_authentication import ClientAuthentication
from authserver.services.ports import CLIENT
from authserver.services.registry import Registry
from tests.builders import (
    CLIENT_ID,
    ISSUER,
    JWKS_URI,
    NOW,
    TOKEN_URL,
    RecordingAuditLog,
    StaticJwks,
    assertion_claims,
    client_resource,
    vectors,
)
from tests.fuzz import mutations
from tests.keys import KeyPair, key
from tests.protocol.forgery import forge, raw_signature

ALGORITHMS = ("ES256", "RS256", "ES384", "RS384", "EdDSA")
HEADER_NAMES = "alg kid typ jku jwk x5u x5c x5t x5t#S256 crit b64 zip cty enc epk p2c p2s iv tag nonce https://example.org/x".split()
IGNORED_MEMBERS = {"x5t", "x5t#S256"}
CLAIM_NAMES = "iss sub aud exp iat nbf jti scope client_id azp nonce cnf events".split()


def open_authentication() -> ClientAuthentication:
    """Return a client authentication in memory with one client that has a key for every algorithm."""
    store, rules = MemoryResourceStore(), ClientRules(algorithms=ALGORITHMS)
    store.put(CLIENT, CLIENT_ID, client_resource(), now=NOW)
    published = {"keys": [pair(algorithm).jwk for algorithm in ALGORITHMS]}
    return ClientAuthentication(
        Registry(store, MemoryChanges(), nearby=store, rules=rules, audit_log=RecordingAuditLog()),
        StaticJwks({JWKS_URI: published}),
        MemoryReplayGuard(),
        expected=Expected(ISSUER, frozenset({ISSUER, TOKEN_URL})),
        algorithms=ALGORITHMS,
    )


def pair(algorithm: str) -> KeyPair:
    """Return the client's key pair for this algorithm."""
    return key(algorithm, f"kid-{algorithm}")


def corpus() -> list[str]:
    """Return the tokens of the hostile cases, of which each names one known attack."""
    return [forge(case.values[0]) for case in vectors("assertions")]  # type: ignore[arg-type]


def signed(random: Random, algorithm: str, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Return a token with these members, mutated as text now and then, and signed rightly for what it then says."""
    parts = (jose.encode_segment(mutations.document(random, part)) for part in (header, claims))
    signing_input = ".".join(parts)
    return f"{signing_input}.{jose.encode_segment(raw_signature(pair(algorithm), signing_input))}"


def make(random: Random, known: list[str]) -> str:
    """Return one token: an injured known attack, or a mutated one that is signed rightly."""
    if random.random() < 0.5:
        return mutations.token(random, random.choice(known), random.choice(known))
    algorithm = random.choices(ALGORITHMS, (6, 1, 1, 1, 6))[0]
    header: dict[str, Any] = {"alg": algorithm, "kid": f"kid-{algorithm}", "typ": "JWT"}
    claims = assertion_claims(jti=f"{random.getrandbits(64):x}")
    chance = random.random()
    if chance < 0.45:
        claims = mutations.members(random, claims, names=CLAIM_NAMES)
    elif chance < 0.9:
        header = mutations.members(random, header, names=HEADER_NAMES)
    return signed(random, algorithm, header, claims)


@dataclass
class Report:
    """What a run saw: how many tokens, how many were accepted, and how often each reason was given."""

    tokens: int = 0
    accepted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def run(count: int, *, seed: int) -> Report:
    """Try `count` tokens; raises whatever is no InvalidClient, and AssertionError for a token that others refuse."""
    random, known, report = Random(seed), corpus(), Report()
    authentication = open_authentication()
    for number in range(count):
        if number % 20_000 == 0:
            authentication = open_authentication()  # its memory of jtis is as long as the run
        judge(authentication, make(random, known), report)
    return report


def judge(authentication: ClientAuthentication, token: str, report: Report) -> None:
    """Give one token to the authentication, and to the others when it is accepted."""
    report.tokens += 1
    try:
        proven = authentication.authenticate(ClientAssertion(token), now=NOW)
    except InvalidClient as refused:
        report.reasons[refused.reason] += 1
        return
    report.accepted += 1
    assert proven.id == CLIENT_ID
    assert_others_accept(token)


def assert_others_accept(token: str) -> None:
    """Assert that PyJWT and joserfc verify the token with the key that its header names, and read the same claims."""
    header = jwt.get_unverified_header(token)
    chosen = pair(header["alg"])
    options: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False}
    claims = jwt.decode(token, chosen.private.public_key(), algorithms=[header["alg"]], options=options)
    # joserfc refuses header members that it does not know; RFC 7515 section 4 lets us ignore them.
    registry = joserfc.jws.JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
    # Its limit for a header is 512 bytes, ours is that of the whole token.
    registry.max_header_length = registry.max_payload_length = jose.MAX_TOKEN_LENGTH
    public = joserfc.jwk.import_key({**chosen.jwk, "alg": header["alg"]})
    try:
        theirs = joserfc.jws.deserialize_compact(token, public, registry=registry)
    except joserfc.errors.InvalidHeaderValueError:
        # It judges the form of members that we neither use nor look at.
        assert IGNORED_MEMBERS & header.keys()
        return
    assert (claims["iss"], claims["sub"]) == (CLIENT_ID, CLIENT_ID)
    assert theirs.headers() == header
