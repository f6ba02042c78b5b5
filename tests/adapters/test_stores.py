"""One suite for every implementation of the stores: memory, SQLite, PostgreSQL."""

import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from authserver.adapters.memory import MemoryStores
from authserver.adapters.sql.engine import DatabaseUrlError, open_engine
from authserver.adapters.sql.jti_key import used_jti_key
from authserver.adapters.sql.jtis import BATCH
from authserver.adapters.sql.schema import upgrade
from authserver.adapters.sql.stores import SqlStores
from authserver.errors import StorageUnavailable, VersionConflict
from authserver.services.ports import AlreadyExists, HistoryPosition, StoredResource
from tests.postgres import PostgresCluster

Stores = MemoryStores | SqlStores

FAR = 4_000_000_000
"""A moment, in epoch seconds, that no purge reaches."""

FIRST = StoredResource(
    resource_type="Client",
    id="acme",
    version_id=1,
    generation=1,
    body={"name": "Acme"},
    created_at=1_000,
    last_updated=1_000,
)
SECOND = replace(FIRST, version_id=2, body={"name": "Acme Ltd"}, last_updated=2_000)


def put_twice(stores: Stores) -> None:
    stores.resources.put("Client", "acme", FIRST.body, now=1_000)
    stores.resources.put("Client", "acme", SECOND.body, now=2_000)


# Reading


def test_nothing_is_found_before_it_is_stored(stores: Stores) -> None:
    found = (
        stores.resources.get("Client", "acme"),
        list(stores.resources.current("Client")),
        list(stores.resources.linked("Client", [""])),
        list(stores.resources.history("Client", "acme")),
    )

    assert found == (None, [], [], [])


def test_first_put_is_version_one_of_generation_one(stores: Stores) -> None:
    stored = stores.resources.put("Client", "acme", {"name": "Acme"}, now=1_000)

    assert (stored, stores.resources.get("Client", "acme")) == (FIRST, FIRST)


def test_second_put_is_the_next_version_and_keeps_the_time_of_creation(stores: Stores) -> None:
    put_twice(stores)

    assert stores.resources.get("Client", "acme") == SECOND


def test_unchanged_put_is_a_new_version_too(stores: Stores) -> None:
    stores.resources.put("Client", "acme", FIRST.body, now=1_000)

    stored = stores.resources.put("Client", "acme", FIRST.body, now=2_000)

    assert stored == replace(FIRST, version_id=2, last_updated=2_000)


def test_body_is_kept_exactly(stores: Stores) -> None:
    """Member order, the spelling of numbers, NUL, other scripts and a lone surrogate come back as they went in."""
    body = {"z": 1, "a": [1.0, 10**30, 1e-7, True, None], "nul": "a\x00b", "é": "日本 \U0001f600", "half": "\ud800"}

    stores.resources.put("Client", "acme", body, now=1_000)

    found = stores.resources.get("Client", "acme")
    assert found is not None
    assert repr(found.body) == repr(body)


def test_stored_body_is_no_callers_to_change(stores: Stores) -> None:
    body = {"scope": ["system/*.rs"]}
    stored = stores.resources.put("Client", "acme", body, now=1_000)

    body["scope"].append("system/*.cud")
    stored.body["scope"].append("system/*.cud")

    found = stores.resources.get("Client", "acme")
    assert found is not None
    assert found.body == {"scope": ["system/*.rs"]}


def test_types_do_not_share_ids(stores: Stores) -> None:
    stores.resources.put("AccessPolicy", "acme", {"engine": "allow"}, now=500)

    stores.resources.put("Client", "acme", FIRST.body, now=1_000)

    assert list(stores.resources.history("Client", "acme")) == [FIRST]


def test_current_is_ordered_by_code_point(stores: Stores) -> None:
    for resource_id in ("b", "a-1", "B", "a.1", "a", "A1", "10", "9"):
        stores.resources.put("Client", resource_id, {}, now=1_000)

    ids = [found.id for found in stores.resources.current("Client")]

    assert ids == ["10", "9", "A1", "B", "a", "a-1", "a.1", "b"]


def test_current_leaves_out_deleted_and_former_versions(stores: Stores) -> None:
    put_twice(stores)
    stores.resources.put("Client", "gone", {}, now=1_000)
    stores.resources.delete("Client", "gone", now=2_000)

    assert list(stores.resources.current("Client")) == [SECOND]


# Deleting and registering anew


def test_delete_returns_the_last_version(stores: Stores) -> None:
    put_twice(stores)

    assert stores.resources.delete("Client", "acme", now=3_000) == SECOND
    assert stores.resources.get("Client", "acme") is None


def test_deleting_what_is_not_there_changes_nothing(stores: Stores) -> None:
    put_twice(stores)
    stores.resources.delete("Client", "acme", now=3_000)
    before = list(stores.resources.history("Client", "acme"))

    again = stores.resources.delete("Client", "acme", now=4_000)
    never = stores.resources.delete("Client", "other", now=4_000)

    assert (again, never) == (None, None)
    assert list(stores.resources.history("Client", "acme")) == before


def test_history_shows_every_version_newest_first(stores: Stores) -> None:
    """Row X50: a new registration of a deleted id is another generation, and versions never start again."""
    put_twice(stores)
    stores.resources.delete("Client", "acme", now=3_000)
    stores.resources.put("Client", "acme", {"name": "Other"}, now=4_000)

    assert list(stores.resources.history("Client", "acme")) == [
        replace(FIRST, version_id=4, generation=2, body={"name": "Other"}, created_at=4_000, last_updated=4_000),
        replace(FIRST, version_id=3, body={}, last_updated=3_000, deleted=True),
        SECOND,
        FIRST,
    ]


def test_generation_never_returns_to_a_former_value(stores: Stores) -> None:
    """Row X50."""
    generations = []
    for life in range(3):
        generations.append(stores.resources.put("Client", "acme", {}, now=life).generation)
        stores.resources.delete("Client", "acme", now=life)

    assert generations == [1, 2, 3]


# Pages of history


def history_of_two(stores: Stores) -> None:
    """Store a1 (1,000), b1 and b2 (2,000), a2 (3,000), then delete b (4,000)."""
    stores.resources.put("Client", "a", {"n": 1}, now=1_000)
    stores.resources.put("Client", "b", {"n": 1}, now=2_000)
    stores.resources.put("Client", "b", {"n": 2}, now=2_000)
    stores.resources.put("Client", "a", {"n": 2}, now=3_000)
    stores.resources.delete("Client", "b", now=4_000)
    stores.resources.put("AccessPolicy", "a", {}, now=9_000)


def places(found: Sequence[StoredResource]) -> list[str]:
    return [f"{version.id}{version.version_id}" for version in found]


def test_a_version_is_found_by_its_number(stores: Stores) -> None:
    """Row X14: vread, a deletion too."""
    history_of_two(stores)

    found = [stores.resources.version("Client", "b", number) for number in (1, 2, 3, 4)]

    assert [version and (version.body, version.deleted) for version in found] == [
        ({"n": 1}, False),
        ({"n": 2}, False),
        ({}, True),
        None,
    ]
    assert stores.resources.version("Client", "never", 1) is None


def test_history_of_a_type_is_by_moment_newest_first(stores: Stores) -> None:
    """Row X14: deletions included; versions of one moment by id and number."""
    history_of_two(stores)

    found = stores.resources.versions("Client", limit=100)

    assert places(found) == ["b3", "a2", "b2", "b1", "a1"]
    assert [version.deleted for version in found] == [True, False, False, False, False]


def test_history_of_one_resource_is_by_version(stores: Stores) -> None:
    """Row X14: also where a clock was set back in between."""
    for number, moment in enumerate((5_000, 1_000, 3_000)):
        stores.resources.put("Client", "a", {"n": number}, now=moment)

    assert places(stores.resources.versions("Client", "a", limit=100)) == ["a3", "a2", "a1"]


@pytest.mark.parametrize("resource_id", [None, "b"])
def test_pages_of_history_join_without_gap_or_overlap(stores: Stores, resource_id: str | None) -> None:
    """Row X14: by the place of the last version, and by offset."""
    history_of_two(stores)
    whole = places(stores.resources.versions("Client", resource_id, limit=100))

    pages: list[str] = []
    before = None
    while page := stores.resources.versions("Client", resource_id, limit=1, before=before):
        pages += places(page)
        before = HistoryPosition(page[-1].last_updated, page[-1].id, page[-1].version_id)
    by_offset = [stores.resources.versions("Client", resource_id, limit=2, offset=offset) for offset in (0, 2, 4)]

    assert pages == whole
    assert [place for page in by_offset for place in places(page)] == whole


def test_history_since_a_moment_has_that_moment(stores: Stores) -> None:
    """Row X14, `_since`."""
    history_of_two(stores)

    found = [places(stores.resources.versions("Client", None, limit=9, since=since)) for since in (2_000, 2_001, 9_000)]

    assert found == [["b3", "a2", "b2", "b1"], ["b3", "a2"], []]
    assert places(stores.resources.versions("Client", "b", limit=9, since=2_001)) == ["b3"]


# Creating


def test_only_new_never_replaces(stores: Stores) -> None:
    """Registry rule: POST with an id in use is a conflict; a deleted id is free again."""
    stores.resources.put("Client", "acme", FIRST.body, now=1_000, only_new=True)

    with pytest.raises(AlreadyExists):
        stores.resources.put("Client", "acme", {}, now=2_000, only_new=True)
    kept = list(stores.resources.history("Client", "acme"))
    stores.resources.delete("Client", "acme", now=3_000)

    assert kept == [FIRST]
    assert stores.resources.put("Client", "acme", {}, now=4_000, only_new=True).generation == 2


def test_of_creations_at_once_one_wins(stores: Stores) -> None:
    """Registry rule, by real threads."""

    def create(number: int) -> bool:
        try:
            stores.resources.put("Client", "acme", {"n": number}, now=number, only_new=True)
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(16)))

    assert (sum(won), len(stores.resources.history("Client", "acme"))) == (1, 1)


def test_of_changes_at_once_with_if_match_one_wins(stores: Stores) -> None:
    """Row X13, threat G04: administrators who saw the same version, by real threads."""
    stores.resources.put("Client", "acme", FIRST.body, now=1_000)

    def change(number: int) -> bool:
        try:
            stores.resources.put("Client", "acme", {"n": number}, now=2_000, if_match=1)
        except VersionConflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(change, range(16)))

    current = stores.resources.get("Client", "acme")
    assert current is not None
    assert (sum(won), current.version_id, current.body) == (1, 2, {"n": won.index(True)})


def test_of_changes_at_once_without_if_match_history_shows_all(stores: Stores) -> None:
    """Row X13: none is lost without a trace."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: stores.resources.put("Client", "acme", {"n": n}, now=1_000), range(16)))

    history = list(stores.resources.history("Client", "acme"))
    assert [version.version_id for version in history] == list(range(16, 0, -1))
    assert sorted(version.body["n"] for version in history) == list(range(16))


# Preconditions


def test_if_match_with_the_current_version_is_obeyed(stores: Stores) -> None:
    stores.resources.put("Client", "acme", FIRST.body, now=1_000)

    stored = stores.resources.put("Client", "acme", SECOND.body, now=2_000, if_match=1)

    assert stored == SECOND


@pytest.mark.parametrize("if_match", [1, 3, 0, -1])
def test_if_match_with_another_version_changes_nothing(stores: Stores, if_match: int) -> None:
    """Threat G04: a stale If-Match is 412, for PUT and for DELETE."""
    put_twice(stores)

    with pytest.raises(VersionConflict):
        stores.resources.put("Client", "acme", {}, now=3_000, if_match=if_match)
    with pytest.raises(VersionConflict):
        stores.resources.delete("Client", "acme", now=3_000, if_match=if_match)

    assert list(stores.resources.history("Client", "acme")) == [SECOND, FIRST]


@pytest.mark.parametrize("if_match", [0, 1, 2])
def test_if_match_on_what_is_not_there_is_a_conflict(stores: Stores, if_match: int) -> None:
    """Neither a deleted version nor the one before it, nor version 0, is current."""
    stores.resources.put("Client", "deleted", {}, now=1_000)
    stores.resources.delete("Client", "deleted", now=2_000)

    for resource_id in ("deleted", "never"):
        with pytest.raises(VersionConflict):
            stores.resources.put("Client", resource_id, {}, now=3_000, if_match=if_match)
        with pytest.raises(VersionConflict):
            stores.resources.delete("Client", resource_id, now=3_000, if_match=if_match)

    assert list(stores.resources.current("Client")) == []
    assert list(stores.resources.history("Client", "never")) == []


def test_refused_put_leaves_no_trace_in_the_numbers(stores: Stores) -> None:
    with pytest.raises(VersionConflict):
        stores.resources.put("Client", "acme", {}, now=500, if_match=1)

    assert stores.resources.put("Client", "acme", FIRST.body, now=1_000) == FIRST


def test_delete_with_the_current_version_is_obeyed(stores: Stores) -> None:
    put_twice(stores)

    assert stores.resources.delete("Client", "acme", now=3_000, if_match=2) == SECOND


# Secrets


def test_secret_hash_is_what_get_alone_returns(stores: Stores) -> None:
    """Threat G15: no list, history or answer to a change carries it."""
    stored = stores.resources.put("Client", "acme", FIRST.body, now=1_000, secret_hash="hash-1")
    listed = [*stores.resources.current("Client"), *stores.resources.linked("Client", [""])]
    history = list(stores.resources.history("Client", "acme"))

    assert stores.resources.get("Client", "acme") == replace(FIRST, secret_hash="hash-1")
    assert [stored, *listed, *history] == [FIRST, FIRST, FIRST, FIRST]
    assert stores.resources.delete("Client", "acme", now=2_000) == FIRST


def test_secret_hash_is_kept_by_a_put_without_one_and_replaced_by_a_put_with_one(stores: Stores) -> None:
    hashes = []
    for secret_hash in ("hash-1", None, "hash-2", None):
        stores.resources.put("Client", "acme", {}, now=1_000, secret_hash=secret_hash)
        found = stores.resources.get("Client", "acme")
        hashes.append(found and found.secret_hash)

    assert hashes == ["hash-1", "hash-1", "hash-2", "hash-2"]


def test_new_registration_does_not_inherit_the_secret(stores: Stores) -> None:
    """Row X50."""
    stores.resources.put("Client", "acme", {}, now=1_000, secret_hash="hash-1")
    stores.resources.delete("Client", "acme", now=2_000)

    stores.resources.put("Client", "acme", {}, now=3_000)

    found = stores.resources.get("Client", "acme")
    assert found is not None
    assert found.secret_hash is None


def test_secret_hash_does_not_show_in_a_repr(stores: Stores) -> None:
    stores.resources.put("Client", "acme", {}, now=1_000, secret_hash="hash-1")

    assert "hash-1" not in repr(stores.resources.get("Client", "acme"))


# Token generations


def token_generation(stores: Stores, resource_id: str = "acme") -> int | None:
    found = stores.resources.get("Client", resource_id)
    return None if found is None else found.token_generation


def test_revoking_tokens_counts_on_and_leaves_the_resource_as_it_is(stores: Stores) -> None:
    """Row X46: one write; version, body, secret and links stay."""
    stores.resources.put("Client", "acme", FIRST.body, now=1_000, secret_hash="h", links=("a",))
    stores.resources.put("Client", "other", {}, now=1_000)

    counts = [stores.resources.revoke_tokens("Client", "acme") for _ in range(2)]

    assert (counts, token_generation(stores), token_generation(stores, "other")) == ([2, 3], 3, 1)
    assert stores.resources.get("Client", "acme") == replace(FIRST, secret_hash="h")
    assert list(stores.resources.history("Client", "acme")) == [FIRST]
    assert [found.token_generation for found in stores.resources.linked("Client", ["a"])] == [3]
    assert [found.token_generation for found in stores.resources.current("Client")] == [3, 1]


def test_tokens_are_revoked_with_a_put_on_request(stores: Stores) -> None:
    """Threat C14: in the same transaction; a refused PUT revokes nothing."""
    put_twice(stores)
    kept = token_generation(stores)
    stored = stores.resources.put("Client", "acme", {}, now=3_000, revoke_tokens=True)
    with pytest.raises(VersionConflict):
        stores.resources.put("Client", "acme", {}, now=3_000, if_match=1, revoke_tokens=True)

    assert (kept, stored.token_generation, token_generation(stores)) == (1, 2, 2)


def test_token_generation_never_returns_to_a_former_value(stores: Stores) -> None:
    """Rows X46 and X50: a new registration starts beyond every generation that a token ever carried."""
    seen = []
    for life in range(3):
        stores.resources.put("Client", "acme", {}, now=life, revoke_tokens=life == 1)
        seen.append(token_generation(stores))
        seen.append(stores.resources.revoke_tokens("Client", "acme"))
        stores.resources.delete("Client", "acme", now=life)

    assert seen == [1, 2, 3, 4, 5, 6]


def test_there_are_no_tokens_of_what_is_not_there(stores: Stores) -> None:
    stores.resources.put("Client", "gone", {}, now=1)
    stores.resources.delete("Client", "gone", now=2)

    assert [stores.resources.revoke_tokens("Client", name) for name in ("gone", "never")] == [None, None]
    assert list(stores.resources.history("Client", "never")) == []


def test_revocations_at_once_are_all_counted(stores: Stores) -> None:
    """Row X46: one statement, so no two give the same generation."""
    stores.resources.put("Client", "acme", {}, now=1)

    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: stores.resources.revoke_tokens("Client", "acme"), range(40)))

    assert sorted(counts, key=str) == sorted(range(2, 42), key=str)


def test_no_revocation_is_lost_beside_changes(stores: Stores) -> None:
    """Threat C14: a PUT at the same time neither takes a revocation back nor counts one twice."""
    stores.resources.put("Client", "acme", {}, now=1)

    def change(number: int) -> object:
        if number % 2:
            return stores.resources.revoke_tokens("Client", "acme")
        return stores.resources.put("Client", "acme", {"n": number}, now=number + 2)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, range(40)))

    found = stores.resources.get("Client", "acme")
    assert found is not None
    assert (found.version_id, found.token_generation) == (21, 21)


# Links


def ids_linked(stores: Stores, *links: str) -> list[str]:
    return [found.id for found in stores.resources.linked("AccessPolicy", links)]


def test_linked_finds_what_was_filed_under_any_link(stores: Stores) -> None:
    stores.resources.put("AccessPolicy", "p3", {}, now=1, links=("Client/a", "Client/b", "Client/a"))
    stores.resources.put("AccessPolicy", "p2", {}, now=1)
    stores.resources.put("AccessPolicy", "p1", {}, now=1, links=("Client/b",))
    stores.resources.put("AccessPolicy", "p0", {}, now=1, links=())
    stores.resources.put("Other", "p9", {}, now=1, links=("Client/a",))

    found = [ids_linked(stores, *links) for links in [("Client/a",), ("Client/b",), ("",), ("Client/c",), ()]]

    assert found == [["p3"], ["p1", "p3"], ["p2"], [], []]
    assert ids_linked(stores, "Client/a", "Client/b", "") == ["p1", "p2", "p3"]


def test_put_replaces_the_links(stores: Stores) -> None:
    stores.resources.put("AccessPolicy", "p", {}, now=1, links=("Client/a",))

    stores.resources.put("AccessPolicy", "p", {}, now=2, links=("Client/b",))

    assert [ids_linked(stores, "Client/a"), ids_linked(stores, "Client/b")] == [[], ["p"]]


def test_deleted_resource_is_filed_nowhere(stores: Stores) -> None:
    stores.resources.put("AccessPolicy", "p", {}, now=1, links=("Client/a",))
    stores.resources.delete("AccessPolicy", "p", now=2)
    stores.resources.put("AccessPolicy", "p", {}, now=3, links=("Client/b",))

    assert [ids_linked(stores, "Client/a"), ids_linked(stores, "Client/b")] == [[], ["p"]]


# Used jtis


def test_replayed_jti_is_refused(stores: Stores) -> None:
    """Threats B07, B10: the second claim of the same jti is False, on every database."""
    claims = [stores.replay_guard.claim("acme", "j1", until=100) for _ in range(3)]

    assert claims == [True, False, False]


def test_jti_belongs_to_its_client(stores: Stores) -> None:
    """Threats B11, B12: one client cannot spend another's jti."""
    claims = [
        stores.replay_guard.claim(client_id, jti, until=100)
        for client_id, jti in [("acme", "j1"), ("acm", "ej1"), ("", "acmej1"), ("other", "j1"), ("acme", "j2")]
    ]

    assert claims == [True] * 5


@pytest.mark.parametrize("jti", ["", "\x00", "\ud800", "日本" * 2_000, "' OR 1=1 --"])
def test_any_text_is_a_jti(stores: Stores, jti: str) -> None:
    claims = [stores.replay_guard.claim("acme", jti, until=100) for _ in range(2)]

    assert claims == [True, False]


def test_purge_forgets_what_can_no_longer_be_accepted(stores: Stores) -> None:
    for until in (98, 99, 100, 101):
        stores.replay_guard.claim("acme", f"j{until}", until=until)

    forgotten = stores.replay_guard.purge(before=100)

    claimed_anew = [until for until in (98, 99, 100, 101) if stores.replay_guard.claim("acme", f"j{until}", until=200)]
    assert (forgotten, claimed_anew) == (2, [98, 99])


def test_a_jti_that_may_be_forgotten_is_never_taken_for_new(stores: Stores) -> None:
    """B14: the clock is set back after a purge; what ends before the purge's moment cannot be told from a replay."""
    stores.replay_guard.claim("acme", "used", until=99)
    stores.replay_guard.purge(before=100)
    stores.replay_guard.purge(before=50)  # by a clock that was set back: the mark does not fall

    later = stores.replay_guard.claim("acme", "later", until=100)
    with pytest.raises(StorageUnavailable) as refused:
        stores.replay_guard.claim("acme", "used", until=99)

    assert (later, refused.value.reason) == (True, "clock_set_back")


def test_a_revocation_that_may_be_forgotten_still_holds(stores: Stores) -> None:
    """B14: the token would be current again for a clock that was set back."""
    stores.revocations.revoke("t1", until=99)
    stores.revocations.purge(before=100)

    assert stores.revocations.is_revoked("t1", expires_at=99) is True
    assert stores.revocations.is_revoked("t2", expires_at=100) is False


def test_purge_forgets_more_than_one_batch(sql_stores: SqlStores) -> None:
    for number in range(BATCH + 1):
        sql_stores.replay_guard.claim("acme", f"j{number}", until=99)
    sql_stores.replay_guard.claim("acme", "kept", until=100)

    assert [sql_stores.replay_guard.purge(before=100) for _ in range(2)] == [BATCH + 1, 0]


# Revoked tokens


def test_revoked_token_is_revoked_and_no_other(stores: Stores) -> None:
    stores.revocations.revoke("t1", until=100)

    assert [stores.revocations.is_revoked(jti, expires_at=FAR) for jti in ("t1", "t2", "T1", "")] == [
        True,
        False,
        False,
        False,
    ]


def test_revoking_twice_is_as_once(stores: Stores) -> None:
    stores.revocations.revoke("t1", until=100)
    stores.revocations.revoke("t1", until=100)

    assert [stores.revocations.purge(before=101), stores.revocations.is_revoked("t1", expires_at=FAR)] == [1, False]


def test_revocation_lasts_as_long_as_the_token(stores: Stores) -> None:
    """The row of a token that may still be used is never purged."""
    stores.revocations.revoke("t1", until=99)
    stores.revocations.revoke("t2", until=100)

    forgotten = stores.revocations.purge(before=100)

    assert [
        forgotten,
        stores.revocations.is_revoked("t1", expires_at=FAR),
        stores.revocations.is_revoked("t2", expires_at=FAR),
    ] == [1, False, True]


def test_ping_answers(stores: Stores) -> None:
    assert stores.ping() is None


# The key of a used jti


def test_key_is_sixteen_bytes_and_the_same_forever() -> None:
    """A change of the key would let every assertion in flight be used once more."""
    assert used_jti_key("acme", "j1").hex() == "8a61ca9c2495e4f3754b1aba4321250a"


def test_key_is_unambiguous() -> None:
    """Threat B11: no two pairs are encoded alike, wherever the boundary lies, or whatever looks like a length."""
    pairs = [
        ("a", "bc"),
        ("ab", "c"),
        ("abc", ""),
        ("", "abc"),
        ("a", "b" + "\x00" * 7 + "\x01c"),
        ("\ud800", ""),
        ("", "\ud800"),
    ]

    assert len({used_jti_key(client_id, jti) for client_id, jti in pairs}) == len(pairs)


# Durability and failure


def test_what_was_stored_is_there_after_reopening(database_url: str) -> None:
    """Threat B09: a replay after a restart is refused."""
    for expected in (True, False):
        engine = open_engine(database_url)
        upgrade(engine)
        stores = SqlStores(engine)
        claimed = stores.replay_guard.claim("acme", "j1", until=100)
        stores.revocations.revoke("t1", until=100)
        stores.close()

        assert claimed is expected


def test_crash_of_the_database_loses_no_claim_and_heals() -> None:
    """Threats B09, B13: killed and started again, the database still knows the jti; the pool reconnects by itself."""
    cluster = PostgresCluster()
    try:
        engine = open_engine(cluster.create_database())
        upgrade(engine)
        stores = SqlStores(engine)
        first = stores.replay_guard.claim("acme", "j1", until=100)
        cluster.restart()

        again = stores.replay_guard.claim("acme", "j1", until=100)
        stores.close()
    finally:
        cluster.stop()

    assert (first, again) == (True, False)


def test_missing_tables_are_storage_unavailable(database_url: str) -> None:
    """Threat B13: what the database cannot do is 503, never a yes."""
    stores = SqlStores(open_engine(database_url))

    for use in (
        lambda: stores.replay_guard.claim("acme", "j1", until=100),
        lambda: stores.replay_guard.purge(before=100),
        lambda: stores.revocations.revoke("t1", until=100),
        lambda: stores.revocations.is_revoked("t1", expires_at=FAR),
        lambda: stores.resources.get("Client", "acme"),
        lambda: stores.resources.put("Client", "acme", {}, now=1),
        lambda: stores.resources.delete("Client", "acme", now=1),
    ):
        with pytest.raises(StorageUnavailable):
            use()
    stores.close()


@pytest.mark.parametrize(
    "url", ["sqlite:////nowhere/at/all/registry.db", "postgresql://postgres:hunter2@/test?host=/nowhere"]
)
def test_unreachable_database_is_storage_unavailable(url: str) -> None:
    """Threat B13; and the password of the URL is in no message."""
    with pytest.raises(StorageUnavailable) as caught:
        SqlStores(open_engine(url)).ping()

    assert caught.value.detail
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://root@localhost/x", "nonsense", ""])
def test_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(DatabaseUrlError):
        open_engine(url)


def test_detail_of_an_error_shows_no_value(sql_stores: SqlStores) -> None:
    """Threat G16: neither parameters nor rows reach the log with a database's error."""
    with pytest.raises(StorageUnavailable) as caught:
        sql_stores.revocations.revoke("canary", until=2**70)

    assert caught.value.detail
    for error in (caught.value, caught.value.__cause__):
        assert "canary" not in str(error)
        assert str(2**70) not in str(error)


def test_sqlite_files_are_their_owners_alone(tmp_path: Path) -> None:
    """Threat G16, with the write-ahead log and its index beside the file."""
    engine = open_engine(f"sqlite:///{tmp_path}/registry.db")
    upgrade(engine)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    engine.dispose()

    assert modes == {"registry.db": 0o600, "registry.db-wal": 0o600, "registry.db-shm": 0o600}


def test_sqlite_survives_power_loss_by_its_settings(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/registry.db")
    with engine.connect() as connection:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "fullfsync")
        settings = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}
    engine.dispose()

    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 5_000,
        "fullfsync": 1,
    }
