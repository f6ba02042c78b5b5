"""The life of a signing key, announce -> sign -> retire, as moments. Knows numbers; knows no file and no clock.

Every process that knows the same keys and the time comes to the same answers, so none has to tell another.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

JWKS_MAX_AGE = 300
"""Seconds for which a verifier may keep our key set, by default."""

Stage = Literal["waiting", "signing", "superseded", "retired"]


@dataclass(frozen=True, slots=True)
class KeyTimes:
    """What the settings say, in seconds.

    `jwks_max_age`: a verifier's copy of the key set is never older. `longest_token`: no token lives longer.
    `leeway`: added to each wait, for clocks that differ and for the second after which a process looks again.
    """

    jwks_max_age: int = JWKS_MAX_AGE
    longest_token: int = 300
    leeway: int = 60


@dataclass(frozen=True, slots=True)
class KeyLife:
    """What is recorded of one key; moments in epoch seconds.

    `announced_at`: published since. `signing_since`: the moment planned for its first signature. `initial`: it
    was there when the record began, so it has nothing to wait for. `jwks_max_age` and `longest_token` (seconds):
    no copy of a key set without it is older, no token that it signed lives longer. `retired_at`: no longer
    published since then. Raises ValueError when it would sign before the key set's max-age is over (row X53).
    """

    kid: str
    algorithm: str
    announced_at: int
    signing_since: int
    jwks_max_age: int
    longest_token: int
    initial: bool = False
    retired_at: int | None = None

    def __post_init__(self) -> None:
        if not self.initial and self.signing_since < self.announced_at + self.jwks_max_age:
            raise ValueError("the key would sign before every verifier can know it")


@dataclass(frozen=True, slots=True)
class PlannedKey:
    """A line of the timeline. `signing_until` and `retire_after` are None while no other key is to follow.

    `retire_after` is the first second at which the key may be unpublished; for a key that has not signed yet,
    and for one that was retired, the moment at which that was or is allowed.
    """

    life: KeyLife
    stage: Stage
    signing_until: int | None
    retire_after: int | None


class TooEarly(Exception):
    """The step would break a promise. `allowed_at` (epoch seconds) is None while nothing says when it is allowed."""

    def __init__(self, message: str, *, allowed_at: int | None) -> None:
        self.allowed_at = allowed_at
        super().__init__(message)


def initial(kid: str, algorithm: str, *, now: int, times: KeyTimes) -> KeyLife:
    """Return the life of a first key: there is no copy of a key set without it, so it signs at once."""
    return KeyLife(kid, algorithm, now, now, times.jwks_max_age, times.longest_token, initial=True)


def announced(kid: str, algorithm: str, *, now: int, times: KeyTimes) -> KeyLife:
    """Return the life of a further key: published now, signing when every older copy of the key set is gone."""
    start = now + times.jwks_max_age + times.leeway
    return KeyLife(kid, algorithm, now, start, times.jwks_max_age, times.longest_token)


def under(life: KeyLife, times: KeyTimes, *, now: int) -> KeyLife:
    """Return the record under these settings: longer lives of tokens and key sets count, shorter ones do not.

    A key that signs already goes on: it was published for as long as key sets were kept until then.
    """
    changed = replace(life, longest_token=max(life.longest_token, times.longest_token))
    if life.initial or life.signing_since <= now or life.jwks_max_age >= times.jwks_max_age:
        return changed
    later = life.announced_at + times.jwks_max_age + times.leeway
    return replace(changed, jwks_max_age=times.jwks_max_age, signing_since=max(life.signing_since, later))


def signing_key(lives: Iterable[KeyLife], *, now: int) -> KeyLife | None:
    """Return the published key that signs at `now`, the latest whose time has come; None when no key may sign."""
    published = [life for life in lives if life.retired_at is None]
    ripe = [life for life in published if life.signing_since <= now]
    # A clock that stands before the record of the first key takes nothing from anybody: there was no other key.
    candidates = ripe or [life for life in published if life.initial]
    return max(candidates, key=_turn, default=None)


def plan(lives: Iterable[KeyLife], *, now: int, times: KeyTimes) -> tuple[PlannedKey, ...]:
    """Return the timeline in the order in which the keys sign, the retired ones included."""
    known = sorted(lives, key=_turn)
    signs = signing_key(known, now=now)
    return tuple(
        PlannedKey(
            life,
            _stage(life, signs, now=now),
            _signing_until(life, known),
            _retire_after(life, _signing_until(life, known), now=now, times=times),
        )
        for life in known
    )


def check_retirement(lives: Iterable[KeyLife], kid: str, *, now: int, times: KeyTimes) -> None:
    """Raise TooEarly while a token that has not expired may carry this kid, or could soon (row X53)."""
    (found,) = (planned for planned in plan(lives, now=now, times=times) if planned.life.kid == kid)
    if found.retire_after is None:
        raise TooEarly(f"{kid} signs and no other key is announced: rotate first", allowed_at=None)
    if now < found.retire_after:
        raise TooEarly(f"tokens that {kid} signed may still be in use", allowed_at=found.retire_after)


def _turn(life: KeyLife) -> tuple[int, int, str]:
    return life.signing_since, life.announced_at, life.kid


def _stage(life: KeyLife, signs: KeyLife | None, *, now: int) -> Stage:
    if life.retired_at is not None:
        return "retired"
    if life is signs:
        return "signing"
    return "waiting" if life.signing_since > now else "superseded"


def _signing_until(life: KeyLife, known: list[KeyLife]) -> int | None:
    """Return when the next key begins to sign; one that was withdrawn before its turn follows nobody."""
    later = known[known.index(life) + 1 :]
    following = (n.signing_since for n in later if n.retired_at is None or n.retired_at >= n.signing_since)
    return next(following, None)


def _retire_after(life: KeyLife, until: int | None, *, now: int, times: KeyTimes) -> int | None:
    moment = now if life.retired_at is None else life.retired_at
    if not life.initial and moment < life.signing_since - times.leeway:
        return life.announced_at  # no clock within the leeway has reached its turn: it has signed nothing
    if until is None:
        return None
    return until + max(life.longest_token, times.longest_token) + times.leeway
