"""Resident memory of this process, from Linux."""

from __future__ import annotations

from pathlib import Path

MB = 2**20
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_mb() -> float:
    return _field("VmRSS")


def peak_mb() -> float:
    """The most there was since ``forget_peak``."""
    return _field("VmHWM")


def forget_peak() -> None:
    CLEAR.write_text("5")


def _field(name: str) -> float:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024 / MB
