"""What a check of the chain finds, and by what: hashes, the head, signed checkpoints, exported anchors. Row X55."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from authserver.protocol import audit_chain
from authserver.protocol.audit_chain import Anchors, Broken, Checkpoint, Head, Link, Verified
from tests.builders import NOW


def chain(length: int = 5, *, at: int = NOW) -> list[Link]:
    """Return a good chain of records, one each second from `at` on."""
    links: list[Link] = []
    head = Head()
    for number in range(1, length + 1):
        said = {"event": "token_issued", "at": (at + number) * 10**6, "outcome": 0, "agent": f"client-{number}"}
        links.append(linked(head, json.dumps({**said, "entity": None, "tenant": None}).encode()))
        head = Head(number, links[-1].hash)
    return links


def linked(head: Head, body: bytes) -> Link:
    """Return the record with this body behind this head."""
    columns = audit_chain.columns(body)
    assert columns is not None
    number = head.sequence + 1
    return Link(number, head.hash, audit_chain.link(head.hash, number, body), body, columns)


def head_of(links: Sequence[Link], *, pruned: Head | None = None) -> Head:
    """Return the head of these records."""
    begins = pruned or Head()
    return Head(links[-1].sequence, links[-1].hash, begins.sequence, begins.hash)


def rewritten(links: Sequence[Link]) -> list[Link]:
    """Return these records as somebody writes them who computes every hash and number anew."""
    head, made = Head(), list[Link]()
    for link in links:
        made.append(linked(head, link.body))
        head = Head(made[-1].sequence, made[-1].hash)
    return made


def edited(link: Link) -> Link:
    """Return the record with another body, filed under what that says."""
    body = link.body.replace(b"client-", b"nobody-")
    columns = audit_chain.columns(body)
    assert columns is not None
    return replace(link, body=body, columns=columns)


def check(head: Head, links: Sequence[Link], anchors: Anchors | None = None, *, now: int = NOW) -> Verified:
    """Check a chain."""
    return audit_chain.verify(head, links, anchors or Anchors(), now=now)


def broken(head: Head, links: Sequence[Link], anchors: Anchors | None = None, *, now: int = NOW) -> tuple[int, str]:
    """Return the first bad record of a chain, and what is wrong with it."""
    with pytest.raises(Broken) as caught:
        check(head, links, anchors, now=now)
    return caught.value.sequence, caught.value.problem


def test_a_good_chain_is_good() -> None:
    links = chain()

    assert check(head_of(links), links) == Verified(1, 5, 0)


def test_an_empty_chain_is_good() -> None:
    assert check(Head(), []) == Verified(1, 0, 0)


def test_an_edited_record_is_found() -> None:
    links = chain()
    links[2] = edited(links[2])

    assert broken(head_of(links), links) == (3, "was changed: its hash is another")


def test_an_edited_record_with_a_new_hash_is_found_at_the_next() -> None:
    links = chain()
    links[2] = linked(Head(2, links[1].hash), edited(links[2]).body)

    assert broken(head_of(links), links) == (4, "does not follow the record before it")


@pytest.mark.parametrize(
    "column",
    [
        {"agent": "other"},
        {"at": 1},
        {"event": "key_retired"},
        {"outcome": 8},
        {"tenant": "b"},
        {"entity": "x"},
        {"jti": "x"},
    ],
)
def test_a_record_filed_under_other_values_is_found(column: dict[str, object]) -> None:
    """What a search goes by is what the record says."""
    links = chain()
    names = ("event", "at", "outcome", "agent", "entity", "tenant", "jti")
    said = dict(zip(names, links[2].columns, strict=True)) | column
    links[2] = replace(links[2], columns=tuple(said.values()))  # type: ignore[arg-type] # one changed

    assert broken(head_of(links), links) == (3, "is filed under other values than those that it says")


def test_a_record_whose_jti_a_former_server_did_not_file_is_good() -> None:
    """It ran on while the database was upgraded; the record itself says the jti."""
    links = chain()
    body = json.dumps({**json.loads(links[2].body), "facts": {"jti": "1.a"}}).encode()
    links = rewritten([*links[:2], replace(links[2], body=body)])
    good = check(head_of(links), links)
    links[2] = replace(links[2], columns=(*links[2].columns[:-1], None))

    assert check(head_of(links), links) == good


@pytest.mark.parametrize("body", [b"", b"[]", b"no json", b'{"at":1,"at":2}'])
def test_a_body_that_is_no_record_is_found(body: bytes) -> None:
    """Though its hash be right."""
    good = chain(2)
    number, before = 3, good[1].hash
    bad = Link(number, before, audit_chain.link(before, number, body), body, ("token_issued", 1, 0, None, None, None))

    assert broken(Head(3, bad.hash), [*good, bad])[0] == 3


def test_a_removed_record_is_found() -> None:
    links = chain()
    del links[2]

    assert broken(head_of(links), links) == (3, "is missing; record 4 follows")


def test_a_removed_beginning_is_found() -> None:
    links = chain()[2:]

    assert broken(head_of(links), links) == (1, "is missing; record 3 follows")


def test_reordered_records_are_found() -> None:
    links = chain()
    one, two = links[1], links[2]
    links[1], links[2] = replace(two, sequence=2), replace(one, sequence=3)

    assert broken(head_of(links), links) == (2, "does not follow the record before it")


def test_records_in_another_order_are_found() -> None:
    links = chain()
    links[1], links[2] = links[2], links[1]

    assert broken(head_of(chain()), links) == (2, "is missing; record 3 follows")


def test_a_truncated_chain_is_found_by_its_head() -> None:
    links = chain()

    assert broken(head_of(links), links[:3]) == (4, "is missing: the chain went on to record 5")


def test_a_head_that_is_another_records_is_found() -> None:
    links = chain()

    assert broken(replace(head_of(links), hash=links[0].hash), links)[0] == 5
    assert broken(Head(2, links[1].hash), links)[0] == 5


def test_a_chain_truncated_together_with_its_head_is_found_by_the_checkpoint() -> None:
    links = chain()
    signed = Anchors(Checkpoint(NOW, head_of(links)))

    assert broken(head_of(links[:3]), links[:3], signed) == (4, "is missing: the chain went on to record 5")


def test_a_chain_written_anew_is_found_by_the_checkpoint() -> None:
    """Who computes every hash anew cannot sign."""
    links = chain()
    signed = Anchors(Checkpoint(NOW, head_of(links[:4])))
    forged = rewritten([links[0], edited(links[1]), *links[2:]])

    assert check(head_of(forged), forged) == Verified(1, 5, 0)
    assert broken(head_of(forged), forged, signed) == (4, "is not the record that a checkpoint was made of")


def test_a_chain_rolled_back_with_its_checkpoints_is_found_by_an_exported_anchor() -> None:
    """What the database had earlier is good by itself; the log knows that there was more."""
    links = chain()
    earlier = Anchors(Checkpoint(NOW, head_of(links[:2])))

    assert check(head_of(links[:2]), links[:2], earlier) == Verified(1, 2, 2)
    exported = replace(earlier, exported={4: links[3].hash})
    assert broken(head_of(links[:2]), links[:2], exported) == (3, "is missing: the chain went on to record 4")


def test_a_pruned_chain_is_good_by_the_checkpoint_that_says_so() -> None:
    links = chain()
    pruned = head_of(links, pruned=Head(2, links[1].hash))

    assert check(pruned, links[2:], Anchors(Checkpoint(NOW, pruned))) == Verified(3, 5, 5)


def test_pruning_under_way_is_good() -> None:
    """The checkpoint is signed before the first record goes."""
    links = chain()
    planned = Anchors(Checkpoint(NOW, head_of(links, pruned=Head(3, links[2].hash))))

    assert check(head_of(links), links, planned) == Verified(1, 5, 5)
    assert check(head_of(links, pruned=Head(1, links[0].hash)), links[1:], planned) == Verified(2, 5, 5)


def test_a_beginning_cut_off_as_if_it_were_pruned_is_found() -> None:
    links = chain()
    signed = Anchors(Checkpoint(NOW, head_of(links, pruned=Head(1, links[0].hash))))
    forged = head_of(links, pruned=Head(3, links[2].hash))

    expected = (2, "was removed, and no signed checkpoint says that it was pruned")
    assert broken(forged, links[3:], signed) == expected
    assert broken(forged, links[3:]) == (1, expected[1])


def test_a_beginning_that_is_another_than_the_pruned_one_is_found() -> None:
    links, others = chain(), rewritten([edited(link) for link in chain()])
    signed = Anchors(Checkpoint(NOW, head_of(links[:2], pruned=Head(2, links[1].hash))))

    forged = head_of(others, pruned=Head(2, others[1].hash))
    assert broken(forged, others[2:], signed)[0] == 3
    assert broken(replace(head_of(links), pruned_hash=links[0].hash), links)[0] == 1


@pytest.mark.parametrize(("age", "good"), [(3_600, True), (3_601, False)])
def test_old_records_must_be_covered_by_a_signed_checkpoint(age: int, good: bool) -> None:
    """Else who removes the checkpoints could write the chain anew."""
    links = chain()
    covered = Anchors(Checkpoint(NOW, head_of(links)))
    now = NOW + 1 + age

    assert check(head_of(links), links, covered, now=now) == Verified(1, 5, 5)
    if good:
        assert check(head_of(links), links, now=now) == Verified(1, 5, 0)
    else:
        expected = (1, "is older than an hour and no signed checkpoint covers it")
        assert broken(head_of(links), links, now=now) == expected


def test_a_checkpoint_is_read_as_it_was_signed() -> None:
    links = chain()
    made = Checkpoint(NOW, head_of(links, pruned=Head(2, links[1].hash)))

    assert Checkpoint.of(made.claims()) == made


def test_the_hash_is_over_label_number_former_hash_and_bytes() -> None:
    """The encoding is fixed: a chain of this version is checked by every later one."""
    digest = audit_chain.link(bytes(32), 1, b"{}").hex()

    assert digest == "2caeda947699d9494c6fda0c6e2df5972497c39dcdbb42233b5564a57270934c"
