"""`authserver demo` as a real process: the whole flow holds, and nothing is left running."""

import re
import subprocess
from pathlib import Path

import pytest
import requests

from tests.cli.programs import COMMAND, environment

STEPS = 15


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, for temporary files too."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def demo(folder: Path) -> "subprocess.CompletedProcess[str]":
    """The demo, run to its end."""
    return subprocess.run(
        [*COMMAND, "demo"],
        cwd=folder,
        env=environment(PYTHONIOENCODING="utf-8", TMPDIR=str(folder)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_step_of_the_demo_holds(demo: "subprocess.CompletedProcess[str]") -> None:
    """A2, A4, A7, A8, A13, A15, A18, A22, X1, X3, X4, by a real client over HTTP."""
    lines = demo.stdout.splitlines()

    assert (demo.returncode, demo.stderr) == (0, "")
    assert sum(line.startswith("    ✓ ") for line in lines) == STEPS
    assert "✗" not in demo.stdout
    assert lines[-1] == f"{STEPS} of {STEPS} steps held."


def test_demo_shows_what_the_server_says(demo: "subprocess.CompletedProcess[str]") -> None:
    answers = [line for line in demo.stdout.splitlines() if line.startswith("    ← ")]

    assert [line.split()[1] for line in answers] == (
        "201 201 200 200 400 200 200 403 200 403 201 200 200 401 200".split()
    )
    assert answers[-1] == '    ← 200  {"active": false}'


def test_demo_shows_no_whole_token(demo: "subprocess.CompletedProcess[str]") -> None:
    assert re.findall(r"eyJ[\w-]{20,}", demo.stdout) == []


def test_demo_stops_what_it_started(demo: "subprocess.CompletedProcess[str]") -> None:
    urls = re.findall(r"http://127\.0\.0\.1:\d+", demo.stdout.splitlines()[0])

    assert len(urls) == 2
    for url in urls:
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=2)


def test_demo_leaves_no_file_behind(demo: "subprocess.CompletedProcess[str]", folder: Path) -> None:
    assert (demo.returncode, list(folder.iterdir())) == (0, [])
