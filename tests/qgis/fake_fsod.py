"""Stands in for fsod where the plugin is tested: notes what it is given, and writes a layer of detections or any file."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

HERE = Path(sys.argv[0]).parent
LAYER = "detections.gpkg"
"""What it finds, which lies beside it."""


def main() -> None:
    arguments = sys.argv[1:]
    options = [(arguments[i], arguments[i + 1]) for i in range(len(arguments) - 1) if arguments[i].startswith("--")]
    given = HERE / "given"
    shutil.rmtree(given, ignore_errors=True)
    given.mkdir()
    (given / "arguments.json").write_text(json.dumps(arguments))
    for option, value in options:
        if value.endswith(".gpkg") and option != "--out":
            shutil.copy(value, given / f"{option[2:]}.gpkg")
    if (HERE / "slow").exists():
        (HERE / "slow").write_text("started")
        sys.stdin.read()  # until the plugin closes it
        time.sleep(0.2)
        (HERE / "slow").write_text("stopped")
        sys.exit(130)
    out = Path(dict(options)["--out"])
    if arguments[0] == "predict":
        out = Path(str(out).format(scene=Path(arguments[1]).stem))
        out.parent.mkdir(exist_ok=True)
        shutil.copy(HERE / LAYER, out)
        result = {"layer": str(out), "found": {"ship": 3}}
    else:
        out.write_bytes(b"made by fsod")
        result = {"bank": str(out)}
    print("steps: 2/2, 1 s", file=sys.stderr)
    Path(dict(options)["--json"]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
