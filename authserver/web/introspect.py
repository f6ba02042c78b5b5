"""POST /auth/introspect (RFC 7662, RFC 9701) and POST /auth/revoke (RFC 7009)."""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from authserver import clock
from authserver.errors import InsufficientScope, InvalidClient, InvalidRequest, LoginRequired
from authserver.protocol import policy_request, render, signed_introspection, strict_json
from authserver.protocol.policy_request import PolicyRequest
from authserver.protocol.render import Answer
from authserver.protocol.scopes import INTROSPECT
from authserver.protocol.token_request import KNOWN_PARAMETERS, single_values
from authserver.services.at_hand import Present
from authserver.services.authorization import Authorization, Caller
from authserver.services.key_uses import GRAIN_SECONDS
from authserver.services.limits import Limits
from authserver.services.policy_decisions import SAMPLE_SECONDS
from authserver.services.token_introspection import TokenIntrospection
from authserver.web.callers import caller_of, proven_caller
from authserver.web.direct_path import Later
from authserver.web.errors import respond
from authserver.web.forms import form_pairs
from authserver.web.incoming import Incoming, of_framework
from authserver.web.policy_requests import own_request

MAX_SAID = 10_000
"""Answers that are kept to be said again; the one not asked for longest goes first."""

MAX_ADMITTED = 1_000
"""Callers that are known to be allowed to ask; the one admitted longest ago goes first."""

_TELLING = ("authorization", "x-api-key", "content-type", "content-encoding", "accept")
"""The headers that the answer depends on. No header has a line break in it, and these come before the body."""

_PARAMETERS = KNOWN_PARAMETERS | {"token", "token_type_hint", "request"}


class IntrospectView:
    """The introspection endpoint (RFC 7662 section 2)."""

    def __init__(self, introspection: TokenIntrospection, authorization: Authorization) -> None:
        self._introspection, self._authorization = introspection, authorization

    def answer(self, request: Incoming, *, now: int) -> Answer:
        """Return what the token is worth now; raises AuthServerError."""
        return self.judge(request, now=now).answer

    def judge(self, request: Incoming, *, now: int, admit: "Admit | None" = None) -> "Judged":
        """Return the answer, and for how long it would be the same; raises AuthServerError.

        `admit` stands in for admit() where that is known already.
        """
        form = single_values(form_pairs(request), known=_PARAMETERS)
        signed = _wants_jwt(request)
        if signed and request.header("authorization") is None and "client_assertion" not in form:
            # RFC 9701 section 5: a signed answer names its caller, so without one the request is a 400.
            raise InvalidClient(detail="a signed answer was asked for without credentials", reason="login_required")
        admitted = (admit or self.admit)(request, form, now)
        caller = admitted.caller
        described = _described_request(form, request.request_id)
        # An operator is bound by no scope; the policies allowed the question already.
        operator = caller.scopes is None
        answer = self._introspection.introspect(
            _token(form), caller=caller.client, request=described, report=operator, now=now
        )
        self._authorization.limits.served(caller.client.id)
        if signed:
            jwt = self._introspection.signed(answer, caller=caller.client, now=now)
            return Judged(render.text_answer(jwt, media_type=signed_introspection.MEDIA_TYPE), caller.client.id)
        # A refusal is not said again: each has a record under the request id of its own answer (row X23).
        lasting = admitted.lasting and answer.get("policy_decision", {}).get("allowed") is not False
        return Judged(render.json_answer(answer), caller.client.id, _good_until(answer, now) if lasting else 0)

    def admit(self, request: Incoming, form: Mapping[str, str], now: int) -> "Admitted":
        """Return the caller that is proven and may introspect; raises AuthServerError."""
        caller = proven_caller(request, self._authorization, now=now, form=form)
        own = own_request(request, "auth-introspect")
        try:
            self._authorization.require_name(caller, own, scope=INTROSPECT)
        except InsufficientScope as error:
            # RFC 7662 section 2.3: a bearer token with too little privilege is a 401.
            refused = LoginRequired(detail=error.detail, reason=error.reason)
            refused.client_id = error.client_id
            raise refused from error
        # A caller's own token or assertion has an end of its own; a secret is as good as the registration.
        # What is said again may not depend on what the request's name does not tell: its source, other headers.
        return Admitted(caller, lasting=_is_basic(request) and self._authorization.allows_whatever(caller, own))


@dataclass(frozen=True, slots=True)
class Admitted:
    """A caller that may introspect. `lasting`: with the same credentials it may, whatever else the request says."""

    caller: Caller
    lasting: bool


Admit = Callable[[Incoming, Mapping[str, str], int], Admitted]
"""IntrospectView.admit(), or what answers like it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer to this caller. Until `good_until` (epoch seconds) the same request gets it again."""

    answer: Answer
    caller_id: str
    good_until: int = 0


class QuickIntrospectView:
    """The introspection endpoint twice: over what is at hand, and over what has to be asked for.

    What it answered at hand is kept, to be said again to the same request while registry, revocations and our keys
    are what they were and the token has not expired.
    """

    def __init__(
        self,
        asking: IntrospectView,
        *,
        at_hand: IntrospectView,
        present: Present,
        key_set: Callable[[], object],
        limits: Limits,
    ) -> None:
        """`at_hand` counts nobody: its answers are counted here, and what it cannot answer by `asking`."""
        self._limits = limits
        self._asking, self._at_hand, self._present, self._key_set = asking, at_hand, present, key_set
        self._said: OrderedDict[bytes, tuple[int, object, Judged]] = OrderedDict()
        self._admitted: OrderedDict[bytes, tuple[int, int, Admitted]] = OrderedDict()
        self._secret = secrets.token_bytes(32)

    def answer(self, request: Incoming, *, now: int) -> Answer:
        """Return what the token is worth now; raises AuthServerError."""
        return self._asking.answer(request, now=now)

    def begin(self, request: Incoming, *, now: int, later: Later) -> Answer:
        """Return the same answer without waiting; raises NotAtHand or AuthServerError."""
        name = self._name(request)
        said = self._still(name, now)
        if said is not None:
            later.still = partial(self._still, name)
            return said
        number, key_set = self._present.look(), self._key_set()
        judged = self._at_hand.judge(request, now=now, admit=partial(self._admit, number))
        if judged.good_until:
            self._said[name] = number, key_set, judged
            while len(self._said) > MAX_SAID:
                self._said.popitem(last=False)
        return self._counted(judged)

    def _still(self, name: bytes, now: int) -> Answer | None:
        """Return what was said to the request of this name, while it may be said again."""
        number, key_set = self._present.look(), self._key_set()
        said = self._said.get(name)
        if said is not None and said[0] == number and said[1] is key_set and now < said[2].good_until:
            self._said.move_to_end(name)
            return self._counted(said[2])
        return None

    def _admit(self, number: int, request: Incoming, form: Mapping[str, str], now: int) -> Admitted:
        """Return who asks. One that may whatever it says is looked at anew each minute, and after each change.

        The minute is that of policy_decisions.SAMPLE_SECONDS: what policies allow leaves its records all the same.
        """
        if not _shows_basic_alone(request, form):
            return self._at_hand.admit(request, form, now)
        name, minute = self._digest((request.header("authorization") or "").encode("latin-1")), now // SAMPLE_SECONDS
        known = self._admitted.get(name)
        if known is not None and known[:2] == (number, minute):
            return known[2]
        admitted = self._at_hand.admit(request, form, now)
        if admitted.lasting:
            self._admitted[name] = number, minute, admitted
            while len(self._admitted) > MAX_ADMITTED:
                self._admitted.popitem(last=False)
        return admitted

    def _counted(self, judged: Judged) -> Answer:
        self._limits.admit(judged.caller_id)
        self._limits.served(judged.caller_id)
        return judged.answer

    def _name(self, request: Incoming) -> bytes:
        """Return what tells this request from every other; without the key it tells nothing of its credentials."""
        headers = "\n".join([request.query, *(request.header(name) or "" for name in _TELLING)])
        whole = headers.encode("utf-8", "surrogatepass") + b"\n" + request.read_body()
        return self._digest(whole)

    def _digest(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=self._secret, digest_size=16).digest()


def revocation_blueprint(introspection: TokenIntrospection, authorization: Authorization) -> Blueprint:
    """Return the revocation endpoint."""
    blueprint = Blueprint("revocation", __name__)

    @blueprint.post("/auth/revoke")
    def revoke() -> Response:
        incoming = of_framework(request)
        now, form = clock.now(), single_values(form_pairs(incoming), known=_PARAMETERS)
        caller = caller_of(incoming, authorization, now=now, form=form)
        # RFC 7009 section 2.1: a client revokes its own tokens; only an operator revokes another's.
        operator = authorization.is_operator(caller, own_request(incoming, "auth-revoke"))
        owner = None if operator else caller.client
        introspection.revoke(_token(form), owner=owner, caller=caller.client, now=now)
        return respond(render.json_answer({}))

    return blueprint


def _good_until(answer: Mapping[str, Any], now: int) -> int:
    """Return until when nothing but a change can change the answer; one about an API key also counts as its use."""
    ends: int = answer.get("exp", 0)
    return min(ends, now - now % GRAIN_SECONDS + GRAIN_SECONDS) if "environment" in answer else ends


def _shows_basic_alone(request: Incoming, form: Mapping[str, str]) -> bool:
    """Say whether Basic is all that the request has of credentials, anywhere."""
    elsewhere = request.query or request.header("x-api-key") is not None
    return _is_basic(request) and not elsewhere and form.keys().isdisjoint(("client_assertion", "client_secret"))


def _is_basic(request: Incoming) -> bool:
    return (request.header("authorization") or "")[:6].lower() == "basic "


def _wants_jwt(request: Incoming) -> bool:
    """Say whether the Accept header prefers the signed answer to the plain one; a wildcard does not."""
    header = request.header("accept")
    if header is None or "jwt" not in header.lower():
        return False
    accepted = parse_accept_header(header, MIMEAccept)
    named = any(value.lower() == signed_introspection.MEDIA_TYPE for value, _ in accepted)
    return named and accepted[signed_introspection.MEDIA_TYPE] >= max(accepted[render.JSON], 0.001)


def _token(form: dict[str, str]) -> str:
    if not form.get("token"):
        raise InvalidRequest("The parameter token is missing.", reason="token_missing")
    return form["token"]


def _described_request(form: dict[str, str], request_id: str) -> PolicyRequest | None:
    """Read the parameter `request`: the JSON description of what the caller is about to serve."""
    if "request" not in form:
        return None
    try:
        described = policy_request.from_description(strict_json.loads(form["request"].encode("utf-8")))
        return replace(described, id=request_id)
    except strict_json.MalformedJson as error:
        raise InvalidRequest("The parameter request is not a description of a request.") from error
