"""Tell the service manager that started this process what it is about, where one listens (sd_notify(3))."""

import os
import socket
import time

import structlog

READY = "READY=1"
"""Every worker serves: at the start, and again after a reload."""

STOPPING = "STOPPING=1"
"""The server was told to stop."""

_log = structlog.get_logger("authserver.server")


def reloading() -> str:
    """Return the message that a reload begins now; READY ends it (systemd.service(5), Type=notify-reload)."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def notify(state: str) -> None:
    """Send the state to the socket that NOTIFY_SOCKET names; without one do nothing.

    A manager that cannot be told is worth a warning: the server serves all the same.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # a name outside the file system (unix(7))
        address = f"\0{address[1:]}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect(address)
            sender.sendall(state.encode("ascii"))
        except OSError as error:
            _log.warning("service_manager_not_told", state=state, detail=error.strerror)
