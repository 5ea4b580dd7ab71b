"""Which packages fsod needs, by the metadata that it was installed with, and which of them are there."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata, requires, version
from itertools import chain

from packaging.requirements import Requirement
from packaging.version import Version

from fsod.errors import UserError


def extras() -> list[str]:
    """Names of the optional sets of packages."""
    return metadata("fsod").get_all("Provides-Extra") or []


def requirements(extra: str | None = None) -> list[Requirement]:
    """What fsod needs on this machine, or what an extra adds, with those that it names.

    Raises:
        UserError: fsod runs without having been installed.
    """
    try:
        wanted = [Requirement(line) for line in requires("fsod") or []]
    except PackageNotFoundError as error:
        raise UserError("fsod is not installed, so its requirements are unknown; run `make install`") from error
    always = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    if extra is None:
        return always
    own = [r for r in wanted if r not in always and _belongs(r, extra)]
    others = chain.from_iterable(requirements(other) for r in own if r.name == "fsod" for other in sorted(r.extras))
    return [*(r for r in own if r.name != "fsod"), *others]


def _belongs(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is not None and requirement.marker.evaluate({"extra": extra})


def extra_with(module: str) -> str | None:
    """The smallest extra that brings a module, None where none does; modules of extras are called as their packages are."""
    wanted = {extra: {r.name for r in requirements(extra)} for extra in extras()}
    own = [extra for extra, names in wanted.items() if module.partition(".")[0] in names]
    return min(own, key=lambda extra: len(wanted[extra]), default=None)


def installed_version(name: str) -> str | None:
    """The version of a package, None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def unmet(extra: str | None = None) -> list[str]:
    """What is not installed, or in another version than fsod (or its extra) works with."""
    found = [(r, installed_version(r.name)) for r in requirements(extra)]
    return [
        r.name if number is None else f"{r.name}{r.specifier} (found {number})"
        for r, number in found
        if number is None or not r.specifier.contains(number, prereleases=True)
    ]


def pinned(*some_extras: str) -> list[str]:
    """``name==version`` of all that fsod needs here, and of what is installed of some extras.

    What follows a plus sign (torch's kind of build) is left out: package indexes do not know it.
    """
    wanted = [*requirements(), *chain.from_iterable(requirements(extra) for extra in some_extras)]
    found = {r.name: installed_version(r.name) for r in wanted}
    return sorted(f"{name}=={Version(number).public}" for name, number in found.items() if number is not None)
