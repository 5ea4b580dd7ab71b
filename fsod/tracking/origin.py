"""What makes a run: the command, and the commit where fsod runs from a git checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def origin() -> dict[str, str]:
    """Tags of a run, by the names that MLflow shows them under."""
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    tags = {"mlflow.source.name": command, "mlflow.source.type": "LOCAL"}
    checkout = Path(__file__).parents[2]
    # not the commit of some other repository that the package is installed in
    if (checkout / ".git").exists():
        try:
            commit = _git(checkout, "rev-parse", "HEAD")
            changed = _git(checkout, "status", "--porcelain", "--untracked-files=no")
        except (OSError, subprocess.SubprocessError):
            return tags  # git is not installed, or refuses a checkout of somebody else
        tags |= {"mlflow.source.git.commit": commit, "git_changed": str(bool(changed)).lower()}
    return tags


def _git(checkout: Path, *arguments: str) -> str:
    command = ["git", "-C", str(checkout), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
