"""Scopes: the grammar, what is granted of what is asked, and that nothing is ever granted beside either side.

Rows A10, A16, X3, X10 to X12; threats E08 and E09. The cases are in tests/vectors/scopes.json.
"""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authserver.errors import InvalidScope
from authserver.protocol import scopes
from authserver.protocol.registered_scopes import unknown_types
from authserver.protocol.resource_types import ADMINISTRATIVE_TYPES, KNOWN_TYPES
from authserver.protocol.scopes import Scope, ScopeSet
from tests.builders import vectors
from tests.protocol.forgery import resolved

TYPES = frozenset({"Patient", "Observation", "Condition", "Goal"})
NARROW = frozenset({"Patient", "Observation"})


def answer(requested: str, registered: list[str], wildcard: frozenset[str] | None = TYPES) -> str:
    """Return the granted scope string of a request."""
    asked, held = scopes.parse_set(requested), scopes.collect(registered)
    return str(scopes.grant(asked, held, wildcard_types=wildcard))


def wildcard_of(case: dict[str, Any]) -> frozenset[str] | None:
    """Return what the wildcard stands for in a case; null keeps it."""
    types = case.get("wildcard", TYPES)
    return None if types is None else frozenset(types)


@pytest.mark.parametrize("case", vectors("scopes", lambda case: "granted" in case))
def test_what_is_asked_and_registered_is_granted(case: dict[str, Any]) -> None:
    granted = answer(resolved(case["requested"]), case["registered"], wildcard_of(case))

    assert granted == resolved(case["granted"])


@pytest.mark.parametrize("case", vectors("scopes", lambda case: case.get("reason") == "nothing_granted"))
def test_what_is_not_registered_is_not_granted(case: dict[str, Any]) -> None:
    granted = answer(case["requested"], case["registered"], wildcard_of(case))
    beside = answer("system/Patient.rs", ["system/Patient.rs"], wildcard_of(case))

    assert (granted, beside) == ("", "system/Patient.rs")


@pytest.mark.parametrize("case", vectors("scopes", lambda case: case.get("reason") not in (None, "nothing_granted")))
def test_a_malformed_request_is_refused_as_a_whole(case: dict[str, Any]) -> None:
    text = resolved(case["requested"])

    with pytest.raises(InvalidScope) as refused:
        scopes.parse_set(text)
    # A good scope beside it saves nothing.
    with pytest.raises(InvalidScope):
        scopes.parse_set(f"system/Patient.rs {text}")

    assert refused.value.reason == case["reason"]


@pytest.mark.parametrize("case", vectors("scopes", lambda case: "beside" in case))
def test_a_malformed_scope_in_a_token_grants_nothing(case: dict[str, Any]) -> None:
    text = f"system/Goal.c {case['requested']}"

    permitted = scopes.permitted(scopes.parse_granted(text), "Goal", "c")

    assert permitted == (frozenset(),)
    # Whatever such a token opens is what a scope of its own, spelled well, says.
    well_spelled = {"system/Goal.rs", "system/Patient.rs"} & set(text.split(" "))
    assert {str(scope) for scope in scopes.parse_granted(text)} == {"system/Goal.c", *well_spelled}


def test_a_scope_is_read_by_its_meaning() -> None:
    read = scopes.parse("system/Observation.rs?category=laboratory&code=a%20b")

    parameters = frozenset({("category", "laboratory"), ("code", "a b")})
    assert read == Scope("system", "Observation", "rs", parameters)


def test_permissions_are_the_parameters_of_each_scope_that_grants_the_letter() -> None:
    granted = scopes.parse_granted("system/Observation.rs?status=final system/*.s user/Observation.r nonsense")

    asked = [("Observation", "r"), ("Observation", "s"), ("Goal", "s"), ("Goal", "r"), ("Client", "s")]
    final: frozenset[tuple[str, str]] = frozenset({("status", "final")})
    assert [scopes.permitted(granted, *one) for one in asked] == [
        (final,),
        (final, frozenset()),
        (frozenset(),),
        (),
        (),
    ]


@pytest.mark.parametrize(
    ("requested", "granted", "expected"),
    [
        ("system/Patient.*", "system/Patient.read system/Patient.write", True),
        ("system/*.rs", "system/*.rs", True),
        ("system/*.rs", "system/Patient.rs system/Observation.rs", True),
        ("system/*.rs", "system/Patient.rs", False),
        ("system/Patient.rs", "system/Patient.r", False),
        ("system/Patient.rs", "system/Patient.rs?_id=1", False),
        ("system/Patient.rs?_id=1", "system/Patient.rs", True),
        ("system/Patient.rs patient/Patient.rs", "system/Patient.rs", False),
        ("system/Patient.rs openid", "system/Patient.rs", False),
        ("system/Patient.rs __introspect", "__introspect system/Patient.rs", True),
    ],
)
def test_a_request_is_within_a_grant_letter_by_letter(requested: str, granted: str, expected: bool) -> None:
    """Row X11: what the strict switch asks."""
    judged = scopes.within(scopes.parse_set(requested), scopes.parse_set(granted), wildcard_types=NARROW)

    assert judged is expected


def test_unknown_types_are_named() -> None:
    read = scopes.collect(["system/Nothing.rs", "system/Patient.rs", "system/*.rs", "system/Client.r", "system/Anew.r"])

    assert unknown_types(read) == ["Anew", "Nothing"]


def test_an_empty_set_is_false_and_the_empty_string() -> None:
    sets = [ScopeSet(), ScopeSet(names=frozenset({"openid"})), scopes.parse_set("system/Patient.r")]

    assert [(bool(one), str(one)) for one in sets] == [(False, ""), (True, "openid"), (True, "system/Patient.r")]


def test_the_worst_request_is_answered_quickly() -> None:
    """A client can ask for 32 filters on every type; the answer must not grow with their square over all types."""
    worst = " ".join(f"system/*.r?_id={number}" for number in range(32))
    registered = scopes.collect(["system/*.read", "system/*.write"])

    started = time.process_time()
    granted = scopes.grant(scopes.parse_set(worst), registered, wildcard_types=frozenset(KNOWN_TYPES))

    assert time.process_time() - started < 5
    assert len(granted.resources) == 32 * len(KNOWN_TYPES - ADMINISTRATIVE_TYPES)


_LETTERS = ["".join(x for place, x in enumerate("cruds") if number >> place & 1) for number in range(1, 32)]
_types = st.sampled_from([*sorted(TYPES), "*", "Client"])
_filters = st.sampled_from(["", "?_id=1", "?_tag=a", "?_id=1&_tag=a", "?_tag=a&_id=1", "?_id=%31", "?_id=1,2"])
_v1 = st.builds("system/{}.{}".format, _types, st.sampled_from(["read", "write", "*"]))
_v2 = st.builds("system/{}.{}{}".format, _types, st.sampled_from(_LETTERS), _filters)
_foreign = st.sampled_from(["patient/Patient.rs", "user/*.cruds", "openid", "__introspect", "launch/patient"])
_tokens = st.lists(st.one_of(_v1, _v2, _foreign), min_size=1, max_size=6)
_wildcards = st.sampled_from([None, TYPES, NARROW])


def powers(held: ScopeSet) -> set[tuple[str, str, frozenset[tuple[str, str]]]]:
    """Return every single permission by another route than the code: type, letter, filter; the wildcard spelled out."""
    opened = TYPES | {"*"}
    return {
        (resource_type, letter, scope.parameters)
        for scope in held.resources
        if scope.context == "system"
        for resource_type in (opened if scope.resource_type == "*" else {scope.resource_type})
        for letter in scope.interactions
    }


def opens(wide: ScopeSet, narrow: ScopeSet) -> bool:
    """Say whether every permission of `narrow` is one of `wide`, or a narrower one."""
    held = powers(wide)
    return all(any(r == t and x == y and p <= q for r, x, p in held) for t, y, q in powers(narrow))


@settings(max_examples=200, deadline=None)
@given(_tokens, _tokens, _wildcards)
def test_a_grant_is_never_outside_either_side(
    asked: list[str], held: list[str], wildcard: frozenset[str] | None
) -> None:
    """Threat E09."""
    requested, registered = scopes.collect(asked), scopes.collect(held)

    granted = scopes.grant(requested, registered, wildcard_types=wildcard)

    assert opens(requested, granted)
    assert opens(registered, granted)
    assert granted.names <= requested.names & registered.names


@settings(max_examples=150, deadline=None)
@given(_tokens, _tokens, _wildcards)
def test_a_grant_leaves_out_nothing_that_both_sides_have(
    asked: list[str], held: list[str], wildcard: frozenset[str] | None
) -> None:
    requested, registered = scopes.collect(asked), scopes.collect(held)
    types = TYPES if wildcard is None else wildcard

    granted = scopes.grant(requested, registered, wildcard_types=wildcard)

    common = {(t, x, p | q) for t, x, p in powers(requested) for r, y, q in powers(registered) if (t, x) == (r, y)}
    expected = {power for power in common if power[0] in types | {"Client"}}
    kept = powers(granted)
    assert all(any((t, x) == (r, y) and p <= q for r, y, p in kept) for t, x, q in expected)


@settings(max_examples=100, deadline=None)
@given(_tokens, _wildcards, st.randoms(use_true_random=False))
def test_order_and_duplicates_do_not_matter(tokens: list[str], wildcard: frozenset[str] | None, random: Any) -> None:
    """Row A10."""
    shuffled = [*tokens, *tokens[:2]]
    random.shuffle(shuffled)
    registered = ["system/*.cruds", "system/Client.r", "__introspect"]

    assert answer(" ".join(shuffled), registered, wildcard) == answer(" ".join(tokens), registered, wildcard)
    assert answer("system/*.rs", shuffled, wildcard) == answer("system/*.rs", tokens, wildcard)


@settings(max_examples=100, deadline=None)
@given(_types, _tokens)
def test_read_means_rs(resource_type: str, held: list[str]) -> None:
    registered = scopes.collect(held)
    asked = [scopes.collect([f"system/{resource_type}.{word}"]) for word in ("read", "rs")]

    by_word, by_letters = (scopes.grant(one, registered, wildcard_types=TYPES) for one in asked)

    assert powers(by_word) == powers(by_letters)


@settings(max_examples=150, deadline=None)
@given(_tokens)
def test_the_canonical_string_reads_back_to_the_same_meaning(tokens: list[str]) -> None:
    read = scopes.collect(tokens)

    again = scopes.collect(str(read).split(" "))

    assert sorted(str(scope) for scope in again.resources) == sorted(str(scope) for scope in read.resources)
    assert {scope.meaning for scope in again.resources} == {scope.meaning for scope in read.resources}
    assert again.names == read.names


@settings(max_examples=150, deadline=None)
@given(_tokens, _wildcards)
def test_a_client_that_asks_for_all_it_has_gets_it(tokens: list[str], wildcard: frozenset[str] | None) -> None:
    held = scopes.collect([token for token in tokens if token.startswith("system/")] or ["system/Goal.r"])

    granted = scopes.grant(held, held, wildcard_types=wildcard)

    assert scopes.within(held, granted, wildcard_types=wildcard)
    assert scopes.grant(granted, granted, wildcard_types=wildcard) == granted


def strength(held: ScopeSet) -> list[tuple[str, str, frozenset[tuple[str, str]]]]:
    """Return every permission that the scopes spell, with repetitions and without reading the wildcard."""
    return [(s.resource_type, letter, s.parameters) for s in held.resources for letter in s.interactions]


@settings(max_examples=200, deadline=None)
@given(_tokens, _tokens, _wildcards)
def test_a_grant_says_nothing_twice(asked: list[str], held: list[str], wildcard: frozenset[str] | None) -> None:
    """Requirement @131: the answer is in the shortest form, so no permission follows from another."""
    granted = scopes.grant(scopes.collect(asked), scopes.collect(held), wildcard_types=wildcard)

    said = strength(granted)
    follows = [
        (one, other)
        for one in said
        for other in said
        if one is not other and one[1] == other[1] and one[2] <= other[2]
        if one[0] == other[0] or (one[0] == "*" and other[0] not in ADMINISTRATIVE_TYPES)
    ]
    groups = [(scope.resource_type, scope.parameters) for scope in granted.resources]
    assert follows == []
    assert len(groups) == len(set(groups))


@settings(max_examples=100, deadline=None)
@given(_types, st.sampled_from(_LETTERS), _filters, _tokens, _wildcards)
def test_letters_together_or_apart_mean_the_same(
    resource_type: str, letters: str, query: str, held: list[str], wildcard: frozenset[str] | None
) -> None:
    """Requirement @131: `.rs` is `.r` and `.s`, asked or registered."""
    together = f"system/{resource_type}.{letters}{query}"
    apart = [f"system/{resource_type}.{letter}{query}" for letter in letters]

    assert answer(together, held, wildcard) == answer(" ".join(apart), held, wildcard)
    assert answer("system/*.cruds", [together], wildcard) == answer("system/*.cruds", apart, wildcard)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40) | st.builds("system/{}".format, st.text(max_size=30)))
def test_text_is_a_scope_string_or_invalid_scope(text: str) -> None:
    """Threat E08: malformed never widens, and is never anything but InvalidScope."""
    try:
        read = scopes.parse_set(text)
    except InvalidScope:
        return

    assert str(scopes.collect(str(read).split(" "))) == str(read)


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=20))
def test_any_value_of_a_filter_survives_the_canonical_string(value: str) -> None:
    encoded = str(Scope("system", "Condition", "r", frozenset({("code", value.encode("utf-8", "replace").decode())})))

    assert scopes.parse(encoded).parameters == {("code", value.encode("utf-8", "replace").decode())}
