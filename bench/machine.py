"""What the figures were measured on, in a few words each: without it they say nothing."""

import os
import platform
import shutil
import sqlite3
import ssl
import subprocess
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.backends.openssl.backend import backend


def described() -> dict[str, str]:
    """Return the machine and the versions that matter, by name."""
    return {
        "processor": f"{_model()}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_version()}, {_build()}",
        "OpenSSL": f"{backend.openssl_version_text()} in cryptography, {ssl.OPENSSL_VERSION} in Python",
        "SQLite": sqlite3.sqlite_version,
        "PostgreSQL": _version("postgres", "--version"),
        "node": _version("node", "--version"),
        "Glewlwyd": _version("glewlwyd", "--version"),
    }


def commit(folder: Path) -> str:
    """Return which state of the code lies in this folder; `-dirty` when it differs from what was committed."""
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _build() -> str:
    """Say how this Python was compiled: one with profile-guided optimisation is a good deal faster."""
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return "with optimisations" if "--enable-optimizations" in arguments else "compiled without --enable-optimizations"


def _version(program: str, argument: str) -> str:
    found = shutil.which(program) or _debian(program)
    if found is None:
        return "not found"
    done = subprocess.run([found, argument], capture_output=True, text=True, check=False)
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else "not found"


def _debian(program: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    return str(found[-1]) if found else None


def median(values: list[float]) -> float:
    """Return the middle one; of two middle ones the lower, so that it is one that was measured."""
    return sorted(values)[(len(values) - 1) // 2]


def cpu_seconds(process: int) -> float:
    """Return the processor time of a process and what it waited for, from /proc."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(process: int) -> tuple[float, float]:
    """Return resident and private memory of a process in MiB, from /proc."""
    sizes = {"Rss": 0, "Private_Clean": 0, "Private_Dirty": 0}
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in sizes:
            sizes[name] = int(rest.split()[0])
    return sizes["Rss"] / 1024, (sizes["Private_Clean"] + sizes["Private_Dirty"]) / 1024


def children(process: int, *, proc: Path = Path("/proc")) -> list[int]:
    """Return the processes that a process started and that still run; a thread that ends meanwhile has none."""
    found = []
    for task in (proc / str(process) / "task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            found += [int(number) for number in (task / "children").read_text().split()]
    return sorted(found)


if __name__ == "__main__":
    sys.stdout.write("\n".join(f"{name}: {value}" for name, value in described().items()) + "\n")
