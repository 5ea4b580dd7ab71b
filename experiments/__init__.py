"""What the project claims, and how to run it again: one folder a study."""
