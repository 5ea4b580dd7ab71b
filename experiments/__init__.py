"""What the project claims, and how to run it again: one folder a study."""

import fsod  # noqa: F401  (sets its switches before a study loads torch)
