"""What the command line's tests share: one running server, and the command run against it."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from authserver.cli import command
from tests.cli.programs import Running, serving

Invoke = Callable[..., Result]


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with both parts in development mode, for every test that does not stop it."""
    with serving(tmp_path_factory.mktemp("server"), "--dev") as server:
        yield server


@pytest.fixture
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting in the environment, no `.env` in the current folder."""
    for name in [name for name in os.environ if name.startswith("AUTHSERVER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def private_umask() -> Iterator[None]:
    """Give the process its umask back; preparing to serve sets one."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Give the process its signal handlers back; some commands set theirs."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def invoke(clean_environment: None) -> Invoke:
    """Run the command in this process; keyword arguments are environment variables."""

    def run(*arguments: str, stdin: str | None = None, **variables: str) -> Result:
        return CliRunner().invoke(command, arguments, input=stdin, env=variables)

    return run


@pytest.fixture
def operate(invoke: Invoke, running: Running) -> Invoke:
    """Run the command as the operator of the running server."""

    def run(*arguments: str, stdin: str | None = None) -> Result:
        variables = {"AUTHSERVER_ISSUER": running.url, "AUTHSERVER_DEV": "true"}
        secret = {"AUTHSERVER_ROOT_SECRET": running.generated_secret}
        return invoke(*arguments, stdin=stdin, **variables, **secret)

    return run
