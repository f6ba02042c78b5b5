"""`make mutants`: apply each mutant to a copy of the tree and run its tests; exit 1 when one survives.

Parts of names may be given to run only those: `python -m tests.mutants jti audience`.
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.catalogue import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
COPIES = 2
SECONDS = 300
_TESTS_FAILED = 1  # pytest's exit code; another one says that the run itself went wrong
_IGNORED = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "instance", "keys")


@contextmanager
def applied(mutant: Mutant, tree: Path) -> Iterator[None]:
    """Have the mutant in this copy of the tree for a while; raises ValueError when its text is not there just once."""
    path = tree / mutant.module
    text = path.read_text("utf-8")
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.module}: {mutant.name}: the text occurs {text.count(mutant.old)} times")
    path.write_text(text.replace(mutant.old, mutant.new), "utf-8")
    try:
        yield
    finally:
        path.write_text(text, "utf-8")


class Copy:
    """A copy of the tree and the process that runs tests in it."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self._runner = self._started()

    def _started(self) -> "subprocess.Popen[str]":
        environment = {**os.environ, "PYTHONPATH": str(self.tree), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.runner"],
            cwd=self.tree,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def verdict(self, mutant: Mutant) -> str:
        """Return "killed", or what else became of the mutant."""
        try:
            with applied(mutant, self.tree):
                code = self._exit_code(mutant.tests)
        except ValueError as error:
            return f"NOT APPLIED: {error}"
        return {0: "SURVIVED", _TESTS_FAILED: "killed", None: "killed"}.get(code, f"BROKEN: pytest's exit code {code}")

    def control(self, tests: str) -> str:
        """Return "passed" when the tests pass without any mutant: only then their failing means something."""
        code = self._exit_code(tests)
        return "passed" if code == 0 else f"without any mutant {tests} ends with exit code {code}"

    def _exit_code(self, tests: str) -> int | None:
        """Return pytest's exit code; None when the tests never end."""
        assert self._runner.stdin is not None
        assert self._runner.stdout is not None
        self._runner.stdin.write(f"{tests}\n")
        self._runner.stdin.flush()
        ready, _, _ = select.select([self._runner.stdout], [], [], SECONDS)
        if ready:
            return int(self._runner.stdout.readline())
        self.close()
        self._runner = self._started()
        return None

    def close(self) -> None:
        """End the process and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._runner.pid, signal.SIGKILL)
        self._runner.communicate()


def main(wanted: list[str]) -> int:
    """Run the mutants and print what became of each."""
    chosen = [mutant for mutant in MUTANTS if not wanted or any(part in mutant.name for part in wanted)]
    started = time.monotonic()
    with copies(COPIES) as trees:
        broken = [found for tests in {one.tests for one in chosen} if (found := trees[0].control(tests)) != "passed"]
        verdicts = [] if broken else _judged(chosen, trees)
    others = [(mutant, found) for mutant, found in zip(chosen, verdicts, strict=False) if found != "killed"]
    print("\n".join([*broken, *(f"{mutant.module}: {mutant.name}: {found}" for mutant, found in others)]))
    took = time.monotonic() - started
    print(f"{len(chosen)} mutants, {len(verdicts) - len(others)} killed, in {took:.0f} s")
    return 1 if broken or others else 0


@contextmanager
def copies(count: int) -> Iterator[list[Copy]]:
    """Have copies of the tree, each with its process, for a while."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        names = [Path(folder) / f"tree-{number}" for number in range(count)]
        made = [Copy(Path(shutil.copytree(ROOT, name, ignore=_IGNORED))) for name in names]
        try:
            yield made
        finally:
            for copy in made:
                copy.close()


def _judged(chosen: list[Mutant], trees: list[Copy]) -> list[str]:
    """Return the verdict of each mutant; as many at a time as there are copies."""
    free: SimpleQueue[Copy] = SimpleQueue()
    for tree in trees:
        free.put(tree)

    def judge(mutant: Mutant) -> str:
        tree = free.get()
        try:
            found = tree.verdict(mutant)
        finally:
            free.put(tree)
        print(f"{found[:9]:9} {mutant.threats:12} {mutant.module}: {mutant.name}", flush=True)
        return found

    with ThreadPoolExecutor(len(trees)) as pool:
        return list(pool.map(judge, chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
