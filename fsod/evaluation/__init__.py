"""Measuring: average precision, what became of each detection, and why."""
