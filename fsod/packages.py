"""Which packages fsod needs, by the metadata that it was installed with, and which of them are there."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement
from packaging.version import Version


def extras() -> list[str]:
    """Names of the optional sets of packages."""
    return metadata("fsod").get_all("Provides-Extra") or []


def package_names(extra: str | None = None) -> list[str]:
    """The packages that fsod needs, or those that an extra adds."""
    wanted = [Requirement(line) for line in requires("fsod") or []]
    always = {r.name for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})}
    if extra is None:
        return sorted(always)
    added = {r.name for r in wanted if r.marker is not None and r.marker.evaluate({"extra": extra})}
    return sorted(added - always - {"fsod"})


def installed_version(name: str) -> str | None:
    """The version of a package, None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def needed_packages(extra: str | None = None) -> list[str]:
    """``name==version`` of all that fsod needs here, and of what is installed of an extra.

    What follows a plus sign (torch's kind of build) is left out: package indexes do not know it.
    """
    names = [*package_names(), *(package_names(extra) if extra else [])]
    found = {name: installed_version(name) for name in names}
    return [f"{name}=={Version(number).public}" for name, number in found.items() if number is not None]
