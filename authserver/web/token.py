"""POST /auth/token: form pairs in, JSON that nobody stores out. No rule lives here."""

from dataclasses import dataclass
from functools import partial

from authserver.errors import InvalidClient, InvalidClientCredentials, TooManyRequests
from authserver.protocol import render, token_request
from authserver.protocol.render import Answer
from authserver.protocol.source_address import UNKNOWN
from authserver.protocol.token_request import TokenRequest
from authserver.services.at_hand import Present
from authserver.services.claim_queue import ClaimOutcome, ClaimQueue
from authserver.services.client_authentication import Proof
from authserver.services.limits import Limits
from authserver.services.token_issuance import Decision, TokenIssuance
from authserver.web.direct_path import Later
from authserver.web.forms import form_pairs
from authserver.web.incoming import Incoming
from authserver.web.limited import counted


class TokenView:
    """The token endpoint (RFC 6749 section 3.2). `at_hand` is the same use case over what needs no waiting."""

    def __init__(
        self, issuance: TokenIssuance, *, at_hand: TokenIssuance, present: Present, claims: ClaimQueue, limits: Limits
    ) -> None:
        self._limits = limits
        self._issuance, self._at_hand, self._present, self._claims = issuance, at_hand, present, claims
        self._delivered = False

    def answer(self, request: Incoming, *, now: int) -> Answer:
        """Return the token response; raises AuthServerError."""
        return counted(lambda: self._answer(request, now), self._limits, source=request.source)

    def _answer(self, request: Incoming, now: int) -> Answer:
        return render.json_answer(self._issuance.issue(_asked(request), now=now))

    def begin(self, request: Incoming, *, now: int, later: Later) -> None:
        """Prove the client with what is at hand, let its jti be claimed together with others, and go on then."""
        asked = _asked(request)
        self._present.take_any()
        proof = self._at_hand.authentication.prove(asked.client, now=now)
        try:
            self._limits.admit(proof.client.id)
        except TooManyRequests as error:
            later.finish_in_thread(partial(_refuse, error))  # proven once is enough
            return
        number = self._present.oldest
        decision = self._at_hand.decide(proof.client, asked, now=now)
        if not self._delivered:
            self._claims.deliver_by(later.soon)
            self._delivered = True

        def claimed(outcome: ClaimOutcome) -> None:
            if outcome.failure is None and outcome.change > number:
                # The registry was changed since: what the proof rests on is looked up anew.
                later.finish_in_thread(partial(self._proven_anew, asked, outcome, now=now))
            else:
                later.finish(partial(self._claimed, asked, Decided(proof, decision), outcome, now=now))

        audit = self._at_hand.audit_choice(decision, asked, now=now, number=number)
        claim = proof.assertion
        self._claims.submit(proof.client.id, claim.jti, until=claim.until, done=claimed, audit=audit)

    def _proven_anew(self, asked: TokenRequest, outcome: ClaimOutcome, *, now: int) -> Answer:
        def work() -> Answer:
            proof = self._issuance.authentication.prove(asked.client, now=now)
            decision = self._issuance.decide(proof.client, asked, now=now)
            return self._accepted(asked, Decided(proof, decision), outcome, now=now)

        return counted(work, self._limits, source=asked.client.source or UNKNOWN)

    def _claimed(self, asked: TokenRequest, decided: "Decided", outcome: ClaimOutcome, *, now: int) -> Answer:
        work = partial(self._accepted, asked, decided, outcome, now=now)
        return counted(work, self._limits, source=asked.client.source or UNKNOWN)

    def _accepted(self, asked: TokenRequest, decided: "Decided", outcome: ClaimOutcome, *, now: int) -> Answer:
        if outcome.failure is not None:
            raise outcome.failure
        self._issuance.authentication.accept(decided.proof, claimed=outcome.claimed, recorded=outcome.recorded)
        document = self._issuance.conclude(decided.decision, asked, recorded=outcome.recorded, now=now)
        return render.json_answer(document)


def _refuse(error: TooManyRequests) -> Answer:
    raise error


@dataclass(frozen=True, slots=True)
class Decided:
    """A request that waits for the claim of its jti: who was proven, and what it gets then."""

    proof: Proof
    decision: Decision


def _asked(request: Incoming) -> TokenRequest:
    pairs = form_pairs(request)
    _refuse_header(request, pairs)
    return token_request.parse(pairs, source=request.source)


def _refuse_header(request: Incoming, pairs: list[tuple[str, str]]) -> None:
    """Refuse the Authorization header: this endpoint authenticates by assertion alone."""
    if request.header("authorization") is None:
        return
    if any(name == "client_assertion" for name, _ in pairs):
        # RFC 7521 section 4.2.1: two mechanisms at once are invalid_client.
        raise InvalidClient(detail="Authorization header beside an assertion", reason="other_mechanism")
    raise InvalidClientCredentials(detail="Authorization header, no assertion", reason="assertion_missing")
