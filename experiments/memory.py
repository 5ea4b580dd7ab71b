"""Resident memory of a process, from Linux; getrusage would count what its parent held, too."""

from __future__ import annotations

from pathlib import Path

MB = 2**20
CLEAR = Path("/proc/self/clear_refs")


def resident_mb(process: int | str = "self") -> float:
    return _field("VmRSS", process)


def peak_mb() -> float:
    """The most there was since ``forget_peak``."""
    return _field("VmHWM")


def forget_peak() -> None:
    CLEAR.write_text("5")


def _field(name: str, process: int | str = "self") -> float:
    status = Path(f"/proc/{process}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024 / MB
