"""`authserver --help` is quick and helpful: nothing heavy is imported, a mistyped command is answered by a near one."""

import json
import subprocess
import sys

import pytest

from authserver.cli import COMMANDS
from tests.cli.conftest import Invoke
from tests.cli.programs import environment

HEAVY = ["alembic", "authlib", "cryptography", "flask", "uvicorn", "jwt", "pydantic", "requests", "rich", "sqlalchemy"]
_SCRIPT = """
import json, sys
from authserver.cli import command
for arguments in json.loads(sys.argv[1]):
    command.main([*arguments, "--help"], standalone_mode=False)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@pytest.mark.parametrize("commands", [[[]], [[], *([name] for name in COMMANDS)]], ids=["itself", "every command"])
def test_help_imports_nothing_heavy(commands: list[list[str]]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _SCRIPT, json.dumps(commands)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )

    imported = json.loads(ended.stdout.splitlines()[-1])

    assert "click" in imported
    assert [name for name in HEAVY if name in imported] == []


def test_list_of_commands_says_what_each_does(invoke: Invoke) -> None:
    shown = invoke("--help").output

    assert [
        name for name, command in COMMANDS.items() if f"  {name}" not in shown or command.summary not in shown
    ] == []


def test_summary_is_the_first_sentence_of_the_commands_own_help(invoke: Invoke) -> None:
    for name, command in COMMANDS.items():
        first = invoke(name, "--help").output.split("\n\n")[1]

        assert command.summary.split()[0] == first.split()[0], name


@pytest.mark.parametrize(
    ("typed", "meant"), [(("serv",), "serve"), (("client", "lst"), "list"), (("db", "upgade"), "upgrade")]
)
def test_mistyped_command_is_answered_by_a_near_one(typed: tuple[str, ...], meant: str, invoke: Invoke) -> None:
    result = invoke(*typed)

    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == f"Error: No such command {typed[-1]!r}. Did you mean {meant!r}?"


def test_unknown_command_without_a_near_one_is_said_to_be_unknown(invoke: Invoke) -> None:
    result = invoke("xyzzy")

    assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, "Error: No such command 'xyzzy'.")
