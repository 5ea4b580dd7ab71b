"""A search that goes on from what a killed one has left in its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsod.errors import UserError
from fsod.geo.journal import Finished, Journal
from fsod.geo.passes import Pass
from fsod.geo.search import Searched
from fsod.geo.search_tally import Tally


@dataclass(frozen=True)
class ResumeFrom:
    """Where a search keeps what is finished, and goes on from.

    Attributes:
        journal: the file. It stays: who has written the result removes it.
        detector: what decides what the detector finds (weights, classes, thresholds), as JSON values. A journal of another
            one is refused.
        classes: how many the detector knows, where that is known: a journal with others is damaged.
        restart: begin anew, whatever the journal says.
    """

    journal: Path
    detector: Mapping[str, Any] = field(default_factory=dict)
    classes: int | None = None
    restart: bool = False

    def take_up(self, kept: Journal, passes: Sequence[Pass], tally: Tally, todo: NDArray[np.bool_]) -> None:
        """Counts what a journal that is held says is finished, and strikes it from ``todo`` (windows of all passes,).

        Raises:
            UserError: the journal is damaged.
        """
        if self.restart:
            kept.path.unlink(missing_ok=True)
        for finished in kept.read():
            numbers = [*finished.found, *finished.blank]
            if not all(number < len(todo) and todo[number] for number in numbers):
                raise UserError(
                    f"{kept.path}: damaged (it lists a window outside this search); start over with --restart"
                )
            try:
                self._check_classes(finished)
                tally.take(Searched(finished))
            except ValueError as error:
                raise UserError(f"{kept.path}: damaged ({error}); start over with --restart") from error
            todo[numbers] = False
        if kept.glance is not None and len(kept.glance.chances) != len(passes[0].grid):
            raise UserError(f"{kept.path}: damaged (its first look covers other windows); start over with --restart")

    def _check_classes(self, finished: Finished) -> None:
        """ValueError for a class that there is not."""
        last = max((int(found.class_ids.max(initial=-1)) for found in finished.found.values()), default=-1)
        if self.classes is not None and last >= self.classes:
            raise ValueError(f"it holds class {last}, and there are {self.classes}")
