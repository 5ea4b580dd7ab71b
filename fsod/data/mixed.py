"""Two kinds of episodes in one sequence: of real and of invented classes, of cut-out and of drawn ones."""

from __future__ import annotations

import numpy as np
from torch.utils.data import Dataset

from fsod.data.real_episodes import Episode


class MixedEpisodes(Dataset[Episode]):
    """Invented episodes first, then real ones with a share of invented ones among them.

    Args:
        real: episodes of base classes.
        invented: episodes of invented classes, as many.
        first: how many steps are invented before the first real one.
        share: of invented episodes after that.
        seed: of the choice.
    """

    def __init__(self, real: Dataset[Episode], invented: Dataset[Episode], first: int, share: float, seed: int) -> None:
        self.real, self.invented, self.first, self.share, self.seed = real, invented, first, share, seed

    def __getitem__(self, i: int) -> Episode:
        made_up = i < self.first or np.random.default_rng([self.seed, i, 1]).random() < self.share
        return self.invented[i] if made_up else self.real[i]
