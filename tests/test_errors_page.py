"""docs/errors.md and the source name the same reason codes, and each of them is provoked by a test. Row X48."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "authserver").rglob("*.py"))
PAGE = (ROOT / "docs/errors.md").read_text("utf-8")
RAISED_BY_CODE = {"UnusableKey", "UnsafeJwksUrl", "_Refused"}
"""Exceptions whose first argument is the reason."""

RETURN_CODES = {"adapters/jwks_http.py", "protocol/api_key.py", "protocol/key_policy.py"}
"""Modules with functions that return a reason."""


def documented() -> list[str]:
    """Return the codes of the page, in its order."""
    return re.findall(r"^### `([a-z0-9_]+)`$", PAGE, re.MULTILINE)


def constants(tree: ast.Module) -> dict[str, str]:
    """Return the module's names for texts."""
    return {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }


def texts(value: ast.expr | None, names: dict[str, str]) -> Iterator[str]:
    """Yield the texts that an expression can be; a formatted one as a pattern."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield re.escape(value.value)
    elif isinstance(value, ast.IfExp):
        yield from texts(value.body, names)
        yield from texts(value.orelse, names)
    elif isinstance(value, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "[a-z]+" for part in value.values)
    elif isinstance(value, ast.Name) and value.id in names:
        yield re.escape(names[value.id])


def default_reasons(node: ast.Assign | ast.AnnAssign, names: dict[str, str]) -> Iterator[str]:
    """Yield what a class attribute `default_reason` is set to, alone or among others."""
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        if isinstance(target, ast.Name) and target.id == "default_reason":
            yield from texts(node.value, names)
        elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            for name, value in zip(target.elts, node.value.elts, strict=True):
                if isinstance(name, ast.Name) and name.id == "default_reason":
                    yield from texts(value, names)


def patterns() -> set[str]:
    """Return a pattern for every reason that the source can give."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in SOURCES}
    names = {name: text for tree in trees.values() for name, text in constants(tree).items()}
    found: set[str] = set()
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                named = getattr(node.func, "id", "")
                found.update(p for k in node.keywords if k.arg == "reason" for p in texts(k.value, names))
                if named in RAISED_BY_CODE:
                    found.update(texts(node.args[0], names))
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                found.update(default_reasons(node, names))
                if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "reason":
                    found.update(texts(node.value, names))
            elif isinstance(node, ast.Return) and str(path.relative_to(ROOT / "authserver")) in RETURN_CODES:
                found.update(texts(node.value, names))
    return found


def test_every_reason_of_the_source_is_documented() -> None:
    """A code, or for a formatted one at least one code of that form."""
    codes = documented()

    assert sorted(p for p in patterns() if not any(re.fullmatch(p, code) for code in codes)) == []


def test_every_documented_reason_is_one_of_the_source() -> None:
    known = patterns()

    assert [code for code in documented() if not any(re.fullmatch(p, code) for p in known)] == []


def test_a_reason_is_documented_once_with_cause_fix_and_example() -> None:
    entries = re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]

    incomplete = [
        entry.splitlines()[0]
        for entry in entries
        if not all(f"\n- {part}: " in entry for part in ("cause", "fix", "example"))
    ]

    assert incomplete == []
    assert len(documented()) == len(set(documented())) == len(entries)


def test_every_documented_reason_is_provoked_by_a_test() -> None:
    """Its code stands in a test or in a vector, as what is expected."""
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    vectors = list((ROOT / "tests/vectors").glob("*.json"))
    named = set(re.findall(r"[a-z0-9_]+", " ".join(path.read_text("utf-8") for path in [*tests, *vectors])))

    assert [code for code in documented() if code not in named] == []
