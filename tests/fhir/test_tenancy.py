"""Who stands above whom, and what that lets a letter reach. Row X24."""

from typing import Any

import pytest
from pydantic import ValidationError

from authserver.fhir.constraint import Constraint
from authserver.fhir.search.ast import TokenCriterion, TokenValue
from authserver.fhir.settings import FhirSettings
from authserver.fhir.tenancy import TenantHierarchy, TenantView, parent_names

PARENTS = {"clinic-b": "region", "clinic-a": "region", "ward": "clinic-a", "region": "state"}


@pytest.fixture
def hierarchy() -> TenantHierarchy:
    """A state, a region in it with two clinics, and a ward in one of these."""
    return TenantHierarchy.of(PARENTS, tag_system="urn:tenant")


def test_relatives_are_listed_nearest_first_then_by_name(hierarchy: TenantHierarchy) -> None:
    assert [hierarchy.above(name) for name in ("ward", "state", "stranger")] == [
        ("clinic-a", "region", "state"),
        (),
        (),
    ]
    assert [hierarchy.below(name) for name in ("state", "clinic-b", "stranger")] == [
        ("region", "clinic-a", "clinic-b", "ward"),
        (),
        (),
    ]


def test_what_is_shared_has_the_reserved_tag(hierarchy: TenantHierarchy) -> None:
    assert hierarchy.shared == TokenCriterion("_tag", (TokenValue("shared", "urn:tenant"),))


@pytest.mark.parametrize(
    ("tenant", "letter", "whole", "lent"),
    [
        ("region", "r", ("region", "clinic-a", "clinic-b", "ward"), ("state",)),
        ("region", "s", ("region", "clinic-a", "clinic-b", "ward"), ("state",)),
        ("region", "u", ("region", "clinic-a", "clinic-b", "ward"), ()),
        ("region", "d", ("region", "clinic-a", "clinic-b", "ward"), ()),
        ("ward", "r", ("ward",), ("clinic-a", "region", "state")),
        ("state", "r", ("state", "region", "clinic-a", "clinic-b", "ward"), ()),
    ],
)
def test_letters_reach_what_is_below_and_reading_what_is_shared_above(
    hierarchy: TenantHierarchy, tenant: str, letter: str, whole: tuple[str, ...], lent: tuple[str, ...]
) -> None:
    assert hierarchy.view(tenant, letter=letter) == TenantView(hierarchy, whole, lent)


@pytest.mark.parametrize(("tenant", "letter"), [("region", "c"), ("ward", "u"), ("ward", "c"), ("stranger", "r")])
def test_otherwise_a_tenant_is_alone(hierarchy: TenantHierarchy, tenant: str, letter: str) -> None:
    assert hierarchy.view(tenant, letter=letter) is None


def test_references_lead_to_their_own_tenant_and_to_what_is_shared_above_never_below(
    hierarchy: TenantHierarchy,
) -> None:
    """Leak L11."""
    region = hierarchy.view("region", letter="r")
    assert region is not None

    assert region.referred_to("clinic-a") == TenantView(hierarchy, ("clinic-a",), ("region", "state"))
    assert region.referred_to("region") == TenantView(hierarchy, ("region",), ("state",))
    assert region.referred_to("state") == TenantView(hierarchy, (), ("state",))
    assert region.referred_to("stranger") == TenantView(hierarchy, (), ())


def test_everybody_in_a_tree_has_one_root(hierarchy: TenantHierarchy) -> None:
    views = [hierarchy.view(name, letter="s") for name in ("state", "clinic-b", "ward")]

    assert [view.root for view in views if view is not None] == ["state"] * 3


def test_a_constraint_on_one_tenant_is_plain_where_all_is_reached(hierarchy: TenantHierarchy) -> None:
    constraint = Constraint("region", ((),), view=hierarchy.view("region", letter="r"))

    assert constraint.only("ward") == Constraint("ward", ((),))
    assert constraint.only("state") == Constraint("state", ((),), view=TenantView(hierarchy, (), ("state",)))
    assert [constraint.reaches_all_of(name) for name in ("region", "ward", "state")] == [True, True, False]


def test_what_two_letters_reach_together_is_what_both_do(hierarchy: TenantHierarchy) -> None:
    """A conditional delete matches nothing that is only lent."""
    reads, deletes = (
        Constraint(name, ((),), view=hierarchy.view(name, letter=letter))
        for name, letter in (("clinic-a", "s"), ("clinic-a", "d"))
    )

    assert reads.narrowed(deletes).view == TenantView(hierarchy, ("clinic-a", "ward"), ())
    assert Constraint("ward", ((),), view=hierarchy.view("ward", letter="s")).narrowed(
        Constraint("ward", ((),))
    ) == Constraint("ward", ((),))


def _settings(**members: Any) -> FhirSettings:
    return FhirSettings(**{"fhir_base_url": "https://h.example/fhir", "issuer": "https://a.example", **members})


def test_the_hierarchy_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHSERVER_FHIR_TENANT_PARENTS", '{"clinic-a": "region", "clinic-a~test": "region~test"}')

    assert _settings().fhir_tenant_parents == {"clinic-a": "region", "clinic-a~test": "region~test"}


def test_without_a_setting_nobody_has_relatives() -> None:
    assert _settings().fhir_tenant_parents == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nonsense", "must be JSON without a child named twice"),
        ('{"a": "b", "a": "c"}', "must be JSON without a child named twice"),
        ('["a"]', "must be a JSON object of tenants' names, each child with its parent"),
        ('{"a": ["b"]}', "must be a JSON object of tenants' names, each child with its parent"),
        ('{"a": ""}', "'' is no tenant's name: 1 to 64 letters, digits, '-' and '.', and perhaps ~test"),
        ('{"a b": "c"}', "'a b' is no tenant's name: 1 to 64 letters, digits, '-' and '.', and perhaps ~test"),
        ('{"shared": "a"}', "'shared' is the code of the tag for shared resources and cannot name a tenant"),
        ('{"a": "a"}', "the hierarchy goes in a circle: a -> a"),
        ('{"x": "a", "a": "b", "b": "c", "c": "a"}', "the hierarchy goes in a circle: a -> b -> c -> a"),
        ('{"a~test": "b"}', "'a~test' and 'b': a test tenant is no relative of a live one"),
    ],
)
def test_what_is_no_hierarchy_is_refused_at_the_start(text: str, problem: str) -> None:
    with pytest.raises(ValidationError) as refused:
        _settings(fhir_tenant_parents=text)

    assert [error["msg"] for error in refused.value.errors()] == [f"Value error, {problem}"]


def test_a_mapping_is_taken_as_it_is() -> None:
    assert parent_names(PARENTS) == PARENTS
