"""The documentation is true: settings, links, commands and names that it mentions exist."""

import json
import re
from pathlib import Path

import pytest

from authserver.cli.configuration import SecretFiles
from authserver.fhir.settings import FhirSettings
from authserver.protocol import policy
from authserver.protocol.policy_lint import warnings
from authserver.protocol.policy_request import OPERATIONS, ROOT_MEMBERS
from authserver.settings import Settings

ROOT = Path(__file__).parents[1]
MODELS = (Settings, FhirSettings, SecretFiles)
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_setting_is_documented_and_nothing_else() -> None:
    """docs/settings.md lists the variables of both parts."""
    documented = set(re.findall(r"^\| `AUTHSERVER_([A-Z_]+)`", (ROOT / "docs/settings.md").read_text(), re.MULTILINE))

    assert documented == {name.upper() for model in MODELS for name in model.model_fields}


def test_the_documented_meaning_of_a_setting_is_the_models() -> None:
    """A row ends with the description of the field, word by word."""
    rows = (ROOT / "docs/settings.md").read_text().splitlines()
    fields = {name: field.description for model in reversed(MODELS) for name, field in model.model_fields.items()}

    missing = [
        name
        for name, meaning in fields.items()
        if not any(row.startswith(f"| `AUTHSERVER_{name.upper()}`") and row.endswith(f"| {meaning} |") for row in rows)
    ]

    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Relative links name files of the project."""
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_make_target_of_the_readme_exists() -> None:
    """make run, make demo, make test, make lint, make types."""
    named = set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / "README.md").read_text()))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert named - targets == set()


def test_every_module_of_the_architecture_page_exists() -> None:
    """The folder tree of docs/architecture.md names modules that are there."""
    tree = (ROOT / "docs/architecture.md").read_text().split("```text")[1].split("```")[0]
    named = set(re.findall(r"\b([a-z_]+\.py)\b", tree))
    there = {path.name for path in (ROOT / "authserver").rglob("*.py")}

    assert named - there == set()


def test_no_page_names_a_machine() -> None:
    """No absolute path of a machine, no host of a package index."""
    found = [
        page.name for page in PAGES if re.search(r"(?<![\w.])/(?:home|root|tmp|work)/|pypi\.|npmjs\.", page.read_text())
    ]

    assert found == []


def test_every_promise_about_clients_keys_names_tests_that_exist() -> None:
    """docs/client-keys.md: C08 to C13 as numbers, each asserted somewhere."""
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", (ROOT / "docs/client-keys.md").read_text()))
    defined = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }

    assert len(named) > 10
    assert named - defined == set()


def test_every_policy_of_the_policies_page_compiles_and_has_no_trap() -> None:
    """docs/policies.md: its examples are good ones. Row X16."""
    examples = re.findall(r"```json\n(.*?)```", (ROOT / "docs/policies.md").read_text(), re.DOTALL)

    read = [policy.from_resource(json.loads(example), policy_id="p").engine for example in examples]

    assert read == ["matcho", "json-schema", "complex"]
    assert [warnings(json.loads(example)) for example in examples] == [(), (), ()]


def test_the_policies_page_names_every_operation_and_every_member_of_a_request() -> None:
    """docs/policies.md: what can be linked to, what can be looked at."""
    page = (ROOT / "docs/policies.md").read_text()
    operations = page.split("Operations: ")[1].split("\n\n")[0]
    members = re.findall(r"^\| `([a-z-]+)` \|", page.split("## The request")[1].split("## Patterns")[0], re.MULTILINE)

    assert OPERATIONS - set(re.findall(r"[A-Za-z-]+", operations)) == set()
    assert sorted(members) == sorted(ROOT_MEMBERS)
