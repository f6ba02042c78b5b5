"""Searches of the registry as rules: what HTTP cannot show, and that docs/registry.md lists what there is. Row X14."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from authserver.protocol import registry_search
from authserver.protocol.registry_search import WrongParameter

PAGE = (Path(__file__).parents[2] / "docs/registry.md").read_text("utf-8")


@dataclass
class Found:
    """Something to be searched."""

    id: str
    last_updated: int = 0
    body: dict[str, Any] = field(default_factory=dict)


def ids(resource_type: str, query: list[tuple[str, str]], *candidates: Found) -> list[str]:
    """Return the ids of what matches, in order."""
    return [found.id for found in registry_search.parse(resource_type, query).matching(candidates)]


@pytest.mark.parametrize("resource_type", ["Client", "AccessPolicy"])
def test_the_page_lists_the_parameters_that_there_are(resource_type: str) -> None:
    """docs/registry.md: each with the types that it is of."""
    rows = re.findall(r"^\| `(\w+)` \| (both|Client|AccessPolicy) \|", PAGE, re.MULTILINE)
    documented = {name for name, types in rows if types in ("both", resource_type)}

    with pytest.raises(WrongParameter) as refused:
        registry_search.parse(resource_type, [("unknown", "x")])

    known = set(refused.value.public.removeprefix("Unknown parameter; known: ").rstrip(".").split(", "))
    assert documented == known - {"_sort", "_count", "_page", "_total"}


def test_members_of_any_shape_are_searched_without_harm() -> None:
    """What is kept although it has no effect may be anything."""
    odd = [
        Found("a", body={"name": {"x": 1}}),
        Found("b", body={"name": ["n", 7, None]}),
        Found("c", body={"name": None}),
    ]

    assert ids("Client", [("name", "n")], *odd) == ["b"]
    assert ids("Client", [("_sort", "name")], *odd, Found("d", body={"name": "n"})) == ["d", "a", "b", "c"]


def test_equal_keys_keep_the_order_of_ids_in_both_directions() -> None:
    """Pages would overlap else."""
    same = [Found(name, last_updated=5) for name in "cab"]

    orders = [ids("Client", [("_sort", key)], *same) for key in ("_lastUpdated", "-_lastUpdated")]

    assert orders == [["a", "b", "c"], ["a", "b", "c"]]


def test_a_parameter_that_cannot_be_shown_is_not_repeated() -> None:
    with pytest.raises(WrongParameter) as refused:
        registry_search.parse("Client", [("a\nb" * 100, "x")])

    assert [issue.expression for issue in refused.value.issues()] == [""]
