"""The units, the compose file and the image's recipe: checked by their own tools where those are, else as text."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from authserver.cli.configuration import SecretFiles
from authserver.cli.supervisor import STOP_SECONDS
from authserver.fhir.settings import FhirSettings
from authserver.settings import Settings
from tests.cli.programs import serving
from tests.deploy.nginx import FILES

NAMED = ("authserver.service", "compose.yaml", "Dockerfile", "README.md")
systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")


def text(name: str) -> str:
    return (FILES / name).read_text("utf-8")


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units with a program that is there; nothing else is changed."""
    for name in ("authserver.service", "authserver.socket"):
        (tmp_path / name).write_text(text(name).replace("/opt/authserver/bin/authserver", "/bin/true"))
    return [tmp_path / "authserver.service", tmp_path / "authserver.socket"]


def analyze(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60)


@systemd
def test_systemd_finds_nothing_wrong_with_the_units(units: list[Path]) -> None:
    done = analyze("verify", *units)

    assert (done.returncode, done.stderr) == (0, "")


@systemd
def test_systemd_would_tell_of_a_mistake(units: list[Path]) -> None:
    """The control: a misspelled value is noticed."""
    units[0].write_text(units[0].read_text().replace("KillMode=mixed", "KillMode=mixt"))

    assert "Failed to parse kill mode" in analyze("verify", *units).stderr


@systemd
def test_the_service_is_exposed_to_little(units: list[Path]) -> None:
    """systemd's own measure, 0 to 10: at most 1.5, where a service without options has 9.6."""
    done = analyze("security", "--offline=true", "--threshold=15", units[0])

    assert done.returncode == 0, done.stdout


def test_only_settings_that_exist_are_named() -> None:
    known = {name.upper() for model in (Settings, FhirSettings, SecretFiles) for name in model.model_fields}

    named = {(name, found) for name in NAMED for found in re.findall(r"AUTHSERVER_([A-Z_]*[A-Z])", text(name))}

    assert {(name, found) for name, found in named if found not in known} == set()
    assert len(named) > 15


def test_no_secret_has_a_default() -> None:
    """G13: compose takes each from a file or a variable that must be there, and none stands in the files."""
    compose = text("compose.yaml")

    assert re.findall(r"\$\{[A-Z_]+:?-", compose) == []
    assert re.findall(r"\$\{(\w+)(:\?)", compose) == [("AUTHSERVER_ISSUER", ":?")]
    assert re.findall(r"(?i)(?:password|secret)\w*: *[\"']?(?!\[|/run/secrets/|\{ file: )\S", compose) == []


def test_every_secret_that_is_used_is_declared() -> None:
    compose, proxy = text("compose.yaml"), text("nginx.conf")

    declared = set(re.findall(r"^  (\w+): \{ file: ", compose, re.MULTILINE))

    assert set(re.findall(r"/run/secrets/(\w+)", compose + proxy)) <= declared
    assert declared == {name for names in re.findall(r"secrets: \[(.+)\]", compose) for name in names.split(", ")}


@pytest.mark.parametrize(
    ("name", "drains", "patience"),
    [
        ("authserver.service", r"AUTHSERVER_DRAIN_SECONDS=(\d+)", r"TimeoutStopSec=(\d+)"),
        ("compose.yaml", None, r"&server[\s\S]*?stop_grace_period: (\d+)s"),
    ],
)
def test_a_manager_waits_until_the_server_has_drained(name: str, drains: str | None, patience: str) -> None:
    """Killed before its time a server would drop requests."""
    where, pattern = (name, drains) if drains else ("Dockerfile", r"AUTHSERVER_DRAIN_SECONDS=(\d+)")
    seconds = [int(found[1]) for found in (re.search(pattern, text(where)), re.search(patience, text(name))) if found]

    assert len(seconds) == 2
    assert seconds[0] + STOP_SECONDS < seconds[1]


def test_the_image_takes_packages_by_hash_and_runs_as_nobody_in_particular() -> None:
    recipe = text("Dockerfile")
    last = recipe[recipe.rindex("\nFROM ") :]

    assert "--require-hashes --no-deps --only-binary :all:" in " ".join(recipe.split())
    assert re.findall(r"^USER (.+)$", last, re.MULTILINE) == ["10001:10001"]
    assert re.findall(r"\bpip\b", last) == []
    assert "/readyz" in last


def test_what_hashing_took_goes_back_to_the_system() -> None:
    """docs/operations.md, "Memory": glibc reads the variable when the program starts."""
    named = {name: "MALLOC_MMAP_THRESHOLD_=1048576" in text(name) for name in ("authserver.service", "Dockerfile")}

    assert named == {"authserver.service": True, "Dockerfile": True}


def test_the_image_holds_compiled_modules() -> None:
    """Its user cannot write them, so that each start would compile the package anew."""
    assert "python -m compileall -q" in text("Dockerfile")


def test_what_is_copied_into_the_image_is_let_in() -> None:
    """Everything else stays out: keys, databases, secrets."""
    copied = {source for source in re.findall(r"^COPY (\S+) ", text("Dockerfile"), re.MULTILINE) if source[0] != "-"}
    let_in = set(re.findall(r"^!(.+)$", text("Dockerfile.dockerignore"), re.MULTILINE))

    assert copied == let_in == {"requirements.txt", "authserver"}
    assert all((FILES.parents[1] / name).exists() for name in copied)


LIMITED = """
import ctypes, mmap, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN: Linux 6.3
    sys.exit(3)
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except OSError:
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
sys.exit(4)
"""


def test_the_server_needs_no_memory_that_is_written_and_executed(tmp_path: Path) -> None:
    """MemoryDenyWriteExecute: the kernel refuses such memory to the whole server, and it serves."""
    program = tmp_path / "limited.py"
    program.write_text(LIMITED)
    tried = subprocess.run([sys.executable, program, "-c", ""], check=False, timeout=30).returncode
    if tried == 3:
        pytest.skip("this kernel cannot refuse it (Linux 6.3 can)")

    with serving(tmp_path, "--dev", program=(sys.executable, str(program), "-m", "authserver.cli")) as server:
        answers = [server.get(path).status_code for path in ("/readyz", "/.well-known/jwks.json", "/fhir/Patient")]

    assert (tried, answers) == (0, [200, 200, 401])


@pytest.mark.skipif(
    shutil.which("docker") is None
    or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0,
    reason="docker compose is not installed here",
)
def test_compose_understands_its_file_and_misses_the_issuer() -> None:
    command = ["docker", "compose", "--file", str(FILES / "compose.yaml"), "config", "--quiet"]

    done = [
        subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
        for env in ({"PATH": "/usr/bin:/bin:/usr/local/bin", "AUTHSERVER_ISSUER": "https://auth.example"}, {})
    ]

    assert (done[0].returncode, done[1].returncode != 0) == (0, True), done[0].stderr
