"""The account of an assertion: every check by name, in the order of authentication, with what was expected and came.

Goes through the very rules that authentication stops at (assertion.py, jose.py), and on after a failure.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from authserver.errors import InvalidClient
from authserver.protocol import assertion, jose
from authserver.protocol.assertion import CLAIM_RULES, HEADER_RULES, Case, Expected, UnverifiedAssertion
from authserver.protocol.decoy import nobody
from authserver.protocol.hints import HINTS

T = TypeVar("T")
Outcome = Literal["passed", "failed", "not reached"]
MAX_SHOWN = 200
MILLISECONDS = 10**11
"""A NumericDate above this (the year 5138) was counted in milliseconds."""

_OPENING = {
    "form": (
        "media_type",
        "query_parameter",
        "form_malformed",
        "parameter_repeated",
        "grant_type_missing",
        "unknown_grant_type",
        "other_mechanism",
        "assertion_type",
        "assertion_missing",
    ),
    "shape": ("jws_too_large", "jws_malformed"),
    "alg": ("alg_not_allowed",),
    "header": ("jws_header",),
    "claims": ("jws_claims",),
    "sub": ("sub_malformed", "client_id_mismatch"),
}
_REGISTRATION = {
    "client": ("client_unknown",),
    "registration": ("client_inactive", "assertion_type_not_registered"),
}
_OF_HEADER = {
    "typ": ("typ_not_allowed",),
    "alg_registered": ("alg_not_registered",),
    "jku": ("jku_mismatch",),
    "kid": ("kid_missing",),
}
_KEYS = {
    "keys": ("client_without_keys",),
    "key": ("key_not_found", "key_ambiguous", "key_unusable", "key_publicly_known", "key_algorithm"),
    "signature": ("signature_invalid",),
}
_OF_CLAIMS = {
    "iss": ("iss_not_sub",),
    "aud": ("aud_mismatch",),
    "exp": ("exp_missing", "exp_malformed", "exp_past", "exp_too_far"),
    "iat": ("iat_malformed", "iat_future"),
    "nbf": ("nbf_malformed", "nbf_future"),
    "lifetime": ("lifetime_too_long",),
    "jti": ("jti_missing",),
    "jti_unused": ("jti_replayed",),
}
_GRANT = {
    "grant": ("grant_not_registered", "resource_not_registered"),
    "scope": (
        "scope_missing",
        "scope_malformed",
        "scope_too_long",
        "scope_parameter_unknown",
        "scope_narrowed",
        "nothing_granted",
    ),
}
CODES: Mapping[str, Sequence[str]] = _OPENING | _REGISTRATION | _OF_HEADER | _KEYS | _OF_CLAIMS | _GRANT
"""The checks of a token request in their order, each with the reason codes by which it fails; `keys` also by jwks_*."""

NEEDS_REGISTRATION = frozenset({*_REGISTRATION, "alg_registered", "jku", *_KEYS, "jti_unused"})
"""The checks that depend on more than the assertion and this server's public face."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `code` is the reason when it failed; `expected` and `received` in words, empty when there are none."""

    name: str
    outcome: Outcome
    code: str | None = None
    expected: str = ""
    received: str = ""
    finding: str = ""
    hint: str = ""

    def shown(self) -> dict[str, str]:
        """Return the check as JSON, without what is empty."""
        members = {
            "check": self.name,
            "outcome": self.outcome,
            "code": self.code or "",
            "expected": self.expected,
            "received": self.received,
            "finding": self.finding,
            "hint": self.hint,
        }
        return {name: value for name, value in members.items() if value}


@dataclass
class Account:
    """Checks as they are made, one after the other."""

    checks: list[Check] = field(default_factory=list)

    def step(self, name: str, do: Callable[[], T], *, expected: str = "", received: str = "") -> T | None:
        """Make one check and return what it returns; None when it failed, which is noted with its reason."""
        try:
            value = do()
        except InvalidClient as error:
            hint = HINTS.get(error.reason, "")
            self.checks.append(Check(name, "failed", error.reason, expected, received, error.detail[:500], hint))
            return None
        self.checks.append(Check(name, "passed", None, expected, received))
        return value

    def rules(self, rules: Mapping[str, assertion.Rule], case: Case, *, without: frozenset[str] = frozenset()) -> None:
        """Make the checks of these rules, each for itself."""
        for name, rule in rules.items():
            if name not in without:
                expected, received = _EXPECTED[name](case), _received(name, case)
                self.step(name, lambda rule=rule: rule(case), expected=expected, received=received)  # type: ignore[misc]

    @property
    def passed(self) -> frozenset[str]:
        """The names of the checks that passed."""
        return frozenset(check.name for check in self.checks if check.outcome == "passed")

    def complete(self, names: Sequence[str]) -> list[Check]:
        """Return the checks of these names, in this order; what was not made is `not reached`."""
        made = {check.name: check for check in self.checks}
        return [made.get(name) or Check(name, "not reached") for name in names]


def names(*, private: bool) -> list[str]:
    """Return the checks of an assertion in their order; without `private` those that every caller may see."""
    known = [name for name in CODES if name not in ("form", "grant", "scope")]
    return known if private else [name for name in known if name not in NEEDS_REGISTRATION]


def opened(account: Account, token: str, *, algorithms: tuple[str, ...]) -> UnverifiedAssertion | None:
    """Check what needs no registration to be read; None when the token is too broken to go on."""
    jws = account.step("shape", lambda: jose.read(token), received=f"{len(token)} characters")
    if jws is None:
        return None
    wanted = ", ".join(algorithms)
    received = shown(jws.header.get("alg"))
    account.step("alg", lambda: jose.check_algorithm(jws.header, algorithms), expected=wanted, received=received)
    account.step("header", lambda: jose.check_members(jws.header), received=", ".join(sorted(jws.header))[:MAX_SHOWN])
    claims = account.step("claims", jws.claims)
    if claims is None:
        return None
    client_id = account.step("sub", lambda: assertion.client_id_of(claims), received=shown(claims.get("sub")))
    return UnverifiedAssertion(jws, claims, client_id or "")


def of_token(token: str, *, algorithms: tuple[str, ...], expected: Expected, now: int) -> Account:
    """Return the account of what anybody can see in the assertion itself: alike for clients that are there or not."""
    account = Account()
    unverified = opened(account, token, algorithms=algorithms)
    if unverified is not None:
        case = Case(unverified, nobody(unverified.client_id, algorithms), expected, now)
        account.rules(HEADER_RULES, case, without=NEEDS_REGISTRATION)
        account.rules(CLAIM_RULES, case)
    return account


def of_refusal(reason: str) -> list[Check]:
    """Return the checks of a token request that was refused for this reason: what came before it was passed."""
    failing = "keys" if reason.startswith("jwks_") else next((n for n, codes in CODES.items() if reason in codes), None)
    if failing is None:
        return []
    order = list(CODES)
    at = order.index(failing)
    passed = [Check(name, "passed") for name in order[:at]]
    refused = Check(failing, "failed", reason, hint=HINTS.get(reason, ""))
    return [*passed, refused, *(Check(name, "not reached") for name in order[at + 1 :])]


def skew(claims: Mapping[str, Any], now: int) -> int | None:
    """Return by how many seconds the client's clock is ahead of ours, as far as its iat tells; None without iat."""
    issued = claims.get("iat")
    if isinstance(issued, bool) or not isinstance(issued, int | float) or abs(issued) > MILLISECONDS:
        return None
    return round(issued - now)


def shown(value: object) -> str:
    """Return a claim or a member of the header as short JSON."""
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _received(name: str, case: Case) -> str:
    header, claims = case.assertion.jws.header, case.assertion.claims
    if name in ("typ", "jku", "kid"):
        return shown(header.get(name))
    if name == "alg_registered":
        return shown(header.get("alg"))
    if name == "iss":
        return f"iss {shown(claims.get('iss'))}, sub {shown(claims.get('sub'))}"
    if name == "lifetime":
        return f"iat {shown(claims.get('iat'))}, exp {shown(claims.get('exp'))}"
    return shown(claims.get(name)) + _distance(claims.get(name), case.now)


def _distance(value: object, now: int) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if value > MILLISECONDS:
        return " (milliseconds, it seems; a NumericDate counts seconds)"
    return f" ({abs(value - now):.0f} s {'ahead' if value >= now else 'ago'})"


_EXPECTED: Mapping[str, Callable[[Case], str]] = {
    "typ": lambda _case: "JWT, client-authentication+jwt or none",
    "alg_registered": lambda case: ", ".join(case.client.algorithms),
    "jku": lambda case: f"none, or {case.client.jwks_uri}" if case.client.jwks_uri else "none",
    "kid": lambda _case: "the kid of a published key",
    "iss": lambda case: f"{case.client.id!r} in both iss and sub",
    "aud": lambda case: " or ".join(sorted(assertion.allowed_audiences(case))),
    "exp": lambda case: f"at most {assertion.MAX_LIFETIME} s ahead of {case.now}",
    "iat": lambda case: f"none, or not after {case.now}",
    "nbf": lambda case: f"none, or not after {case.now}",
    "lifetime": lambda _case: f"exp at most {assertion.MAX_AGE} s after iat",
    "jti": lambda _case: f"1 to {assertion.MAX_JTI_LENGTH} characters",
}
