"""``fsod`` as a process of its own that learns for a few steps only."""

from __future__ import annotations

from functools import partial

from fsod.cli import main
from fsod.data.mark_views import CropSettings
from fsod.training import learn_marks

learn_marks.LEAST_STEPS = learn_marks.MOST_STEPS = 2
learn_marks.TRIAL_STEPS = 1
learn_marks.LOOKS = learn_marks.LOOKS[1:2]  # type: ignore[assignment]
learn_marks.CropSettings = partial(CropSettings, queries=1, query_px=64)  # type: ignore[attr-defined, assignment]
if __name__ == "__main__":
    main()
