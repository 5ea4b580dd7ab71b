"""``fsod`` as a process of its own that learns for a few steps only."""

from __future__ import annotations

from fsod.cli import main
from fsod.training import learn_marks

learn_marks.LEAST_STEPS = learn_marks.MOST_STEPS = 4
learn_marks.TRIAL_STEPS = 1
if __name__ == "__main__":
    main()
