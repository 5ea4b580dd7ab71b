"""How long it takes, from Cancel to the last process gone, in QGIS's own Python: ``python3 cancelling.py PROFILE FOLDER ALGORITHM SCENE...``.

An algorithm runs as a task of QGIS, as from its dialog and from the dock, and is cancelled as soon as its bar has moved.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

profile, folder = map(Path, sys.argv[1:3])
algorithm, scenes = sys.argv[3], [Path(scene) for scene in sys.argv[4:]]
sys.path[:0] = [str(profile / "profiles/default/python/plugins"), "/usr/share/qgis/python/plugins"]

from qgis.core import (
    QgsApplication,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProject,
)
from qgis.PyQt.QtCore import QCoreApplication

app = QgsApplication([], True)
app.initQgis()

from fsod_qgis import classFactory
from processing.core.Processing import Processing

PATIENCE_S = 2400.0
LOOK_EVERY_S = 0.02


def sessions() -> dict[int, tuple[int, int]]:
    """Process -> its parent and its session, of all that are no zombies."""
    there = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent, _, session = entry.joinpath("stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:  # it has ended meanwhile
                continue
            if state != "Z":
                there[int(entry.name)] = int(parent), int(session)
    return there


def wait_until(done: Callable[[], object]) -> float:
    """Lets QGIS work until something holds; the seconds that took."""
    start = time.monotonic()
    while not done():
        if time.monotonic() - start > PATIENCE_S:
            raise TimeoutError
        QCoreApplication.processEvents()
        time.sleep(LOOK_EVERY_S)
    return round(time.monotonic() - start, 2)


def cancel(algorithm_id: str, parameters: dict[str, Any], from_percent: float) -> dict[str, Any]:
    """Runs an algorithm, cancels it at some percent, and times the end of all that it started."""
    context, feedback = QgsProcessingContext(), QgsProcessingFeedback(False)
    context.setProject(QgsProject.instance())
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(algorithm_id)
    task = QgsProcessingAlgRunnerTask(algorithm, parameters, context, feedback)
    ended: list[bool] = []
    task.executed.connect(lambda successful, _: ended.append(successful))
    QgsApplication.taskManager().addTask(task)
    wait_until(lambda: ended or feedback.progress() > from_percent)
    if ended:
        return {"ended_before": feedback.textLog()}
    own = {session for _, (parent, session) in sessions().items() if parent == os.getpid()}
    own.discard(os.getsid(0))
    there = [one for one, (_, session) in sessions().items() if session in own]
    at = feedback.progress()
    task.cancel()
    gone_s = wait_until(lambda: not any(session in own for _, session in sessions().values()))
    told_s = wait_until(lambda: ended)
    left = sorted(path.name for path in folder.iterdir() if f"never-{algorithm.name()}." in f"{path.name}.")
    said = [line for line in feedback.textLog().splitlines() if line.strip()][-1]
    return {"percent": round(at, 1), "processes": len(there), "gone_s": gone_s, "told_s": round(gone_s + told_s, 2),
            "left": left, "last_said": said}  # fmt: skip


Processing.initialize()
plugin = classFactory(None)
plugin.initProcessing()
tanks, detector = folder / "tanks.gpkg", folder / "q" / "tanks.safetensors"
learn = {"SCENES": [str(scenes[0])], "EXAMPLES": [str(tanks)], "MINUTES": 5}
find = {"BANK": str(detector), "NATIVE": True}
many = [str(scene) for scene in scenes]
GIVEN: dict[str, tuple[dict[str, Any], float]] = {
    "finetune": ({**learn, "OUTPUT": str(folder / "never-finetune.safetensors")}, 2),
    "find": ({**find, "INPUT": str(scenes[1]), "OUTPUT": str(folder / "never-find.gpkg")}, 5),
    "findmany": ({**find, "INPUT": many, "FOLDER": str(folder / "never-findmany")}, 26),
}
"""Each algorithm's parameters, and the percent of its progress bar at which it is cancelled. At 26 percent, findmany is in the
second of its four scenes."""

said = cancel(f"fsod:{algorithm}", *GIVEN[algorithm])
(folder / f"cancelled_{algorithm}.json").write_text(json.dumps(said))
os._exit(0)  # QGIS's own end outside its window is not what is tested
