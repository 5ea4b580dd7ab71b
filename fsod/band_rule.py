"""Which bands of a raster examples were shown in, and how, so that scenes are searched in the same.

A detector that has learned ships in false colours does not find them in true ones. So what is made of examples says how
their bands were chosen, and a scene is seen in the same where it can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fsod.errors import printable

COLOURS = ("red", "green", "blue")

Chosen = Literal["option", "descriptions", "tags", "palette", "default"]
"""How: asked for; by the names of the bands; by their colour tags; a palette; the first three, or the only one."""

Name = Annotated[str, AfterValidator(printable)]
Number = Annotated[int, Field(ge=1)]


class BandRule(BaseModel):
    """What was shown of a raster.

    Attributes:
        bands: their numbers, from 1; three, or one that was shown in grey or through its palette.
        count: of the bands that the raster had, without alpha.
        chosen: how.
        names: what the raster calls each of these bands; empty for one that has no name.
        nodata: value that the user said stands for nothing; NaN: none that the file does not declare. None: not said.
        toned: whether it was shown in the tone that the network is used to, see ``fsod.geo.tone``.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    bands: tuple[Number, ...]
    count: Number
    chosen: Chosen
    names: tuple[Name, ...] = ()
    nodata: float | None = None
    toned: bool = False

    @property
    def shows(self) -> str:
        """``colours`` where red, green and blue were shown as such, as far as the raster tells; ``grey``; else nothing."""
        if self.chosen in ("descriptions", "tags", "palette") or tuple(n.lower() for n in self.names) == COLOURS:
            return "colours"
        if self.chosen == "default" and len(self.bands) == 1:
            return "grey"
        # three bands and no word are red, green, blue by convention
        return "colours" if self.chosen == "default" and self.count == len(self.bands) else ""

    def bands_on(self, own: BandRule, descriptions: Sequence[str]) -> tuple[int, ...] | None:
        """The bands of another raster that show the same; None where it has none that are known to.

        Args:
            own: what would be shown of it by its own words.
            descriptions: what it calls its bands, all of them; empty for one that has no name.
        """
        if self.shows and self.shows == own.shows:
            return own.bands
        if self.names and all(name and descriptions.count(name) == 1 for name in self.names):
            return tuple(descriptions.index(name) + 1 for name in self.names)
        if self.count != own.count or max(self.bands) > len(descriptions):
            return None
        there = [descriptions[band - 1] for band in self.bands]
        same = all(not name or not other or name == other for name, other in zip(self.names, there, strict=False))
        return self.bands if same else None

    def __str__(self) -> str:
        names = f", called {', '.join(filter(None, self.names))}" if any(self.names) else ""
        numbers = f"bands {','.join(map(str, self.bands))} of {self.count}{names}"
        seen = {"colours": "red, green and blue", "grey": "grey"}.get(self.shows)
        return f"{seen} ({numbers})" if seen else numbers


def are_toned(rules: Sequence[BandRule]) -> bool:
    """Whether scenes are toned for what was shown so: as the first rule says."""
    return bool(rules) and rules[0].toned


def each_once(rules: Iterable[BandRule]) -> tuple[BandRule, ...]:
    """The rules without those that are there already."""
    return tuple({repr(rule): rule for rule in rules}.values())  # by their texts: a nodata value of NaN equals nothing
