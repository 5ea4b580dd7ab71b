"""The page of ``fsod review`` at work on a real task: what twenty verdicts by keyboard take, and what they bring."""
