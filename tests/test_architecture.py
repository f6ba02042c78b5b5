"""Who may import whom (docs/architecture.md, section 2), and the measures of section 7."""

import ast
import pathlib
import sys
from collections.abc import Iterator

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "authserver"
EFFECTS = {"os", "time", "random", "secrets", "socket", "subprocess", "urllib", "threading", "sqlite3"}
STDLIB = (sys.stdlib_module_names - EFFECTS) | {"urllib.parse", "_typeshed"}
SHARED = {"authserver.errors", "authserver.clock"}
MAY = {
    "protocol": {
        "authserver.errors",
        "jwt",
        "cryptography",
        "jsonpatch",
        "jsonschema",
        "orjson",
        "pydantic",
        "re2",
        "referencing",
        "yaml",
    },
    "services": {*SHARED, "authserver.protocol", "secrets", "threading.Lock"},
    "adapters": {
        *SHARED,
        *EFFECTS,
        "authserver.protocol",
        "authserver.services.ports",
        "authserver.services.claim_queue",
        "authserver.sqlite",
    }
    | {
        "alembic",
        "argon2",
        "cryptography",
        "orjson",
        "prometheus_client",
        "psycopg",
        "requests",
        "sqlalchemy",
        "structlog",
        "urllib3",
    },
    "web": {*SHARED, "authserver.protocol", "authserver.services", "flask", "secrets", "structlog", "werkzeug"},
    "fhir": {
        *SHARED,
        "authserver.protocol.api_key",
        "authserver.protocol.canonical_path",
        "authserver.protocol.fhir_interaction",
        "authserver.protocol.instants",
        "authserver.protocol.json_patch",
        "authserver.protocol.scopes",
        "authserver.protocol.render",
        "authserver.sqlite",
        "secrets",
        "threading",
        "time",
    }
    | {
        "authlib",
        "flask",
        "jsonpatch",
        "jsonpointer",
        "orjson",
        "pydantic",
        "pydantic_settings",
        "requests",
        "sqlalchemy",
        "structlog",
        "werkzeug",
    },
}
PURE = ("protocol", "fhir/access.py", "fhir/search/ast.py", "fhir/search/parser.py", "fhir/bulk/parameters.py")
MODULE_LINES, FUNCTION_LINES = 300, 40
LATE = {
    "adapters/jwks_late.py": {"authserver.adapters.jwks_http.JwksHttp"},
    "adapters/sql/database.py": {"sqlalchemy.dialects.postgresql.insert"},
    "adapters/sql/engine.py": {"authserver.adapters.sql.postgresql.open_postgresql"},
    "adapters/sql/failover.py": {"psycopg.OperationalError"},
    "protocol/json_patch.py": {"jsonpatch"},
    "protocol/policy_reader.py": {"authserver.protocol.policy_schema.compile_schema"},
    "protocol/registry_bundle.py": {"authserver.protocol.strict_yaml"},
    "web/resource_requests.py": {"authserver.protocol.strict_yaml"},
    "web/yaml_answers.py": {"authserver.protocol.strict_yaml"},
}
"""What is imported inside functions (docs/adr/010); the command line does as it likes."""


def imports(path: pathlib.Path) -> Iterator[str]:
    """Yield every imported name, spelled whole."""
    yield from imported(ast.parse(path.read_text()), path)


def late_imports(path: pathlib.Path) -> Iterator[str]:
    """Yield what is imported inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imported(node, path)


def imported(tree: ast.AST, path: pathlib.Path) -> Iterator[str]:
    """Yield every name imported in this part of a module, spelled whole."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def strangers(paths: Iterator[pathlib.Path], granted: set[str]) -> set[str]:
    """Return the imports that are not granted."""
    return {
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in paths
        for name in imports(path)
        if not any(name == root or name.startswith(f"{root}.") for root in granted)
    }


@pytest.mark.parametrize("layer", MAY)
def test_a_layer_imports_only_what_it_may(layer: str) -> None:
    """The table of section 2."""
    found = strangers((PACKAGE / layer).rglob("*.py"), MAY[layer] | STDLIB | {f"authserver.{layer}"})

    assert found == set()


def test_imports_stand_at_the_top_but_for_those_that_few_starts_need() -> None:
    """Section 2 and docs/adr/010."""
    paths = {str(path.relative_to(PACKAGE)): path for path in PACKAGE.rglob("*.py")}

    found = {name: set(late_imports(path)) for name, path in paths.items() if not name.startswith("cli/")}

    assert {name: late for name, late in found.items() if late} == LATE


def test_the_composition_root_does_not_know_the_fhir_layer() -> None:
    """app.py, use_cases.py and parts.py may import everything but fhir and the command line."""
    root = [name for module in ("app.py", "use_cases.py", "parts.py") for name in imports(PACKAGE / module)]

    found = {name for name in root if name.startswith(("authserver.fhir", "authserver.cli"))}

    assert found == set()


def test_an_adapter_knows_no_other_adapter() -> None:
    """Each adapter is one port and one library; packages and helper modules of one adapter may know each other."""
    families = {
        "key_files": {"key_files", "key_folder", "key_material", "verified_tokens"},
        "jwks_cache": {"jwks_cache", "jwks_entry", "fetch_budget"},
        "memory": {
            "memory",
            "memory_audit",
            "memory_changes",
            "memory_claims",
            "memory_decisions",
            "memory_notes",
            "memory_resources",
        },
        "sql": {"sql"},
    }
    found = {
        f"{name}: {imported}"
        for name, own in families.items()
        for path in [*(PACKAGE / "adapters").glob(f"{name}.py"), *(PACKAGE / "adapters" / name).rglob("*.py")]
        for imported in imports(path)
        if imported.startswith("authserver.adapters.") and imported.split(".")[2] not in own
    }

    assert found == set()


@pytest.mark.parametrize("place", PURE)
def test_pure_rules_have_no_effects(place: str) -> None:
    """Values in, values out: no clock, no randomness, no files, no network, no framework."""
    root = PACKAGE / place
    paths = [root] if root.suffix else sorted(root.rglob("*.py"))
    impure = EFFECTS | {"flask", "sqlalchemy", "requests", "authserver.clock", "authserver.settings"}

    found = {
        f"{path.name}: {name}"
        for path in paths
        for name in imports(path)
        if any(name == root or name.startswith(f"{root}.") for root in impure - {"urllib"})
    }

    assert found == set()


def test_only_the_settings_read_the_environment() -> None:
    """One reader of os.environ; the command line writes it for its worker processes."""
    readers = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if path.parts[len(PACKAGE.parts)] != "cli"
        and ("os.environ" in path.read_text() or "getenv" in path.read_text())
    }

    assert readers == {"settings.py"}


def test_only_the_clock_reads_the_time() -> None:
    """now() has one caller of time.time."""
    readers = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(call in path.read_text() for call in ("time.time(", "time.time_ns(", "datetime.now(", "utcnow("))
    }

    assert readers == {"clock.py"}


def test_modules_and_functions_keep_their_measure() -> None:
    """Section 7: 300 lines a module, 40 a function."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        if text.count("\n") > MODULE_LINES:
            found.append(f"{path.relative_to(PACKAGE)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno:
                length = node.end_lineno - node.lineno + 1
                if length > FUNCTION_LINES:
                    found.append(f"{path.relative_to(PACKAGE)}:{node.name}: {length} lines")

    assert found == []
