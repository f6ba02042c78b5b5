"""What `authserver explain` and `authserver doctor` find out: by decoding here, and by asking the server."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from authserver import clock
from authserver.cli.registering import policies_of
from authserver.cli.remote import Remote, read
from authserver.errors import InvalidJws
from authserver.protocol import access_token, jose

MAX_SKEW = 30
"""Seconds by which our clock and the server's may differ before it is called a finding."""

_MARKS = {"passed": "ok", "failed": "FAILED", "not reached": "-"}


@dataclass(frozen=True, slots=True)
class Explained:
    """What was found: a document for --json, the same for a person, and whether all is well."""

    document: dict[str, Any]
    lines: Sequence[str]
    good: bool


def decoded(token: str) -> jose.UnverifiedJws | None:
    """Return the token's parts by its shape alone, unverified; None when it is no compact JWS."""
    try:
        return jose.read(token)
    except InvalidJws:
        return None


def is_access_token(jws: jose.UnverifiedJws) -> bool:
    """Say whether the token calls itself an access token (RFC 9068)."""
    return str(jws.header.get("typ", "")).lower().removeprefix("application/") == access_token.TYP


def parts(jws: jose.UnverifiedJws) -> dict[str, Any]:
    """Return what the token says of itself; nothing of it is checked."""
    try:
        return {"header": dict(jws.header), "claims": dict(jws.claims())}
    except InvalidJws as error:
        return {"header": dict(jws.header), "claims": None, "problem": error.detail}


def diagnose(remote: Remote, form: Mapping[str, str], *, operator: bool) -> dict[str, Any]:
    """Return the server's account of an assertion (`client_assertion`) or of a client (`client_id`)."""
    path = "/auth/assertion/$diagnose"
    answer = remote.as_operator("POST", path, data=form) if operator else remote.send("POST", path, data=form)
    return read(answer) | _clocks(answer)


def assertion(told: dict[str, Any], jws: jose.UnverifiedJws | None) -> Explained:
    """Return the server's account of an assertion for showing."""
    checks = told["checks"]
    good = all(check["outcome"] == "passed" for check in checks)
    document = {"kind": "assertion", **({} if jws is None else parts(jws)), **told}
    return Explained(document, [*_account(checks), *_around(told)], good)


def receipt(told: dict[str, Any]) -> Explained:
    """Return a receipt for showing."""
    facts = [
        f"{name}: {told[name]}"
        for name in ("id", "at", "path", "client_id", "reason", "detail", "hint")
        if told.get(name) not in (None, "")
    ]
    return Explained({"kind": "receipt", **told}, [*facts, *_account(told["checks"])], good=True)


def token(told: dict[str, Any], jws: jose.UnverifiedJws) -> Explained:
    """Return what an access token is worth, for showing."""
    good = told.get("active") is True
    said = "the server says that it is active" if good else "the server says that it is not active (any more)"
    claims = [f"{name}: {value}" for name, value in (parts(jws)["claims"] or {}).items()]
    return Explained({"kind": "access token", **parts(jws), "introspection": told}, [said, *claims], good)


def offline(jws: jose.UnverifiedJws, why: str) -> Explained:
    """Return what can be seen without a server."""
    found = parts(jws)
    lines = [f"{part}.{name}: {value}" for part in ("header", "claims") for name, value in (found[part] or {}).items()]
    kind = "access token" if is_access_token(jws) else "assertion"
    return Explained({"kind": kind, **found, "server": why}, [*lines, f"not asked: {why}"], good=False)


def client(remote: Remote, client_id: str, told: dict[str, Any]) -> Explained:
    """Return all that is to be said of a client: the account, the clocks, the policies."""
    checks = [*told["checks"], _policy_check(remote, client_id), _clock_check(told)]
    good = all(check["outcome"] == "passed" for check in checks)
    return Explained({"kind": "client", **told, "checks": checks}, [*_account(checks), *_around(told)], good)


def _policy_check(remote: Remote, client_id: str) -> dict[str, Any]:
    policies = [policy["id"] for policy in policies_of(remote, client_id)]
    if policies:
        return {"check": "policy", "outcome": "passed", "received": ", ".join(policies)}
    hint = "Register an AccessPolicy that is linked to the client; without one every request is refused."
    return {"check": "policy", "outcome": "failed", "code": "policy_denied", "received": "none", "hint": hint}


def _clock_check(told: dict[str, Any]) -> dict[str, Any]:
    skew = told.get("clock_skew_seconds", 0)
    if abs(skew) <= MAX_SKEW:
        return {"check": "clock", "outcome": "passed", "received": f"{skew} s"}
    hint = "Set this machine's clock (NTP), or the server's."
    return {"check": "clock", "outcome": "failed", "received": f"{skew} s", "hint": hint}


def _clocks(answer: requests.Response) -> dict[str, Any]:
    """Return by how many seconds this machine's clock is ahead of the server's, by the Date header."""
    date = answer.headers.get("Date")
    try:
        return {"clock_skew_seconds": round(clock.now() - parsedate_to_datetime(date or "").timestamp())}
    except ValueError:
        return {}


def _account(checks: Sequence[Mapping[str, str]]) -> list[str]:
    lines = []
    for check in checks:
        lines.append(f"{_MARKS[check['outcome']]:<6} {check['check']:<14} {_said(check)}".rstrip())
        if check["outcome"] == "failed" and check.get("hint"):
            lines.append(f"{'':<21} to mend it: {check['hint']}")
    return lines


def _said(check: Mapping[str, str]) -> str:
    if check["outcome"] != "failed":
        return check.get("received", "")
    wanted = f"; expected: {check['expected']}" if check.get("expected") else ""
    received = f"; received: {check['received']}" if check.get("received") else ""
    return f"{check.get('code', '')}: {check.get('finding', '')}".strip(": ") + wanted + received


def _around(told: Mapping[str, Any]) -> list[str]:
    lines = [f"key {key['kid']}: {key['kty']}, {key.get('finding') or 'usable'}" for key in told.get("keys", [])]
    if "jti" in told:
        lines.append(f"jti: {told['jti']}")
    if "skew_seconds" in told:
        lines.append(f"the assertion's clock: {told['skew_seconds']} s against the server's")
    for one in told.get("scope", {}).get("decisions", []):
        lines.append(f"scope {one['requested']}: {one['outcome']}, {one['granted'] or one['why']}")
    if not told.get("proven", True) and "client" not in told:
        lines.append("the server tells no more to whom it does not know: ask as an operator, or with a good signature")
    return lines


def ask(remote: Remote, path: str) -> dict[str, Any]:
    """Return the JSON of a GET as the operator."""
    return read(remote.as_operator("GET", path))
