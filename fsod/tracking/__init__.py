"""Runs in MLflow, and the files of a run."""
