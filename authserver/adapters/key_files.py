"""The server's own keys as a Signer: signs with the key whose time has come, publishes every key that is not retired.

It looks at the folder again every second, so a rotation needs no restart. What it finds then and cannot use changes
nothing and is logged as an error; at start the same thing refuses.
"""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import structlog

from authserver import clock
from authserver.adapters import key_folder
from authserver.adapters.key_folder import Folder, FolderBusy
from authserver.adapters.key_material import ALGORITHMS, KeyFilesError, SigningAlgorithm, SigningKey, require_private
from authserver.adapters.verified_tokens import VerifiedTokens
from authserver.errors import InvalidJws, Unavailable
from authserver.protocol import jose, key_life
from authserver.protocol.key_life import KeyLife, KeyTimes, PlannedKey, TooEarly
from authserver.services.ports import KeyInfo

__all__ = ["ALGORITHMS", "KeyFiles", "KeyFilesError", "KeyInfo", "SigningAlgorithm", "open_signer"]

CHECK_SECONDS = 1.0
"""How often a running process looks whether the folder changed."""

BUSY_SECONDS = 0.05
"""When it looks again if somebody was changing the folder just then; a request never waits for that."""


class KeyFiles:
    """Signer (see the port) over the keys of a directory."""

    def __init__(
        self,
        directory: Path,
        *,
        times: KeyTimes | None = None,
        now: Callable[[], int] = clock.now,
        monotonic: Callable[[], float] = time.monotonic,
        memory: Callable[[], VerifiedTokens] = VerifiedTokens,
    ) -> None:
        """Load every key; each set of keys has a `memory` of its own. Raises KeyFilesError.

        Refused: a directory or file that is not its owner's alone, a file that is no key or record, is named for
        another kid or has an unsupported key, a retired key that came back, and a key that is missing too early.
        """
        self._directory, self._times = directory, times or KeyTimes()
        self._now, self._monotonic = now, monotonic
        self._folder = key_folder.read(directory)
        key_folder.require_complete(directory, self._folder, times=self._times, now=now())
        if not self._folder.keys:
            raise KeyFilesError(f"{directory} has no key: start the server, or run `authserver keys rotate`.")
        self._alarm = ""
        self._look_at = monotonic() + CHECK_SECONDS
        self._looking = threading.Lock()
        self._headers: dict[tuple[str, str], str] = {}
        self._memory = memory
        self._verified = self._folder, memory()
        self._log = structlog.get_logger("authserver.keys")

    def sign(self, claims: Mapping[str, Any], *, typ: str) -> str:
        """Return a compact JWS (RFC 7515 section 7.1) by the key that signs now.

        Raises Unavailable (`no_signing_key`) when every key was published too short a time ago.
        """
        self._present()
        folder, verified = self._verified  # both at once: what is remembered is of these keys
        key = self._signing_key(folder)
        header, payload = self._headers.get((key.kid, typ)) or self._header(key, typ), orjson.dumps(claims)
        signing_input = f"{header}.{jose.encode_segment(payload)}"
        token = f"{signing_input}.{jose.encode_segment(key.sign(signing_input.encode('ascii')))}"
        verified.add(token, typ=typ)
        return token

    def verify(self, token: str, *, typ: str) -> Mapping[str, Any] | None:
        """Return the claims if one of the published keys signed the token with this `typ`, else None; never raises.

        The header must be exactly what sign() writes, in any order: what it does not write it does not understand.
        """
        self._present()
        folder, verified = self._verified  # both at once: what former keys verified is not known to these
        if verified.knows(token, typ=typ):
            # Written here or read strictly before: it has one reading.
            claims: Mapping[str, Any] = orjson.loads(jose.decode_segment(token.split(".")[1]))
            return claims
        try:
            payload = _verified(token, folder, typ=typ)
            claims = jose.read_claims(payload)
        except InvalidJws:
            return None
        verified.add(token, typ=typ)
        return claims

    def key_set(self) -> object:
        """Return an object that is the same one as long as the published keys are the same."""
        return self._present()

    def public_jwks(self) -> Mapping[str, Any]:
        """Return every public key with kid, use and alg, in the order in which they sign (RFC 7517 section 5)."""
        keys = self._present().keys
        return {"keys": [dict(keys[kid].jwk) for kid in self._kids()]}

    def list_keys(self) -> tuple[KeyInfo, ...]:
        """Return what may be shown of every published key, in the order in which they sign."""
        folder, now = self._present(), self._now()
        signs = _signing(folder, now)
        announced = {life.kid: life.announced_at for life in folder.lives}
        return tuple(
            KeyInfo(kid, folder.keys[kid].algorithm, announced.get(kid, now), signs is not None and kid == signs.kid)
            for kid in self._kids()
        )

    def plan(self) -> tuple[PlannedKey, ...]:
        """Return the timeline of every key on record, the retired ones included."""
        return key_life.plan(self._present().lives, now=self._now(), times=self._times)

    def _kids(self) -> list[str]:
        folder = self._folder
        order = {life.kid: (life.signing_since, life.announced_at) for life in folder.lives}
        return sorted(folder.keys, key=lambda kid: (order.get(kid, (self._now(), 0)), kid))

    def _signing_key(self, folder: Folder) -> SigningKey:
        life = _signing(folder, self._now())
        if life is None:
            raise Unavailable(detail="no key was published long enough to sign", reason="no_signing_key")
        return folder.keys[life.kid]

    def _header(self, key: SigningKey, typ: str) -> str:
        header = {"alg": key.algorithm, "kid": key.kid, "typ": typ}
        self._headers[key.kid, typ] = jose.encode_segment(orjson.dumps(header))
        return self._headers[key.kid, typ]

    def _present(self) -> Folder:
        """Return the keys, after a look at the folder when the last one is a second old; one thread looks."""
        if self._monotonic() >= self._look_at and self._looking.acquire(blocking=False):
            try:
                self._look_at = self._monotonic() + CHECK_SECONDS
                self._look()
            finally:
                self._looking.release()
        return self._folder

    def _look(self) -> None:
        try:
            if self._alarm == "" and key_folder.signature(self._directory) == self._folder.signature:
                return
            found = key_folder.read(self._directory, wait=False)
            self._require_continuity(found)
        except FolderBusy:
            self._look_at = self._monotonic() + BUSY_SECONDS
            return
        except KeyFilesError as error:
            if str(error) != self._alarm:
                self._alarm = str(error)
                self._log.error("keys_unusable", detail=self._alarm, going_on_with=sorted(self._folder.keys))
            return
        self._alarm = ""
        self._log.info("keys_changed", added=_names(found, self._folder), removed=_names(self._folder, found))
        self._folder, self._verified = found, (found, self._memory())

    def _require_continuity(self, found: Folder) -> None:
        """Refuse to unpublish a key that an unexpired token may carry, whatever the folder says (row X53)."""
        now = self._now()
        key_folder.require_complete(self._directory, found, times=self._times, now=now)
        lives = {life.kid: life for life in (*self._folder.lives, *found.lives)}
        for kid in (self._folder.keys.keys() - found.keys.keys()) & lives.keys():
            try:
                key_life.check_retirement(lives.values(), kid, now=now, times=self._times)
            except TooEarly as error:
                raise KeyFilesError(f"{self._directory}/{kid}.pem is gone too early: {error}. Restore it.") from error


def open_signer(
    directory: Path,
    *,
    algorithm: SigningAlgorithm = "ES256",
    times: KeyTimes | None = None,
    now: Callable[[], int] = clock.now,
) -> KeyFiles:
    """Return the Signer of a directory; makes it, and its first key, when there is none.

    Processes that start at once agree on one key. Where the newest key is of another algorithm, one of this is
    announced. Raises KeyFilesError.
    """
    if algorithm not in ALGORITHMS:
        raise KeyFilesError(f"{algorithm!r} is no signing algorithm of this server: use ES256 or RS256.")
    with key_folder.system_errors(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_private(directory, directory.stat())
    key_folder.settle(directory, algorithm=algorithm, times=times or KeyTimes(), now=now())
    return KeyFiles(directory, times=times, now=now)


def _verified(token: str, folder: Folder, *, typ: str) -> bytes:
    """Return the payload of a token that a key of the folder signed; raises InvalidJws."""
    jws = jose.parse(token, algorithms=ALGORITHMS)
    key = folder.keys.get(str(jws.header.get("kid")))
    if key is None or jws.header != {"alg": key.algorithm, "kid": key.kid, "typ": typ}:
        raise InvalidJws(detail="not the header of a token of ours")
    jose.check_signature(jws, key.public)
    return jws.payload


def _signing(folder: Folder, now: int) -> KeyLife | None:
    return key_life.signing_key((life for life in folder.lives if life.kid in folder.keys), now=now)


def _names(these: Folder, others: Folder) -> list[str]:
    return sorted(these.keys.keys() - others.keys.keys())
